package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/volume"
)

const keptExample = "kept-0001-0000000000000000-00112233445566778899aabbccddeeff"

// A journal that was set aside is named, with the command that exports it, by all that tell
// of it, until that is done.
func TestKeptIsNamedUntilItIsExported(t *testing.T) {
	m := newMachine(t)
	m.drive()
	states, err := filepath.Glob(m.path("home/.local/state/hushfs/*"))
	if err != nil || len(states) != 1 {
		t.Fatalf("state folders: %v, %v", states, err)
	}
	export := func(to string, more ...string) outputs {
		return m.run(append([]string{"device", "export-pending", "--passphrase-file", m.pass, "store", to}, more...)...)
	}
	if o := export("a", "--kept", keptExample); o.code != codeUsage || !strings.Contains(o.stderr, "None is kept of this drive") {
		t.Errorf("none is kept: %+v", o)
	}
	if err := os.Mkdir(filepath.Join(states[0], keptExample), 0o700); err != nil {
		t.Fatal(err)
	}
	if o := export("a", "--kept", "kept-0002"); o.code != codeUsage || !strings.Contains(o.stderr, "Kept are: "+keptExample) {
		t.Errorf("another is kept: %+v", o)
	}
	if o := export("a", "--kept", ""); o.code != codeUsage || !strings.Contains(o.stderr, "--kept is empty") {
		t.Errorf("as of a variable that is not set: %+v", o)
	}
	command := "hushfs device export-pending --kept " + keptExample
	if o := m.run("doctor"); !strings.Contains(o.stdout, command) {
		t.Errorf("doctor: %+v", o)
	}
	if o := export("a"); o.code != codeOK || !strings.Contains(o.stdout, command+" store FOLDER") {
		t.Errorf("without --kept: %+v", o)
	}
	if o := m.run("accept-rollback", "--passphrase-file", m.pass, "store"); o.code != codeOK || !strings.Contains(o.stdout, command) {
		t.Errorf("accept-rollback: %+v", o)
	}
	var x exportResult
	o := export("a", "--kept", keptExample, "--json")
	if err := json.Unmarshal([]byte(o.stdout), &x); err != nil || o.code != codeOK || x.Exported == nil || x.Changes != 0 || x.Kept == nil || len(x.Kept) != 0 {
		t.Errorf("exported: %+v, %v", o, err)
	}
	if o := m.run("doctor"); strings.Contains(o.stdout, keptExample) {
		t.Errorf("doctor still names it: %+v", o)
	}
	if o := export("a", "--kept", keptExample); o.code != codeOK || !strings.Contains(o.stdout, "The drive has all that was set aside.") {
		t.Errorf("once more: %+v", o)
	}
}

// The daemon names it among its warnings, and it is never told as what keeps changes here.
func TestKeptIsAWarning(t *testing.T) {
	s := &server{}
	s.c.State, s.c.Store = t.TempDir(), "/my store"
	if err := os.Mkdir(filepath.Join(s.c.State, keptExample), 0o700); err != nil {
		t.Fatal(err)
	}
	all := s.warnings(nil)
	want := "hushfs device export-pending --kept " + keptExample + " '/my store' FOLDER"
	if !slices.ContainsFunc(all, func(w string) bool { return strings.Contains(w, want) }) {
		t.Errorf("%q is not in %q", want, all)
	}
	if got := hindrance(volume.Status{Warnings: all}); got != "" {
		t.Errorf("it hinders: %q", got)
	}
	if got := hindrance(volume.Status{Warnings: append(all, "journal: the disk is full")}); got != "journal: the disk is full" {
		t.Errorf("what hinders: %q", got)
	}
	if text := statusText(control.Status{Volume: volume.Status{Warnings: all}}, s.since); !strings.Contains(text, want) {
		t.Errorf("status: %s", text)
	}
}
