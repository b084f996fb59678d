package integration

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Who waits for a store that is full is told so, and to make room in it: a sync that is not
// to wait at once, a wait when its time is over. Status says it too. With room all goes on.
func TestStoreIsFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := newMachine(t)
	must(t, os.Mkdir(m.store, 0o700))
	must(t, unix.Mount("tmpfs", m.store, "tmpfs", 0, "size=20m,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(m.store, unix.MNT_DETACH)) })
	m.init()
	d := m.mount()
	const files = 10
	for i := range files {
		must(t, os.WriteFile(m.in(fmt.Sprint("f", i)), pattern(uint64(i), 0, 3<<20), 0o644))
	}
	full := []string{"store is full", "make room in the store"}
	m.refused(11, full, "sync", m.mnt)
	m.refused(11, append(full, "wait"), "wait", "--timeout", "5s", m.mnt)
	m.refused(11, full, "sync", "--timeout", "5s", m.mnt)
	if v := m.status()[0].Volume; v.NotTaken == "" || v.Stored || v.Offline != "" {
		t.Errorf("%+v", v)
	}
	must(t, unix.Mount("", m.store, "", unix.MS_REMOUNT, "size=100m,mode=700"))
	m.ok("sync", m.mnt)
	if v := m.status()[0].Volume; v.NotTaken != "" || !v.Stored {
		t.Errorf("with room: %+v", v)
	}
	d = d.remount()
	for i := range files {
		if got := read(t, d.m.in(fmt.Sprint("f", i))); string(got) != string(pattern(uint64(i), 0, 3<<20)) {
			t.Errorf("f%d differs", i)
		}
	}
	d.umount()
}
