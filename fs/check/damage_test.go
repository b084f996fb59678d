package check

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Two files in packs of their own, and one with two names; twelve more commits, folded
// where folded is said.
func pieces(t *testing.T, folded bool) *world {
	t.Helper()
	w := newWorld(t)
	w.mkdir("docs")
	w.write("docs/a.bin", pattern(1, 300_000))
	w.write("b.bin", pattern(2, 300_000))
	w.link("docs/a.bin", "docs/second name")
	if folded {
		for i := range 12 {
			w.write("small"+string(rune('a'+i)), pattern(byte(i), 10))
		}
	}
	w.lock()
	if n := len(w.names("t")); folded != (n > 0) {
		t.Fatalf("%d tables", n)
	}
	healthy(t, w.check(1))
	return w
}

var bothNames = []string{"/docs/a.bin", "/docs/second name"}

// What a store can do to a pack, and what is said of it.
func TestDamagedPack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		do    func(w *world, pack, other string)
		cause Cause
		quick bool // found without reading
		lost  []Bytes
	}{
		{"dropped", func(w *world, pack, _ string) { w.delete(pack) }, Missing, true, []Bytes{{0, 300_000}}},
		{"truncated", func(w *world, pack, _ string) { w.objects.Overwrite(pack, w.get(pack)[:100_000]) }, Truncated, true, []Bytes{{0, 300_000}}},
		{"one bit in the first segment", func(w *world, pack, _ string) { w.flip(pack, 7) }, Altered, false, []Bytes{{0, 65536}}},
		{"one bit in the third segment", func(w *world, pack, _ string) { w.flip(pack, 2*65552+9) }, Altered, false, []Bytes{{131072, 65536}}},
		{"one bit in the tail", func(w *world, pack, _ string) { w.flip(pack, -1) }, Altered, false, []Bytes{{0, 300_000}}},
		{"two swapped", func(w *world, pack, other string) { w.objects.Overwrite(pack, w.get(other)) }, Exchanged, false, []Bytes{{0, 300_000}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := pieces(t, true)
			ref := w.at("docs/a.bin").Ref
			other := w.at("b.bin").Ref
			w.lock()
			pack := w.pack(ref)
			c.do(w, pack, w.pack(other))
			r := w.check(0)
			if !c.quick {
				healthy(t, r)
				r = w.check(1)
			}
			f := only(t, r)
			if f.Kind != KindPack || f.Severity != Lost || f.Cause != c.cause || f.Object != pack {
				t.Errorf("%+v", f)
			}
			if len(f.Files) != 1 || !slices.Equal(f.Files[0].Paths, bothNames) || !slices.Equal(f.Files[0].Lost, c.lost) {
				t.Fatalf("files: %+v", f.Files)
			}

			done := w.repair(r)
			if len(done.Saved) != 2 || len(done.Skipped) > 0 {
				t.Errorf("%+v", done)
			}
			healthy(t, w.check(1))
			want := pattern(1, 300_000)
			for _, b := range c.lost {
				clear(want[b.Offset : b.Offset+b.Length])
			}
			for _, name := range []string{"docs - a (damaged).bin", "docs - second name (damaged)"} {
				if !bytes.Equal(w.content("lost+found/"+name), want) {
					t.Errorf("%s does not hold what could be saved", name)
				}
			}
			text := string(w.content("lost+found/READ ME.txt"))
			for _, s := range []string{"/docs/a.bin", "/docs/second name", pack, "lost: bytes "} {
				if !strings.Contains(text, s) {
					t.Errorf("the text does not say %q:\n%s", s, text)
				}
			}
			if !bytes.Equal(w.content("b.bin"), pattern(2, 300_000)) {
				t.Error("another file changed")
			}
			if _, err := w.open().Lookup(t.Context(), w.at("docs").Ref, []byte("a.bin")); err == nil {
				t.Error("the damaged file is where it was")
			}
			w.lock()
		})
	}
}

// What is added behind a pack does no harm.
func TestPackThatGrew(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	ref := w.at("b.bin").Ref
	w.lock()
	pack := w.pack(ref)
	w.objects.Overwrite(pack, append(bytes.Clone(w.get(pack)), 0))
	r := w.check(0)
	healthy(t, r)
	if len(r.Findings) != 1 || r.Findings[0].Cause != Longer || r.Findings[0].Object != pack {
		t.Errorf("%+v", r.Findings)
	}
}

// A pack that no file needs any more may go.
func TestGarbage(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	ref := w.at("b.bin").Ref
	w.lock()
	pack := w.pack(ref)
	dir, name := w.parent("b.bin")
	must(t, w.open().Unlink(t.Context(), dir, name))
	w.lock()
	last := "0" // another name, in the same folder
	if strings.HasSuffix(pack, last) {
		last = "1"
	}
	w.objects.Overwrite(pack[:len(pack)-1]+last, []byte("of a crash"))
	r := w.check(1)
	healthy(t, r)
	if r.Garbage.Packs != 1 || r.Garbage.Objects != 1 || r.Garbage.Bytes != 10 {
		t.Errorf("%+v", r.Garbage)
	}
	w.delete(pack)
	healthy(t, w.check(1))
}

// A table that is damaged while all commits are there: nothing is lost, and a repair
// folds again.
func TestDamagedTable(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(w *world, table string){
		"dropped":   func(w *world, table string) { w.delete(table) },
		"one bit":   func(w *world, table string) { w.flip(table, 20) },
		"last bit":  func(w *world, table string) { w.flip(table, -1) },
		"truncated": func(w *world, table string) { w.objects.Overwrite(table, w.get(table)[:50]) },
		"a pack":    func(w *world, table string) { w.objects.Overwrite(table, w.get(w.names("p")[0])) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := pieces(t, true)
			table := w.names("t")[0]
			do(w, table)
			r := w.check(0)
			f := only(t, r)
			if f.Kind != KindTable || f.Severity != Damaged || f.Object != table {
				t.Errorf("%+v", f)
			}
			w.dir = t.TempDir() // by a machine that never wrote
			if !w.repair(r).Folded {
				t.Error("not folded")
			}
			healthy(t, w.check(1))
			if !bytes.Equal(w.content("docs/a.bin"), pattern(1, 300_000)) {
				t.Error("a file changed")
			}
		})
	}
}

// The same where a commit above the checkpoint makes that table needed, so that the
// chain cannot even be followed without it.
func TestDamagedTableBelowACommit(t *testing.T) {
	t.Parallel()
	w := pieces(t, true)
	w.write("later.bin", pattern(7, 300_000))
	w.lock()
	table := w.names("t")[0]
	w.flip(table, 20)
	r := w.check(0)
	f := only(t, r)
	if f.Kind != KindTable || f.Severity != Damaged || f.Object != table || r.Counts.Inodes != 17 {
		t.Errorf("%+v", f)
	}
	w.repair(r)
	healthy(t, w.check(1))
	if !bytes.Equal(w.content("later.bin"), pattern(7, 300_000)) {
		t.Error("a file changed")
	}
	w.lock()
}

// With a table and a commit gone, metadata is lost, and a repair would make it worse.
func TestDamagedTableAndCommit(t *testing.T) {
	t.Parallel()
	w := pieces(t, true)
	commits := w.names("l")
	w.delete(w.names("t")[0])
	w.delete(commits[len(commits)-3])
	r := w.check(0)
	if !r.Has(Lost) {
		t.Fatalf("%+v", r.Findings)
	}
	kinds := map[Kind]string{}
	for _, f := range r.Findings {
		kinds[f.Kind] = f.Object
	}
	if kinds[KindTable] == "" || kinds[KindCommit] != commits[len(commits)-3] {
		t.Errorf("%+v", r.Findings)
	}
	if _, err := Repair(t.Context(), nil, r, 0, 0); err == nil {
		t.Error("a repair was tried")
	}
}

// Commits below the checkpoint: nothing of the present is lost with them.
func TestDamagedHistory(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(w *world, commits []string){
		"dropped": func(w *world, l []string) { w.delete(l[len(l)-3]) },
		"one bit": func(w *world, l []string) { w.flip(l[len(l)-3], 30) },
		"another": func(w *world, l []string) { w.objects.Overwrite(l[len(l)-3], w.get(l[len(l)-4])) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := pieces(t, true)
			l := w.names("l")
			do(w, l)
			f := only(t, w.check(0))
			if f.Kind != KindCommit || f.Severity != Damaged || f.Object != l[len(l)-3] || f.Slot != 3 {
				t.Errorf("%+v", f)
			}
		})
	}
	t.Run("trimmed", func(t *testing.T) {
		t.Parallel()
		w := pieces(t, true)
		l := w.names("l")
		w.delete(l[len(l)-1])
		w.delete(l[len(l)-2])
		r := w.check(0)
		healthy(t, r)
		if len(r.Findings) != 1 || r.Findings[0].Kind != KindCommit || r.Findings[0].Slot != 2 {
			t.Errorf("%+v", r.Findings)
		}
	})
	t.Run("a junk slot", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.write("a", pattern(1, 10))
		w.lock()
		w.objects.Overwrite(strings.Replace(w.names("l")[0], w.names("l")[0][len(w.names("l")[0])-16:], inverted(len(w.names("l"))+1), 1), []byte("junk"))
		w.write("b", pattern(1, 10))
		w.lock()
		r := w.check(1)
		healthy(t, r)
		if len(r.Findings) != 1 || r.Findings[0].Severity != Note || r.Findings[0].Kind != KindCommit {
			t.Errorf("%+v", r.Findings)
		}
	})
}

// A commit above the checkpoint is gone: what came after cannot be trusted.
func TestMissingCommit(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	l := w.names("l")
	w.delete(l[1])
	r := w.check(0)
	f := only(t, r)
	if f.Kind != KindCommit || f.Severity != Lost || f.Object != l[1] {
		t.Errorf("%+v", f)
	}
}

// The newest commit is damaged: nobody can tell that it was one, and a check must not
// say that all is well.
func TestNewestCommitIsDamaged(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(w *world, object string){
		"one bit":   func(w *world, o string) { w.flip(o, 30) },
		"truncated": func(w *world, o string) { w.objects.Overwrite(o, w.get(o)[:100]) },
		"emptied":   func(w *world, o string) { w.objects.Overwrite(o, []byte{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := pieces(t, false)
			l := w.names("l")
			do(w, l[0])
			if f := only(t, w.check(0)); f.Kind != KindCommit || f.Severity != Damaged || f.Object != l[0] || f.Cause != Altered {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestDamagedHints(t *testing.T) {
	t.Parallel()
	t.Run("the newest flipped", func(t *testing.T) {
		t.Parallel()
		w := pieces(t, true)
		hint := w.names("k")[0]
		w.flip(hint, -40)
		r := w.check(0)
		f := only(t, r)
		if f.Kind != KindHint || f.Object != hint || f.Cause != Altered {
			t.Errorf("%+v", f)
		}
		w.repair(r)
		healthy(t, w.check(0))
	})
	t.Run("an older one in its place", func(t *testing.T) {
		t.Parallel()
		w := pieces(t, true)
		l := w.names("k")
		w.objects.Overwrite(l[0], w.get(l[len(l)-1]))
		r := w.check(0)
		f := only(t, r)
		if f.Kind != KindHint || f.Object != l[0] || f.Cause != Exchanged {
			t.Errorf("%+v", f)
		}
		w.repair(r)
		healthy(t, w.check(0))
	})
	t.Run("stale", func(t *testing.T) {
		t.Parallel()
		w := pieces(t, true)
		w.delete(w.names("k")[0])
		r := w.check(0)
		healthy(t, r)
		if len(r.Findings) != 1 || r.Findings[0].Cause != Stale || r.Findings[0].Kind != KindHint {
			t.Errorf("%+v", r.Findings)
		}
		w.repair(r)
		if r := w.check(0); len(r.Findings) > 0 {
			t.Errorf("%+v", r.Findings)
		}
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		w := pieces(t, false)
		for _, n := range w.names("k") {
			w.delete(n)
		}
		f := only(t, w.check(0))
		if f.Kind != KindHint || f.Severity != Lost {
			t.Errorf("%+v", f)
		}
	})
}

func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	name := w.names("a")[0]
	w.delete(name)
	r := w.check(0)
	f := only(t, r)
	if f.Kind != KindLedger || f.Object != name || f.Cause != Missing {
		t.Errorf("%+v", f)
	}
	w.repair(r)
	healthy(t, w.check(0))
}

func TestDamagedHeader(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(w *world, header string){
		"dropped": func(w *world, h string) { w.delete(h) },
		"flipped": func(w *world, h string) { w.flip(h, -1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := pieces(t, false)
			for _, header := range w.names("h") { // an unmount writes a newer one
				do(w, header)
			}
			r := w.check(0)
			if !r.Has(Lost) || r.Findings[0].Kind != KindHeader || r.NeedsVolume() {
				t.Errorf("%+v", r.Findings)
			}
			u := w.drive()
			defer u.Wipe()
			if _, err := RepairHeader(t.Context(), w.objects, u, r); err != nil {
				t.Fatal(err)
			}
			healthy(t, w.check(0))
		})
	}
}
