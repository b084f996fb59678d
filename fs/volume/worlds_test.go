package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

// Three machines with journals, caches and states of their own work at once on one
// drive, over a store that fails now and then, on a clock that only sleeping moves. They
// are killed, locked, parted from the store, left off line for days, removed and let in
// again; commits are folded and trimmed, and the store is set back, which they accept. In
// the end all see one tree, and each content that an fsync acknowledged and nobody replaced
// who had seen it is there: in its place or in a copy. Only what lay in the store alone, in
// what it lost, may be missing, and who accepts that is told how much it is and whose. Who has a lease sees nobody else's change, who
// counts under a lock counts right, and of those who take one name, and are told by the
// store, one has it.
//
// HUSHFS_SEED repeats a run, HUSHFS_WORLDS says how many worlds are tried.
func TestWorlds(t *testing.T) {
	if testing.Short() {
		t.Fatal("this test has no short form")
	}
	n, many := someSeed(t, "HUSHFS_WORLDS"), 12
	if s := os.Getenv("HUSHFS_WORLDS"); s != "" {
		var err error
		if many, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	sum := tally{}
	for run := range uint64(many) {
		s := story.Story{Machines: 2 + int(run%2), Seed: run}
		if f := tell(t, &s, rand.New(rand.NewPCG(n, run)), nil, &sum); f != nil {
			t.Fatalf("world %d: %s", run, shrink(t, s, f, nil).Report(s, f))
		}
	}
	t.Logf("%d worlds: %+v", many, sum)
	if many >= 12 && (len(sum.Kinds) == 0 || sum.Promises == 0 || sum.Kills == 0) {
		t.Error("the worlds were too quiet to show anything")
	}
	for what, n := range map[string]int{
		"Outages": sum.Outages, "Operations": sum.Operations, "Handles": sum.Handles, "Leases": sum.Leases, "Counts": sum.Counts,
		"Taken": sum.Taken, "Refused": sum.Refused, "Folds": sum.Folds, "Trims": sum.Trims, "Removals": sum.Removals,
		"Setbacks": sum.Setbacks, "Accepted": sum.Accepted, "Exact": sum.Exact, "Lost": sum.Lost, "Waited": sum.Waited,
	} {
		if many >= 300 && n == 0 {
			t.Errorf("%s: nothing of the kind came about", what)
		}
	}
	if many >= 1000 && sum.Back == 0 {
		t.Error("no content was back by a set-back")
	}
	for _, kind := range conflictKinds {
		if many >= 1000 && sum.Kinds[kind[0]] == 0 {
			t.Errorf("no conflict of kind %s came about", kind[0])
		}
	}
}

// deedsOfAWorld are so many as TestWorlds draws for each.
const deedsOfAWorld = 120

// shrink makes a story shorter that fails. What hangs on the order in which goroutines
// come to their turn may fail now and then only: each is played up to three times.
func shrink(t *testing.T, s story.Story, why *story.Failure, j judge) story.Short {
	return story.Shrink(s, why, story.Options{For: 5 * time.Minute, Again: 3}, func(s story.Story) *story.Failure {
		return tell(t, &s, nil, j, &tally{})
	})
}

// A judge is asked after each deed; what it does not like it says to t.
type judge func(t testing.TB, d story.Deed)

// tell tells a story; rng, when it is not nil, draws the deeds of a new one.
func tell(t *testing.T, s *story.Story, rng *rand.Rand, j judge, sum *tally) (f *story.Failure) {
	synctest.Test(t, func(t *testing.T) {
		f = story.Try(t, func(t testing.TB) {
			h := newEra(t, *s, sum)
			do := func(d story.Deed) {
				sum.Deeds++
				if h.do(d) && j != nil {
					j(t, d)
				}
			}
			for _, d := range s.Deeds {
				do(d)
			}
			for range deedsOfAWorld {
				if rng == nil {
					break
				}
				d := h.draw(rng)
				s.Deeds = append(s.Deeds, d)
				do(d)
			}
			h.end()
		})
	})
	return f
}

// tally counts what happened.
type tally struct {
	Deeds, Promises, Kills, Outages, Operations, Handles, Leases, Counts, Taken, Refused, Folds, Trims, Removals int

	// Set-backs of the store; machines that accepted one, and that were told exactly; and
	// contents that were lost by it,
	// that waited on a machine and must not be, and that were back by it.
	Setbacks, Accepted, Exact, Lost, Waited, Back int

	Kinds map[string]int // of conflicts
}

// era is one world, and what it owes.
type era struct {
	*world
	debt
	all    []*citizen
	made   int
	known  map[uint64]string // contents by version
	leased map[meta.Ref]*leasedFile
	taken  map[string]*citizen // names that the store gave to one
	tally  *tally
	reply  *story.Deed // what is drawn next; nil: anything

	counted   int  // what the counter must show
	uncounted bool // that is not known any more
	old       *mem.Bucket
	setBack   bool // the store was
	often     bool // it is, again and again
	commits   map[chain.ID]madeBy
}

// leasedFile is a file of which somebody has a lease, and what it held when he last
// looked.
type leasedFile struct {
	by      *citizen
	content string
}

// citizen is one machine of the world.
type citizen struct {
	*machine
	h       *era
	line    *fault.Bucket
	parted  bool
	removed bool
	number  int
	handles []meta.Ref // files that its programs have open
	saw     map[chain.ID]bool
	deathAt atomic.Value // of a string: the step at which it is killed; "": none
}

// counter is the file in which the machines count, and sureDir the folder in which they take
// names that only one can have; nobody does anything else with these.
const (
	counter = "counter"
	sureDir = "sure"
)

// alike is how contents begin that several machines write, and which are nobody's debt.
const alike = "all write "

func newEra(t testing.TB, s story.Story, sum *tally) *era {
	h := &era{world: newWorld(t), debt: newDebt(), known: map[uint64]string{}, commits: map[chain.ID]madeBy{}, often: s.Seed%4 == 3, leased: map[meta.Ref]*leasedFile{}, taken: map[string]*citizen{}, tally: sum}
	if sum.Kinds == nil {
		sum.Kinds = map[string]int{}
	}
	for i, name := range []string{"laptop", "desk", "phone"}[:min(s.Machines, 3)] {
		m := h.laptop
		if i > 0 {
			m = h.machine(name)
		}
		c := &citizen{machine: m, h: h, saw: map[chain.ID]bool{}}
		c.step = func(name string) { // also called by what goes on by itself
			if at, _ := c.deathAt.Load().(string); at != "" && at == name {
				panic(killed(name))
			}
		}
		c.fold = 6 + int(s.Seed)%10
		c.trim = publish.TrimOptions{Keep: 5}
		if s.Seed>>i&1 == 1 {
			c.near = 32 << 20
		}
		c.wire()
		h.all = append(h.all, c)
	}
	as(h.laptop, write(counter, fmt.Sprintf("%06d", 0)), mkdir(sureDir))
	_, _, a, err := h.laptop.find(sureDir)
	if err == nil {
		err = h.laptop.v.SetXattr(t.Context(), a.Ref, []byte(DurabilityAttr), []byte(DurabilityRemote), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	as(h.laptop, drained)
	return h
}

// wire leads the machine to the store.
func (c *citizen) wire() {
	c.line = fault.Wrap(c.h.objects)
	c.bucket = c.line
	if c.parted {
		c.part()
	}
}

func (h *era) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf(format, args...)
}

// end ends all trouble, brings everything to everybody, and looks at what they have
// come to.
func (h *era) end() {
	h.settle()
	want := h.all[0].tree()
	for _, c := range h.all[1:] {
		if got := c.tree(); got != want {
			h.fail("%s sees\n%s\n%s sees\n%s", c.name, got, h.all[0].name, want)
		}
	}
	fresh := h.machine("fresh")
	fresh.bucket = h.objects
	fresh.mustOpen()
	if got := fresh.tree(); got != want {
		h.fail("a new machine sees\n%s\nwant\n%s", got, want)
	}
	all, err := fresh.v.Conflicts(h.t.Context())
	if err != nil {
		h.fail("conflicts: %v", err)
	}
	for _, c := range all {
		h.tally.Kinds[c.Kind]++
	}
	there, paths := map[string]bool{}, map[string]bool{}
	for _, f := range fresh.files(h.known) {
		there[f.content], paths[f.path] = true, true
		if n := fmt.Sprintf("%06d", h.counted); f.path == counter && f.content != n && !h.uncounted {
			h.fail("the counter shows %s, not %s", f.content, n)
		}
	}
	for path, c := range h.taken {
		if !paths[path] {
			h.fail("%s has taken %s, and it is not in\n%s", c.name, path, want)
		}
	}
	h.whatIsOwed(there, want)
}

// settle ends all trouble and brings everything to everybody.
func (h *era) settle() {
	for _, c := range h.all {
		c.reach()
		if c.removed {
			c.dies()
		}
	}
	for range 3 {
		for _, c := range h.all {
			if err := c.mount(); err != nil {
				h.fail("%s does not mount in the end: %v", c.name, err)
			}
			if err := drained(c.machine); err != nil {
				h.fail("%s does not publish in the end: %v", c.name, err)
			}
		}
	}
	for _, c := range h.all {
		if err := c.v.sync.CatchUp(h.t.Context()); err != nil {
			h.fail("%s does not follow in the end: %v", c.name, err)
		}
		if left := c.v.view.Pending().Len(); left > 0 {
			h.fail("%s has %d operations left", c.name, left)
		}
		c.unchanged()
	}
}

// seenFile is what a machine sees of a file.
type seenFile struct {
	path    string
	content string
}

// files lists all files that a machine sees. What it cannot read now may be known, by its
// version.
func (m *machine) files(known map[uint64]string) (out []seenFile) {
	m.t.Helper()
	var walk func(path string, dir meta.Ref)
	walk = func(path string, dir meta.Ref) {
		list, err := m.v.List(m.t.Context(), dir)
		if errors.Is(err, store.ErrUnavailable) {
			return
		}
		if err != nil {
			m.t.Fatalf("%s: list: %v", m.name, err)
		}
		for _, e := range list {
			p := strings.TrimPrefix(path+"/"+string(e.Name), "/")
			if e.Kind == meta.Dir {
				walk(p, e.Ref)
				continue
			}
			a, err := m.v.Attr(m.t.Context(), e.Ref)
			if errors.Is(err, store.ErrUnavailable) {
				continue
			}
			if err != nil {
				m.t.Fatalf("%s: attributes: %v", m.name, err)
			}
			content, err := m.content(a)
			if errors.Is(err, store.ErrUnavailable) {
				out = append(out, seenFile{p, known[a.Inode.Version]}) // it has no cache
				continue
			}
			known[a.Inode.Version] = string(content)
			if err != nil {
				m.t.Fatalf("%s: read %s: %v", m.name, p, err)
			}
			out = append(out, seenFile{p, string(content)})
		}
	}
	walk("", meta.RootRef)
	return out
}
