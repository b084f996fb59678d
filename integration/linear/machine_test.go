package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// machine is one computer with the drive mounted. Its way to the store is its own.
type machine struct {
	t       testing.TB
	home    string
	mnt     string
	store   string
	program string
	source  string // a file of its own, to be linked
	proxy   *s3test.Proxy
	env     []string
}

// newFleet makes a drive and n machines that have it mounted with a durability.
func newFleet(t *testing.T, server *s3test.Server, n int, durability string) []*machine {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "lin") // a short path, for sockets
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "hushfs")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/hushfs").CombinedOutput(); err != nil {
		t.Fatalf("build hushfs: %v\n%s", err, out)
	}
	pass := filepath.Join(dir, "pass")
	must(t, os.WriteFile(pass, []byte("correct horse battery staple\n"), 0o600))
	store := "s3://" + server.MakeBucket(t) + "/drive"
	var fleet []*machine
	for i := range n {
		m := &machine{t: t, home: filepath.Join(dir, fmt.Sprint(i)), store: store, program: program, proxy: server.Proxy(t), source: fmt.Sprintf("source %d", i)}
		m.mnt = filepath.Join(m.home, "mnt")
		must(t, os.MkdirAll(filepath.Join(m.home, "run"), 0o700))
		m.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.home, "LC_ALL=C", "TMPDIR=" + m.home,
			"XDG_CONFIG_HOME=" + m.home + "/config", "XDG_CACHE_HOME=" + m.home + "/cache", "XDG_STATE_HOME=" + m.home + "/state",
			"XDG_RUNTIME_DIR=" + m.home + "/run", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + m.home + "/no-bus",
			"AWS_ENDPOINT_URL=" + m.proxy.Endpoint, "AWS_ACCESS_KEY_ID=" + server.AccessKey, "AWS_SECRET_ACCESS_KEY=" + server.Secret, "AWS_REGION=" + s3test.Region}
		if i == 0 {
			must(t, m.run("init", "--passphrase-file", pass, "--recovery-file", filepath.Join(m.home, "words"), "--kdf-memory", "19MiB", "--kdf-passes", "2", store))
		}
		must(t, m.run("mount", "--passphrase-file", pass, "--durability", durability, "--remote-timeout", "30s", "--poll", "200ms", store, m.mnt))
		t.Cleanup(func() { _ = exec.Command("fusermount3", "-u", "-z", m.mnt).Run() })
		must(t, os.WriteFile(m.in(m.source), nil, 0o644))
		must(t, m.run("sync", m.mnt))
		fleet = append(fleet, m)
	}
	for _, m := range fleet {
		must(t, m.run("sync", m.mnt))
	}
	return fleet
}

func (m *machine) in(name string) string { return filepath.Join(m.mnt, name) }

// run runs hushfs to its end.
func (m *machine) run(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, m.program, args...)
	c.Dir, c.Env = "/", m.env
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("hushfs %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// away locks the drive.
func (m *machine) away() {
	m.t.Helper()
	must(m.t, m.run("umount", m.mnt))
}

// some spoils one request in so many.
func some(rnd *rand.Rand, one int, spoil s3test.Spoiler) s3test.Spoiler {
	var mu sync.Mutex // guards rnd
	return s3test.Where(func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(one) == 0
	}, spoil)
}

// later has requests take up to d longer.
func later(rnd *rand.Rand, d time.Duration) s3test.Spoiler {
	var mu sync.Mutex // guards rnd
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			wait := time.Duration(rnd.Int64N(int64(d)))
			mu.Unlock()
			time.Sleep(wait)
			next.ServeHTTP(w, r)
		})
	}
}

// again calls fn until no signal ends it: Go's runtime sends some.
func again(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
