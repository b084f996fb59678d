package volume

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// records are where the records of the only journal file of a machine lie: offset and
// length, one for each, by the clear part of each.
func (m *machine) records() (path string, at [][2]int) {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.state(), "journal-*", "ops-*"))
	if err != nil || len(found) != 1 {
		m.t.Fatalf("%d journal files, %v", len(found), err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		m.t.Fatal(err)
	}
	for off := 8192; off+8 < len(b); {
		n := int(binary.BigEndian.Uint32(b[off:]))
		if n == 0 {
			break
		}
		at = append(at, [2]int{off, 8 + n})
		off += 8 + n
	}
	return found[0], at
}

// damage flips a bit in each of some records of the journal.
func (m *machine) damage(which ...int) {
	m.t.Helper()
	path, at := m.records()
	b, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, i := range which {
		b[at[i][0]+at[i][1]/2] ^= 4
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// steps does acts, each of them synced, and returns how many records the journal had
// after each.
func steps(m *machine, acts ...act) (ends []int) {
	m.t.Helper()
	for _, a := range acts {
		as(m, a, func(m *machine) error { return errors.Join(m.v.pinOld(context.Background(), 0), m.v.persist()) })
		_, at := m.records()
		ends = append(ends, len(at))
	}
	return ends
}

// saved is how programs save: into another file, which then takes the name.
func saveAs(path, content string) act {
	return func(m *machine) error {
		if err := write(path+".tmp", content)(m); err != nil {
			return err
		}
		return rename(path+".tmp", path)(m)
	}
}

func (m *machine) warned(words ...string) {
	m.t.Helper()
	s := m.v.Status()
	for _, w := range words {
		if !slices.ContainsFunc(s.Warnings, func(text string) bool { return strings.Contains(text, w) }) {
			m.t.Errorf("no warning says %q: %q", w, s.Warnings)
		}
	}
}

// What lies behind a damaged record, and does not need it, is kept; it is said what is
// lost; and all of it reaches the store.
func TestDamagedRecordLosesItself(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"), write("old", "before"), write("gone", "x"), drained)
	ends := steps(m, write("d/a", "1"), write("d/lost", "2"), write("d/c", "3"), saveAs("old", "after"), mkdir("e"), write("e/f", big))
	m.crash()
	var lost []int
	for i := ends[0]; i < ends[1]; i++ {
		lost = append(lost, i)
	}
	m.damage(lost...)
	as(m, read("d/a", "1"), missing("d/lost"), read("d/c", "3"), read("old", "after"), read("e/f", big), read("gone", "x"))
	m.warned("Lost: 2 changes") // making it, and its bytes
	found, err := filepath.Glob(filepath.Join(m.state(), "journal-*", "damaged-*"))
	if err != nil || len(found) != 1 {
		t.Errorf("%d damaged files are kept, %v", len(found), err)
	}
	tree := m.tree()
	m.crash()
	if as(m, read("d/c", "3")); m.tree() != tree {
		t.Errorf("the second time there is\n%s\nthe first time\n%s", m.tree(), tree)
	}
	as(m, write("more", "4"), lock)
	if as(m, read("more", "4")); len(m.v.Status().Warnings) > 0 {
		t.Errorf("when all is stored it still warns: %q", m.v.Status().Warnings)
	}
	far := w.machine("far")
	as(far, read("d/a", "1"), missing("d/lost"), read("d/c", "3"), read("old", "after"), read("e/f", big), read("more", "4"))
}

// Each record in turn, or two that follow each other, are damaged in the life of a small
// tree. Whatever is lost, no file has a content that it never had, nothing that
// was stored before is gone, and another machine sees the same.
func TestEachRecordIsDamaged(t *testing.T) {
	const old, long = "stored before", "a longer text that was written later"
	told := []act{
		write("new", "first"), write("stored", "changed"), saveAs("saved", "newer"), saveAs("saved", "newest"),
		mkdir("d"), write("d/x", long), rename("d", "e"), write("e/x", "short"), unlink("victim"), write("victim", "again"), saveAs("stored", long),
		rename("new", "moved"), unlink("e/x"),
	}
	// What each name may hold; what was stored and not overwritten must be there.
	may := map[string][]string{
		"new": {"", "first"}, "moved": {"", "first"}, "stored": {old, "", "changed", long}, "saved": {old, "newer", "newest"},
		"saved.tmp": {"", "newer", "newest"}, "stored.tmp": {"", long}, "x": {"", long, "short"}, "victim": {old, "", "again"},
	}
	w := newWorld(t)
	m := w.laptop
	as(m, write("stored", old), write("saved", old), write("victim", old), drained)
	ends := steps(m, told...)
	count := ends[len(ends)-1]
	if count < len(told) {
		t.Fatalf("only %d records", count)
	}
	m.crash()
	kept, objects := filepath.Join(t.TempDir(), "kept"), w.objects.Clone()
	copyFolder(t, m.state(), kept)
	for i := range count {
		lost := []int{i}
		if i%3 == 1 && i+1 < count {
			lost = append(lost, i+1)
		}
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			m.t = t
			restore(t, kept, m.state())
			store := objects.Clone()
			m.bucket = store
			m.damage(lost...)
			m.mustOpen()
			for _, name := range []string{"stored", "saved"} {
				if _, _, _, err := m.find(name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			m.holds(may)
			as(m, write("more", "4"), drained)
			tree := m.tree()
			m.crash()
			far := w.machine("far")
			far.t, far.bucket, far.ro = t, store, true
			far.mustOpen()
			if got := far.tree(); got != tree {
				t.Errorf("another machine sees\n%s\nhere it is\n%s", got, tree)
			}
			far.crash()
		})
	}
	m.t = t
}

// holds finds in each file one of the contents that it may have. What was recovered may
// be any of them.
func (m *machine) holds(may map[string][]string) {
	m.t.Helper()
	var walk func(ref meta.Ref)
	walk = func(ref meta.Ref) {
		l, err := m.v.List(context.Background(), ref)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range l {
			name := string(e.Name)
			if e.Kind == meta.Dir {
				walk(e.Ref)
				continue
			}
			a, err := m.v.Attr(context.Background(), e.Ref)
			if err != nil {
				m.t.Fatal(err)
			}
			b, err := m.content(a)
			if err != nil {
				m.t.Errorf("%s: %v", name, err)
				continue
			}
			good := may[name]
			if strings.HasPrefix(name, "recovered-") {
				good = slices.Concat(may["new"], may["stored"], may["saved"], may["x"], may["victim"])
			} else if name == "more" {
				good = []string{"4", ""}
			}
			if !slices.Contains(good, string(b)) {
				m.t.Errorf("%s holds %q", name, b)
			}
		}
	}
	walk(meta.RootRef)
}

// A rename that came after bytes that are lost does not put what is left in the place of
// a whole file.
func TestTornSaveKeepsTheOldFile(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("f", "the old text"), drained)
	ends := steps(m, func(m *machine) error { _, err := m.touch("f.tmp"); return err }, write("f.tmp", "the new text"), rename("f.tmp", "f"), write("other", "1"))
	m.crash()
	m.damage(ends[1] - 1) // its bytes
	as(m, read("f", "the old text"), read("other", "1"))
	m.warned("Lost: 1 changes", "were not executed")
	as(m, lock)
}

// Bytes for a file whose making is lost are recovered, once.
func TestBytesWithoutAFileAreRecovered(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("other", "0"), drained)
	ends := steps(m, func(m *machine) error { _, err := m.touch("f"); return err }, write("f", "precious"), write("g", "1"))
	m.crash()
	m.damage(ends[0] - 1)
	recovered := func() (l []string) {
		entries, err := m.v.List(context.Background(), meta.RootRef)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(string(e.Name), "recovered-") {
				l = append(l, string(e.Name))
			}
		}
		return l
	}
	for range 3 { // each mount finds the same damage
		as(m, read("g", "1"))
		if l := recovered(); len(l) != 1 {
			t.Fatalf("recovered %q", l)
		}
		as(m, read(recovered()[0], "precious"))
		m.warned("recovered-")
		m.crash()
	}
	name := "recovered-"
	as(m, func(m *machine) error {
		name = recovered()[0]
		return nil
	}, lock)
	as(m, read("g", "1"), read(name, "precious"))
	as(w.machine("far"), read(name, "precious"))
}

// The record of a pack is lost, and its file is there: what it holds is read and sent.
func TestRecordOfAPackIsLost(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("other", "0"), drained)
	ends := steps(m, write("f", big), write("g", "1"))
	m.crash()
	if ends[0] < 3 {
		t.Fatalf("%d records", ends[0])
	}
	for i := range ends[0] {
		// One of the records is the pack's; which one, the format does not show. The
		// others are operations, without which the file is not whole.
		w := newWorld(t)
		m := w.laptop
		as(m, write("other", "0"), drained)
		steps(m, write("f", big), write("g", "1"))
		m.crash()
		m.damage(i)
		as(m, read("g", "1"), read("other", "0"))
		_, _, a, err := m.find("f")
		if err == nil {
			b, rerr := m.content(a)
			if whole := string(b) == big; rerr != nil || !whole && len(bytes.Trim(b, "\x00")) > 0 {
				t.Errorf("record %d: f holds %d bytes, %v", i, len(b), rerr)
			} else if whole {
				as(m, lock)
				as(w.machine("far"), read("f", big))
				return
			}
		} else if !errors.Is(err, meta.ErrNotExist) {
			t.Errorf("record %d: %v", i, err)
		}
	}
	t.Error("f was never whole")
}

// The oldest file of a journal is gone, as after a repair of the file system.
func TestWholeJournalFileIsGone(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("stored", "0"), drained, lock)
	as(m, write("a", "1"), fsync("a"))
	m.crash()
	as(m, write("b", "2"), fsync("b"))
	m.crash()
	found, err := filepath.Glob(filepath.Join(m.state(), "journal-*", "ops-*"))
	if err != nil || len(found) != 2 {
		t.Fatalf("%d files, %v", len(found), err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	as(m, read("stored", "0"), missing("a"), read("b", "2"))
	m.warned("Lost: 2 changes")
	as(m, lock)
	as(w.machine("far"), read("stored", "0"), missing("a"), read("b", "2"))
}

// A copy of a damaged state becomes a machine of its own with what is whole.
func TestCopiedStateWithDamage(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("old", "0"), drained)
	ends := steps(m, write("a", "1"), write("b", "2"))
	m.crash()
	m.damage(ends[0] - 1)
	twin := w.machine("twin")
	copyFolder(t, m.state(), twin.state())
	as(twin, read("old", "0"), read("b", "2"))
	twin.warned("Lost: 1 changes")
	as(twin, lock)
	as(w.machine("far"), read("b", "2"))
}

// What a program did with a recovered file is not undone by the next mount, which finds
// the same damage.
func TestRecoveredIsLeftAlone(t *testing.T) {
	const rec = "recovered-1000000002-5"
	for name, c := range map[string]struct{ what, then act }{
		"deleted": {unlink(rec), missing(rec)},
		"edited":  {write(rec, "pre"), read(rec, "pre")},
		"moved":   {rename(rec, "f"), missing(rec)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.laptop
			as(m, write("other", "0"), drained)
			ends := steps(m, func(m *machine) error { _, err := m.touch("f"); return err }, write("f", "precious"))
			m.crash()
			m.damage(ends[0] - 1)
			as(m, read(rec, "precious"))
			m.crash()
			as(m, read(rec, "precious"), c.what, persist)
			m.crash()
			as(m, c.then, lock, c.then)
		})
	}
}
