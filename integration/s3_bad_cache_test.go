package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cacheDir is the folder of the machine's cache of its drive.
func (m *machine) cacheDir() string {
	m.t.Helper()
	return m.at("cache", "hushfs", filepath.Base(m.stateDir()))
}

// The cache of another drive, or of the same one on another machine, in the place
// of the own: nothing of it is believed, and nothing is missed.
func TestForeignCache(t *testing.T) {
	t.Parallel()
	m, other := storeOfPieces(t), storeOfPieces(t)
	n := m.another()
	for _, c := range []struct {
		name string
		from *machine
	}{{"of another drive", other}, {"of another machine", m}} {
		d := n.mount()
		if o := readPieces(t, n); o.good != damageFiles {
			t.Fatalf("%+v", o)
		}
		d.umount()
		must(t, os.RemoveAll(n.cacheDir()))
		n.tool("cp", "-a", c.from.cacheDir(), n.cacheDir())
		d = n.mount()
		if o := readPieces(t, n); o.good != damageFiles {
			t.Errorf("with the cache %s: %+v", c.name, o)
		}
		if v := n.status()[0].Volume; len(v.Damaged) > 0 || v.Stopped != "" {
			t.Errorf("with the cache %s: %+v", c.name, v)
		}
		must(t, writeSynced(n.in("more"), os.O_CREATE, pattern(9, 0, 700_000)))
		d = d.remount()
		if string(read(t, d.m.in("more"))) != string(pattern(9, 0, 700_000)) {
			t.Errorf("with the cache %s: what was written differs", c.name)
		}
		d.umount()
	}
}

// A disk for the cache that is full: the drive works as if it had none.
func TestCacheOnAFullDisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := storeOfPieces(t)
	n := m.another()
	disk := n.mkdir("cache")
	must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=2m,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	filler, err := os.Create(filepath.Join(disk, "filler"))
	must(t, err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	must(t, filler.Close())
	d := n.mount()
	if o := readPieces(t, n); o.good != damageFiles {
		t.Errorf("%+v", o)
	}
	must(t, writeSynced(n.in("more"), os.O_CREATE, pattern(9, 0, 700_000)))
	n.ok("wait", n.mnt)
	if v := n.status()[0].Volume; len(v.Damaged) > 0 || v.Stopped != "" || !v.Stored {
		t.Errorf("%+v", v)
	}
	d.umount()
	e := m.another().mount()
	if string(read(t, e.m.in("more"))) != string(pattern(9, 0, 700_000)) {
		t.Error("what was written differs on another machine")
	}
	e.umount()
}

// A cache folder that cannot be written: the drive is mounted without, and says so.
func TestCacheThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := storeOfPieces(t)
	for name, spoil := range map[string]func(disk string){
		"read-only disk": func(disk string) {
			must(t, unix.Mount("tmpfs", disk, "tmpfs", unix.MS_RDONLY, "size=2m,mode=700"))
			t.Cleanup(func() { must(t, unix.Unmount(disk, unix.MNT_DETACH)) })
		},
		"a file": func(disk string) {
			must(t, os.Remove(disk))
			must(t, os.WriteFile(disk, nil, 0o600))
		},
	} {
		n := m.another()
		spoil(n.mkdir("cache"))
		d := n.mount()
		if o := readPieces(t, n); o.good != damageFiles {
			t.Errorf("%s: %+v", name, o)
		}
		if v := n.status()[0].Volume; len(v.Warnings) == 0 || !strings.Contains(v.Warnings[0], "cache") {
			t.Errorf("%s: warnings %q", name, v.Warnings)
		}
		must(t, writeSynced(n.in("more"), os.O_CREATE, pattern(9, 0, 700_000)))
		d.umount()
	}
}
