package integration

import (
	"encoding/json"
	"strings"
	"testing"
)

// What waits on a machine is neither shown nor sent by a mount of an older store; whoever
// unmounts that, or waits for it, hears so. When the store is what it was, it is sent.
func TestOlderMountKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	m := newSetback(t)

	// With nothing that waits there is nothing to hold back.
	d := m.mount("--older")
	m.has("a")
	m.ok("wait", m.in("a"))
	if said := m.ok("umount", m.mnt); !strings.Contains(said, "still without what this machine knows of") {
		t.Errorf("umount says %q", said)
	}
	if code := d.await(); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}

	m.swapStore("new", "old")
	d = m.mount("--test-store-delay", "1h", "--drain-timeout", "0")
	m.put("waits")
	d.kill()
	m.detach()
	m.swapStore("old", "new")

	for _, flags := range [][]string{nil, {"--no-wait"}, {"--timeout", "1m"}} {
		d = m.mount("--older")
		m.has("a")
		if len(flags) == 0 {
			m.refused(14, []string{"not everything is in the store", "read-only", "next mount that may write"}, "wait", m.mnt)
			r := m.run("sync", m.mnt)
			checkRefusal(t, r, 12, []string{"older state", "accept-rollback"})
			if strings.Contains(r.stderr, "Nothing was mounted") {
				t.Errorf("of a mount it is said: %s", r.stderr)
			}
		}
		r := m.run(append(append([]string{"umount"}, flags...), m.mnt)...)
		checkRefusal(t, r, 14, []string{"read-only", "not everything is in the store", "safe"})
		if strings.Contains(r.stderr, "goes on to send") {
			t.Errorf("%v: of a read-only mount it is said: %s", flags, r.stderr)
		}
		d.await()
		if mounted(m.mnt) {
			t.Fatal("still mounted")
		}
	}
	d = m.mount("--older")
	r := m.run("umount", "--json", m.mnt)
	var said struct {
		Error struct {
			Code          int
			Message, Next string
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil || r.code != 14 || said.Error.Code != 14 || said.Error.Next == "" {
		t.Errorf("exit code %d, %v: %s", r.code, err, r.stdout)
	}
	d.await()

	m.swapStore("new", "old")
	d = m.mount("--read-only") // as far as it is here, it is shown
	m.has("a", "b", "waits")
	for _, path := range []string{m.mnt, m.in("waits")} {
		m.refused(14, []string{"not everything is in the store", "read-only"}, "wait", path)
	}
	m.ok("wait", m.in("b"))
	m.refused(14, []string{"read-only", "journal of this machine"}, "umount", m.mnt)
	d.await()
	d = m.mount()
	m.has("a", "b", "waits")
	m.ok("wait", m.mnt)
	d.umount()
	m.ok("fsck", "--passphrase-file", m.pass, m.store)
}
