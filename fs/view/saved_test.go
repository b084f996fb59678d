package view

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// waysToSave are what programs do to put N into a by another file: T, which they make
// anew each time, and B, which has what was there before.
var waysToSave = map[string]string{
	"rename":            "put T N\n mv T a",
	"rename of another": "put TN N\n mv TN a",
	"backup":            "mv a B\n put T N\n mv T a",
	"backup by link":    "ln a B\n put T N\n mv T a\n rm B",
	"as vim":            "mv a B\n put a N\n rm B",
	"exchange":          "put T N\n swap T a\n rm T",
	"exchange back":     "put T N\n swap a T\n rm T",
}

// saver is a machine that saves a, again and again.
type saver struct {
	*pair
	*machine
	way  string
	last int
}

func (s *saver) save(n int) {
	s.t.Helper()
	for range n {
		s.last++
		s.run(s.machine, strings.ReplaceAll(s.way, "N", fmt.Sprint(s.last)))
	}
}

// comes has the machine follow, and killed and mounted again show the same.
func (s *saver) comes() {
	s.t.Helper()
	s.pair.follow(s.machine)
	s.again()
}

// sends publishes what waits of the first n operations.
func (s *saver) sends(n meta.OpNo) {
	s.t.Helper()
	took := s.view.Take(n, 1<<20)
	slot := uint64(len(s.chain) + 1)
	s.chain = append(s.chain, Slot{slot, took.Batch, took.Usage})
	s.state.Apply(took.Batch)
	s.view.Settle(slot, took.Ops.Last().No, took.Batch, took.Usage)
	s.next, s.settled = s.next+1, took.Ops.Last().No
}

// However often a program saves what another machine saves meanwhile, and however it does
// that: its newest is in one copy, of which there is one record.
func TestSavedAgainAndAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		begins int // saves of mine before theirs
		then   func(mine, theirs *saver)
		want   []string // of a and its copies; a machine that saves more says larger numbers
	}{
		{"at once", 10, func(_, _ *saver) {}, []string{"a (conflict, laptop, 2026-03-01)=10", "a=101"}},
		{"twice", 2, func(_, _ *saver) {}, []string{"a (conflict, laptop, 2026-03-01)=2", "a=101"}},
		{"they save again", 10, func(mine, theirs *saver) {
			mine.comes()
			theirs.save(3)
			theirs.pair.publish(theirs.machine)
		}, []string{"a (conflict, laptop, 2026-03-01)=10", "a=104"}},
		{"in two commits, and they save between them", 9, func(mine, theirs *saver) {
			mine.comes()
			mine.sends(mine.settled + (mine.no-mine.settled)/2)
			theirs.pair.follow(theirs.machine)
			theirs.save(1)
			theirs.pair.publish(theirs.machine)
			mine.comes()
		}, []string{"a (conflict, laptop, 2026-03-01)=9", "a=102"}},
		{"in a commit for each operation", 4, func(mine, _ *saver) {
			mine.comes()
			for mine.settled < mine.no {
				mine.sends(mine.settled + 1)
			}
		}, []string{"a (conflict, laptop, 2026-03-01)=4", "a=101"}},
		{"and over what they saved", 5, func(mine, _ *saver) {
			mine.comes()
			mine.save(3)
		}, []string{"a (conflict, laptop, 2026-03-01)=5", "a=8"}},
		{"and over what they saved, which they save again", 5, func(mine, theirs *saver) {
			mine.comes()
			mine.save(3)
			theirs.save(2)
			theirs.pair.publish(theirs.machine)
		}, []string{"a (conflict 2, laptop, 2026-03-01)=8", "a (conflict, laptop, 2026-03-01)=5", "a=103"}},
	} {
		for my, way := range waysToSave {
			for their, other := range waysToSave {
				t.Run(c.name+"/"+my+"/"+their, func(t *testing.T) {
					p := newPair(t)
					mine := &saver{p, p.all[0], strings.NewReplacer("T", "t", "B", "b").Replace(way), 0}
					theirs := &saver{p, p.all[1], strings.NewReplacer("T", "u", "B", "v").Replace(other), 100}
					p.run(theirs.machine, "put a 0")
					p.publish(theirs.machine)
					p.follow(mine.machine)
					mine.save(c.begins)
					theirs.save(1)
					p.publish(theirs.machine)
					c.then(mine, theirs)
					mine.comes()
					p.publish(mine.machine)
					p.follow(theirs.machine)
					if a, b := mine.view.Dump(), theirs.view.Dump(); a != b {
						t.Errorf("the machines see different trees:\n%s\n%s", a, b)
					}
					p.oneRecordEach(c.want)
				})
			}
		}
	}
}

// oneRecordEach wants a and its copies to be as they are told, and of each copy a record
// that names both, and no other of kind name.
func (p *pair) oneRecordEach(want []string) {
	p.t.Helper()
	var got, copies, told []string
	for _, line := range p.show(p.state) {
		if strings.HasPrefix(line, "a") {
			got = append(got, line)
		}
		if strings.HasPrefix(line, "a (") {
			copies = append(copies, line[:strings.IndexByte(line, '=')])
		}
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("there are\n%q, want\n%q", got, want)
	}
	must(p.t, meta.Conflicts(p.state, func(id meta.ConflictID, c meta.Conflict) bool {
		if c.Kind != meta.ConflictName {
			return true
		}
		told = append(told, string(c.As))
		if _, _, d, _ := p.find(p.all[0], string(c.As)); string(c.Name) != "a" || d.Ref != c.Ours {
			p.t.Errorf("%s is of %s, and %s is another file", id, c.Name, c.As)
		}
		return true
	}))
	slices.Sort(told)
	if !slices.Equal(told, copies) {
		p.t.Errorf("there are records of\n%q, and copies\n%q", told, copies)
	}
}

// Machines save the same files in any way, and publish what they like of that: nothing is
// lost that was the newest of a machine. Where they have other names for what they write
// first, and for what there was, each copy has a record, and each record its file.
func TestSavedInAnyOrder(t *testing.T) {
	ways := slices.Sorted(maps.Keys(waysToSave))
	seed := drawn(t)
	for run := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, run))
		p := newPair(t)
		p.run(p.all[0], "put a 0\n put c 0")
		for range 60 {
			m := p.all[rng.IntN(2)]
			switch rng.IntN(4) {
			case 0:
				m.publish(1 + rng.IntN(600))
			case 1:
				m.follow(rng.IntN(2) == 0)
			default:
				file := []string{"a", "c"}[rng.IntN(2)]
				if _, _, _, there := p.find(m, file); !there {
					continue
				}
				backup, temp, way := "b"+file, "t", ways[rng.IntN(len(ways))]
				if run%4 > 0 {
					backup, temp = backup+m.name(), temp+m.name()
				}
				if _, _, _, there := p.find(m, backup); there && way == "backup by link" {
					p.run(m, "rm "+backup)
				}
				p.run(m, strings.NewReplacer("T", temp, "B", backup, "N", fmt.Sprint(p.clock), " a", " "+file).Replace(waysToSave[way]))
			}
		}
		for range 20 {
			for _, m := range p.all {
				m.publish(1 << 20)
			}
		}
		if run%4 == 0 {
			continue
		}
		told := map[meta.Ref]bool{}
		must(t, meta.Conflicts(p.state, func(id meta.ConflictID, c meta.Conflict) bool {
			told[c.Ours], told[c.Theirs] = true, true
			if _, err := meta.GetInode(p.state, c.Ours); err != nil && c.Kind == meta.ConflictName {
				t.Errorf("run %d: %s is of nothing: %s", run, id, c.As)
			}
			return true
		}))
		must(t, meta.ReadDir(p.state, meta.Root, nil, func(name []byte, d meta.Dirent) bool {
			if strings.Contains(string(name), "conflict") && !told[d.Ref] {
				t.Errorf("run %d: there is no record of %s", run, name)
			}
			return true
		}))
	}
}
