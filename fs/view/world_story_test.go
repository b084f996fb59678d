package view

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
)

// runs is how many histories are tried: HUSHFS_WORLDS, for the long form.
func runs(t *testing.T) int {
	s := os.Getenv("HUSHFS_WORLDS")
	if s == "" {
		return 1000
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

// drawn is the seed of what is drawn: always the same one, but in the long form.
func drawn(t *testing.T) uint64 {
	if os.Getenv("HUSHFS_WORLDS")+os.Getenv("HUSHFS_SEED") == "" {
		return 1
	}
	return seed(t)
}

// begin is the world in which a story happens.
func begin(t testing.TB, s story.Story) *fleet {
	f := newFleet(t, s.Machines)
	if s.Seed%3 == 0 {
		f.tentative = func(no meta.OpNo) bool { return no%3 == 0 }
	}
	return f
}

// end brings everything to everybody, and looks at what they have come to.
func (f *fleet) end(s story.Story) {
	rng := rand.New(rand.NewPCG(s.Seed, 2))
	for range 40 {
		for _, m := range f.all {
			m.publish(1 + rng.IntN(600))
		}
	}
	want := dump(f.state)
	for _, m := range f.all {
		m.follow(rng.IntN(2) == 0)
		if left := m.view.Pending().Len(); left > 0 {
			f.fail("machine %d has %d operations left", m.id, left)
		}
		if got := m.view.Dump(); got != want {
			f.fail("machine %d shows\n%s\nwant\n%s", m.id, got, want)
		}
	}
}

// A judge is asked after each deed that was done; what it does not like it says to t.
type judge func(t testing.TB, d story.Deed)

// tell tells a story; rng, when it is not nil, draws the deeds of a new one. At the end
// after is called.
func tell(t testing.TB, s *story.Story, rng *rand.Rand, j judge, after ...func(*fleet)) *story.Failure {
	return story.Try(t, func(t testing.TB) {
		f := begin(t, *s)
		do := func(d story.Deed) {
			if f.do(d) && j != nil {
				j(t, d)
			}
		}
		for _, d := range s.Deeds {
			do(d)
		}
		for range 60 {
			if rng == nil {
				break
			}
			d := f.draw(rng)
			s.Deeds = append(s.Deeds, d)
			do(d)
		}
		f.end(*s)
		for _, fn := range after {
			fn(f)
		}
	})
}

// shrink makes a story shorter that fails.
func shrink(t testing.TB, s story.Story, why *story.Failure, j judge) story.Short {
	return story.Shrink(s, why, story.Options{}, func(s story.Story) *story.Failure { return tell(t, &s, nil, j) })
}

// Machines that change the same tree at once, publish when they like and follow what
// the others have published: nothing is refused, nothing that anybody wrote is lost,
// nobody's commit breaks a lease or a lock, and all come to see the same tree.
func TestFleet(t *testing.T) {
	n, kinds := drawn(t), map[meta.ConflictKind]int{}
	count := func(f *fleet) {
		must(t, meta.Conflicts(f.state, func(_ meta.ConflictID, c meta.Conflict) bool { kinds[c.Kind]++; return true }))
	}
	for run := range uint64(runs(t)) {
		s := story.Story{Machines: 2 + int(run%2), Seed: run}
		if f := tell(t, &s, rand.New(rand.NewPCG(n, run)), nil, count); f != nil {
			t.Fatal(shrink(t, s, f, nil).Report(s, f))
		}
	}
	for kind := meta.ConflictCopy; kind <= meta.ConflictLost && runs(t) >= 10_000; kind++ {
		if kinds[kind] == 0 {
			t.Errorf("no conflict of kind %d came about: %v", kind, kinds)
		}
	}
	t.Log("conflicts by kind:", kinds)
}

// Stories that failed, as TestFleet prints them.
func TestStories(t *testing.T) {
	for _, s := range []story.Story{
		{Name: "what one machine writes into is exchanged by another", Machines: 2, Seed: 1, Deeds: []story.Deed{
			{Who: "m1", Does: "makes a file", At: "a"},
			{Who: "m1", Does: "makes a file", At: "b"},
			{Who: "m1", Does: "publishes", N: 600},
			{Who: "m2", Does: "follows"},
			{Who: "m2", Does: "exchanges", At: "a", To: "b"},
			{Who: "m1", Does: "writes", At: "a"},
			{Who: "m2", Does: "publishes", N: 600},
			{Who: "m1", Does: "truncates", At: "b"},
		}},
		{Name: "what two brought back is written by one", Machines: 3, Seed: 0, Deeds: []story.Deed{
			{Who: "m3", Does: "makes a file", At: "a"},
			{Who: "m3", Does: "publishes"},
			{Who: "m2", Does: "publishes"},
			{Who: "m2", Does: "renames", At: "a", To: "b"},
			{Who: "m3", Does: "makes a device", At: "b"},
			{Who: "m1", Does: "follows"},
			{Who: "m1", Does: "links", At: "a", To: "b"},
			{Who: "m2", Does: "makes a file", At: "d"},
			{Who: "m3", Does: "renames", At: "b", To: "a"},
			{Who: "m2", Does: "renames", At: "b", To: "d"},
			{Who: "m3", Does: "publishes", N: 241},
			{Who: "m2", Does: "links", At: "d", To: "a"},
			{Who: "m2", Does: "publishes"},
			{Who: "m2", Does: "writes", At: "d (conflict, m2, 1970-01-01)"},
		}},
		{Name: "what was removed by who has leased another file is written, and removed", Machines: 2, Seed: 1, Deeds: []story.Deed{
			{Who: "m1", Does: "makes a file", At: "a"},
			{Who: "m2", Does: "makes a file", At: "b"},
			{Who: "m2", Does: "publishes"},
			{Who: "m1", Does: "publishes"},
			{Who: "m2", Does: "removes", At: "b"},
			{Who: "m2", Does: "follows"},
			{Who: "m2", Does: "leases", At: "a"},
			{Who: "m1", Does: "writes", At: "b", N: 719},
			{Who: "m2", Does: "publishes", N: 516},
			{Who: "m1", Does: "follows"},
			{Who: "m1", Does: "writes", At: "b", N: 363},
			{Who: "m1", Does: "removes", At: "b"},
		}},
	} {
		t.Run(s.Name, func(t *testing.T) {
			if f := tell(t, &s, nil, nil); f != nil {
				t.Error(f.Text)
			}
		})
	}
}

// A world in which something goes wrong becomes a story of what it takes for that.
func TestFailingWorldBecomesAStory(t *testing.T) {
	n := seed(t)
	// What is written and given another name later, by whomever: so it is said to fail.
	rule := func() judge {
		written := map[string]bool{}
		return func(t testing.TB, d story.Deed) {
			switch d.Does {
			case "writes":
				written[d.At] = true
			case "renames":
				if written[d.At] {
					t.Fatalf("a file of %d bytes was written and renamed", 7)
				}
			}
		}
	}
	for run := range uint64(1000) {
		s := story.Story{Machines: 3, Seed: run}
		f := tell(t, &s, rand.New(rand.NewPCG(n, run)), rule())
		if f == nil {
			continue
		}
		short := story.Shrink(s, f, story.Options{}, func(s story.Story) *story.Failure { return tell(t, &s, nil, rule()) })
		t.Logf("%d deeds, then %d, in %d runs:\n%v", len(s.Deeds), len(short.Deeds), short.Runs, short)
		// The file has to be there, be written and be renamed. It may need a folder.
		if len(short.Deeds) < 3 || len(short.Deeds) > 5 || short.Deeds[len(short.Deeds)-1].Does != "renames" || !short.Whole || short.Kind != f.Kind {
			t.Errorf("%d deeds: %v", len(short.Deeds), short)
		}
		if f := tell(t, &short.Story, nil, rule()); f == nil {
			t.Error("the story does not fail")
		}
		return
	}
	t.Error("no world did it")
}
