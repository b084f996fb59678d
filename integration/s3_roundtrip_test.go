package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// A tree with everything in it comes back on a machine that has the passphrase
// and the keys of the bucket; these from a file, and mounted in the background.
func TestTreeInABucket(t *testing.T) {
	for _, kind := range s3test.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := s3test.Start(t, kind)
			m := driveAt(t, server)
			for _, name := range m.inBucket(server) {
				if strings.HasPrefix(name, "v0/probe/") {
					t.Errorf("init left %s", name)
				}
			}
			d := m.mount()
			if strings.Contains(d.logged(), "Testing") {
				t.Error("mount tests again what init has tested")
			}
			oddTree(t, m.mnt)
			want := manifest(t, m.mnt)
			m.ok("wait", m.mnt)
			s := m.status()[0]
			if s.Store != m.store || s.Endpoint != server.Endpoint || s.Probe == nil || !s.Probe.Good || s.Volume.Offline != "" || !s.Volume.Stored {
				t.Errorf("status: %+v", s)
			}
			if out := m.ok("status"); !strings.Contains(out, m.store+" at "+server.Endpoint) || !strings.Contains(out, "Tested on ") {
				t.Errorf("status says\n%s", out)
			}
			d.umount()
			m.nowhere(server.Secret)

			n := m.another()
			n.keysInFile(server, server.Secret)
			r := n.run(n.mountArgs()...)
			if r.code != 0 || !strings.Contains(r.stderr, "Testing how the store") {
				t.Fatalf("%+v", r)
			}
			sameManifest(t, "on a new machine", want, manifest(t, n.mnt))
			checkSparse(t, n.in("sparse"))
			pid := n.status()[0].PID
			if args := string(read(t, "/proc/"+itoa(pid)+"/cmdline")); strings.Contains(args, server.AccessKey) || strings.Contains(args, server.Secret) {
				t.Errorf("the daemon's arguments hold a key: %q", args)
			}
			must(t, os.WriteFile(n.in("from the new machine"), []byte("x"), 0o644))
			n.ok("umount", n.mnt)
			n.nowhere(server.Secret, n.at(".aws", "credentials"))

			// A third only looks, with nothing to write: no test, no object more.
			before := n.inBucket(server)
			e := n.another()
			e.settings = settings(server)
			d = e.mount("--read-only")
			if b := read(t, e.in("from the new machine")); string(b) != "x" {
				t.Errorf("%q", b)
			}
			if s := e.status()[0]; s.Probe != nil {
				t.Errorf("a mount that only reads has tested the store")
			}
			d.umount()
			if after := e.inBucket(server); !slices.Equal(before, after) {
				t.Errorf("a mount that only reads changed the store: %d objects, then %d", len(before), len(after))
			}
		})
	}
}

// 10,000 small files cost few requests.
func TestSmallFilesCostFewPuts(t *testing.T) {
	const most = 50
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	for i := range 10_000 {
		if i%100 == 0 {
			must(t, os.Mkdir(m.in(fmt.Sprint("d", i/100)), 0o755))
		}
		must(t, os.WriteFile(m.in(fmt.Sprint("d", i/100), fmt.Sprint("f", i)), pattern(uint64(i), 0, 500+i%3000), 0o644))
	}
	m.ok("wait", m.mnt)
	puts := m.status()[0].Volume.Requests["put"]
	d.umount()
	all := m.inBucket(server)
	t.Logf("%d PUTs, %d objects: %v", puts, len(all), byKind(all))
	if puts > most || puts == 0 {
		t.Errorf("%d PUTs, want at most %d", puts, most)
	}
}

// Over TLS with an authority of its own, named relative to where the user is.
func TestBucketOverTLS(t *testing.T) {
	t.Parallel()
	server := s3test.StartTLS(t, s3test.MinIO)
	m := machineAt(t, server)
	m.settings = m.settings[:len(m.settings)-1] // its authority
	m.refused(11, []string{"no trusted connection", "authority unknown here", "CA file"}, m.initArgs()...)
	must(t, os.WriteFile(m.at("ca.pem"), read(t, server.CAFile), 0o600))

	from := func(dir string, env []string, args ...string) {
		t.Helper()
		c := m.command(t.Context(), hushfs, args...)
		c.Dir, c.Env = dir, append(c.Env, env...)
		if r := finish(t, c); r.code != 0 {
			t.Fatalf("%s: %+v", c, r)
		}
	}
	from(m.home, nil, append([]string{"init", "--s3-ca-file", "ca.pem"}, m.initArgs()[1:]...)...)
	from(m.home, nil, append([]string{"mount", "--s3-ca-file", "ca.pem"}, m.mountArgs()[1:]...)...)
	must(t, os.WriteFile(m.in("a"), []byte("a"), 0o644))
	m.ok("umount", m.mnt)
	from(filepath.Join(m.home, "run"), []string{"AWS_CA_BUNDLE=../ca.pem"}, m.mountArgs()...)
	if b := read(t, m.in("a")); string(b) != "a" {
		t.Errorf("%q", b)
	}
	m.ok("umount", m.mnt)
}
