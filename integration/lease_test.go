package integration

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// leasedByOther is the exit code of hushfs lease when another machine has it.
const leasedByOther = 24

// lease is what the tests want to know of one.
type lease struct {
	Path   string `json:"path"`
	Device string `json:"device_name"`
	This   bool   `json:"this"`
	Taken  bool   `json:"taken"`
}

// leases are those that a machine knows.
func (m *machine) leases() (all []lease) {
	m.t.Helper()
	must(m.t, json.Unmarshal([]byte(m.ok("lease", "--list", "--json", m.mnt)), &all))
	return all
}

// refuses wants a file not to be opened for writing.
func refuses(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o600)
	if err == nil {
		f.Close()
	}
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("opened for writing: %v", err)
	}
}

// TestLease has two machines want one database, through two mounts of the real kernel.
func TestLease(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	p := &pair{t, here, there, "db"}
	must(t, os.MkdirAll(there.in("db", "deep"), 0o755))
	must(t, os.WriteFile(there.in("db", "data"), pattern(1, 0, 9000), 0o644))
	must(t, os.WriteFile(there.in("db", "deep", "more"), pattern(2, 0, 9000), 0o644))
	p.synced()

	// Written here before it is known that there has it.
	open, err := os.OpenFile(here.in("db", "data"), os.O_RDWR, 0)
	must(t, err)
	defer open.Close()
	if text := there.ok("lease", there.in("db")); !strings.Contains(text, "Leased to this machine: /db") {
		t.Error(text)
	}
	_, err = open.WriteAt([]byte("late"), 0)
	must(t, err)
	must(t, open.Close())
	must(t, os.Remove(here.in("db", "deep", "more")))
	p.synced()
	p.synced()
	for _, m := range []*machine{here, there} {
		if got := read(t, m.in("db", "data")); string(got) != string(pattern(1, 0, 9000)) {
			t.Errorf("%s: what is leased was changed", filepath.Base(m.mnt))
		}
		if _, err := os.Stat(m.in("db", "deep", "more")); err != nil {
			t.Error(err)
		}
	}
	late := append([]byte("late"), pattern(1, 0, 9000)[4:]...)
	if copies := holding(t, there.mnt, late); copies != 1 {
		t.Errorf("what was written late is in %d files", copies)
	}

	// Now it is known.
	for _, name := range []string{"data", "deep/more"} {
		refuses(t, here.in("db", name), os.O_RDWR)
		refuses(t, here.in("db", name), os.O_WRONLY|os.O_TRUNC)
	}
	for what, err := range map[string]error{
		"remove": os.Remove(here.in("db", "data")), "rename": os.Rename(here.in("db", "data"), here.in("x")),
		"over": os.Rename(here.in("mine"), here.in("db", "data")), "chmod": os.Chmod(here.in("db", "data"), 0o600),
		"truncate": os.Truncate(here.in("db", "data"), 3), "xattr": unix.Setxattr(here.in("db", "data"), "user.x", []byte("1"), 0),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !strings.Contains(dHere.logged(), "another device has a lease") {
		t.Error("the log says nothing of it")
	}
	must(t, os.WriteFile(there.in("db", "data"), pattern(3, 0, 500), 0o644))
	must(t, os.WriteFile(there.in("db", "journal"), pattern(4, 0, 500), 0o644))
	must(t, os.Mkdir(there.in("db", "deep", "deeper"), 0o755))
	must(t, os.WriteFile(there.in("db", "deep", "deeper", "f"), pattern(5, 0, 500), 0o644))
	p.synced()
	if got := read(t, here.in("db", "data")); string(got) != string(pattern(3, 0, 500)) {
		t.Error("what the holder wrote is not here")
	}
	refuses(t, here.in("db", "journal"), os.O_RDWR)
	refuses(t, here.in("db", "deep", "deeper", "f"), os.O_RDWR)
	must(t, os.WriteFile(here.in("db", "a new one"), nil, 0o644))
	here.refused(leasedByOther, nil, "lease", here.in("db"))
	here.refused(leasedByOther, nil, "lease", "--steal", "nobody", here.in("db"))
	holder := there.leases()
	if len(holder) != 1 || !holder[0].This || holder[0].Path != "/db" {
		t.Errorf("%+v", holder)
	}
	if l := here.leases(); len(l) != 1 || l[0].This || l[0].Device != holder[0].Device || l[0].Taken {
		t.Errorf("%+v", l)
	}

	// Taken away: what there wrote and has not sent becomes a copy.
	must(t, os.WriteFile(there.in("other"), nil, 0o644))
	here.ok("lease", "--steal", holder[0].Device, here.in("db"))
	p.synced()
	refuses(t, there.in("db", "data"), os.O_RDWR)
	must(t, os.WriteFile(here.in("db", "data"), pattern(6, 0, 700), 0o644))
	p.synced()
	if l := there.leases(); len(l) != 1 || l[0].This || !l[0].Taken {
		t.Errorf("%+v", l)
	}
	there.refused(1, nil, "lease", "--release", there.in("db"))

	// Given back: anybody may write.
	here.ok("lease", "--release", here.in("db"))
	p.synced()
	must(t, os.WriteFile(there.in("db", "data"), pattern(7, 0, 800), 0o644))
	p.synced()
	if got := read(t, here.in("db", "data")); string(got) != string(pattern(7, 0, 800)) {
		t.Error("what was written after it was given back is not here")
	}
	if l := here.leases(); len(l) != 0 {
		t.Errorf("%+v", l)
	}
	dHere.umount()
	dThere.umount()
	here.fsck(0, "--data")
}

// holding counts the files below a folder that hold exactly b.
func holding(t *testing.T, dir string, b []byte) (n int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if got, rerr := os.ReadFile(path); rerr == nil && string(got) == string(b) {
				n++
			}
		}
		return err
	}))
	return n
}
