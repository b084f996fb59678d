package view

import (
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A save that got the name beside theirs, or took the place of a copy there, is not done
// after all, since others have made something else of what it was to put there: what there
// was is there again, and so is its record. There is none of what did not get there.
func TestSaveGivenUpLater(t *testing.T) {
	const copied = "a (conflict, laptop, 2026-03-01)"
	saved := "put t 1\n mv t a\n put t 2"
	for name, c := range map[string]struct {
		sent   string // the last of it
		mine   string
		theirs func(p *pair, theirs *machine)
		want   []string
	}{
		"what was to be put there is gone":           {saved, "mv t a", does("rm t"), []string{copied + "=1", "a=101"}},
		"what was to be put there has another name":  {saved, "mv t a", does("mv t z"), []string{copied + "=1", "a=101"}},
		"what was to be exchanged is gone":           {saved, "swap t a", does("rm t"), []string{copied + "=1", "a=101"}},
		"what was to be exchanged has another name":  {saved, "swap t a", does("mv t z"), []string{copied + "=1", "a=101"}},
		"exchanged the other way round":              {saved, "swap a t", does("mv t z"), []string{copied + "=1", "a=101"}},
		"the first of all is gone":                   {"put t 1", "mv t a", does("rm t"), []string{"a=101"}},
		"the first of all has another name":          {"put t 1", "mv t a", does("mv t z"), []string{"a=101"}},
		"a further name of what is gone":             {"put t 1", "ln t a", does("rm t"), []string{copied + "=1", "a=101"}},
		"the copy was to be deleted, and is written": {saved, "rm a", does("add a_(conflict,_laptop,_2026-03-01) 2"), []string{copied + "=12", "a=101"}},
		"the copy is written, and moved":             {saved, "mv a b", does("add a_(conflict,_laptop,_2026-03-01) 2"), []string{"a=101"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			mine, theirs := &saver{p, p.all[0], "", 0}, &saver{p, p.all[1], "", 0}
			p.run(theirs.machine, "put a 0")
			p.publish(theirs.machine)
			p.follow(mine.machine)
			p.run(mine.machine, c.sent)
			sent := mine.no
			if c.mine[:2] == "ln" {
				p.run(mine.machine, "rm a")
			}
			p.run(mine.machine, c.mine)
			p.run(theirs.machine, "put u 101\n mv u a")
			p.publish(theirs.machine)
			mine.comes()
			mine.sends(sent)
			p.follow(theirs.machine)
			c.theirs(p, theirs.machine)
			p.publish(theirs.machine)
			mine.comes()
			p.publish(mine.machine)
			p.oneRecordEach(c.want)
		})
	}
}

func does(script string) func(*pair, *machine) {
	return func(p *pair, m *machine) { p.run(m, script) }
}

// A lease of another machine refuses a rename for which a name beside theirs was sought: what
// was written to the file that it was to replace is kept, and so is what is renamed later.
func TestRenameBesideTheirsThatIsLeased(t *testing.T) {
	p := newPair(t)
	mine, theirs := p.all[0], p.all[1]
	p.run(theirs, "put draft 7\n put doc 0")
	p.publish(theirs)
	p.follow(mine)
	p.run(mine, "add doc 1\n mv draft doc")
	p.run(theirs, "save doc 2")
	_, _, d, _ := p.find(theirs, "draft")
	p.must(theirs, &meta.SetLease{Act: meta.LeaseTake, Ref: d.Ref, Until: uint64(len(p.chain)) + 50, Parent: meta.RootRef, Name: []byte("draft")})
	p.publish(theirs)
	p.publish(mine)
	if got, want := p.show(p.state), []string{"doc" + copied + "=01", "doc=2", "draft=7"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}
