package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A machine that joins anew opens the drive by its own copy of the header where the store
// shows an older one. It puts that back, or the next mount is refused.
func TestRejoinPutsTheHeaderBack(t *testing.T) {
	m, n := newMachine(t), newMachine(t)
	m.drive()
	store := m.path("store")
	device := func(m *machine, c code, args ...string) {
		t.Helper()
		if o := m.run(append([]string{"device", "--passphrase-file", m.pass}, args...)...); o.code != c {
			t.Fatalf("%v: %+v", args, o)
		}
	}
	headers := func() []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(store, "v0", "h", "*"))
		if err != nil || len(all) == 0 {
			t.Fatalf("headers: %v, %v", all, err)
		}
		return all
	}
	first := headers()
	device(n, codeOK, "rename", store, "1", "desk")
	if len(headers()) == len(first) {
		t.Fatal("no newer header: this shows nothing")
	}
	device(m, codeOK, "remove", "--yes", "--leaked", "no", store, "2")
	for _, h := range headers() {
		if slices.Contains(first, h) {
			continue
		}
		if err := os.Remove(h); err != nil {
			t.Fatal(err)
		}
	}
	device(n, codeHistory, "list", store)
	device(n, codeOK, "rejoin", "--yes", store)
	device(n, codeOK, "list", store)
}
