package integration

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The kernel cannot hand over what a program wrote before its machine was removed. Who
// waits for it, or syncs, hears why, and not that a folder must be writable.
func TestSyncOfARemovedMachine(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	n := m.another()
	e := n.mount("--poll", "100ms")
	n.put("b")
	n.ok("wait", n.mnt)
	f, err := os.Create(n.in("open"))
	must(t, err)
	defer f.Close()
	_, err = f.Write([]byte("x"))
	must(t, err)
	must(t, f.Sync())
	m.ok("device", "remove", "--yes", "--leaked", "no", m.mnt, "2")
	eventually(t, "it is told", time.Minute, func() bool {
		_, _ = f.WriteAt([]byte("later"), 0) // the kernel keeps it
		return strings.Contains(n.status()[0].Volume.Stopped, "removed")
	})
	for _, command := range []string{"sync", "wait"} {
		n.refused(21, []string{"removed", "export-pending", "rejoin"}, command, "--timeout", "30s", n.mnt)
	}
	e.kill()
	n.detach()
	d.umount()
}
