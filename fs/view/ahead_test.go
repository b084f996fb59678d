package view

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// What was found out ahead counts as long as nothing else happens, and no longer.
func TestAhead(t *testing.T) {
	nothing := func(*testing.T, *View) {}
	for _, c := range []struct {
		name    string
		between func(t *testing.T, v *View)
		told    bool // the program that waited for the name
		slot    uint64
		want    bool
	}{
		{"nothing happens", nothing, false, 2, true},
		{"an operation comes", func(t *testing.T, v *View) {
			op, at := mkfile(9, "later")
			_, err := v.Execute(op, at)
			must(t, err)
		}, false, 2, false},
		{"a slot of ours comes", func(t *testing.T, v *View) {
			took := v.Take(1, 1)
			v.Settle(2, took.Ops.Last().No, took.Batch, took.Usage)
		}, false, 2, false},
		{"other tables come", func(t *testing.T, v *View) { v.Rebase(0, nil) }, false, 2, false},
		{"another slot comes", nothing, false, 3, false},
		{"a program is told", nothing, true, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1, 1)
			for no, name := range []string{"a", "b"} {
				op, at := mkfile(meta.OpNo(no+1), name)
				_, err := w.view.Execute(op, at)
				must(t, err)
			}
			theirs := &meta.Make{Parent: meta.RootRef, Name: []byte("a"), Kind: meta.File, Perm: 0o600, Ref: meta.Ref{Home: meta.Root, Ino: meta.MakeIno(2, 1)}}
			b, err := theirs.Apply(w.base, meta.Stamp{Device: 2, No: 1, Time: meta.Time{Sec: 9}})
			must(t, err)
			told := false
			o := meta.RebaseOptions{Device: "desk", NewIno: w.newIno, Tentative: func(meta.OpNo) bool { return !told }}
			must(t, w.view.Ahead([]Slot{{2, b, meta.Delta{Inodes: 1}}}, o))
			before := w.view.Dump()
			c.between(t, w.view)
			told = c.told
			slots := []Slot{{c.slot, b, meta.Delta{Inodes: 1}}}
			kept := w.view.ahead
			x := w.view.found(slots, o)
			if (x != nil) != c.want {
				t.Fatalf("it counts: %v", x != nil)
			}
			if !c.want {
				return
			}
			if w.view.Dump() != before {
				t.Error("it shows already")
			}
			w.view.ahead = kept
			f, err := w.view.Follow(slots, o, forgotten)
			must(t, err)
			if len(f.Refused) != 1 || w.view.Slot() != 2 || w.view.ahead != nil {
				t.Errorf("%+v, slot %d", f, w.view.Slot())
			}
			if _, err := meta.Lookup(w.view.merged(), meta.Root, []byte("b")); err != nil {
				t.Error(err)
			}
		})
	}
}
