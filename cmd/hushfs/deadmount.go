package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A mount whose daemon has died answers ENOTCONN, and that is good: programs that go on
// to write learn that nothing is kept. Where it is taken away they write into the plain
// folder below, successfully and in the clear, and the next mount hides that. So it
// stays until the next one is ready to take its place.

// deadAt finds the dead mount of hushfs at dir, which may be a link to it: where it is,
// empty when none is there. Of several that lie on one another only the lowest is left;
// that uncovers nothing but mounts.
func deadAt(ctx context.Context, dir string) (string, error) {
	mounts, err := hushMounts()
	if err != nil {
		return "", err
	}
	dir = resolveTo(dir, mounts)
	for range 16 {
		if answering(ctx, dir) {
			return "", nil
		}
		here, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != dir, false })
		if err != nil {
			return "", fmt.Errorf("read the table of mounts: %w", err)
		}
		ours := 0
		for _, i := range here {
			if isHush(i) {
				ours++
			}
		}
		switch {
		case ours == 0:
			return "", &problem{code: codeMountpoint, what: fmt.Sprintf("a dead mount of another program is at %s", dir),
				next: "Take it away first: fusermount3 -u -z " + shellQuote(dir)}
		case ours < len(here):
			return "", &problem{code: codeMountpoint, what: fmt.Sprintf("a dead mount at %s and one of another program lie on one another", dir),
				next: "Take them away first: fusermount3 -u -z " + shellQuote(dir)}
		case ours == 1:
			return dir, nil
		}
		if err := takeDead(ctx, dir); err != nil {
			return "", err
		}
	}
	return "", &problem{code: codeMountpoint, what: "dead mounts lie on one another at " + dir, next: "Choose another folder."}
}

// checkDead finds what forbids to replace a dead mount, as far as that can be seen while
// it is there: root can look at the folder below, others cannot.
func (m *mountpoint) checkDead(refuse func(next, format string, args ...any) error, avoid map[string]string) error {
	if err := m.apart(refuse, avoid); err != nil {
		return err
	}
	me := os.Geteuid()
	if me != 0 {
		theirs, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
			return i.Mountpoint != m.dir || strings.Contains(","+i.VFSOptions+",", fmt.Sprintf(",user_id=%d,", me)), false
		})
		if err != nil {
			return fmt.Errorf("read the table of mounts: %w", err)
		}
		if len(theirs) > 0 {
			return refuse("Choose a folder of your own.", "the dead mount at %s is of another user", m.dir)
		}
		return nil
	}
	folder, err := covered(m.dir)
	if err != nil {
		return nil // server.appear sees it
	}
	defer folder.Close()
	return stillEmpty(folder, m.dir)
}

// takeDead takes away the dead mount that lies uppermost at dir, and no other: somebody
// else may be at it as well. For an ordinary user fusermount3 does it by name.
func takeDead(ctx context.Context, dir string) error {
	if os.Geteuid() != 0 {
		return noDetach(detach(ctx, dir, true), dir)
	}
	dead, err := uppermost(dir)
	if err != nil || dead == nil {
		return err
	}
	defer dead.Close()
	return noDetach(detachRoot(dead), dir)
}

func noDetach(err error, dir string) error {
	if err == nil {
		return nil
	}
	return &problem{code: codeMountpoint, what: "a dead mount cannot be taken away", why: err,
		next: "Try: fusermount3 -u -z " + shellQuote(dir)}
}

// uppermost is the root of the dead mount that lies uppermost at dir; nil when that
// lives, or there is none.
func uppermost(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a dead mount: %w", err)
	}
	f := os.NewFile(uintptr(fd), dir)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); !errors.Is(err, unix.ENOTCONN) {
		return nil, f.Close()
	}
	return f, nil
}

// detachRoot takes a mount away by its root; the name might lead to another one by now.
func detachRoot(root *os.File) error {
	err := unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) { // it is no mount any more
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// covered opens the folder below the only mount at dir, as root: in a copy of the mount
// that holds the folder, in which nothing is mounted.
func covered(dir string) (*os.File, error) {
	above, err := unix.OpenTree(unix.AT_FDCWD, filepath.Dir(dir), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(above)
	fd, err := unix.Openat(above, filepath.Base(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the folder below a mount: %w", err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// sayDead tells after a mount that did not come about what programs find at m, where a
// dead mount was.
func (a *app) sayDead(m *mountpoint) {
	switch {
	case !m.dead:
	case !isHushMount(m.dir):
		fmt.Fprintf(a.stderr, "The dead mount at %s is gone: what programs write there now comes to lie on the local disk, not encrypted.\n", m.dir)
	case !answering(context.Background(), m.dir):
		fmt.Fprintf(a.stderr, "The dead mount at %s stays: programs go on to get errors there (ENOTCONN).\n", m.dir)
	}
}
