package check

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/volume"
)

// A store that shows two histories lacks no object: a person settles first which one goes
// on, and nothing is to be repaired before.
func TestTwoHistories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	forked(w)
	r := w.check(0)
	f := r.Findings[0]
	if !r.Forked() || f.Kind != KindHistory || f.Cause != Forged || !strings.Contains(f.Detail, "hushfs heads STORE") || strings.Contains(f.Detail, "copy of the store") {
		t.Errorf("%+v", r.Findings)
	}
}

// Once who follows the other history has given it up, the chain says so: it is settled, the
// check goes on to the newest commit, and nothing is damaged.
func TestTwoHistoriesOfWhichOneWasGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fork := forked(w)
	w.open(func(o *volume.Options) { o.Accept = func(*volume.Setback) error { return nil } })
	w.write("e", []byte("e"))
	w.lock()
	r := w.check(1)
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == KindHistory })
	if r.Forked() || !r.Healthy() || !r.Whole || i < 0 {
		t.Fatalf("%+v", r.Findings)
	}
	by, today := "by device 2 (laptop", time.Now().UTC().Format("2006-01-02")
	if f := r.Findings[i]; f.Severity != Note || f.Slot != uint64(fork) || !strings.Contains(f.Detail, "That is settled") || !strings.Contains(f.Detail, by) || !strings.Contains(f.Detail, today) {
		t.Errorf("%+v", f)
	}
	if got := w.load(); !errors.Is(got.Trouble, publish.ErrFork) || uint64(got.Chain.Slot) >= r.Slot {
		t.Errorf("slot %d of %d, %v: this shows nothing", got.Chain.Slot, r.Slot, got.Trouble)
	}
}

// forked has the store show two histories, of which this machine follows the one that is
// not shown; it returns the slot in which it is met.
func forked(w *world) chain.Slot {
	t := w.t
	t.Helper()
	w.write("a", []byte("a"))
	w.lock()
	if w.check(0).Forked() {
		t.Error("one history is two")
	}
	main, fork := w.objects, w.objects.Clone()
	kept := t.TempDir()
	must(t, os.CopyFS(kept, os.DirFS(w.state())))
	w.write("b", []byte("b"))
	w.lock()
	entries, err := os.ReadDir(w.state())
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(filepath.Join(w.state(), e.Name())))
	}
	must(t, os.CopyFS(w.state(), os.DirFS(kept)))
	w.objects = fork
	w.write("c", []byte("c"))
	w.write("d", []byte("d"))
	w.lock()
	theirs := w.names("l")
	w.objects = main
	for _, name := range theirs {
		if !slices.Contains(w.names("l"), name) {
			b, err := fork.Get(t.Context(), name, 0, -1)
			must(t, err)
			must(t, main.PutIfAbsent(t.Context(), name, b))
		}
	}
	return w.load().EvidenceSlot
}
