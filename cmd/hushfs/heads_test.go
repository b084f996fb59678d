package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// A slot that is none of this history is no success, and the answer names the newest.
func TestHeadsOfNoSlot(t *testing.T) {
	m := newMachine(t)
	m.drive()
	heads := func(flags ...string) outputs {
		return m.run(append([]string{"heads", "--passphrase-file", m.pass, "store"}, flags...)...)
	}
	if o := heads("--slot", "1"); o.code != codeOK || strings.Contains(o.stdout, "nothing lies there") {
		t.Errorf("of a slot that is there: %+v", o)
	}
	if o := heads("--slot", "3000"); o.code != codeFailure || !strings.Contains(o.stdout, "Slot 3000: nothing lies there that is part of this history; its newest is slot 1.") {
		t.Errorf("of one that is not: %+v", o)
	}
	var r headsResult
	o := heads("--slot", "3000", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || o.code != codeFailure || r.At != nil || r.Store == nil || r.Store.Slot != 1 {
		t.Errorf("with JSON: %v, %+v", err, o)
	}
}

// Devices that were removed since are called what they were, and marked.
func TestHeadsOfRemovedDevices(t *testing.T) {
	m := newMachine(t)
	m.setBack()
	heads := func() (r headsResult, said string) {
		t.Helper()
		o := m.run("heads", "--passphrase-file", m.pass, "store", "--json")
		if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
			t.Fatalf("%v: %+v", err, o)
		}
		return r, m.run("heads", "--passphrase-file", m.pass, "store").stdout
	}
	before, _ := heads()
	if before.Setback == nil || before.Setback.Removed {
		t.Fatalf("%+v", before)
	}
	if o := m.run("accept-rollback", "--passphrase-file", m.pass, "--confirm", strings.Join(before.Store.Words, " "), "store"); o.code != codeOK {
		t.Fatalf("%+v", o)
	}
	check := func(gone bool) {
		t.Helper()
		r, said := heads()
		if len(r.Accepted) != 1 || r.Accepted[0].Device != 2 || r.Accepted[0].Name == "" || r.Accepted[0].Gone != gone {
			t.Errorf("accepted: %+v", r.Accepted)
		}
		if strings.Contains(said, "removed since") != gone || strings.Contains(said, "()") {
			t.Errorf("it says %s", said)
		}
	}
	check(false)
	if err := os.RemoveAll(m.path("home/.local/state")); err != nil {
		t.Fatal(err)
	}
	if o := m.run("device", "remove", "--passphrase-file", m.pass, "--yes", "--leaked", "no", "store", "2"); o.code != codeOK {
		t.Fatalf("%+v", o)
	}
	check(true)
}
