package volume

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// kept is the one journal that was set aside in a machine's state folder.
func (m *machine) kept() Kept {
	m.t.Helper()
	all, err := KeptIn(m.state())
	if err != nil || len(all) != 1 {
		m.t.Fatalf("journals that were set aside: %v, %v in %v", all, err, folders(m.t, m.state()))
	}
	return all[0]
}

// exportKept exports the journal that was set aside and finds these files, by path below the
// folder, and no others. Of what begins with recovered- the beginning of the content
// takes the place of the rest.
func (m *machine) exportKept(want map[string]string) *Exported {
	m.t.Helper()
	k, to := m.kept(), filepath.Join(m.t.TempDir(), "export")
	if k.Exported {
		m.t.Errorf("%s was exported, they say", k.Name)
	}
	m.reading(true).mustOpen()
	if err := m.v.ShowKept(m.t.Context(), k.Name); err != nil {
		m.t.Fatalf("%s: %v", k.Name, err)
	}
	x, err := m.v.ExportPending(m.t.Context(), to)
	if err != nil || len(x.Failed) > 0 {
		m.t.Fatalf("export: %+v, %v", x, err)
	}
	if err := m.shut(0); err != nil {
		m.t.Errorf("closed: %v", err)
	}
	m.reading(false)
	got := map[string]string{}
	err = filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(to, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.HasPrefix(name, "recovered-") {
			name = "recovered " + string(b[:min(len(b), 9)])
		}
		got[name] = string(b)
		return err
	})
	if err != nil {
		m.t.Error(err)
	}
	for name, content := range want {
		if got[name] != content {
			m.t.Errorf("%s has %d bytes, want %d", name, len(got[name]), len(content))
		}
		delete(got, name)
	}
	for name := range got {
		m.t.Errorf("%s is exported as well", name)
	}
	if !m.kept().Exported {
		m.t.Error("it is not known that it was exported")
	}
	return x
}

// What a machine left behind when it joined anew can be exported afterwards, as it was made,
// whatever became of the drive since. Nothing of it comes into the drive.
func TestExportWhatWasLeftBehind(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(w.laptop, mkdir("d"), write("d/old", "1"), lock)
	as(desk, write("a", "1"), drained, write("b", big), write("d/old", "2"), rename("a", "moved"), mkdir("d/e"), write("d/e/f", "3"), fsync("b"), fsync("d/old"), fsync("d/e/f"))
	desk.crash()
	as(w.laptop, remove(2), unlink("d/old"), rename("a", "b"), lock)
	if err := desk.rejoined(true); err != nil {
		t.Fatal(err)
	}
	as(desk, write("d/e", "another"), lock)
	x := desk.exportKept(map[string]string{"b": big, "d/old": "2", "d/e/f": "3"})
	if strings.Join(x.Renamed, " ") != "/moved" || x.Unfit != 0 {
		t.Errorf("%+v", x)
	}
	as(desk, read("d/e", "another"), read("b", "1"), missing("moved"), write("goes on", "1"), lock)
	as(w.laptop, read("goes on", "1"), read("b", "1"), missing("moved"))
}

// Where the state that it was made on cannot be had any more, all bytes are there, those that
// fit nowhere in files recovered-….
func TestExportWhatWasLeftBehindLongAgo(t *testing.T) { later(t, exportWhatWasLeftBehindLongAgo) }

func exportWhatWasLeftBehindLongAgo(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("a", "1"), drained, write("b", big), write("a", "2"), fsync("b"), fsync("a"))
	desk.crash()
	as(w.laptop, remove(2), write("a", "of laptop"), lock)
	if err := desk.rejoined(true); err != nil {
		t.Fatal(err)
	}
	w.laptop.trim = publish.TrimOptions{Keep: 5}
	rounds(w, w.laptop, "round", 4, 9)
	sleeps(30 * day)
	as(w.laptop, write("last", "1"), drained, trimmed(-1), lock)
	desk.forgetCommits()
	if x := desk.exportKept(map[string]string{"b": big, "recovered 2": "2"}); x.Unfit == 0 {
		t.Errorf("%+v", x)
	}
}

// forgetCommits takes the copies of commits away that a machine keeps.
func (m *machine) forgetCommits() {
	m.t.Helper()
	m.crash()
	for _, dir := range []string{filepath.Join(m.state(), slotsDir), m.cache()} {
		if err := os.RemoveAll(dir); err != nil {
			m.t.Fatal(err)
		}
	}
}

// What could not be done again on a history that was accepted can be exported, under its name
// where that is of what both histories have.
func TestExportWhatDidNotFit(t *testing.T) {
	_, desk, old := twoMachines(t)
	as(desk, read("d/kept", "3"), write("d/new", "4"), fsync("d/new"), mkdir("lost"), write("lost/x", "5"), fsync("lost/x"), write("d/kept", "6"), fsync("d/kept"))
	desk.crash()
	desk.bucket = old
	desk.mustAccept()
	as(desk, drained, write("d/kept", "7"), drained, lock)
	desk.exportKept(map[string]string{"lost/x": "5", "recovered 4": "4", "recovered 6": "6"})
}

// A machine was killed while it accepted a rollback, and the number that it had before was
// removed meanwhile: nothing that waited is taken up under the new one, and all of it can be
// exported.
func TestExportWhereTheOldNumberWasRemoved(t *testing.T) {
	w, desk, all := acceptedInSteps(t)
	told := 0
	for _, s := range all {
		third := desk.removedAt(w, s, 99) // nobody yet
		as(third, remove(2), lock)
		if err := desk.open(); err != nil {
			desk.v = nil
			continue // it is that device still
		}
		desk.crash()
		if !slices.ContainsFunc(folders(t, desk.state()), func(n string) bool { return strings.HasPrefix(n, "kept-0002") }) {
			continue // all was done before
		}
		told++
		desk.exportKept(map[string]string{"precious": big})
		as(desk, missing("precious"), write("goes on", "1"), lock)
		as(third, read("goes on", "1"), missing("precious"), lock)
	}
	if told == 0 {
		t.Error("nothing was kept at any step: this shows nothing")
	}
}

// What a copy of a state could not publish again, since the original did or worked on under
// the same number, can be exported from the copy as it was made there.
func TestExportOfACopiedState(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), fsync("a"), write("b", big), fsync("b"))
	w.laptop.crash()
	twin := w.machine("twin")
	copyFolder(t, w.laptop.state(), twin.state())
	as(w.laptop, write("c", "2"), write("a", "changed"), lock)
	as(twin, read("a", "changed"), lock)
	twin.exportKept(map[string]string{"a": "1", "b": big})
}

// Only what was exported to its end before it was left behind is named no more.
func TestLeftBehindExportedBefore(t *testing.T) {
	for name, more := range map[string]bool{"all of it": false, "not what came after": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			desk := w.machine("desktop")
			as(desk, write("a", "1"), drained, write("b", "2"), fsync("b"))
			as(desk.reading(true), read("b", "2"))
			if x, err := desk.v.ExportPending(t.Context(), filepath.Join(t.TempDir(), "export")); err != nil || x.Files != 1 {
				t.Fatalf("%+v, %v", x, err)
			}
			desk.reading(false)
			if more {
				as(desk, write("c", "3"), fsync("c"))
				desk.crash()
			}
			as(w.laptop, remove(2), lock)
			if err := desk.rejoined(more); err != nil {
				t.Fatal(err)
			}
			if k := desk.kept(); k.Exported == more {
				t.Errorf("%+v", k)
			}
			if more {
				desk.exportKept(map[string]string{"b": "2", "c": "3"})
			}
		})
	}
}

func TestShowWhatWasNotKept(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), lock)
	w.laptop.reading(true).mustOpen()
	for _, name := range []string{"", "kept-", "journal-00", "../state", "kept-0001-0000000000000001-00112233445566778899aabbccddeeff"} {
		if err := w.laptop.v.ShowKept(t.Context(), name); !errors.Is(err, errNotKept) {
			t.Errorf("%q: %v", name, err)
		}
	}
	as(w.laptop, read("a", "1"))
	if all, err := KeptIn(filepath.Join(t.TempDir(), "none")); len(all) > 0 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
}

// On another history a pack of the number that a journal names may be another device's: what
// the journal has itself does not give way to it.
func TestPackOfAnotherDeviceIsNotTheJournals(t *testing.T) {
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	as(laptop, write("a", strings.Repeat("a", 1<<20)), drained)
	as(desk, caughtUp)
	no := meta.MakePack(laptop.v.device, 1)
	for both, want := range map[bool]bool{true: true, false: false} {
		desk.v.behind = &lookback{common: map[meta.Device]bool{laptop.v.device: both}}
		if got := desk.v.complete(no); got != want {
			t.Errorf("a device of both histories %v: complete %v", both, got)
		}
	}
	desk.v.behind = nil
}
