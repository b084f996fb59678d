package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// somebody puts an object into the bucket of the machine's store, below its
// prefix when key begins with '/'.
func (m *machine) somebodyPuts(server *s3test.Server, key, text string) {
	m.t.Helper()
	l, err := s3.ParseLocation(m.store)
	must(m.t, err)
	if strings.HasPrefix(key, "/") {
		key = l.Prefix + key
	}
	_, err = server.Client(m.t).PutObject(m.t.Context(), l.Bucket, key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{})
	must(m.t, err)
}

// somebodyRemoves removes objects of the machine's store behind its back.
func (m *machine) somebodyRemoves(server *s3test.Server, names ...string) {
	m.t.Helper()
	l, err := s3.ParseLocation(m.store)
	must(m.t, err)
	for _, name := range names {
		must(m.t, server.Client(m.t).RemoveObject(m.t.Context(), l.Bucket, l.Prefix+"/"+name, minio.RemoveObjectOptions{}))
	}
}

// A place that holds something else is left alone, also when it could be no
// object of ours and no other listing shows it.
func TestPrefixThatHoldsSomethingElse(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	for _, c := range []struct {
		name, key, text string
		mount           int      // exit code of a mount there
		words           []string // of init; nil: it works
	}{
		{"a file of somebody", "/Holiday Photos/IMG 1.jpg", "x", 4, []string{"not empty (1 object of somebody else)", "Nothing was touched"}},
		{"a file with a name as ours", "/report.pdf", "x", 4, []string{"not empty", "Nothing was touched"}},
		{"a file among where ours would be", "/v0/s/README", "x", 4, []string{"not empty", "Nothing was touched"}},
		{"a drive of another format", "/v1/h/fffffffffffffffe", "x", 6, []string{"not empty", "Nothing was touched"}},
		{"a folder that a console has made", "/", "", 4, nil},
		{"files beside", "drive-2/Photos/1.jpg", "x", 4, nil},
		{"an object called like the prefix", "drive", "x", 4, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machineAt(t, server)
			m.somebodyPuts(server, c.key, c.text)
			before := m.inBucket(server)
			m.refused(c.mount, []string{"no drive was mounted"}, "mount", "--passphrase-file", m.pass, m.store, m.mnt)
			if c.words == nil {
				m.init()
				return
			}
			m.refused(5, append(c.words, m.store), m.initArgs()...)
			if now := m.inBucket(server); !slices.Equal(now, before) {
				t.Errorf("init left %v", now)
			}
		})
	}
}

// Whenever an init ends early, the next one works, and what the first has left
// does no harm.
func TestInterruptedInit(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	p := server.Proxy(t)
	refused, killed := s3test.Say(403, "AccessDenied"), s3test.Spoiler(s3test.Hang)
	for _, c := range []struct {
		at    string // what is put there comes to nothing
		spoil s3test.Spoiler
		kill  bool
	}{
		{"/v0/probe/", killed, true},
		{"/k/", killed, true},
		{"/v0/h/", refused, false},
		{"/v0/h/", killed, true},
	} {
		t.Run(fmt.Sprintf("at %s, killed %v", c.at, c.kill), func(t *testing.T) {
			m := machineAt(t, server).through(p)
			p.Spoil(s3test.Where(s3test.Puts(c.at), c.spoil))
			if c.kill {
				ctx, kill := context.WithCancel(t.Context())
				init := m.command(ctx, hushfs, m.initArgs()...)
				must(t, init.Start())
				eventually(t, "init has come to where it hangs", 30*time.Second, func() bool {
					return p.Waiting() > 0
				})
				kill() // by SIGKILL
				if err := init.Wait(); err == nil {
					t.Fatal("it was not killed")
				}
			} else {
				m.refused(11, nil, m.initArgs()...)
			}
			p.Spoil()
			must(t, os.RemoveAll(m.words))
			if left := m.inBucket(server); slices.ContainsFunc(left, func(n string) bool { return strings.HasPrefix(n, "v0/h/") }) {
				t.Fatalf("there is a header: %v", left)
			}
			m.refused(4, []string{"no drive"}, m.mountArgs()...)
			m.init()
			d := m.mount()
			m.put("a")
			d = d.remount()
			d.m.has("a")
			d.umount()
			m.refused(5, []string{"a drive lies there"}, "init", "--passphrase-file", m.pass, "--recovery-file", m.at("new"), m.store)
		})
	}
}

// The same in a directory, where an init has got as far as it can without a header.
func TestInterruptedInitInAFolder(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	for _, object := range ofKind(t, m.store, "header") {
		must(t, os.Remove(m.store+"/"+object))
	}
	must(t, os.Remove(m.words))
	must(t, os.RemoveAll(m.at("state")))
	r := m.run(m.initArgs()...)
	if r.code != 0 || !strings.Contains(r.stderr, "has left 3 objects there") && !strings.Contains(r.stderr, "has left 4 objects there") {
		t.Fatalf("%+v", r)
	}
	d := m.mount()
	m.put("a")
	d = d.remount()
	d.m.has("a")
	d.umount()
}

// A bucket that is set back: the machine that saw more says so and mounts nothing;
// one that saw nothing shows the older state, which is a whole one. When the
// objects are back, all is well.
func TestBucketSetBack(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	m.put("a")
	d.umount()
	old := m.inBucket(server)
	d = m.mount()
	m.put("b")
	m.ok("wait", m.mnt)
	must(t, writeSynced(m.in("c"), os.O_CREATE, []byte("of c")))
	d.umount()
	var newer []string
	kept := map[string][]byte{}
	b := server.OpenWith(t, m.bucketOptions(server))
	for _, name := range m.inBucket(server) {
		if !slices.Contains(old, name) {
			newer = append(newer, name)
			data, err := b.Get(t.Context(), name, 0, -1)
			must(t, err)
			kept[name] = data
		}
	}
	m.somebodyRemoves(server, newer...)
	before := m.inBucket(server)
	m.refused(12, []string{"the store shows an older state than this machine saw", "restored from a backup"}, m.mountArgs()...)
	m.refused(12, []string{"older state"}, m.mountArgs("--read-only")...)
	if now := m.inBucket(server); !slices.Equal(now, before) {
		t.Errorf("%d objects, there were %d", len(now), len(before))
	}
	n := m.another()
	e := n.mount("--read-only")
	n.has("a")
	e.umount()
	for name, data := range kept {
		must(t, b.PutIfAbsent(t.Context(), name, data))
	}
	d = m.mount()
	m.has("a", "b", "c")
	d.umount()
}

// bucketOptions are those of the machine's place, with all rights.
func (m *machine) bucketOptions(server *s3test.Server) s3.Options {
	m.t.Helper()
	l, err := s3.ParseLocation(m.store)
	must(m.t, err)
	return s3.Options{Bucket: l.Bucket, Prefix: l.Prefix, Endpoint: server.Endpoint, CAFile: server.CAFile,
		Credentials: s3.NewCredentials(server.AccessKey, server.Secret, "")}
}

// What is on its way may be damaged as well: a machine never shows a wrong byte,
// never waits for ever, and says what is wrong; when that is over, all is there.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	whole := driveAt(t, server)
	d := whole.mount()
	for i := range damageFiles {
		must(t, writeSynced(whole.in(fmt.Sprint("file", i)), os.O_CREATE, pattern(uint64(i), 0, 400_000)))
		whole.ok("wait", whole.mnt)
	}
	d.umount()
	swapped := map[string]string{}
	for _, name := range whole.inBucket(server) {
		swapped[kindOf(name)] = name
	}
	for _, kind := range []struct{ name, part string }{
		{"header", "/v0/h/"}, {"hint", "/k/"}, {"ledger", "/a/"}, {"commit", "/l/"}, {"pack", "/p/"},
	} {
		for fact, spoil := range map[string]s3test.Spoiler{
			"a bit is flipped": s3test.Body(s3test.FlipBit),
			"cut in half":      s3test.Body(s3test.Half),
			"missing":          s3test.Say(404, "NoSuchKey"),
			"another's bytes":  s3test.Redirected(swapped["pack"]),
		} {
			if kind.name == "pack" && fact == "another's bytes" {
				spoil = s3test.Redirected(swapped["ledger"])
			}
			t.Run(kind.name+" "+fact, func(t *testing.T) {
				t.Parallel()
				p := server.Gateway(t, s3test.Where(s3test.Gets(kind.part), spoil))
				n := whole.another().through(p)
				began := time.Now()
				r := n.run(n.mountArgs("--read-only")...)
				if r.code == 0 {
					o := readPieces(t, n) // which reports each wrong byte
					if v := n.status()[0].Volume; o.good < damageFiles && v.Offline == "" && v.Stopped == "" && len(v.Damaged) == 0 {
						t.Errorf("of %d files %+v, and status says nothing: %+v", damageFiles, o, v)
					}
					n.ok("umount", n.mnt)
				} else if r.code != 11 && r.code != 12 && r.code != 4 || !strings.HasPrefix(lastLine(r.stderr), "hushfs: ") {
					t.Errorf("exit code %d\n%s", r.code, r.stderr)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				p.Spoil()
				d := n.mount("--read-only")
				if o := readPieces(t, n); o.good != damageFiles {
					t.Errorf("afterwards, of %d files: %+v", damageFiles, o)
				}
				d.umount()
			})
		}
	}
}
