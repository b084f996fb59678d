package integration

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// headers lists the drive headers in the store.
func (m *machine) headers() []string {
	m.t.Helper()
	all, err := filepath.Glob(filepath.Join(m.store, "v0", "h", "*"))
	if err != nil || len(all) == 0 {
		m.t.Fatalf("headers: %v, %v", all, err)
	}
	return all
}

// loseHeaders takes those from the store that are not among old.
func (m *machine) loseHeaders(old []string) {
	m.t.Helper()
	lost := slices.DeleteFunc(m.headers(), func(h string) bool { return slices.Contains(old, h) })
	if len(lost) == 0 {
		m.t.Fatal("no newer header: this shows nothing")
	}
	for _, h := range lost {
		must(m.t, os.Remove(h))
	}
}

// A store that shows an older drive header than the machine saw is looked at with the
// machine's own copy, also when the store was set back below that and the machine was
// removed there: what it is told to do is what works.
func TestOlderHeaderIsLookedAt(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	first := m.headers()
	d := m.mount()
	m.put("a")
	d.umount()
	m.tool("cp", "-a", m.store, m.at("old"))
	m.loseHeaders(first)
	m.refused(12, []string{"older drive header", "hushfs mount --older STORE DIR", "hushfs accept-rollback STORE"}, m.mountArgs()...)
	look := func(flags ...string) {
		t.Helper()
		d := m.mount(flags...)
		m.has("a")
		if err := os.WriteFile(m.in("x"), nil, 0o600); err == nil {
			t.Error("it can be written to")
		}
		d.umount()
	}
	look("--read-only")
	look("--older")
	m.ok("accept-rollback", "--passphrase-file", m.pass, m.store)
	d = m.mount()
	m.put("b")
	d.umount()

	m.swapStore("old", "new")
	other := m.another()
	other.ok("device", "remove", "--yes", "--leaked", "no", "--passphrase-file", other.pass, other.store, "1")
	m.loseHeaders(first)
	m.refused(21, []string{"removed", "hushfs mount --read-only STORE DIR"}, "accept-rollback", "--passphrase-file", m.pass, m.store)
	look("--read-only")
}
