package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A store that shows two histories lacks no object: a person settles first which one goes
// on, and nothing is to be repaired before.
func TestTwoHistories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
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

	r := w.check(0)
	f := r.Findings[0]
	if !r.Forked() || f.Kind != KindHistory || f.Cause != Forged || !strings.Contains(f.Detail, "hushfs heads STORE") || strings.Contains(f.Detail, "copy of the store") {
		t.Errorf("%+v", r.Findings)
	}
}
