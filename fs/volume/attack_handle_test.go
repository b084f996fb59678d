package volume

import (
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// links gives a file another name, in the root.
func links(path, name string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err == nil {
			_, err = m.v.Link(m.t.Context(), a.Ref, meta.RootRef, []byte(name))
		}
		return err
	}
}

// What is open here is found again by its number alone, whatever became of its names on
// another machine: renamed, linked, its first name and the folder that it was made in gone;
// and also where this machine begins at a checkpoint after days.
func TestAttackHandleAcrossRenameAndLink(t *testing.T) {
	elsewhere := []act{mkdir("far"), rename("d/f.txt", "far/g.txt"), links("far/g.txt", "h.txt"), unlink("far/g.txt"), rmdir("far"), rmdir("d"), drained}
	for name, c := range map[string]struct {
		before, after []act // of the handle's machine, around what the other one does
		folds, killed bool
	}{
		"written after":                  {after: []act{write("x", "1")}},
		"written before":                 {before: []act{write("x", "1")}},
		"and the other one folds":        {folds: true},
		"written before, folded, killed": {folds: true, killed: true},
	} {
		t.Run(name, func(t *testing.T) {
			laptop, desk := two(t, "base")
			h := desk.opens("d/f.txt", true)
			early := c.before != nil || c.killed
			if early {
				as(desk, puts(h, 0, "XX"), synced(h))
			}
			as(desk, c.before...)
			if c.killed {
				desk.crash() // off line for days
			}
			as(laptop, elsewhere...)
			if c.folds {
				as(laptop, commits("more", 9), folded)
			}
			as(desk, caughtUp)
			as(desk, c.after...)
			want := "XXse"
			if c.killed {
				h = desk.opens("h.txt", true)
			} else if !early {
				as(desk, shows(h, "base"), puts(h, 0, "XX"))
			}
			as(desk, shows(h, want), puts(h, 4, "!"), shows(h, want+"!"), synced(h), read("h.txt", want+"!"), isAbsent("d"), isAbsent("far"), drained)
			as(laptop, caughtUp, read("h.txt", want+"!"), rename("h.txt", "i.txt"), drained)
			as(desk, caughtUp, shows(h, want+"!"), puts(h, 0, "YY"), synced(h), read("i.txt", "YYse!"), closes(h), drained)
			for _, m := range []*machine{laptop, desk} {
				as(m, caughtUp, read("i.txt", "YYse!"))
				if l := m.conflicts(); len(l) > 0 {
					t.Errorf("%s tells of conflicts: %v", m.name, l)
				}
				if _, _, a, err := m.find("i.txt"); err != nil || a.Inode.Nlink != 1 {
					t.Errorf("%s: %d names, %v", m.name, a.Inode.Nlink, err)
				}
				if l := m.listed(); slices.Contains(l, "d") || slices.Contains(l, "h.txt") {
					t.Errorf("%s lists %q", m.name, l)
				}
			}
		})
	}
}
