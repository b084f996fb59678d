package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// listedDevice is a device as hushfs device list --json shows it.
type listedDevice struct {
	Number  int       `json:"number"`
	Name    string    `json:"name"`
	This    bool      `json:"this"`
	Since   time.Time `json:"enrolled_at"`
	Removed uint64    `json:"removed_slot"`
	Seen    uint64    `json:"seen_slot"`
	SeenAt  time.Time `json:"seen_at"`
	Program string    `json:"program"`
	Hash    string    `json:"hash"`
	Odd     bool      `json:"odd"`
}

// devices lists the devices of the machine's drive, by STORE or by the folder.
func (m *machine) devices(at string, flags ...string) map[int]listedDevice {
	m.t.Helper()
	var r struct {
		Devices []listedDevice `json:"devices"`
	}
	args := append([]string{"--json", "device", "list", "--passphrase-file", m.pass}, append(flags, at)...)
	must(m.t, json.Unmarshal([]byte(m.ok(args...)), &r))
	out := map[int]listedDevice{}
	for _, d := range r.Devices {
		out[d.Number] = d
	}
	return out
}

// onStores runs a test on a folder and on MinIO.
func onStores(t *testing.T, test func(t *testing.T, m *machine)) {
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		test(t, newDrive(t))
	})
	t.Run("MinIO", func(t *testing.T) {
		t.Parallel()
		test(t, driveAt(t, s3test.Start(t, s3test.MinIO)))
	})
}

// A machine that was removed while it was away: told, shown what there is, given what
// it had not sent, and let in anew.
func TestDeviceRemovedWhileAway(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, m *machine) {
		d := m.mount()
		m.put("a")
		m.ok("wait", m.mnt)
		n := m.another()
		e := n.mount()
		n.put("b")
		n.ok("wait", n.mnt)
		e.kill()
		n.detach()
		e = n.mount("--test-store-delay", "1h", "--drain-timeout", "0")
		must(t, os.Mkdir(n.in("folder"), 0o755))
		must(t, writeSynced(n.in("folder", "late"), os.O_CREATE, pattern(1, 0, 5<<20)))
		must(t, os.Remove(n.in("a")))
		must(t, syncFolder(n.mnt))
		e.kill()
		n.detach()

		l := m.devices(m.mnt)
		if len(l) != 2 || !l[1].This || l[2].This || l[2].Seen == 0 || l[2].SeenAt.IsZero() || l[2].Since.IsZero() || l[1].Hash == "" || l[1].Hash != l[2].Hash || l[2].Odd || !strings.Contains(l[2].Program, "linux/") {
			t.Errorf("devices %+v", l)
		}
		m.ok("device", "rename", "--passphrase-file", m.pass, m.mnt, "2", "kitchen")
		m.refused(2, []string{"--leaked"}, "device", "remove", "--yes", m.mnt, "2")
		m.refused(2, []string{"no device 7"}, "device", "remove", "--yes", "--leaked", "no", m.mnt, "7")
		m.refused(2, []string{"cannot remove itself"}, "device", "remove", "--yes", "--leaked", "no", m.mnt, "1")
		m.refused(2, []string{"question"}, "device", "remove", m.mnt, "2")
		out := m.ok("device", "remove", "--yes", "--leaked", "yes", m.mnt, "2")
		for _, words := range []string{"rotate", "read what is written from now on", "make a new drive"} {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), words) {
				t.Errorf("it does not say %q: %s", words, out)
			}
		}
		m.put("c") // under the new key
		m.ok("wait", m.mnt)
		if l := m.devices(m.mnt); len(l) != 1 {
			t.Errorf("devices %+v", l)
		}
		if l := m.devices(m.mnt, "--all"); len(l) != 2 || l[2].Removed == 0 || l[2].Name != "kitchen" {
			t.Errorf("all devices %+v", l)
		}

		n.refused(21, []string{"removed", "device 2 (kitchen)", "export-pending", "rejoin", "--read-only"}, n.mountArgs()...)
		if mounted(n.mnt) {
			t.Error("it is mounted")
		}
		e = n.mount("--read-only")
		if s := string(read(t, n.in("c"))); s != "of c" {
			t.Errorf("c reads %q", s)
		}
		if err := os.WriteFile(n.in("more"), nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("create: %v", err)
		}
		n.refused(14, []string{"nobody will take", "export-pending"}, "umount", n.mnt)
		e.await()
		n.refused(21, []string{"export-pending", "--discard"}, "device", "rejoin", "--yes", "--passphrase-file", n.pass, n.store)
		to := n.at("rescued")
		var x struct {
			Files   int      `json:"files"`
			Bytes   int64    `json:"bytes"`
			Removed []string `json:"removed"`
		}
		must(t, json.Unmarshal([]byte(n.ok("--json", "device", "export-pending", "--passphrase-file", n.pass, n.store, to)), &x))
		if x.Files != 1 || x.Bytes != 5<<20 || len(x.Removed) != 1 || x.Removed[0] != "/a" {
			t.Errorf("exported %+v", x)
		}
		if string(read(t, to+"/folder/late")) != string(pattern(1, 0, 5<<20)) {
			t.Error("what was exported differs")
		}
		n.ok("device", "rejoin", "--yes", "--passphrase-file", n.pass, n.store)
		e = n.mount()
		n.has("a", "b", "c")
		n.put("d")
		if got := n.device(); got != 3 {
			t.Errorf("it is device %d", got)
		}
		e.umount()
		d = d.remount()
		d.m.has("a", "b", "c", "d")
		d.umount()
		m.ok("fsck", "--data", "--passphrase-file", m.pass, m.store)
	})
}

// A machine at work learns that it was removed, and sends nothing more.
func TestDeviceRemovedWhileMounted(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	m.ok("wait", m.mnt)
	n := m.another()
	e := n.mount("--poll", "100ms")
	n.put("b")
	n.ok("wait", n.mnt)
	m.ok("device", "remove", "--yes", "--leaked", "no", m.mnt, "2")
	eventually(t, "it is told", time.Minute, func() bool {
		_ = os.WriteFile(n.in("late"), []byte("x"), 0o644) // until it is refused
		return strings.Contains(n.status()[0].Volume.Stopped, "removed")
	})
	if err := os.WriteFile(n.in("later"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("create: %v", err)
	}
	if s := string(read(t, n.in("a"))); s != "of a" {
		t.Errorf("a reads %q", s)
	}
	r := n.run("umount", n.mnt)
	if r.code != 0 && r.code != 21 && r.code != 14 {
		t.Errorf("umount ended with %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	e.await()
	n.refused(21, []string{"removed"}, n.mountArgs()...)
	if _, err := os.Stat(m.in("later")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what came after is in the drive: %v", err)
	}
	d.umount()
}

// The epoch turns while a machine with much to send is off line; it comes back, and is
// killed at each step of sealing that again and of sending it.
func TestEpochTurnedWhileOffLine(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	n, gone := m.another(), m.another()
	e := gone.mount()
	gone.put("theirs")
	e.umount()
	e = n.mount()
	n.put("first")
	e.umount()
	e = n.mount("--test-store-delay", "1h", "--drain-timeout", "0")
	want := map[string]uint64{}
	for i := range uint64(4) {
		name := fmt.Sprint("big", i)
		must(t, writeSynced(n.in(name), os.O_CREATE, pattern(i, 0, 5<<20)))
		want[name] = i
	}
	must(t, syncFolder(n.mnt))
	e.kill()
	n.detach()
	l := m.devices(m.store)
	no := 0
	for _, d := range l {
		if !d.This && d.Number == 2 {
			no = d.Number
		}
	}
	m.ok("device", "remove", "--yes", "--leaked", "no", "--passphrase-file", m.pass, m.store, itoa(no))
	for _, step := range []string{"pack.synced", "pack.resealed:2", "pack.renamed", "pack.replaced:3", "sync.attempt", "sync.taken"} {
		e := n.start([]string{"HUSHFS_FAILPOINT=" + step}, n.mountArgs()...)
		eventually(t, "it is killed at "+step, time.Minute, e.ended)
		n.detach()
	}
	e = n.mount()
	for name, i := range want {
		if string(read(t, n.in(name))) != string(pattern(i, 0, 5<<20)) {
			t.Errorf("%s differs", name)
		}
	}
	e = e.remount()
	for name, i := range want {
		if string(read(t, e.m.in(name))) != string(pattern(i, 0, 5<<20)) {
			t.Errorf("%s differs on another machine", name)
		}
	}
	e.umount()
	m.ok("fsck", "--data", "--passphrase-file", m.pass, m.store)
}

// Killed at each step of a removal, the command once more, or any mount, ends it.
func TestRemovalIsKilled(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	for i, step := range []string{"device.begin", "sync.attempt", "sync.put", "sync.taken", "sync.remembered", "sync.settled", "device.done", "fold.hinted", "device.led"} {
		n := m.another()
		d := n.mount()
		n.put(fmt.Sprint("of", i))
		no := n.device()
		d.umount()
		args := []string{"device", "remove", "--yes", "--leaked", "no", "--passphrase-file", m.pass, m.store, itoa(no)}
		if r := m.runWith([]string{"HUSHFS_FAILPOINT=" + step}, args...); r.code != -1 {
			t.Fatalf("at %s it ended with %d\n%s%s", step, r.code, r.stdout, r.stderr)
		}
		m.ok(args...)
		if l := m.devices(m.store, "--all"); l[no].Removed == 0 {
			t.Errorf("killed at %s: %+v", step, l[no])
		}
		n.refused(21, []string{"removed"}, n.mountArgs()...)
	}
	m.ok("fsck", "--data", "--passphrase-file", m.pass, m.store)
}

// A state folder is copied from a machine that has the drive mounted, and both work on:
// no number is used twice, and nothing of either is lost.
func TestClonedWhileMounted(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, m *machine) {
		d := m.mount()
		m.put("before")
		n := m.another()
		m.tool("cp", "-a", m.at("state"), n.at("state"))
		e := n.mount()
		for i := range 5 {
			m.put(fmt.Sprint("mine", i))
			n.put(fmt.Sprint("theirs", i))
		}
		m.ok("wait", m.mnt)
		n.ok("wait", n.mnt)
		if a, b := m.device(), n.device(); a == b {
			t.Errorf("both are device %d", a)
		}
		inodes := map[uint64]string{}
		third := m.another()
		f := third.mount()
		all := []string{"before"}
		for i := range 5 {
			all = append(all, fmt.Sprint("mine", i), fmt.Sprint("theirs", i))
		}
		third.has(all...)
		for _, name := range all {
			i, err := os.Stat(third.in(name))
			must(t, err)
			ino := i.Sys().(*syscall.Stat_t).Ino
			if other, ok := inodes[ino]; ok {
				t.Errorf("%s and %s are inode %d", name, other, ino)
			}
			inodes[ino] = name
		}
		f.umount()
		e.umount()
		d.umount()
		m.ok("fsck", "--data", "--passphrase-file", m.pass, m.store)
	})
}

// systemUser is a user that every Linux has, beside nobody: fusermount3 asks for names.
const systemUser = 1

// Two people, with other numbers on their machines, see what either made as theirs, and
// may do with it what an owner may.
func TestOwnFilesOnTwoMachines(t *testing.T) {
	needRoot(t)
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	a := newMachineOf(t, systemUser)
	a.store, a.settings = machineAt(t, server).store, settings(server)
	a.init()
	b := newMachineOf(t, nobody)
	b.store, b.settings = a.store, a.settings
	d, e := a.mount("--poll", "100ms"), b.mount("--poll", "100ms")
	p, q := a.puppet(systemUser), b.puppet(nobody)
	p.want(0, create(a.in("hers"), 0o600))
	p.want(0, order{Do: "pwrite", ID: 1, Text: "from her"})
	p.want(0, order{Do: "close", ID: 1})
	a.ok("wait", a.mnt)
	eventually(t, "he sees it", time.Minute, func() bool {
		return q.do(order{Do: "stat", Path: b.in("hers")}).Errno == 0
	})
	q.shown(b.in("hers"), nobody, nobody)
	p.shown(a.in("hers"), systemUser, systemUser)
	q.want(0, openTo(b.in("hers"), unix.O_RDWR))
	q.want(0, order{Do: "close", ID: 2})
	q.want(0, order{Do: "chmod", Path: b.in("hers"), N: []int64{0o640}})
	q.want(0, create(b.in("his"), 0o600))
	q.want(0, order{Do: "close", ID: 1})
	b.ok("wait", b.mnt)
	eventually(t, "she sees it", time.Minute, func() bool {
		r := p.do(order{Do: "stat", Path: a.in("hers")})
		return p.do(order{Do: "stat", Path: a.in("his")}).Errno == 0 && r.Errno == 0 && r.N[0]&0o777 == 0o640
	})
	p.shown(a.in("his"), systemUser, systemUser)
	p.want(0, order{Do: "rename", Path: a.in("his"), New: a.in("ours")})
	p.shown(a.in("ours"), systemUser, systemUser)
	p.end()
	q.end()
	d.umount()
	e.umount()
}
