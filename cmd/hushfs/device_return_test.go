package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/keyslot"
)

// A machine that joins anew opens the drive by its own copy of the header where the store
// shows an older one. It puts that back, or the next mount is refused.
func TestRejoinPutsTheHeaderBack(t *testing.T) {
	t.Run("missing", func(t *testing.T) { rejoinPutsTheHeaderBack(t, os.Remove) })
	t.Run("junk in its place", func(t *testing.T) {
		rejoinPutsTheHeaderBack(t, func(header string) error {
			return errors.Join(os.Remove(header), os.WriteFile(header, []byte("junk"), 0o600))
		})
	})
}

func rejoinPutsTheHeaderBack(t *testing.T, lose func(header string) error) {
	m, n := newMachine(t), newMachine(t)
	m.drive()
	store := m.path("store")
	device := func(m *machine, c code, args ...string) outputs {
		t.Helper()
		o := m.run(append([]string{"device", "--passphrase-file", m.pass}, args...)...)
		if o.code != c {
			t.Fatalf("%v: %+v", args, o)
		}
		return o
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
		if err := lose(h); err != nil {
			t.Fatal(err)
		}
	}
	device(n, codeHistory, "list", store)
	o := device(n, codeOK, "rejoin", "--yes", store)
	if lies := len(headers()) > 2; lies != strings.Contains(o.stderr, "does not verify") {
		t.Errorf("%d headers, and it says: %+v", len(headers()), o)
	}
	device(n, codeOK, "list", store)
}

// bury has strangers take the number of each header after the first, for as far as one is
// looked for; digging takes that away again.
func (m *machine) bury() (dig func()) {
	m.t.Helper()
	var junk []string
	for n := uint64(2); n < 40; n++ {
		name := filepath.Join(m.path("store"), filepath.FromSlash(keyslot.ObjectName(n)))
		if err := os.WriteFile(name, []byte("junk"), 0o600); err != nil {
			m.t.Fatal(err)
		}
		junk = append(junk, name)
	}
	return func() {
		for _, name := range junk {
			if err := os.Remove(name); err != nil {
				m.t.Error(err)
			}
		}
	}
}

// Where the header cannot be put back, what was done is done, and said so, with what brings
// it back later.
func TestHeaderIsPutBackLater(t *testing.T) {
	t.Run("accepted", func(t *testing.T) {
		m := newMachine(t)
		m.setBack()
		var h headsResult
		o := m.run("heads", "--json", "--passphrase-file", m.pass, "store")
		if err := json.Unmarshal([]byte(o.stdout), &h); err != nil {
			t.Fatalf("%v: %+v", err, o)
		}
		headerComesLater(m, m, "the rollback is accepted, and all that waited is in the store", "accept-rollback", "--confirm", strings.Join(h.Store.Words, " "))
	})
	t.Run("joined anew", func(t *testing.T) {
		m, n := newMachine(t), newMachine(t)
		m.drive()
		for _, c := range []struct {
			m    *machine
			args []string
		}{{n, []string{"rename", m.path("store"), "1", "desk"}}, {m, []string{"remove", "--yes", "--leaked", "no", "store", "2"}}} {
			if o := c.m.run(append([]string{"device", "--passphrase-file", m.pass}, c.args...)...); o.code != codeOK {
				t.Fatalf("%+v", o)
			}
		}
		if err := os.Remove(filepath.Join(m.path("store"), filepath.FromSlash(keyslot.ObjectName(2)))); err != nil {
			t.Fatal(err)
		}
		headerComesLater(m, n, "this machine joined the drive", "device", "rejoin", "--yes")
	})
}

// headerComesLater runs hushfs on n, with the drive in the store of m, while no header can be
// put there, and once more when one can.
func headerComesLater(m, n *machine, done string, args ...string) {
	m.t.Helper()
	store := m.path("store")
	dig := m.bury()
	o := n.run(append(args, "--passphrase-file", m.pass, store)...)
	if o.code != codeFailure || !strings.Contains(o.stderr, done) || !strings.Contains(o.stderr, "hushfs accept-rollback STORE") || strings.Contains(o.stderr, "not in the store") {
		m.t.Errorf("%+v", o)
	}
	dig()
	if o := n.run("accept-rollback", "--passphrase-file", m.pass, store); o.code != codeOK || !strings.Contains(o.stdout, "header was put back") {
		m.t.Errorf("later: %+v", o)
	}
	if o := n.run("device", "list", "--passphrase-file", m.pass, store); o.code != codeOK {
		m.t.Errorf("then: %+v", o)
	}
}
