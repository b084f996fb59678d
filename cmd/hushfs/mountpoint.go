package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountpoint is the folder at which a drive is to appear.
type mountpoint struct {
	dir  string   // absolute, symbolic links resolved
	made []string // folders that were made for it, outermost first
	dead bool     // a mount whose daemon has died lies there
}

const (
	fsSubtype   = "hushfs"        // as /proc/mounts shows it: fuse.hushfs
	fsSource    = "hushfs:"       // what stands there for the device, before the drive's id
	statTimeout = 5 * time.Second // for a mount that may not answer
)

// prepareMountpoint makes dir fit for a mount: there, a folder, empty, ours,
// and apart from the folders avoid, which the drive itself needs. A mount whose
// daemon has died stays: see server.appear.
func (a *app) prepareMountpoint(ctx context.Context, dir string, avoid map[string]string) (*mountpoint, error) {
	refuse := func(next, format string, args ...any) error {
		return &problem{code: codeMountpoint, what: fmt.Sprintf(format, args...), next: next}
	}
	dead, err := deadAt(ctx, dir)
	if err != nil {
		return nil, err
	}
	if dead != "" {
		m := &mountpoint{dir: dead, dead: true}
		if err := m.checkDead(refuse, avoid); err != nil {
			return nil, explain("the mountpoint cannot be used", err)
		}
		fmt.Fprintf(a.stderr, "The daemon of an earlier mount at %s has died; its mount is replaced when the drive is open.\n", dead)
		return m, nil
	}
	var i os.FileInfo
	err = answers(ctx, statTimeout, func() (err error) { i, err = os.Stat(dir); return err })
	m := &mountpoint{dir: dir}
	switch {
	case errors.Is(err, os.ErrNotExist):
		if m.made, err = makeFolders(dir); err != nil {
			return nil, &problem{code: codeMountpoint, what: "the mountpoint cannot be made", why: err, next: "Choose a place where you may write."}
		}
	case errors.Is(err, context.DeadlineExceeded):
		return nil, refuse("Something is mounted there that hangs; unmount it first: fusermount3 -u -z "+shellQuote(dir), "the mountpoint %s does not answer", dir)
	case err != nil:
		return nil, &problem{code: codeMountpoint, what: "the mountpoint cannot be used", why: err, next: "Choose another folder."}
	case !i.IsDir():
		return nil, refuse("Choose a folder.", "the mountpoint %s is not a folder", dir)
	}
	if m.dir, err = filepath.EvalSymlinks(dir); err == nil {
		err = m.check(refuse, avoid)
	}
	if err != nil {
		m.undo()
		p := explain("the mountpoint cannot be used", err)
		if p.next == "" {
			p.code, p.next = codeMountpoint, "Choose another folder."
		}
		return nil, p
	}
	return m, nil
}

func (m *mountpoint) check(refuse func(next, format string, args ...any) error, avoid map[string]string) error {
	// Before anything else: reading a folder that is a mount may hang.
	if mounted, err := mountinfo.Mounted(m.dir); err != nil {
		return err
	} else if mounted {
		return refuse("Choose another folder, or unmount what is there.", "something is mounted at %s already", m.dir)
	}
	var st unix.Stat_t
	if err := unix.Stat(m.dir, &st); err != nil {
		return err
	}
	if me := os.Geteuid(); me != 0 && int(st.Uid) != me {
		return refuse("Choose a folder of your own.", "the mountpoint %s belongs to uid %d, not to you (uid %d)", m.dir, st.Uid, me)
	}
	if err := m.apart(refuse, avoid); err != nil {
		return err
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return refuse("Choose an empty folder: what is in it would be hidden by the drive.", "the mountpoint %s is not empty (%s)", m.dir, entriesIn(len(entries)))
	}
	return nil
}

// undo removes the folders that were made for a mount that did not come about.
func (m *mountpoint) undo() {
	for i := len(m.made) - 1; i >= 0; i-- {
		if os.Remove(m.made[i]) != nil {
			return // somebody uses it by now
		}
	}
}

// makeFolders makes path and those above it that are missing, and tells which.
func makeFolders(path string) (made []string, err error) {
	var missing []string
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			break
		}
		missing = append(missing, p)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o700); err != nil {
			(&mountpoint{made: made}).undo()
			return nil, err
		}
		made = append(made, missing[i])
	}
	return made, nil
}

// within reports whether path is dir or lies in it; both are clean.
func within(dir, path string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// apart refuses a mountpoint that lies in one of the folders avoid, or that one lies in.
func (m *mountpoint) apart(refuse func(next, format string, args ...any) error, avoid map[string]string) error {
	for name, path := range avoid {
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			real = path // nothing can lie there
		} else if err != nil {
			return err
		}
		if within(real, m.dir) {
			return refuse("Choose a folder outside of it.", "the mountpoint %s lies in %s", m.dir, name)
		}
		if within(m.dir, real) {
			return refuse("Choose a folder that does not hold it.", "the mountpoint %s would hide %s", m.dir, name)
		}
	}
	return nil
}

// answering reports whether dir is not a mount whose daemon is gone. The kernel
// keeps attributes longer than daemons live, but statfs(2) always asks.
func answering(ctx context.Context, dir string) bool {
	var st unix.Statfs_t
	err := answers(ctx, statTimeout, func() error { return unix.Statfs(dir, &st) })
	return !errors.Is(err, unix.ENOTCONN)
}

// hushMounts are the folders at which the kernel shows a mount of hushfs,
// living or dead.
func hushMounts() ([]string, error) {
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return !isHush(i), false })
	if err != nil {
		return nil, fmt.Errorf("read the table of mounts: %w", err)
	}
	var dirs []string
	for _, i := range found {
		dirs = append(dirs, i.Mountpoint)
	}
	return dirs, nil
}

func isHush(i *mountinfo.Info) bool {
	return i.FSType == "fuse."+fsSubtype || strings.HasPrefix(i.FSType, "fuse") && strings.HasPrefix(i.Source, fsSource)
}

func isHushMount(dir string) bool {
	mounts, err := hushMounts()
	if err != nil {
		return false
	}
	for _, m := range mounts {
		if m == dir {
			return true
		}
	}
	return false
}

// errBusy: a mount stays because programs have files or folders of it open.
var errBusy = errors.New("it is busy")

// detach takes the kernel's mount at dir away; lazy also when it is busy: then
// it vanishes from the tree at once and from the kernel with its last user.
func detach(ctx context.Context, dir string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		err := unix.Unmount(dir, flags)
		switch {
		case errors.Is(err, unix.EBUSY):
			return errBusy
		case errors.Is(err, unix.EINVAL):
			return nil // it is no mount any more
		case err != nil:
			return fmt.Errorf("unmount: %w", err)
		}
		return nil
	}
	bin, err := fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	c := exec.CommandContext(ctx, bin, append(args, "--", dir)...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	switch text := strings.TrimSpace(string(out)); {
	case err == nil:
		return nil
	case !isHushMount(dir):
		return nil // somebody else was faster
	case strings.Contains(text, "busy"):
		return errBusy
	default:
		return fmt.Errorf("fusermount3: %s", text)
	}
}
