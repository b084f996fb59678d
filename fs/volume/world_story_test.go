package volume

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/story"
)

// Stories that failed, as TestWorlds prints them, and some that could.
func TestWorldStories(t *testing.T) {
	for _, s := range []story.Story{
		{Name: "a machine's first change comes upon what others made meanwhile", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "desk", Does: "follows"},
			{Who: "laptop", Does: "saves", At: "a", N: 1},
			{Who: "laptop", Does: "publishes"},
			{Who: "desk", Does: "replaces", At: "a", N: 1},
			{Who: "desk", Does: "publishes"},
		}},
		{Name: "what is written through an old handle is beside what others wrote", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "laptop", Does: "saves", At: "a", N: 1},
			{Who: "laptop", Does: "publishes"},
			{Who: "desk", Does: "saves", At: "b", N: 1},
			{Who: "desk", Does: "opens", At: "a"},
			{Who: "laptop", Does: "saves", At: "a", N: 1},
			{Who: "laptop", Does: "publishes"},
			{Who: "desk", Does: "follows"},
			{Who: "desk", Does: "writes what is open", N: 1},
		}},
		{Name: "an open file that became a conflict's is written by its name, and through the handle", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "desk", Does: "saves", At: "d/c/c", N: 1},
			{Who: "laptop", Does: "saves", At: "d", N: 1},
			{Who: "desk", Does: "opens", At: "d/c/c", N: 1},
			{Who: "laptop", Does: "publishes"},
			{Who: "desk", Does: "leases", At: "d/c/c", N: 1},
			{Who: "desk", Does: "saves", At: "d (conflict, desk, 2000-01-01)/c/c", N: 1},
			{Who: "desk", Does: "writes what is open", N: 1},
		}},
		{Name: "a machine that was removed joins anew, and the store is set back", Machines: 3, Seed: 1, Deeds: []story.Deed{
			{Who: "desk", Does: "saves", At: "d/a", N: 8},
			{Who: "desk", Does: "publishes"},
			{Who: "store", Does: "is remembered"},
			{Who: "desk", Does: "counts"},
			{Who: "phone", Does: "saves", At: "d/a", N: 1},
			{Who: "phone", Does: "publishes", To: "sync.taken"},
			{Who: "laptop", Does: "removes the device", To: "desk"},
			{Who: "desk", Does: "saves", At: "d/f/a", N: 1},
			{Who: "laptop", Does: "leases", At: "d/a"},
			{Who: "phone", Does: "saves", At: "d/a", N: 1},
			{Who: "phone", Does: "publishes", To: "the answer is lost"},
			{Who: "store", Does: "is set back"},
			{Who: "laptop", Does: "folds"},
			{Who: "desk", Does: "days pass", N: 16},
			{Who: "laptop", Does: "trims"},
		}},
		{Name: "a machine removes what it has leased and open, and is killed", Machines: 1, Seed: 0, Deeds: []story.Deed{
			{Who: "laptop", Does: "saves", At: "a", N: 1},
			{Who: "laptop", Does: "opens", At: "a"},
			{Who: "laptop", Does: "leases", At: "a"},
			{Who: "laptop", Does: "removes", At: "a"},
			{Who: "laptop", Does: "publishes", To: "sync.put"},
		}},
		{Name: "a machine off line removes what it appended to and cannot read", Machines: 3, Seed: 0, Deeds: []story.Deed{
			{Who: "phone", Does: "saves", At: "b"},
			{Who: "phone", Does: "publishes"},
			{Who: "phone", Does: "is off line"},
			{Who: "phone", Does: "appends", At: "b"},
			{Who: "phone", Does: "removes", At: "b"},
		}},
		{Name: "a file that was removed while open comes back as a conflict's, and is written through the handle", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "laptop", Does: "saves", At: "b"},
			{Who: "desk", Does: "saves", At: "b"},
			{Who: "desk", Does: "counts"},
			{Who: "desk", Does: "opens", At: "b"},
			{Who: "desk", Does: "removes", At: "b"},
			{Who: "desk", Does: "folds"},
			{Who: "laptop", Does: "trims"},
			{Who: "desk", Does: "follows"},
			{Who: "desk", Does: "writes what is open"},
		}},
		{Name: "a removed file's folder becomes a conflict's, and it is written through the handle", Machines: 3, Seed: 0, Deeds: []story.Deed{
			{Who: "desk", Does: "saves", At: "b"},
			{Who: "desk", Does: "publishes"},
			{Who: "phone", Does: "counts"},
			{Who: "desk", Does: "renames", At: "b", To: "a"},
			{Who: "phone", Does: "saves", At: "a/b"},
			{Who: "phone", Does: "opens", At: "a/b"},
			{Who: "desk", Does: "publishes"},
			{Who: "phone", Does: "opens", At: "b"},
			{Who: "phone", Does: "closes"},
			{Who: "phone", Does: "removes", At: "b"},
			{Who: "phone", Does: "publishes"},
			{Who: "phone", Does: "writes what is open"},
		}},
		{Name: "what waits under an epoch that a store that was set back does not have", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "laptop", Does: "writes what is open"},
			{Who: "store", Does: "is remembered"},
			{Who: "desk", Does: "removes the device", To: "laptop"},
			{Who: "desk", Does: "saves", At: "a"},
			{Who: "store", Does: "is set back"},
			{Who: "desk", Does: "takes the lease", At: "a"},
		}},
		{Name: "two machines move two folders into each other", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "laptop", Does: "saves", At: "d/a", N: 1},
			{Who: "laptop", Does: "saves", At: "e/a", N: 1},
			{Who: "laptop", Does: "publishes"},
			{Who: "desk", Does: "follows"},
			{Who: "laptop", Does: "moves", At: "d", To: "e/x"},
			{Who: "laptop", Does: "publishes"},
			{Who: "desk", Does: "moves", At: "e", To: "d/x"},
			{Who: "desk", Does: "saves", At: "d/x/a", N: 1},
			{Who: "desk", Does: "publishes"},
		}},
		{Name: "what waits in a folder of a device whose number the store does not know any more", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "store", Does: "is remembered"},
			{Who: "desk", Does: "saves", At: "b/b"},
			{Who: "desk", Does: "counts"},
			{Who: "desk", Does: "replaces", At: "b/b"},
			{Who: "store", Does: "is set back"},
			{Who: "desk", Does: "leases the folder", At: "b"},
		}},
		{Name: "a machine that was removed joins anew, and cannot tell the store yet", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "desk", Does: "saves", At: "a", N: 1},
			{Who: "desk", Does: "follows"},
			{Who: "laptop", Does: "removes the device", To: "desk", N: 1},
			{Who: "desk", Does: "saves", At: "a", N: 1},
			{Who: "desk", Does: "cannot send"},
			{Who: "desk", Does: "is killed"},
			{Who: "desk", Does: "follows"},
			{Who: "desk", Does: "is on line"},
			{Who: "desk", Does: "saves", At: "b", N: 1},
		}},
		{Name: "a machine that was removed joins anew, and is killed before it can tell the store", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "desk", Does: "saves", At: "a", N: 1},
			{Who: "desk", Does: "follows"},
			{Who: "laptop", Does: "removes the device", To: "desk", N: 1},
			{Who: "desk", Does: "saves", At: "a", N: 1},
			{Who: "desk", Does: "cannot send"},
			{Who: "desk", Does: "is killed"},
			{Who: "desk", Does: "follows"},
			{Who: "desk", Does: "is killed"},
			{Who: "desk", Does: "follows"},
			{Who: "desk", Does: "is killed"},
			{Who: "desk", Does: "is on line"},
			{Who: "desk", Does: "saves", At: "b", N: 1},
		}},
		{Name: "what was appended while the store was set back is published, and the store is set back again", Machines: 1, Seed: 0, Deeds: []story.Deed{
			{Who: "laptop", Does: "saves", At: "b"},
			{Who: "laptop", Does: "publishes"},
			{Who: "laptop", Does: "appends", At: "b"},
			{Who: "store", Does: "is remembered"},
			{Who: "store", Does: "is set back"},
			{Who: "laptop", Does: "leases", At: "b"},
			{Who: "store", Does: "is set back"},
		}},
		{Name: "a commit is on its way, and the store is set back to before its packs came", Machines: 3, Seed: 0, Deeds: []story.Deed{
			{Who: "phone", Does: "saves the same", At: "c"},
			{Who: "store", Does: "is remembered"},
			{Who: "phone", Does: "publishes", To: "sync.put"},
			{Who: "store", Does: "is set back"},
			{Who: "phone", Does: "removes the folder", At: "c"},
		}},
		{Name: "what was cut waits, and the store that was set back has another file of its name", Machines: 2, Seed: 0, Deeds: []story.Deed{
			{Who: "store", Does: "is remembered"},
			{Who: "desk", Does: "saves", At: "a"},
			{Who: "desk", Does: "truncates", At: "a", N: 1},
			{Who: "store", Does: "is set back"},
			{Who: "laptop", Does: "saves", At: "a"},
		}},
	} {
		t.Run(s.Name, func(t *testing.T) {
			if f := tell(t, &s, nil, nil, &tally{}); f != nil {
				t.Error(f.Text)
			}
		})
	}
}

// A world in which something goes wrong becomes a story of what it takes for that.
func TestFailingWorldBecomesAStory(t *testing.T) {
	n := someSeed(t, "HUSHFS_WORLDS")
	// What is saved by one machine and given another name later: so it is said to fail.
	const savedAndRenamed = "%s was saved and renamed"
	rule := func() judge {
		saved := map[string]bool{}
		return func(t testing.TB, d story.Deed) {
			switch d.Does {
			case "saves":
				saved[d.Who+d.At] = true
			case "renames":
				if saved[d.Who+d.At] {
					t.Fatalf(savedAndRenamed, d.At)
				}
			}
		}
	}
	for run := range uint64(100) {
		s := story.Story{Machines: 2, Seed: run}
		f := tell(t, &s, rand.New(rand.NewPCG(n, run)), rule(), &tally{})
		if f == nil {
			continue
		}
		if f.Kind != savedAndRenamed {
			t.Fatalf("world %d: %s", run, shrink(t, s, f, nil).Report(s, f))
		}
		short := story.Shrink(s, f, story.Options{For: time.Hour}, func(s story.Story) *story.Failure {
			return tell(t, &s, nil, rule(), &tally{})
		})
		t.Logf("%d deeds, then %d, in %d runs:\n%v", len(s.Deeds), len(short.Deeds), short.Runs, short)
		if len(short.Deeds) != 2 || short.Deeds[0].Does != "saves" || short.Deeds[1].Does != "renames" || !short.Whole {
			t.Errorf("%d deeds: %v", len(short.Deeds), short)
		}
		return
	}
	t.Error("no world did it")
}
