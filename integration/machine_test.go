package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// passphrase of all drives of the tests.
const passphrase = "correct horse battery staple"

// machine is one user on one computer, as hushfs sees it: XDG folders, and a
// place to mount at. Others share the store with it, if anything.
type machine struct {
	t     testing.TB
	uid   int    // who uses it; -1: whoever runs the tests
	home  string // holds all of the below, and the XDG folders
	mnt   string
	store string
	pass  string // file
	words string // file, on the machine that made the drive
	path  string // of programs; empty: as it is

	settings []string // of a bucket: more of the environment
}

// nobody is an ordinary user whom the tests become.
const nobody = 65534

// newMachine is a machine without a drive. Whatever it has mounted at the end of
// the test is taken away.
func newMachine(t testing.TB) *machine { return newMachineOf(t, -1) }

func newMachineOf(t testing.TB, uid int) *machine {
	t.Helper()
	home, err := os.MkdirTemp(work, "m")
	must(t, err)
	m := &machine{t: t, uid: uid, home: home}
	m.mnt, m.store = m.at("mnt"), m.at("store")
	m.pass, m.words = m.at("pass"), m.at("words")
	must(t, os.WriteFile(m.pass, []byte(passphrase+"\n"), 0o600))
	m.mkdir("run")
	if uid >= 0 {
		needRoot(t)
		must(t, os.Chown(m.pass, uid, uid))
		must(t, os.Chown(home, uid, uid))
	}
	t.Cleanup(func() {
		if t.Failed() {
			m.showLogs()
		}
		must(t, os.RemoveAll(home))
	})
	t.Cleanup(m.detach)
	return m
}

// newDrive is a machine that has made a drive.
func newDrive(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	m.init()
	return m
}

// another is a new machine with the same store and passphrase.
func (m *machine) another() *machine {
	m.t.Helper()
	n := newMachineOf(m.t, m.uid)
	n.store, n.settings = m.store, m.settings
	return n
}

func (m *machine) at(name ...string) string {
	return filepath.Join(append([]string{m.home}, name...)...)
}

// in is a path in the drive.
func (m *machine) in(name ...string) string {
	return filepath.Join(append([]string{m.mnt}, name...)...)
}

// mkdir makes a private folder in the machine's home.
func (m *machine) mkdir(name string) string {
	m.t.Helper()
	path := m.at(name)
	must(m.t, os.MkdirAll(path, 0o700))
	if m.uid >= 0 {
		must(m.t, os.Chown(path, m.uid, m.uid))
	}
	return path
}

// detach takes away what is mounted, living or dead.
func (m *machine) detach() {
	for mounted(m.mnt) {
		if err := exec.Command("fusermount3", "-u", "-z", m.mnt).Run(); err != nil {
			must(m.t, unix.Unmount(m.mnt, unix.MNT_DETACH))
		}
	}
}

// showLogs prints what daemons in the background logged.
func (m *machine) showLogs() {
	logs, _ := filepath.Glob(m.at("state", "hushfs", "*", "*.log"))
	for _, f := range logs {
		if b, err := os.ReadFile(f); err == nil {
			m.t.Logf("%s:\n%s", f, tail(b))
		}
	}
}

// tail is the end of a log.
func tail(b []byte) []byte {
	const most = 4000
	if len(b) > most {
		b = append([]byte("…"), b[len(b)-most:]...)
	}
	return b
}

// env is the environment of the machine's user.
func (m *machine) env(more ...string) []string {
	path := m.path
	if path == "" {
		path = os.Getenv("PATH")
	}
	return append([]string{
		"PATH=" + path, "HOME=" + m.home, "LC_ALL=C", "TMPDIR=" + m.home,
		"XDG_CONFIG_HOME=" + m.at("config"), "XDG_CACHE_HOME=" + m.at("cache"),
		"XDG_STATE_HOME=" + m.at("state"), "XDG_RUNTIME_DIR=" + m.at("run"),
		"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + m.at("no-bus"), // never the machine's own
	}, append(m.settings[:len(m.settings):len(m.settings)], more...)...)
}

// command is a program started by the machine's user.
func (m *machine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = "/", m.env()
	c.WaitDelay = 5 * time.Second
	if m.uid >= 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(m.uid), Gid: uint32(m.uid)}}
	}
	return c
}

// result of a program that has ended.
type result struct {
	code   int
	stdout string
	stderr string
}

// patience is how long a single command may take, on a machine that is slow and does much
// else at the same time.
const patience = 3 * time.Minute

// slower is how many times slower such a machine may be than what the limits of the tests
// are made for.
const slower = 4

// run runs hushfs to its end; it does not judge. An umount is tried again while the mount
// is busy: a process that is being started has for a moment what its parent had open.
func (m *machine) run(args ...string) (r result) {
	m.t.Helper()
	eventually(m.t, "hushfs "+strings.Join(args, " "), time.Minute, func() bool {
		allExecuted()
		r = m.runWith(nil, args...)
		return args[0] != "umount" || r.code != 7
	})
	return r
}

// allExecuted returns when every process that this one has begun to start has executed its
// program. Until then it has all files that were open here, also those closed since: mounts
// are busy, and programs that were written cannot be executed.
func allExecuted() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
}

func (m *machine) runWith(env []string, args ...string) result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	c := m.command(ctx, hushfs, args...)
	c.Env = append(c.Env, env...)
	return finish(m.t, c)
}

// finish runs c and returns how it ended.
func finish(t testing.TB, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", c, err, stderr.String())
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs hushfs, which must succeed, and returns what it printed.
func (m *machine) ok(args ...string) string {
	m.t.Helper()
	r := m.run(args...)
	if r.code != 0 {
		m.t.Fatalf("hushfs %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// refused runs hushfs, which must end with code and say each of words.
func (m *machine) refused(code int, words []string, args ...string) {
	m.t.Helper()
	checkRefusal(m.t, m.run(args...), code, words)
}

// checkRefusal wants the code, and a message in one line that says what, why and
// what next.
func checkRefusal(t testing.TB, r result, code int, words []string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "hushfs: ") {
		t.Errorf("the last line of stderr is no message of hushfs:\n%s", r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(strings.ToLower(last), strings.ToLower(w)) {
			t.Errorf("the message does not say %q: %s", w, last)
		}
	}
}

// init makes the machine's drive, with key derivation that costs a test little.
func (m *machine) init() {
	m.t.Helper()
	m.ok(m.initArgs()...)
}

// initArgs are those of init.
func (m *machine) initArgs(flags ...string) []string {
	return append(append([]string{"init", "--passphrase-file", m.pass, "--recovery-file", m.words, "--kdf-memory", "19MiB", "--kdf-passes", "2"}, flags...), m.store)
}

// mountArgs are those of a mount with the passphrase.
func (m *machine) mountArgs(flags ...string) []string {
	return append(append([]string{"mount", "--passphrase-file", m.pass}, flags...), m.store, m.mnt)
}

// status of the machine's mounts, by JSON.
func (m *machine) status() []status {
	m.t.Helper()
	var s struct {
		Mounts []status `json:"mounts"`
	}
	must(m.t, json.Unmarshal([]byte(m.ok("status", "--json")), &s))
	return s.Mounts
}

// status is what the tests want to know of hushfs status --json.
type status struct {
	PID        int    `json:"pid"`
	Mountpoint string `json:"mountpoint"`
	Store      string `json:"store"`
	Endpoint   string `json:"endpoint"`
	Probe      *struct {
		Good     bool   `json:"good"`
		Findings string `json:"findings"`
	} `json:"probe"`
	Phase  string `json:"phase"`
	Doing  string `json:"doing"`
	Volume struct {
		Device     int              `json:"device"`
		Stored     bool             `json:"stored"`
		PendingOps int              `json:"pending_ops"`
		Damaged    []string         `json:"damaged"`
		Warnings   []string         `json:"warnings"`
		Offline    string           `json:"offline"`
		NotTaken   string           `json:"not_taken"`
		Stopped    string           `json:"stopped"`
		Requests   map[string]int64 `json:"requests"`
	} `json:"volume"`
}

// stateDir is the folder of the machine's state of its drive.
func (m *machine) stateDir() string {
	m.t.Helper()
	found, err := filepath.Glob(m.at("state", "hushfs", "*"))
	must(m.t, err)
	if len(found) != 1 {
		m.t.Fatalf("%d state folders, want 1", len(found))
	}
	return found[0]
}

// mounted reports whether something is mounted at dir, living or dead.
func mounted(dir string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && bytes.Contains(b, []byte(" "+dir+" "))
}

// eventually waits until done, or fails the test when that takes slower times the limit: for
// what is promised at all, and not in a time.
func eventually(t testing.TB, what string, limit time.Duration, done func() bool) {
	t.Helper()
	within(t, what, slower*limit, done)
}

// within waits until done, or fails the test when that takes longer than the limit, by which
// what is promised is told from what comes about otherwise, as by the next idle look.
func within(t testing.TB, what string, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustf(t testing.TB, err error, format string, a ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, a...), err)
	}
}
