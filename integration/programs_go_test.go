package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A module of others is built and tested on the drive, with Go's caches and
// temporary files on it, too; the daemon is killed in the middle. The new machine
// finds what was built, and goes on with it.
func programGo(t *testing.T, m *machine) {
	// It is there offline, since this module needs it, and needs no other.
	const module = "github.com/dustin/go-humanize"
	d := m.mount()
	src := m.in("module")
	list, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).CombinedOutput()
	mustf(t, err, "go list: %s", list)
	m.script("/", nil, `cp -a "$1" "$2" && chmod -R u+w "$2" && mkdir "$3/go-cache" "$3/go-tmp"`, strings.TrimSpace(string(list)), src, m.mnt)
	m.ok("wait", m.mnt) // what was copied is not to be lost
	env := func(m *machine) []string {
		return []string{"GOCACHE=" + m.in("go-cache"), "GOTMPDIR=" + m.in("go-tmp"), "GOPATH=" + m.at("go"), "GOENV=off", "GOWORK=off",
			"GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off", "CGO_ENABLED=0"}
	}

	build := m.dialogue(append(env(m), "PWD="+src), "go", "-C", src, "build", "./...")
	eventually(t, "the build has filled some of its cache", time.Minute, func() bool {
		if build.ended() {
			t.Fatalf("the build ended: %v\n%s", build.cmd.ProcessState, strings.Join(build.rest(), "\n"))
		}
		found, err := filepath.Glob(m.in("go-cache", "*", "*-d"))
		return err == nil && len(found) > 20
	})
	d.kill()
	build.kill()
	d = m.mount()

	rebuild := func(m *machine) string {
		t.Helper()
		return m.script(m.in("module"), env(m), "go build -v ./... 2>&1")
	}
	rebuild(m)
	test := func(m *machine) {
		t.Helper()
		out := m.script(m.in("module"), env(m), "go test -vet=off -count=1 ./...")
		if n := strings.Count(out, "ok  \t"); n != 2 {
			t.Errorf("%d packages passed, want 2:\n%s", n, out)
		}
	}
	test(m)
	m.script(src, env(m), "go test -vet=off -c -o ../built ./english")
	sum, err := digest(m.in("built"))
	must(t, err)

	d = d.remount()
	n := d.m
	if got, err := digest(n.in("built")); err != nil || got != sum {
		t.Errorf("the program differs on a new machine: %v", err)
	}
	if out := n.tool(n.in("built")); !strings.Contains(out, "PASS") {
		t.Errorf("the program that was built says %q on a new machine", out)
	}
	// The module lies at another path there; all else is in the cache.
	for name := range strings.FieldsSeq(rebuild(n)) {
		if !strings.HasPrefix(name, module) {
			t.Errorf("a new machine has built %s again", name)
		}
	}
	test(n)
	d.umount()
}
