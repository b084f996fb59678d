package crashwork

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("HUSHFS_TEST_TASK") == "worker" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// worked lets two workers work on the local disk, which loses nothing.
func worked(t *testing.T, base, state string, seed uint64, count int) (notes [2][]Note) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(base, Shared), 0o755))
	f, err := os.OpenFile(filepath.Join(base, Log), os.O_CREATE, 0o644)
	must(t, err)
	must(t, f.Close())
	for id := range 2 {
		o := Options{ID: id, Seed: seed, Base: base, Notes: filepath.Join(t.TempDir(), "notes"), Count: count}
		if state != "" {
			o.State = fmt.Sprint(state, id)
		}
		c := exec.Command(os.Args[0], o.Args()...)
		c.Env = append(os.Environ(), "HUSHFS_TEST_TASK=worker", Env)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		notes[id], err = ReadFile(o.Notes)
		must(t, err)
	}
	return notes
}

// place is a folder on a disk, for O_DIRECT and attributes.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "crashwork")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// look is Look, with the numbers of inodes as hushfs gives them: the local disk
// gives those of files that are gone to others.
func look(t *testing.T, base string) map[string]*Seen {
	t.Helper()
	seen, err := Look(base)
	must(t, err)
	return seen
}

// unnumbered takes out what only hushfs promises.
func unnumbered(notes []Note) []Note {
	notes = slices.Clone(notes)
	for i := range notes {
		notes[i].Ino = 0
	}
	return notes
}

// What the local disk shows is right, over several lives.
func TestRight(t *testing.T) {
	base, state := place(t), filepath.Join(t.TempDir(), "past")
	past := [2]*Past{{}, {}}
	ops := map[string]int{}
	for life := range 3 {
		for id := range past {
			must(t, past[id].Save(fmt.Sprint(state, id)))
		}
		notes := worked(t, base, state, uint64(life), 250)
		seen := look(t, base)
		for id := range past {
			for _, n := range notes[id] {
				ops[n.Op]++
			}
			j := Judge(id, past[id], unnumbered(notes[id]), seen, true)
			if len(j.Wrong) > 0 {
				t.Fatalf("life %d, worker %d: %s", life, id, strings.Join(j.Wrong, "\n"))
			}
			past[id] = j.Past
		}
		if wrong := CheckLog(2, seen[Log]); len(wrong) > 0 {
			t.Fatal(wrong)
		}
	}
	for _, op := range []string{"create", "tmpfile", "mkdir", "symlink", "unlink", "rmdir", "link", "rename", "chmod", "setattr", "rmattr",
		"trunc", "punch", "zero", "alloc", "write", "map", "copy", "fsync", "fdatasync", "fsyncdir", "log", "orphan", "read"} {
		if ops[op] == 0 {
			t.Errorf("no worker did %s", op)
		}
	}
}

// spoilt is one way in which a tree can be wrong; it tells whether it found
// something to spoil.
type spoilt func(seen map[string]*Seen, p string, s *Seen) bool

var spoilers = map[string]spoilt{
	"a file is lost":          func(seen map[string]*Seen, p string, s *Seen) bool { delete(seen, p); return s.Kind == 'f' },
	"a folder is lost":        func(seen map[string]*Seen, p string, s *Seen) bool { delete(seen, p); return s.Kind == 'd' },
	"a name came back":        func(seen map[string]*Seen, p string, s *Seen) bool { seen[p+"x"] = s; return s.Kind == 'f' },
	"another mode":            func(_ map[string]*Seen, _ string, s *Seen) bool { s.Mode ^= 0o200; return s.Kind == 'f' },
	"a link is miscounted":    func(_ map[string]*Seen, _ string, s *Seen) bool { s.Links++; return s.Kind == 'f' },
	"a link leads elsewhere":  func(_ map[string]*Seen, _ string, s *Seen) bool { s.To += "x"; return s.Kind == 'l' },
	"an attribute is lost":    func(_ map[string]*Seen, _ string, s *Seen) bool { n := len(s.Attrs); clear(s.Attrs); return n > 0 },
	"a byte is wrong":         func(_ map[string]*Seen, _ string, s *Seen) bool { return flip(s, len(s.Content)/2) },
	"the last byte is wrong":  func(_ map[string]*Seen, _ string, s *Seen) bool { return flip(s, len(s.Content)-1) },
	"a byte is missing":       func(_ map[string]*Seen, _ string, s *Seen) bool { return cut(s, len(s.Content)-1) },
	"a block is missing":      func(_ map[string]*Seen, _ string, s *Seen) bool { return cut(s, len(s.Content)-blockSize) },
	"a block of zeros":        func(_ map[string]*Seen, _ string, s *Seen) bool { return zeroed(s) },
	"a block of another file": func(_ map[string]*Seen, _ string, s *Seen) bool { return foreign(s) },
}

func flip(s *Seen, at int) bool {
	if at < 0 || len(s.Content) == 0 {
		return false
	}
	s.Content[at] ^= 1
	return true
}

func cut(s *Seen, n int) bool {
	if n < 0 || s.Kind != 'f' {
		return false
	}
	s.Content = s.Content[:n]
	return true
}

func zeroed(s *Seen) bool {
	if len(s.Content) < blockSize || (Val{}).is(s.Content[:blockSize]) {
		return false
	}
	clear(s.Content[:blockSize])
	return true
}

func foreign(s *Seen) bool {
	if len(s.Content) < blockSize {
		return false
	}
	copy(s.Content, block(1<<50, 0, 1))
	return true
}

// Each thing that a crash could do to a tree of which all was acknowledged is seen.
func TestWrong(t *testing.T) {
	base := place(t)
	notes := worked(t, base, "", 7, 200)
	for id := range notes {
		notes[id] = append(unnumbered(notes[id]), acknowledgement(notes[id], id)...)
	}
	whole := look(t, base)
	for name, spoil := range spoilers {
		t.Run(name, func(t *testing.T) {
			tried := 0
			for _, p := range slices.Sorted(maps.Keys(whole)) {
				seen := maps.Clone(whole)
				s := *seen[p]
				s.Content, s.Attrs, seen[p] = slices.Clone(s.Content), maps.Clone(s.Attrs), &s
				if p == Log || p == Shared || !spoil(seen, p, seen[p]) {
					continue
				}
				tried++
				wrong := 0
				for id := range notes {
					wrong += len(Judge(id, &Past{}, notes[id], seen, false).Wrong)
				}
				if wrong == 0 {
					t.Errorf("%s: not seen", p)
				}
			}
			if tried == 0 {
				t.Error("there was nothing to spoil")
			}
		})
	}
}

// acknowledgement is what a worker notes that syncs all that it has.
func acknowledgement(notes []Note, id int) (all []Note) {
	m := newModel(id, tree{}, 0)
	m.play(notes)
	for _, p := range slices.Sorted(maps.Keys(m.names)) {
		switch m.names[p].kind {
		case 'f':
			all = append(all, Note{Op: "fsync", A: p, Done: true})
		case 'd':
			all = append(all, Note{Op: "fsyncdir", A: p, Done: true})
		}
	}
	return append(all, Note{Op: "fsyncdir", A: Shared, Done: true})
}

// What was not acknowledged may be missing, but only from the end: a state in
// between is taken, one with a hole in it is not.
func TestBeginnings(t *testing.T) {
	notes := []Note{
		{Op: "mkdir", A: "w0", Mode: 0o755, Done: true},
		{Op: "create", A: "w0/f", File: 1, Mode: 0o644, Done: true},
		{Op: "fsyncdir", A: "w0", Done: true},
		{Op: "write", A: "w0/f", File: 1, N: 2, Len: blockSize, Ver: 1, Done: true},
		{Op: "rename", A: "w0/f", B: "w0/g", Done: true},
		{Op: "create", A: "w0/h", File: 2, Mode: 0o644, Done: true},
		{Op: "write", A: "w0/h", File: 2, N: 1, Len: 100, Ver: 2, Done: true},
	}
	dir := &Seen{Kind: 'd', Ino: 1, Mode: 0o755}
	file := func(ino uint64, content ...byte) *Seen {
		return &Seen{Kind: 'f', Ino: ino, Mode: 0o644, Links: 1, Content: content}
	}
	full := append(block(1, 0, 1), block(1, 1, 1)...)
	half := append(make([]byte, blockSize), block(1, 1, 1)...)
	for _, c := range []struct {
		name string
		seen map[string]*Seen
		ok   bool
	}{
		{"nothing", map[string]*Seen{}, false},
		{"what was acknowledged", map[string]*Seen{"w0": dir, "w0/f": file(2)}, true},
		{"a part of the data", map[string]*Seen{"w0": dir, "w0/f": file(2, half...)}, true},
		{"a torn block", map[string]*Seen{"w0": dir, "w0/f": file(2, full[:blockSize+100]...)}, false},
		{"renamed with its data", map[string]*Seen{"w0": dir, "w0/g": file(2, full...)}, true},
		{"renamed without its data", map[string]*Seen{"w0": dir, "w0/g": file(2, half...)}, false},
		{"renamed and still there", map[string]*Seen{"w0": dir, "w0/f": file(2, full...), "w0/g": file(2, full...)}, false},
		{"made, but not renamed before", map[string]*Seen{"w0": dir, "w0/f": file(2, full...), "w0/h": file(3)}, false},
		{"all of it", map[string]*Seen{"w0": dir, "w0/g": file(2, full...), "w0/h": file(3, block(2, 0, 2)[:100]...)}, true},
		{"more than was written", map[string]*Seen{"w0": dir, "w0/g": file(2, full...), "w0/h": file(3, block(2, 0, 2)[:101]...)}, false},
		{"two files with one inode", map[string]*Seen{"w0": dir, "w0/g": file(2, full...), "w0/h": file(2)}, false},
	} {
		if j := Judge(0, &Past{}, notes, c.seen, false); len(j.Wrong) == 0 != c.ok {
			t.Errorf("%s: %q", c.name, j.Wrong)
		}
	}
}
