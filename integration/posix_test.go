package integration

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// envPosix names the case and the folder for a process that runs one case.
const envPosix = "HUSHFS_POSIX_CASE"

// gaps are the cases of posixtest that are known not to pass, and why. One that
// passes fails the test, so that this list is never longer than the truth.
var gaps = map[string]string{}

// unfair cases do not hold for the kernel's own file systems either, or only now
// and then; they are run, and what comes of them is only told.
var unfair = map[string]string{
	"OpenSymlinkRace":     "races on ext4 as well",
	"FdLeak":              "looks for the daemon's descriptors in the test's own process",
	"FcntlFlockLocksFile": "wants a process to be locked out by itself; fcntl(2) says it is not",
}

// go-fuse's posixtest, each case in a process and a folder of its own: a case
// that fails must not take the others along.
func TestPosix(t *testing.T) {
	t.Parallel()
	posix(t, newDrive(t))
}

// The same as an ordinary user, who mounts by fusermount3.
func TestPosixAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	m := ordinary(t)
	m.init()
	posix(t, m)
}

func posix(t *testing.T, m *machine) {
	d := m.mount()
	for name := range gaps {
		if posixtest.All[name] == nil {
			t.Errorf("there is no case %s any more: take it out of gaps", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			m.tool("mkdir", m.in(name))
			passed, out := posixCase(t, m, name)
			why, known := gaps[name]
			switch {
			case unfair[name] != "":
				t.Logf("passed: %v; not counted: %s", passed, unfair[name])
			case passed && known:
				t.Errorf("passes now: take it out of gaps")
			case !passed && !known:
				t.Errorf("%s", out)
			case !passed:
				t.Logf("known gap: %s", why)
			}
		})
	}
	d.umount()
}

// posixCase runs a case in a process of its own, of the machine's user. A case
// that skips itself has not passed.
func posixCase(t *testing.T, m *machine, name string) (passed bool, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := m.command(ctx, testProgram(t), "-test.run", "^TestPosixCase$", "-test.v")
	c.Env = append(c.Env, envTask+"=posix", envPosix+"="+name+" "+m.in(name))
	b, err := c.CombinedOutput()
	return err == nil && strings.Contains(string(b), "--- PASS: TestPosixCase"), string(b)
}

// TestPosixCase is what such a process runs; without a case it has nothing to do.
func TestPosixCase(t *testing.T) {
	var name, dir string
	if _, err := fmt.Sscan(os.Getenv(envPosix), &name, &dir); err != nil {
		return
	}
	posixtest.All[name](t, dir)
}
