package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The Go tree by cp -a, as a new machine sees it.
func TestGoTree(t *testing.T) {
	m := newDrive(t)
	d := m.mount()
	src := filepath.Join(strings.TrimSpace(m.tool("go", "env", "GOROOT")), "src")
	src, err := filepath.EvalSymlinks(src)
	must(t, err)
	m.tool("cp", "-a", src, m.in("go"))
	d = d.remount()
	d.m.tool("diff", "-r", "--no-dereference", src, d.m.in("go"))
	sameTree(t, src, d.m.in("go"))
	d.umount()
}

// gitEnv keeps a user's own settings out.
var gitEnv = []string{
	"GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org",
}

// A git repository lives on the drive: clone, commits, gc, and fsck on another
// machine.
func TestGitRepository(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	origin := m.at("origin")
	git(m, "/", "init", "-q", "-b", "main", origin)
	for i := range 20 {
		must(t, os.WriteFile(filepath.Join(origin, fmt.Sprint("f", i%7)), pattern(uint64(i), 0, 3000*i), 0o644))
		git(m, origin, "add", "-A")
		git(m, origin, "commit", "-q", "-m", fmt.Sprint(i))
	}

	clone := m.in("clone")
	git(m, "/", "clone", "-q", "--no-local", origin, clone)
	for i := range 20 {
		must(t, os.MkdirAll(filepath.Join(clone, fmt.Sprint("d", i%3)), 0o755))
		must(t, os.WriteFile(filepath.Join(clone, fmt.Sprint("d", i%3), fmt.Sprint("g", i)), pattern(uint64(i), 1, 100*i), 0o644))
		git(m, clone, "add", "-A")
		git(m, clone, "commit", "-q", "-m", fmt.Sprint("more ", i))
	}
	git(m, clone, "checkout", "-q", "-b", "side", "HEAD~9")
	git(m, clone, "checkout", "-q", "main")
	git(m, clone, "gc", "-q", "--prune=now")
	git(m, clone, "fsck", "--full", "--strict")
	log := git(m, clone, "log", "--format=%H")

	n := d.remount()
	clone = n.m.in("clone")
	git(n.m, clone, "fsck", "--full", "--strict")
	if got := git(n.m, clone, "log", "--format=%H"); got != log {
		t.Errorf("the log is\n%s\nit was\n%s", got, log)
	}
	if s := git(n.m, clone, "status", "--porcelain"); s != "" {
		t.Errorf("the working tree is not clean:\n%s", s)
	}
	git(n.m, clone, "commit", "-q", "--allow-empty", "-m", "on the new machine")
	n.umount()
}

func git(m *machine, dir string, args ...string) string {
	m.t.Helper()
	return m.toolIn(dir, gitEnv, "git", append([]string{"-c", "safe.directory=*", "-c", "core.fsync=all", "-c", "gc.auto=0"}, args...)...)
}

// hushfs is built from source that lies on the drive, with Go's caches for the
// build and its temporary files on it as well, and the result runs there.
func TestGoBuildInTheMount(t *testing.T) {
	m := newDrive(t)
	d := m.mount()
	root, err := filepath.Abs("..")
	must(t, err)
	for _, name := range []string{"go.mod", "go.sum", "cmd", "fs", "crypt", "cache", "store"} {
		m.tool("cp", "-a", filepath.Join(root, name), m.in(name))
	}
	must(t, os.Mkdir(m.in("tmp"), 0o700))
	modules := strings.TrimSpace(m.toolIn("/", []string{"HOME=" + os.Getenv("HOME")}, "go", "env", "GOMODCACHE"))
	env := []string{"GOMODCACHE=" + modules, "GOFLAGS=-buildvcs=false -mod=readonly", "GOTMPDIR=" + m.in("tmp"), "GOCACHE=" + os.Getenv("GOCACHE")}
	if env[3] == "GOCACHE=" {
		env[3] = "GOCACHE=" + strings.TrimSpace(m.toolIn("/", []string{"HOME=" + os.Getenv("HOME")}, "go", "env", "GOCACHE"))
	}
	m.toolIn(m.mnt, env, "go", "build", "-o", m.in("built"), "./cmd/hushfs")
	if out := m.tool(m.in("built"), "version"); !strings.Contains(out, "hushfs") {
		t.Errorf("the program that was built says %q", out)
	}
	sum, err := digest(m.in("built"))
	must(t, err)
	n := d.remount()
	if got, err := digest(n.m.in("built")); err != nil || got != sum {
		t.Errorf("the program differs on a new machine: %v", err)
	}
	if out := n.m.tool(n.m.in("built"), "version"); !strings.Contains(out, "hushfs") {
		t.Errorf("the program says %q on a new machine", out)
	}
	n.umount()
}
