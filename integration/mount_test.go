package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// mount in the background returns when the mount answers, and the daemon goes on.
func TestMountInTheBackground(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	var printed struct {
		Mounted status `json:"mounted"`
	}
	out := m.ok(append([]string{"--json"}, m.mountArgs()...)...)
	must(t, json.Unmarshal([]byte(out), &printed))
	r := printed.Mounted
	if r.Mountpoint != m.mnt || !alive(r.PID) {
		t.Fatalf("mount says %s", out)
	}
	t.Cleanup(func() {
		if alive(r.PID) {
			must(t, syscall.Kill(r.PID, syscall.SIGKILL))
		}
	})
	must(t, writeSynced(m.in("file"), os.O_CREATE, []byte("hello")))
	m.ok("umount", m.mnt)
	if alive(r.PID) {
		t.Errorf("pid %d is still there after umount", r.PID)
	}
	if mounted(m.mnt) {
		t.Error("still mounted")
	}
	// The error of a daemon in the background is the command's error.
	m.refused(3, []string{"passphrase does not open the drive"}, "mount", "--passphrase-command", "echo wrong", m.store, m.mnt)
	e := m.another().mount()
	if s := string(read(t, e.m.in("file"))); s != "hello" {
		t.Errorf("the file holds %q", s)
	}
	e.umount()
}

// One user mounts a drive once; the message names the process.
func TestSecondMountIsRefused(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	other := m.at("other")
	words := []string{"mounted already", m.mnt, fmt.Sprint("pid ", d.cmd.Process.Pid), "hushfs umount"}
	m.refused(9, words, "mount", "--passphrase-file", m.pass, m.store, other)
	m.refused(9, words, m.mountArgs()...)
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the refused mount left %s: %v", other, err)
	}
	must(t, writeSynced(m.in("works"), os.O_CREATE, nil))
	d.umount()
}

// It is refused as mounted also when its store cannot be reached, be that a folder
// or a server that is gone: nobody should look for a fault there.
func TestSecondMountWithTheStoreAway(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	words := []string{"mounted already", m.mnt, fmt.Sprint("pid ", d.cmd.Process.Pid), "hushfs umount"}
	must(t, os.Rename(m.store, m.store+".away"))
	m.refused(9, words, m.mountArgs()...)
	m.refused(4, []string{"typing error"}, "mount", "--passphrase-file", m.pass, m.store+".other", m.mnt)
	must(t, os.Rename(m.store+".away", m.store))
	d.umount()

	server := s3test.Start(t, s3test.MinIO)
	m = driveAt(t, server)
	d = m.mount()
	words = []string{"mounted already", m.mnt, fmt.Sprint("pid ", d.cmd.Process.Pid), "hushfs umount"}
	must(t, server.Pause())
	asks := m.another()
	e := asks.start(nil, asks.mountArgs()...) // until its time is over
	m.refused(9, words, m.mountArgs()...)
	if e.ended() {
		t.Error("it took as long as asking the server")
	}
	e.kill()
	must(t, server.Resume())
	d.umount()
}

// After kill -9 the folder answers ENOTCONN; status says so, and the next mount
// cleans up.
func TestDeadMountIsCleaned(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, writeSynced(m.in("file"), os.O_CREATE, []byte("kept")))
	must(t, syncFolder(m.mnt))
	d.kill()
	var st unix.Statfs_t // which the kernel never answers by itself
	if err := unix.Statfs(m.mnt, &st); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("statfs of the dead mount: %v", err)
	}
	if out := m.ok("status"); !strings.Contains(out, m.mnt) || !strings.Contains(out, "died") {
		t.Errorf("status says %q", out)
	}
	d = m.mount()
	if !strings.Contains(d.logged(), "has died") {
		t.Errorf("the mount does not say that it cleaned up:\n%s", d.logged())
	}
	if s := string(read(t, m.in("file"))); s != "kept" {
		t.Errorf("the file holds %q", s)
	}
	d.umount()

	d = m.mount()
	d.kill()
	m.refused(14, []string{"died", "mount the drive again"}, "umount", m.mnt)
	if mounted(m.mnt) {
		t.Error("umount left the dead mount")
	}
	m.mount().umount()
}

// A mount that programs use is not taken away, and the message names them.
func TestBusyMountIsRefused(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	f, err := os.Create(m.in("open"))
	must(t, err)
	defer f.Close()
	checkRefusal(t, m.runWith(nil, "umount", m.mnt), 7, []string{"busy", itoa(os.Getpid()), "--lazy"})
	must(t, f.Close())
	d.umount()
}

// A read-only mount changes nothing, in the store neither.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("file"), []byte("x"), 0o644))
	d.umount()
	before := objects(t, m.store)
	d = m.another().mount("--read-only")
	if err := os.WriteFile(d.m.in("more"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("create: %v", err)
	}
	if err := os.Remove(d.m.in("file")); !errors.Is(err, unix.EROFS) {
		t.Errorf("remove: %v", err)
	}
	read(t, d.m.in("file"))
	d.umount()
	if after := objects(t, m.store); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("a read-only mount changed the store: %v -> %v", byKind(before), byKind(after))
	}
}
