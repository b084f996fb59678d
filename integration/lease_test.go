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

// TestLeaseGivenBackUnseen has a machine that was not told yet that another gave a lease
// back: before it refuses, and advises to take it away, it asks the store.
func TestLeaseGivenBackUnseen(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount("--poll", hour)
	must(t, os.Mkdir(there.in("db"), 0o755))
	there.ok("lease", there.in("db"))
	here.ok("sync", here.mnt)
	here.refused(leasedByOther, []string{"is leased by", "--steal"}, "lease", here.in("db"))
	there.ok("lease", "--release", there.in("db"))
	if l := here.leases(); len(l) != 1 {
		t.Fatalf("it is known already: %+v", l)
	}
	if text := here.ok("lease", here.in("db")); !strings.Contains(text, "Leased to this machine: /db") {
		t.Error(text)
	}
	dHere.umount()
	dThere.umount()
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

// TestLeaseWhileOpen leases a folder while files in it are open, mapped and written on the
// other machine, through the kernel's cache: what comes late is kept beside them, and
// nothing stops.
func TestLeaseWhileOpen(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	p := &pair{t, here, there, "db"}
	must(t, os.Mkdir(there.in("db"), 0o755))
	names := []string{"written", "both", "mapped", "only read", "cut", "closed"}
	base := map[string][]byte{}
	for i, name := range names {
		base[name] = pattern(uint64(i), 0, 3*4096)
		must(t, os.WriteFile(there.in("db", name), base[name], 0o644))
	}
	p.synced()
	open := map[string]*os.File{}
	for _, name := range names {
		flags := os.O_RDWR
		if name == "only read" {
			flags = os.O_RDONLY
		}
		f, err := os.OpenFile(here.in("db", name), flags, 0)
		must(t, err)
		defer f.Close()
		open[name] = f
	}
	mapped, err := unix.Mmap(int(open["mapped"].Fd()), 0, 3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	mapped[0] = base["mapped"][0] // the page is there, and may be written
	_, err = open["both"].WriteAt([]byte("early"), 0)
	must(t, err)
	there.ok("lease", there.in("db"))
	here.ok("sync", here.mnt)
	refuses(t, here.in("db", "written"), os.O_RDWR)

	// Now it is known here, and the kernel has what is written all the same.
	want := map[string][]byte{}
	late := func(name string, at int, b string) {
		want[name] = append(append(append([]byte{}, base[name][:at]...), b...), base[name][at+len(b):]...)
	}
	late("written", 4096, "late")
	late("closed", 0, "late")
	late("mapped", 8192, "late")
	late("both", 0, "earlylate")
	for name, at := range map[string]int64{"written": 4096, "closed": 0, "both": 5} {
		_, err := open[name].WriteAt([]byte("late"), at)
		must(t, err)
	}
	copy(mapped[8192:], "late")
	must(t, open["closed"].Close())
	must(t, open["written"].Sync())
	must(t, open["both"].Sync())
	must(t, again(func() error { return unix.Msync(mapped, unix.MS_SYNC) }))
	refuses(t, here.in("db", "only read"), os.O_RDWR)
	for what, err := range map[string]error{
		"ftruncate": open["cut"].Truncate(5), "fchmod": open["cut"].Chmod(0o600),
		"fsetxattr": unix.Fsetxattr(int(open["cut"].Fd()), "user.x", []byte("1"), 0),
		"fallocate": unix.Fallocate(int(open["cut"].Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, os.WriteFile(here.in("another"), pattern(20, 0, 100), 0o644))
	p.synced()
	p.synced()
	if got := read(t, there.in("another")); string(got) != string(pattern(20, 0, 100)) {
		t.Error("what is written elsewhere does not come")
	}
	for _, m := range []*machine{here, there} {
		for _, name := range names {
			if got := read(t, m.in("db", name)); string(got) != string(base[name]) {
				t.Errorf("%s: what is leased was changed: %s", filepath.Base(m.mnt), name)
			}
		}
		for name, b := range want {
			if copies := holding(t, m.in("db"), b); copies != 1 {
				t.Errorf("%s: what was written to %q is in %d files", filepath.Base(m.mnt), name, copies)
			}
		}
		if list, err := os.ReadDir(m.in("db")); err != nil || len(list) != len(names)+len(want) {
			t.Errorf("%s: %d names in the folder: %v", filepath.Base(m.mnt), len(list), err)
		}
	}
	if text := here.ok("conflicts", here.mnt); strings.Count(text, "written") == 0 {
		t.Errorf("nothing is told: %s", text)
	}

	// Who has it open goes on with the copy, and the holder with what it leased.
	copy(mapped, "more")
	must(t, again(func() error { return unix.Msync(mapped, unix.MS_SYNC) }))
	copy(want["mapped"], "more")
	_, err = open["written"].WriteAt([]byte("more"), 0)
	must(t, err)
	copy(want["written"], "more")
	got := make([]byte, len(want["written"]))
	_, err = open["written"].ReadAt(got, 0)
	must(t, err)
	if string(got) != string(want["written"]) {
		t.Error("the handle shows something else than the copy")
	}
	must(t, os.WriteFile(there.in("db", "written"), pattern(30, 0, 500), 0o644))
	p.synced()
	must(t, unix.Munmap(mapped))
	for _, f := range open {
		f.Close()
	}
	p.synced()
	for _, m := range []*machine{here, there} {
		if got := read(t, m.in("db", "written")); string(got) != string(pattern(30, 0, 500)) {
			t.Error("what the holder wrote is not there")
		}
	}
	dHere.umount()
	dHere = here.mount()
	p.synced()
	for _, m := range []*machine{here, there} {
		for name, b := range want {
			if copies := holding(t, m.in("db"), b); copies != 1 {
				t.Errorf("%s, mounted anew: what was written to %q is in %d files", filepath.Base(m.mnt), name, copies)
			}
		}
	}
	dHere.umount()
	dThere.umount()
	here.fsck(0, "--data")
}
