package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// commitsIn are the commits that the bucket of the machine's drive has.
func (m *machine) commitsIn(server *s3test.Server) []string {
	m.t.Helper()
	return slices.DeleteFunc(m.inBucket(server), func(name string) bool { return kindOf(name) != "commit" })
}

// holds wants files whose content is their name.
func (m *machine) holds(names ...string) {
	m.t.Helper()
	for _, name := range names {
		if got := string(read(m.t, m.in(name))); got != name {
			m.t.Errorf("%s holds %q", name, got)
		}
	}
}

// A server that comes back without what it had, under programs that write: with an
// empty disk, with an older one, with another drive's. Nothing is put there, what is
// near is read, what is written waits in the journal, and when the right disk is back
// all goes on by itself. Mounting is refused meanwhile.
func TestServerComesBackWithOtherData(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m, foreign := driveAt(t, server), driveAt(t, server)
	where, err := s3.ParseLocation(m.store)
	must(t, err)
	there, err := s3.ParseLocation(foreign.store)
	must(t, err)
	d := m.mount()
	must(t, writeSynced(m.in("old"), os.O_CREATE, []byte("old")))
	m.ok("wait", m.mnt)
	server.Kill()
	old := server.Copy(t)
	swapped := server.Copy(t)
	must(t, os.RemoveAll(filepath.Join(swapped, where.Bucket)))
	must(t, os.Rename(filepath.Join(swapped, there.Bucket), filepath.Join(swapped, where.Bucket)))
	must(t, server.Run(t.Context()))
	must(t, writeSynced(m.in("newer"), os.O_CREATE, pattern(7, 0, 300_000)))
	m.ok("wait", m.mnt)
	witness := m.another() // saw the newest, and comes again
	witness.mount().umount()

	var squads []*squad
	for i, c := range []struct {
		name    string
		from    string // the data; empty: none
		bucket  bool   // it is made anew
		says    string // status, while it is so
		offline bool   // as the reason why the store cannot be reached
		mount   int    // exit code of a mount; 0: the other drive would be mounted
	}{
		{"an older disk", old, false, "missing commits", false, 12},
		{"an empty disk", "", false, "bucket does not exist", true, 11},
		{"an empty disk and a new bucket", "", true, "missing commits", false, 4},
		{"another drive's objects", swapped, false, "missing commits", false, 0},
	} {
		s := m.squad("round"+itoa(i), 2, uint64(1000*i))
		squads = append(squads, s)
		m.ok("wait", m.mnt)
		wait := s.start(20)
		eventually(t, c.name+": the programs are at work", time.Minute, func() bool { return acknowledged(t, s) > 5 })
		server.Kill()
		right := server.SetAside(t, c.from)
		must(t, server.Run(t.Context()))
		if c.bucket {
			must(t, server.Client(t).MakeBucket(t.Context(), where.Bucket, minio.MakeBucketOptions{}))
		}
		var before []string
		if c.bucket || c.from != "" {
			before = m.commitsIn(server)
		}
		if !wait() {
			t.Errorf("%s: a program failed", c.name)
		}
		must(t, writeSynced(m.in("meanwhile"+itoa(i)), os.O_CREATE, []byte(c.name)))
		eventually(t, c.name+": status says so", 3*time.Minute, func() bool {
			v := m.status()[0].Volume
			if c.offline {
				return strings.Contains(v.Offline, c.says)
			}
			return strings.Contains(v.Stopped, c.says)
		})
		if !c.offline {
			m.refused(12, []string{"missing commits"}, "wait", "--timeout", "60s", m.mnt)
		}
		if string(read(t, m.in("old"))) != "old" || string(read(t, m.in("newer"))) != string(pattern(7, 0, 300_000)) {
			t.Errorf("%s: what is near reads wrong", c.name)
		}
		if c.mount > 0 {
			witness.refused(c.mount, nil, witness.mountArgs()...)
		}
		if c.bucket || c.from != "" {
			if after := m.commitsIn(server); !slices.Equal(after, before) {
				t.Errorf("%s: %d commits are there, %d were: what waited here was sent to nowhere", c.name, len(after), len(before))
			}
		}
		server.Kill()
		server.Restore(t, right)
		must(t, server.Run(t.Context()))
		began := time.Now()
		eventually(t, c.name+": it goes on", 3*time.Minute, func() bool {
			v := m.status()[0].Volume
			return v.Stored && v.Stopped == "" && v.Offline == ""
		})
		t.Logf("%s: everything in the store %v after the right one was back", c.name, time.Since(began))
		m.ok("wait", m.mnt)
	}
	for _, s := range squads {
		s.verify(m)
	}
	d = d.remount()
	acked := 0
	for _, s := range squads {
		acked += s.verify(d.m)
	}
	t.Logf("%d things acknowledged and found by a new machine", acked)
	d.umount()
	witness.mount().umount()
}

// The disk of the server is full: what is written waits in the journal, status says
// why, and it goes on when there is room.
func TestDiskOfTheServerIsFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	server := s3test.StartOnDisk(t, s3test.MinIO, "48m")
	m := driveAt(t, server)
	d := m.mount()
	must(t, writeSynced(m.in("before"), os.O_CREATE, []byte("before")))
	m.ok("wait", m.mnt)
	s := m.squad("w", 2, 77)
	wait := s.start(40)
	for i := range 8 {
		must(t, writeSynced(m.in("large"+itoa(i)), os.O_CREATE, pattern(uint64(i), 0, 8<<20)))
	}
	eventually(t, "status says that it is full", time.Minute, func() bool {
		return strings.Contains(m.status()[0].Volume.NotTaken, "store is full")
	})
	if !wait() {
		t.Error("a program failed")
	}
	must(t, writeSynced(m.in("meanwhile"), os.O_CREATE, []byte("meanwhile")))
	m.holds("before", "meanwhile")
	if v := m.status()[0].Volume; v.Stored || v.Stopped != "" || len(v.Damaged) > 0 {
		t.Errorf("%+v", v)
	}
	server.Grow(t, "400m")
	m.ok("wait", m.mnt)
	if v := m.status()[0].Volume; v.NotTaken != "" || v.Offline != "" || !v.Stored {
		t.Errorf("with room: %+v", v)
	}
	d = d.remount()
	s.verify(d.m)
	for i := range 8 {
		if string(read(t, d.m.in("large"+itoa(i)))) != string(pattern(uint64(i), 0, 8<<20)) {
			t.Errorf("large%d differs", i)
		}
	}
	d.m.holds("before", "meanwhile")
	d.umount()
}

// The server gets another certificate, and other keys: nothing is sent to it and
// nothing is lost, and it goes on when it is what it was, or with the new keys.
func TestServerWithAnotherCertificateAndOtherKeys(t *testing.T) {
	t.Parallel()
	server := s3test.StartTLS(t, s3test.MinIO)
	m := machineAt(t, server)
	m.keysInFile(server, server.Secret)
	m.settings = append(m.settings, "AWS_CA_BUNDLE="+server.CAFile)
	m.init()
	d := m.mount()
	must(t, writeSynced(m.in("a"), os.O_CREATE, []byte("a")))
	m.ok("wait", m.mnt)
	says := func(what string, part string) {
		t.Helper()
		eventually(t, what+": status says so", 3*time.Minute, func() bool {
			v := m.status()[0].Volume
			return !v.Stored && strings.Contains(v.Offline, part)
		})
	}
	certs := filepath.Dir(server.CAFile)
	kept := m.at("certs")
	m.tool("cp", "-a", certs, kept)
	server.Kill()
	server.Renew(t)
	must(t, server.Run(t.Context()))
	must(t, writeSynced(m.in("b"), os.O_CREATE, []byte("b")))
	says("another certificate", "no trusted connection to the server (its certificate is")
	m.holds("a", "b")
	server.Kill()
	must(t, os.RemoveAll(certs))
	m.tool("cp", "-a", kept, certs)
	server.Trust(t)
	must(t, server.Run(t.Context()))
	m.ok("wait", m.mnt)

	server.Kill()
	server.AccessKey, server.Secret = "other"+server.AccessKey, "other"+server.Secret
	must(t, server.Run(t.Context()))
	must(t, writeSynced(m.in("c"), os.O_CREATE, []byte("c")))
	says("keys that were revoked", "credentials are not accepted")
	m.holds("a", "b", "c")
	as := m.settings
	m.keysInFile(server, server.Secret)
	m.settings = as
	m.ok("wait", m.mnt)
	m.settings = settings(server) // another machine has no file with keys
	d = d.remount()
	d.m.holds("a", "b", "c")
	d.umount()
}
