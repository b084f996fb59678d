package volume

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/mem"
)

// TestMetamorphic runs random histories of deeds, each several times: straight on,
// and with other caches, other moments at which things are written, with processes
// that end and machines that change in between. Each time the tree must end as the
// plain model says, on this machine and on one that has the store alone.
//
// A history that fails is shortened and printed as it would stand in keptHistories.
// HUSHFS_METAMORPHIC is how long to go on (20m), HUSHFS_SEED where to begin.
func TestMetamorphic(t *testing.T) {
	limit := 8 * time.Second
	if s := os.Getenv("HUSHFS_METAMORPHIC"); s != "" {
		var err error
		if limit, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := someSeed(t, "HUSHFS_METAMORPHIC")
	o := newOrigin(t)
	histories, plays, deeds := 0, 0, 0
	for end := time.Now().Add(limit); histories == 0 || time.Now().Before(end); histories++ {
		rng := rand.New(rand.NewPCG(seed+uint64(histories), 11))
		a := &author{rng: rng, m: newPlain(), left: 8 << 20}
		told := a.history(10 + rng.IntN(60))
		for i := range 4 {
			c, l := course{Near: -1, Flush: rng.IntN(2) == 0}, told
			if i > 0 {
				c = randomCourse(rng)
				l = eventful(rng, c, told)
			}
			plays++
			deeds += len(l)
			if err := play(t, o, c, l); err != nil {
				t.Logf("seed %d, history %d, course %d fails: %v", seed, histories, i, err)
				l, err = shorten(t, o, c, l, err)
				t.Fatalf("HUSHFS_SEED=%d, shortened to %d deeds: %v\n%s", seed+uint64(histories), len(l), err, inATest(c, l))
			}
		}
	}
	t.Logf("%d histories, run %d times, %d deeds", histories, plays, deeds)
}

// keptHistories are those that once failed.
var keptHistories = []struct {
	name   string
	course course
	deeds  []deed
}{
	{"every kind of event", course{Near: LeastCache, Fold: 2, Flush: true}, []deed{
		{Do: "tmplink", At: "/d", Off: 8807, Len: 4095, Num: 0x8db8e84793fe2544},
		{Do: "lose"},
		{Do: "tmplink", At: "/d", Off: 8807, Len: 4095, Num: 0x8db8e84793fe2544},
		{Do: "leave"},
		{Do: "lose"},
		{Do: "copy"},
		{Do: "write", At: "/d", Off: 1 << 40, Len: 300_000, Num: 1},
		{Do: "copy"},
		{Do: "shift", Len: 5 << 20},
		{Do: "open", At: "/d"},
		{Do: "write", At: "/d", Len: 300_000, Num: 2},
		{Do: "crash"},
		{Do: "hwrite", Off: 5, Len: 70_000, Num: 3},
		{Do: "publish"},
		{Do: "spoil cache"},
		{Do: "rename", At: "/d", To: "/e"},
		{Do: "die", To: "sync.settled", Num: 1},
		{Do: "lock"},
		{Do: "forget cache"},
		{Do: "move"},
	}},
}

func TestKeptHistories(t *testing.T) {
	o := newOrigin(t)
	for _, k := range keptHistories {
		t.Run(k.name, func(t *testing.T) {
			if err := play(t, o, k.course, k.deeds); err != nil {
				t.Error(err)
			}
		})
	}
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	b := mem.New()
	unlock, _ := makeDrive(t, b, t.TempDir())
	return &origin{bucket: b, unlock: unlock}
}

// randomCourse is a way to run a history.
func randomCourse(rng *rand.Rand) course {
	return course{
		// Without a cache, with one that holds next to nothing, and with enough.
		Near:  []int64{-1, headroom + 5<<19, headroom + 6<<20, LeastCache}[rng.IntN(4)],
		Fold:  []int{1, 2, 7, 30, 0}[rng.IntN(5)],
		Flush: rng.IntN(4) > 0,
		Run:   rng.IntN(8) == 0,
	}
}

// eventful puts events between deeds: some kinds of them, few or many.
func eventful(rng *rand.Rand, c course, told []deed) (l []deed) {
	rate := []int{3, 10, 30, 60}[rng.IntN(4)]
	var kinds []string
	for _, e := range events {
		// While bytes float, what a crash leaves has no order.
		if (e == "lose" || e == "die") && !c.Flush || e == "die" && c.Run {
			continue
		}
		if rng.IntN(2) == 0 {
			kinds = append(kinds, e)
		}
	}
	steps := commonSteps()
	for _, d := range told {
		for len(kinds) > 0 && rng.IntN(100) < rate {
			e := deed{Do: kinds[rng.IntN(len(kinds))]}
			switch e.Do {
			case "flush", "fsync":
				e.At = told[rng.IntN(len(told))].At
			case "shift":
				e.Len, e.Num = int64(1+rng.IntN([]int{100, 100_000, 5 << 20}[min(rng.IntN(4), rng.IntN(3))])), rng.Uint64()
			case "die":
				e.To, e.Num = steps[rng.IntN(len(steps))], 1+uint64(rng.IntN(3))
			case "spoil cache":
				e.Num = rng.Uint64()
			}
			l = append(l, e)
		}
		l = append(l, d)
	}
	return l
}

// shortenFor bounds the search for a shorter history.
const shortenFor = 2 * time.Minute

// shorten leaves out deeds as long as what is left fails, at first many at a time.
func shorten(t *testing.T, o *origin, c course, l []deed, why error) ([]deed, error) {
	end := time.Now().Add(shortenFor)
	for n := len(l) / 2; n > 0; {
		removed := false
		for from := 0; from < len(l) && time.Now().Before(end); {
			fewer := slices.Concat(l[:from], l[min(from+n, len(l)):])
			if err := play(t, o, c, fewer); err != nil {
				l, why, removed = fewer, err, true
				continue
			}
			from += n
		}
		if n = min(n, len(l)) / 2; removed && n == 0 && time.Now().Before(end) {
			n = 1
		}
	}
	return l, why
}

// inATest is a history as it stands in a test.
func inATest(c course, l []deed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{%q, course{Near: %d, Fold: %d, Flush: %v, Run: %v}, []deed{\n", "…", c.Near, c.Fold, c.Flush, c.Run)
	for _, d := range l {
		fmt.Fprintf(&b, "\t%#v,\n", d)
	}
	b.WriteString("}},")
	return b.String()
}
