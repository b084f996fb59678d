package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// statusVolume is more of what status says of a volume than most tests want.
type statusVolume struct {
	Stored        bool      `json:"stored"`
	PendingOps    int       `json:"pending_ops"`
	PendingFiles  int       `json:"pending_files"`
	PendingBytes  int64     `json:"pending_bytes"`
	OldestPending time.Time `json:"oldest_pending"`
	Disk          struct {
		Limit, Used, Meta, Blocks, Journal int64
	} `json:"disk"`
	Offline      string    `json:"offline"`
	OfflineSince time.Time `json:"offline_since"`
	NextTry      time.Time `json:"next_try"`
	Slowed       string    `json:"slowed"`
	Refused      bool      `json:"refused"`
	Traffic      map[string]struct {
		Requests, Failed, Up, Down int64
	} `json:"traffic"`
}

// statusVolume is of the machine's only mount.
func (m *machine) statusVolume() statusVolume {
	m.t.Helper()
	var s struct {
		Mounts []struct {
			Volume statusVolume `json:"volume"`
		} `json:"mounts"`
	}
	must(m.t, json.Unmarshal([]byte(m.ok("status", "--json")), &s))
	if len(s.Mounts) != 1 {
		m.t.Fatalf("%d mounts, want 1", len(s.Mounts))
	}
	return s.Mounts[0].Volume
}

// count is how many lines of the daemon's log have words in them.
func (d *daemon) count(words string) int { return strings.Count(d.logged(), words) }

// Status says what waits, since when, what lies on the disk, and what went to the
// store and came from it.
func TestStatusSaysWhatThereIs(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount("--test-store-delay", "1h", "--cache-size", "100MiB")
	d.kill()
	d = m.mount("--cache-size", "100MiB")
	must(t, writeSynced(m.in("first"), os.O_CREATE, pattern(1, 0, 5<<20)))
	m.ok("wait", m.mnt)
	v := m.statusVolume()
	if !v.Stored || v.PendingOps+v.PendingFiles > 0 || v.PendingBytes > 0 || !v.OldestPending.IsZero() || v.Slowed != "" || v.Refused {
		t.Errorf("all is in the store, and status says %+v", v)
	}
	if v.Disk.Limit != 100<<20 || v.Disk.Used != v.Disk.Meta+v.Disk.Blocks+v.Disk.Journal || v.Disk.Blocks < 5<<20 || v.Disk.Used > v.Disk.Limit {
		t.Errorf("disk: %+v", v.Disk)
	}
	put := v.Traffic["put"]
	if put.Requests < 3 || put.Up < 5<<20 || put.Up > 6<<20 || put.Down != 0 || put.Failed != 0 {
		t.Errorf("put: %+v", put)
	}
	d.umount()

	d, let := m.mountHeld()
	var tick unix.Timespec // times of files are those of the kernel's last tick
	must(t, unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &tick))
	must(t, writeSynced(m.in("second"), os.O_CREATE, pattern(2, 0, 3<<20)))
	must(t, writeSynced(m.in("third"), os.O_CREATE, pattern(3, 0, 3<<20)))
	v = m.statusVolume()
	if v.Stored || v.PendingFiles != 2 || v.PendingOps < 2 || v.PendingBytes < 6<<20 || v.PendingBytes > 13<<20 || v.OldestPending.Before(time.Unix(tick.Unix())) || v.Disk.Journal < 6<<20 {
		t.Errorf("two files wait, and status says %+v", v)
	}
	text := m.ok("status")
	for _, want := range []string{"2 files", "MiB) wait, the oldest since", "Local disk: ", "journal", "Since it was mounted: "} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	let()
	d.umount()

	e := m.another().mount()
	if got := read(t, e.m.in("first")); string(got) != string(pattern(1, 0, 5<<20)) {
		t.Error("the file differs")
	}
	if get := e.m.statusVolume().Traffic["get"]; get.Requests == 0 || get.Down < 5<<20 || get.Down > 7<<20 || get.Up != 0 {
		t.Errorf("get: %+v", get)
	}
	e.umount()
}

// A daemon that was stopped is there, and does not answer: status and umount say
// so, and not that nothing is mounted.
func TestAStoppedDaemonIsSaid(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	pid := d.cmd.Process.Pid
	d.halt()
	t.Cleanup(func() { d.cmd.Process.Signal(syscall.SIGCONT) })
	out := m.ok("status")
	for _, want := range []string{fmt.Sprintf("pid %d", pid), m.mnt, "does not answer", fmt.Sprintf("kill -CONT %d", pid)} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not say %q:\n%s", want, out)
		}
	}
	var s struct {
		Silent []struct {
			PID        int
			Mountpoint string
			Stopped    bool
		}
		Mounts, Dead []any
	}
	must(t, json.Unmarshal([]byte(m.ok("status", "--json")), &s))
	if len(s.Silent) != 1 || s.Silent[0].PID != pid || s.Silent[0].Mountpoint != m.mnt || !s.Silent[0].Stopped || len(s.Mounts)+len(s.Dead) > 0 {
		t.Errorf("status --json: %+v", s)
	}
	m.refused(1, []string{"does not answer", "kill -CONT"}, "umount", m.mnt)
	m.refused(9, []string{"mounted already", "does not answer", "kill -CONT"}, m.mountArgs()...)
	must(t, d.cmd.Process.Signal(syscall.SIGCONT))
	d.umount()
}
