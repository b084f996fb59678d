package view

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// Two machines change few names in every way that there is, and send what they like of
// that. Whatever comes of it: what is called a conflict has a record, a record of a copy has
// the copy, and no two copies hold the same.
func TestCopiesAndRecords(t *testing.T) {
	seed, copies := drawn(t), 0
	copiesIn(t, 7, 3871) // the Resolve of a record was dropped, and what took the copy away later did not know of it
	for run := range uint64(runs(t)) / 2 {
		copies += copiesIn(t, seed, run)
	}
	if copies == 0 {
		t.Error("there was no copy")
	}
}

// copiesIn draws one run, and counts its copies.
func copiesIn(t *testing.T, seed, run uint64) int {
	rng := rand.New(rand.NewPCG(seed, run))
	p := newPair(t)
	p.run(p.all[0], "put a first\n put c second\n mkdir d\n put d/a third")
	var did []string
	for range 40 {
		m := p.all[rng.IntN(2)]
		switch n := rng.IntN(600); rng.IntN(4) {
		case 0:
			m.publish(1 + n)
			did = append(did, fmt.Sprintf("%s publishes %d", m.name(), 1+n))
		case 1:
			m.follow(n%2 == 0)
			did = append(did, m.name()+" follows")
		default:
			if script := p.drawn(rng, m); script != "" {
				did = append(did, m.name()+" "+script)
				p.run(m, script)
			}
		}
	}
	for range 20 {
		for _, m := range p.all {
			m.publish(1 << 20)
		}
	}
	n, wrong := p.wrongCopies()
	if wrong != "" {
		t.Fatalf("run %d: %s\n%s\n%s\n%s", run, wrong, strings.Join(did, "\n"), strings.Join(p.show(p.state), "\n"), p.records())
	}
	return n
}

// drawn is a script that a machine can do.
func (p *pair) drawn(rng *rand.Rand, m *machine) string {
	names := []string{"a", "c", "d/a", "d/b"}
	x, y := names[rng.IntN(4)], names[rng.IntN(4)]
	temp := "t" + m.name()
	there := func(at string) bool {
		if strings.HasPrefix(at, "d/") {
			if _, _, d, ok := p.find(m, "d"); !ok || d.Kind != meta.Dir {
				return false
			}
		}
		_, _, d, ok := p.find(m, at)
		return ok && d.Kind == meta.File
	}
	if strings.Contains(x+y, "/") {
		if _, _, d, ok := p.find(m, "d"); !ok || d.Kind != meta.Dir {
			return ""
		}
	}
	text := fmt.Sprint(p.clock)
	var copies []string
	for _, line := range p.show(m.view.merged()) {
		if at, _, _ := strings.Cut(line, "="); strings.Contains(at, "conflict") && there(at) {
			copies = append(copies, strings.ReplaceAll(at, " ", "_"))
		}
	}
	if len(copies) > 0 && rng.IntN(6) == 0 {
		x = copies[rng.IntN(len(copies))]
		return "add " + x + " " + text
	}
	switch way := rng.IntN(12); {
	case way < 2:
		return "put " + x + " " + text
	case way < 3 && there(x):
		return "add " + x + " " + text
	case way < 6 && there(x):
		return "put " + temp + " " + text + "\n mv " + temp + " " + x
	case way < 7 && there(x):
		return "put " + temp + " " + text + "\n swap " + temp + " " + x + "\n rm " + temp
	case way < 8 && there(x):
		return "rm " + x
	case way < 9 && there(x) && x != y:
		return "mv " + x + " " + y
	case way < 10 && there(x) && !there(y):
		return "ln " + x + " " + y
	case way < 11 && there(x) && there(y) && x != y:
		return "swap " + x + " " + y
	case way < 12 && there(temp):
		return "mv " + temp + " " + x
	}
	return "put " + temp + " " + text
}

// wrongCopies counts what is called a conflict, and tells what is wrong with that.
func (p *pair) wrongCopies() (copies int, wrong string) {
	all, _, err := meta.Standings(func(fn func(meta.Reader) error) error { return fn(p.state) })
	must(p.t, err)
	told := map[string]bool{}
	for _, s := range all {
		for _, of := range append(s.Mine.Paths, s.Other.Paths...) {
			told[of] = true
		}
		told[path.Join(path.Dir(s.Meant), string(s.As))] = true
		if s.Kind == meta.ConflictName && len(s.As) > 0 && s.Mine.Gone() {
			wrong += fmt.Sprintf("%s of %s is of nothing\n", s.ID, s.Name)
		}
	}
	type held struct {
		path string
		ref  meta.Ref
	}
	holds := map[string]held{}
	for _, line := range p.show(p.state) {
		at, text, _ := strings.Cut(line, "=")
		if !strings.Contains(at, "conflict") {
			continue
		}
		copies++
		if !told["/"+at] {
			wrong += fmt.Sprintf("there is no record of %s\n", at)
		}
		_, _, d, _ := p.find(p.all[0], at)
		if other, ok := holds[text]; ok && other.ref != d.Ref {
			wrong += fmt.Sprintf("%s holds what %s does\n", at, other.path)
		}
		holds[text] = held{at, d.Ref}
	}
	return copies, wrong
}

// records lists them.
func (p *pair) records() string {
	var out strings.Builder
	must(p.t, meta.Conflicts(p.state, func(id meta.ConflictID, c meta.Conflict) bool {
		fmt.Fprintf(&out, "%s kind %d: %d of %d, meant %s as %s\n", id, c.Kind, c.Ours.Ino, c.Theirs.Ino, c.Name, c.As)
		return true
	}))
	return out.String()
}
