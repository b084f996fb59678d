package integration

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// heads is what hushfs heads --json says, as far as it is looked at.
type heads struct {
	Store, Machine *struct {
		Slot  uint64
		Words []string
	}
	Compared string
	Slot     uint64
	Setback  *struct {
		Missing struct{ Slots uint64 }
		Files   []struct{ Path, What string }
	}
	Proofs   []struct{ Slot uint64 }
	Accepted []struct{ From, To uint64 }
}

func (m *machine) headArgs(flags ...string) []string {
	return append(append([]string{"heads", "--json", "--passphrase-file", m.pass}, flags...), m.store)
}

// heads runs hushfs heads, which must end with code.
func (m *machine) heads(code int, flags ...string) (h heads) {
	m.t.Helper()
	r := m.run(m.headArgs(flags...)...)
	if r.code != code {
		m.t.Fatalf("heads %v: exit code %d, want %d\n%s%s", flags, r.code, code, r.stdout, r.stderr)
	}
	must(m.t, json.Unmarshal([]byte(r.stdout), &h))
	return h
}

// A store is set back under two machines: it is refused and looked at, accepted in words
// on the one, then on the other; and what waited is in the drive.
func TestRollbackIsAccepted(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	other := m.another()
	d := m.mount()
	m.put("a")
	d.umount()
	d = other.mount()
	other.put("b")
	d.umount()
	d = m.mount()
	m.has("a", "b")
	d.umount()
	m.tool("cp", "-a", m.store, m.at("old"))
	d = m.mount()
	m.put("c")
	must(t, os.Remove(m.in("a")))
	d.umount()
	d = other.mount()
	other.has("b", "c")
	d.umount()
	d = m.mount("--test-store-delay", "1h", "--drain-timeout", "0")
	m.put("waits")
	d.kill()
	m.detach()
	same := m.heads(0)
	if same.Setback != nil || same.Store.Slot != same.Machine.Slot || len(same.Store.Words) != 8 {
		t.Errorf("%+v", same)
	}
	now := strings.Join(same.Store.Words, " ")
	if h := other.heads(0, "--compare", now); h.Compared != "same" || h.Slot != same.Store.Slot {
		t.Errorf("%+v", h)
	}

	must(t, os.RemoveAll(m.store))
	must(t, os.Rename(m.at("old"), m.store))
	for _, who := range []*machine{m, other} {
		who.refused(12, []string{"older state", "missing: ", "device 1", "accept-rollback"}, who.mountArgs()...)
	}
	h := m.heads(12)
	if h.Setback == nil || h.Setback.Missing.Slots == 0 {
		t.Errorf("%+v", h)
	}
	m.heads(12, "--compare", now) // and unknown to the store

	d = m.mount("--older")
	m.has("a", "b")
	if err := os.WriteFile(m.in("x"), nil, 0o600); err == nil {
		t.Error("it can be written to")
	}
	if s := d.m.status()[0].Volume; s.Stopped == "" || s.Stored {
		t.Errorf("%+v", s)
	}
	d.kill()
	m.detach()

	// Nobody is there to type, and other words are another state.
	accept := []string{"accept-rollback", "--passphrase-file", m.pass}
	m.refused(19, []string{"nothing was accepted", "--confirm"}, append(accept, m.store)...)
	m.refused(19, []string{"nothing was accepted", "words"}, append(accept, "--confirm", now, m.store)...)
	m.refused(12, []string{"older state"}, m.mountArgs()...)

	words := strings.Join(h.Store.Words, " ")
	said := m.ok(append(accept, "--confirm", words, m.store)...)
	for _, line := range []string{"missing  /c", "back     /a", "in the journal of this machine", "Accepted. This machine is device 3"} {
		if !strings.Contains(said, line) {
			t.Errorf("%q is not in:\n%s", line, said)
		}
	}
	d = m.mount()
	m.has("a", "b", "waits")
	d.umount()
	if h := m.heads(0); len(h.Accepted) != 1 || h.Accepted[0].From <= h.Accepted[0].To {
		t.Errorf("%+v", h.Accepted)
	}
	m.ok("fsck", "--passphrase-file", m.pass, m.store)
	if said := m.ok(append(accept, m.store)...); !strings.Contains(said, "nothing to accept") {
		t.Error(said)
	}

	other.refused(12, []string{"history"}, other.mountArgs()...)
	words = strings.Join(m.heads(0).Store.Words, " ")
	other.ok("accept-rollback", "--passphrase-file", other.pass, "--confirm", words, other.store)
	d = other.mount()
	other.has("a", "b", "waits")
	d.umount()
	third := m.another()
	d = third.mount()
	third.has("a", "b", "waits")
	d.umount()
}
