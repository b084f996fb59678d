package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rsync copies a tree with everything in it to the drive, and has the daemon
// killed on the way; then it goes on where it was. Nothing is left to do for it
// afterwards, here and on the new machine, and it brings the same tree back.
func programRsync(t *testing.T, m *machine) {
	d := m.mount()
	src := m.mkdir("src")
	fullTree(t, src)
	want := fullManifest(t, src)
	args := []string{"-aHAXS", "--checksum", "--delete", "--numeric-ids"}
	rsync := func(m *machine, from, to string, more ...string) string {
		t.Helper()
		return m.tool("rsync", append(append(args[:len(args):len(args)], more...), from+"/", to+"/")...)
	}

	first := m.dialogue(nil, "rsync", append(args, src+"/", m.in("copy")+"/")...)
	eventually(t, "rsync has copied some of it", time.Minute, func() bool {
		found, err := filepath.Glob(m.in("copy", "*"))
		return first.ended() || err == nil && len(found) > 10
	})
	d.kill()
	first.kill()
	d = m.mount()
	rsync(m, src, m.in("copy"))
	sameManifest(t, "copied by rsync", want, fullManifest(t, m.in("copy")))
	if out := rsync(m, src, m.in("copy"), "--itemize-changes"); out != "" {
		t.Errorf("the second run still finds something to do:\n%s", out)
	}

	d = d.remount()
	if out := rsync(d.m, src, d.m.in("copy"), "--itemize-changes"); out != "" {
		t.Errorf("rsync finds something to do on a new machine:\n%s", out)
	}
	checkSparse(t, d.m.in("copy", "sparse"))
	back := d.m.mkdir("back")
	rsync(d.m, d.m.in("copy"), back)
	sameManifest(t, "brought back by rsync", want, fullManifest(t, back))
	d.umount()
}

// tar unpacks a tree with everything in it, and packs it on the new machine.
func programTar(t *testing.T, m *machine) {
	d := m.mount()
	src := m.mkdir("src")
	fullTree(t, src)
	want := fullManifest(t, src)
	flags := []string{"--xattrs", "--xattrs-include=*", "--sparse", "--format=posix", "--numeric-owner"}
	tar := func(m *machine, args ...string) {
		t.Helper()
		m.tool("tar", append(args, flags...)...)
	}
	tar(m, "-cf", m.in("all.tar"), "-C", src, ".")
	must(t, os.Mkdir(m.in("copy"), 0o755))
	tar(m, "-xpf", m.in("all.tar"), "-C", m.in("copy"))
	tar(m, "--compare", "-f", m.in("all.tar"), "-C", m.in("copy"))
	sameManifest(t, "unpacked by tar", want, fullManifest(t, m.in("copy")))
	checkSparse(t, m.in("copy", "sparse"))

	d = d.remount()
	n := d.m
	tar(n, "--compare", "-f", n.in("all.tar"), "-C", n.in("copy"))
	sameManifest(t, "on a new machine", want, fullManifest(t, n.in("copy")))
	checkSparse(t, n.in("copy", "sparse"))
	back := n.mkdir("back")
	tar(n, "-cf", n.in("again.tar"), "-C", n.in("copy"), ".")
	tar(n, "-xpf", n.in("again.tar"), "-C", back)
	sameManifest(t, "packed on a new machine", want, fullManifest(t, back))
	checkSparse(t, filepath.Join(back, "sparse"))
	d.umount()
}

// fullTree is oddTree with extended attributes, with owners where root tests, and
// with no time that is near: rsync does not mend one that is off by less than a
// second.
func fullTree(t *testing.T, dir string) {
	t.Helper()
	oddTree(t, dir)
	for i, name := range []string{"size 1", "size 65537", "sparse", "deep", "folder 1777", strings.Repeat("n", 255), "\xff\xfe\x80", "hard 1"} {
		path := filepath.Join(dir, name)
		keepingTimes(t, path, func() error {
			for _, size := range []int{0, 1, 100, 1000} {
				if err := unix.Lsetxattr(path, fmt.Sprint("user.size ", size), pattern(uint64(i), 0, size), 0); err != nil {
					return err
				}
			}
			if os.Geteuid() != 0 {
				return nil
			}
			return os.Lchown(path, 1000+i, 2000+i)
		})
	}
	recent, n := time.Now().Add(-time.Hour).Unix(), int64(0)
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err := errors.Join(err, unix.Lstat(path, &st)); err != nil || st.Mtim.Sec < recent || st.Mtim.Sec > recent+7200 {
			return err
		}
		n++
		at := unix.Timespec{Sec: 1_600_000_000 + 3*n, Nsec: 987_654_321 - n}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// keepingTimes does something to a file after which its times are as before.
func keepingTimes(t *testing.T, path string, do func() error) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	must(t, do())
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// fullManifest is manifest with extended attributes.
func fullManifest(t *testing.T, root string) map[string]string {
	t.Helper()
	all := manifest(t, root)
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		attributes, err := attributesOf(path)
		all[name] += attributes
		return err
	}))
	// That of the folder itself is the business of who made it.
	maps.DeleteFunc(all, func(name, _ string) bool { return name == "." })
	return all
}

// attributesOf are those of user programs, in order.
func attributesOf(path string) (string, error) {
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil {
		return "", &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	values := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", &os.PathError{Op: "getxattr", Path: path, Err: err}
		}
		values[name] = string(value[:n])
	}
	if len(values) == 0 {
		return "", nil
	}
	return fmt.Sprintf(" attributes %q", values), nil // a map is printed in order
}
