package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// device is the machine's number on the drive, as status shows it.
func (m *machine) device() int {
	m.t.Helper()
	s := m.status()
	if len(s) != 1 {
		m.t.Fatalf("%d mounts, want 1", len(s))
	}
	return s[0].Volume.Device
}

// put writes a file, synced, and checks that all the others are as they were put.
func (m *machine) put(name string) {
	m.t.Helper()
	must(m.t, writeSynced(m.in(name), os.O_CREATE, []byte("of "+name)))
	must(m.t, syncFolder(m.mnt))
}

// has wants exactly these files of put.
func (m *machine) has(want ...string) {
	m.t.Helper()
	entries, err := os.ReadDir(m.mnt)
	must(m.t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		if s := string(read(m.t, m.in(e.Name()))); s != "of "+e.Name() {
			m.t.Errorf("%s holds %q", e.Name(), s)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.t.Errorf("there are %v, want %v", got, want)
	}
}

// swapStore has the store be one that lies at the machine; what it was is put aside there.
func (m *machine) swapStore(from, aside string) {
	m.t.Helper()
	must(m.t, os.Rename(m.store, m.at(aside)))
	must(m.t, os.Rename(m.at(from), m.store))
}

// newSetback is a machine that has put a into its drive, and b, and whose store is what it
// was before b: "new" is what it should be.
func newSetback(t *testing.T) *machine {
	t.Helper()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	d.umount()
	m.tool("cp", "-a", m.store, m.at("old"))
	d = m.mount()
	m.put("b")
	d.umount()
	m.swapStore("old", "new")
	return m
}

// The state folder of another drive is refused, and not touched.
func TestStateOfAnotherDrive(t *testing.T) {
	t.Parallel()
	m, other := newDrive(t), newDrive(t)
	for _, x := range []*machine{m, other} {
		d := x.mount()
		x.put("a")
		d.umount()
	}
	mine := m.stateDir()
	must(t, os.Rename(mine, mine+".aside"))
	m.tool("cp", "-a", other.stateDir(), mine)
	before := manifest(t, mine)
	m.refused(15, []string{"state", "move it away"}, m.mountArgs()...)
	sameManifest(t, "the foreign state", withoutLock(before), withoutLock(manifest(t, mine)))
	must(t, os.RemoveAll(mine))
	must(t, os.Rename(mine+".aside", mine))
	d := m.mount()
	m.has("a")
	d.umount()
}

// withoutLock leaves out what any mount writes: lock, log and the folder's times.
func withoutLock(m map[string]string) map[string]string {
	for _, name := range []string{".", "lock", "hushfs.log"} {
		delete(m, name)
	}
	return m
}

// A machine that lost its state is a new machine: another number, all files.
func TestStateLost(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	if n := m.device(); n != 1 {
		t.Errorf("the machine that made the drive is device %d", n)
	}
	d.umount()
	must(t, os.RemoveAll(m.at("state")))
	d = m.mount()
	m.has("a")
	m.put("b")
	if n := m.device(); n != 2 {
		t.Errorf("the machine without its state is device %d, want 2", n)
	}
	d = d.remount()
	d.m.has("a", "b")
	d.umount()
}

// A copy of a state folder is a new device, wherever it came from: two machines
// with one set of counters would use a number twice.
func TestStateCopied(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		copy func(t *testing.T, m *machine) *machine // is given m with nothing mounted
	}{
		{"to another machine", func(t *testing.T, m *machine) *machine {
			n := m.another()
			m.tool("cp", "-a", m.at("state"), n.at("state"))
			return n
		}},
		{"and the original removed", func(t *testing.T, m *machine) *machine {
			m.tool("cp", "-a", m.at("state"), m.at("copy"))
			must(t, os.RemoveAll(m.at("state")))
			must(t, os.Rename(m.at("copy"), m.at("state")))
			return m
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newDrive(t)
			d := m.mount()
			m.put("a")
			d.umount()
			n := c.copy(t, m)
			d = n.mount()
			n.has("a")
			n.put("b")
			if got := n.device(); got != 2 {
				t.Errorf("the copy is device %d, want 2", got)
			}
			d.umount()
			d = m.mount()
			m.has("a", "b")
			m.put("c")
			if got := m.device(); n != m && got != 1 {
				t.Errorf("the original is device %d, want 1", got)
			}
			d = d.remount()
			d.m.has("a", "b", "c")
			d.umount()
		})
	}
}

// A state folder set back to what it was, in place: the chain knows operations
// of this device that the journal does not, so its numbers are used up.
func TestStateSetBack(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	d.umount()
	m.tool("cp", "-a", m.stateDir(), m.at("old"))
	d = m.mount()
	m.put("b")
	d.umount()
	m.tool("sh", "-c", `rm -rf "$1"/* && cp -a "$2"/. "$1"`, "-", m.stateDir(), m.at("old"))
	d = m.mount()
	m.has("a", "b")
	m.put("c")
	if n := m.device(); n != 2 {
		t.Errorf("the machine with an old state is device %d, want 2", n)
	}
	d = d.remount()
	d.m.has("a", "b", "c")
	d.umount()
}

// A copy taken while changes waited sends them, as a new device. The original then
// finds its changes made already, by another, and all of it is there once.
func TestStateCopiedWithChangesWaiting(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	m.ok("wait", m.mnt)
	d.kill()
	m.detach()
	d = m.mount("--test-store-delay", "1h", "--drain-timeout", "0")
	m.put("b")
	d.kill()
	m.detach()
	n := m.another()
	m.tool("cp", "-a", m.at("state"), n.at("state"))
	d = n.mount()
	n.put("c")
	if got := n.device(); got == 1 {
		t.Error("the copy has the number of the original")
	}
	d.umount()
	d = m.mount()
	m.ok("wait", m.mnt)
	m.has("a", "b", "c")
	if got := m.device(); got != 1 {
		t.Errorf("the original is device %d", got)
	}
	d.umount()
}

// A store that was set back shows less than this machine saw: nothing is
// mounted. A new machine cannot know.
func TestStoreSetBack(t *testing.T) {
	t.Parallel()
	m := newSetback(t)
	m.refused(12, []string{"older state", "backup"}, m.mountArgs()...)
	if mounted(m.mnt) {
		t.Error("it is mounted")
	}
	m.swapStore("new", "old")
	d := m.mount()
	m.has("a", "b")
	d.umount()
}

// The disk that holds the state fills up: ENOSPC, nothing acknowledged is lost,
// and when there is room again it goes on.
func TestDiskFull(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	must(t, os.RemoveAll(m.at("state")))
	state := m.mkdir("state")
	must(t, unix.Mount("tmpfs", state, "tmpfs", 0, "size=48m,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(state, unix.MNT_DETACH)) })

	// No PUT comes back, so all stays on the disk.
	d := m.mount("--test-store-delay", "1h", "--drain-timeout", "0")
	if d.m.status()[0].Volume.Device != 0 {
		t.Fatal("the machine is a device before its first change")
	}
	d.kill()
	m.detach()
	d = m.mount() // the first change makes it a device, for which the store is needed
	m.put("first")
	d.umount()
	d = m.mount("--test-store-delay", "1h", "--drain-timeout", "0", "--full-timeout", "2s")
	written := 0
	var err error
	for ; err == nil && written < 400; written++ {
		err = writeSynced(m.in(fmt.Sprint("file", written)), os.O_CREATE, pattern(uint64(written), 0, 1<<20))
	}
	written-- // the last one failed
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("after %d MiB: %v", written, err)
	}
	if written < 16 {
		t.Errorf("full after %d MiB of 48", written)
	}
	if s := string(read(t, m.in("first"))); s != "of first" {
		t.Errorf("on a full disk a file reads %q", s)
	}
	d.kill()

	d = m.mount()
	check := func(m *machine) {
		t.Helper()
		for i := range written {
			b, err := os.ReadFile(m.in(fmt.Sprint("file", i)))
			if err != nil || string(b) != string(pattern(uint64(i), 0, 1<<20)) {
				t.Errorf("file%d, acknowledged: %d bytes, %v", i, len(b), err)
			}
		}
	}
	check(m)
	m.ok("wait", m.mnt)
	must(t, writeSynced(m.in("after"), os.O_CREATE, pattern(99, 0, 8<<20)))
	d = d.remount()
	check(d.m)
	if b := read(t, d.m.in("after")); string(b) != string(pattern(99, 0, 8<<20)) {
		t.Error("what was written when there was room again differs")
	}
	d.umount()
}

// A state folder that cannot be written to is refused in words.
func TestStateCannotBeMade(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	must(t, os.RemoveAll(m.at("state")))
	must(t, os.WriteFile(filepath.Join(m.home, "state"), nil, 0o600))
	m.refused(15, []string{"state folder", "XDG_STATE_HOME"}, m.mountArgs()...)
	n := newMachine(t)
	must(t, os.WriteFile(n.at("state"), nil, 0o600))
	n.refused(15, []string{"state folder", "XDG_STATE_HOME"}, n.initArgs()...)
	n.nothingMade()
	must(t, os.Remove(m.at("state")))
	m.mount().umount()
}

// nothingMade wants a refused init to have left neither a store nor words.
func (m *machine) nothingMade() {
	m.t.Helper()
	for _, path := range []string{m.store, m.words} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			m.t.Errorf("the refused init left %s: %v", path, err)
		}
	}
}

// Nor is a drive made where its state finds no room, or may not be written.
func TestInitWithoutRoomForItsState(t *testing.T) {
	needRoot(t)
	t.Parallel()
	for _, c := range []struct{ name, options, words string }{
		{"a full disk", "size=16k,mode=700", "Make room"},
		{"a read-only disk", "ro,size=1m,mode=700", "XDG_STATE_HOME"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			state := m.mkdir("state")
			must(t, exec.Command("mount", "-t", "tmpfs", "-o", c.options, "tmpfs", state).Run())
			t.Cleanup(func() { must(t, unix.Unmount(state, unix.MNT_DETACH)) })
			m.refused(15, []string{"state folder", c.words}, m.initArgs()...)
			m.nothingMade()
		})
	}
}

// A state folder that a newer hushfs has written is refused as that, and not touched: what
// waits in it is for the newer one.
func TestStateOfANewerVersion(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	d.umount()
	for _, file := range []string{"state", "secret"} {
		path := filepath.Join(m.stateDir(), file)
		was := read(t, path)
		b := slices.Clone(was)
		b[7]++ // the last of the magic
		must(t, os.WriteFile(path, b, 0o600))
		before := manifest(t, m.stateDir())
		m.refused(6, []string{"newer", "Keep the state folder"}, m.mountArgs()...)
		sameManifest(t, file+" of a newer version", withoutLock(before), withoutLock(manifest(t, m.stateDir())))
		must(t, os.WriteFile(path, was, 0o600))
	}
	d = m.mount()
	m.has("a")
	d.umount()
}
