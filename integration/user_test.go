package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ordinary is a machine of an ordinary user: another one when root tests.
func ordinary(t testing.TB) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		return newMachine(t)
	}
	return newMachineOf(t, nobody)
}

// An ordinary user mounts by fusermount3, works, is alone in there, and takes
// the drive to another machine.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	m := ordinary(t)
	m.init()
	d := m.mount()
	// All that happens in the mount is done by its user: root may not look.
	src := m.mkdir("src")
	m.tool("sh", "-c", `cd "$1" && mkdir -p a/b && seq 10000 >a/b/numbers && ln -s b a/link && ln a/b/numbers a/again && touch -d '2001-02-03 04:05:06.789' a && chmod 2750 a/b`, "-", src)
	m.tool("cp", "-a", src, m.in("src"))
	m.tool("diff", "-r", "--no-dereference", src, m.in("src"))
	if owner := strings.TrimSpace(m.tool("stat", "-c", "%u", m.in("src"))); m.uid >= 0 && owner != itoa(m.uid) {
		t.Errorf("the files belong to uid %s, want %d", owner, m.uid)
	}
	if m.uid >= 0 {
		if _, err := os.ReadDir(m.mnt); !errors.Is(err, unix.EACCES) {
			t.Errorf("another user who looks into the mount gets %v", err)
		}
	}
	show := []string{"-c", `cd "$1" && find . -printf '%y %m %n %T@ %p %l\n' | sed 's/^d \([0-9]*\) [0-9]*/d \1/' | sort`, "-"}
	want := m.tool("sh", append(show, src)...)

	m.plainUmount()
	if code := d.await(); code != 0 {
		t.Fatalf("the daemon ended with code %d:\n%s", code, d.logged())
	}
	n := m.another()
	d = n.mount()
	n.tool("diff", "-r", "--no-dereference", src, n.in("src"))
	if got := n.tool("sh", append(show, n.in("src"))...); got != want {
		t.Errorf("on another machine:\n%s\nwas:\n%s", got, want)
	}

	// A dead mount, too, is cleaned up without root.
	n.tool("sh", "-c", `echo kept >"$1" && sync "$1"`, "-", n.in("kept"))
	d.kill()
	d = n.mount()
	if s := n.tool("cat", n.in("kept")); s != "kept\n" {
		t.Errorf("the file holds %q", s)
	}
	d.umount()
}

// What is not permitted to an ordinary user is said before the passphrase is
// asked for.
func TestOrdinaryUserIsRefused(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newMachineOf(t, nobody)
	m.init()

	t.Run("a mountpoint of somebody else", func(t *testing.T) {
		must(t, os.Mkdir(m.mnt, 0o755))
		m.refused(7, []string{m.mnt, "belongs to uid 0", "Choose a folder of your own"}, m.mountArgs()...)
		must(t, os.Remove(m.mnt))
	})
	// In a mount namespace of its own, where /dev has what this sets up.
	for _, c := range []struct {
		name, setup string
		words       []string
	}{
		{"dev fuse is not there", `mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3`, []string{"the kernel offers no FUSE", "modprobe fuse"}},
		{"dev fuse is not permitted", `mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 600 /dev/fuse c 10 229`, []string{"not permitted", "0600", "chmod 666 /dev/fuse"}},
		{"fusermount3 is not there", `mount --bind /dev/null "$(readlink -f "$(command -v fusermount3)")"`, []string{"fusermount3 is not installed", "apt install fuse3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inside := newMachineOf(t, -1)
			inside.home, inside.store, inside.mnt, inside.pass = m.home, m.store, m.mnt, m.pass
			script := c.setup + ` && exec setpriv --reuid ` + itoa(nobody) + ` --regid ` + itoa(nobody) + ` --clear-groups "$@"`
			cmd := inside.command(t.Context(), "unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", script, "-", hushfs}, m.mountArgs()...)...)
			cmd.Stdin = nil
			checkRefusal(t, finish(t, cmd), 8, c.words)
			if left, err := filepath.Glob(m.mnt); err != nil || len(left) > 0 {
				t.Errorf("the refused mount left %s", fmt.Sprint(left))
			}
		})
	}
	m.mount().umount()
}
