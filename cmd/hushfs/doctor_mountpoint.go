package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// mountpoint looks whether a drive could appear at DIR. Where one is mounted, its
// store becomes the one to be looked at.
func (e *examination) mountpoint(ctx context.Context) {
	if e.dir == "" {
		return
	}
	e.begin("Mountpoint")
	const check, why = "mountpoint", "The drive is to appear there"
	mounts, err := hushMounts()
	if err != nil {
		e.refused(check, err, why)
		return
	}
	dir := resolveTo(e.dir, append(mountpoints(e.living), mounts...))
	if e.occupied(ctx, dir, mounts) {
		return
	}
	if e.elsewhere() {
		return
	}
	avoid := map[string]string{}
	if e.placed {
		avoid["the state folder"], avoid["the cache folder"] = e.where.state, e.where.cache
	}
	if e.at != nil && !e.at.remote() {
		avoid["the store"] = e.at.Store
	}
	m := &mountpoint{dir: dir}
	refuse := func(next, format string, args ...any) error {
		return &problem{code: codeMountpoint, what: fmt.Sprintf(format, args...), next: next}
	}
	var i os.FileInfo
	err = answers(ctx, statTimeout, func() (err error) { i, err = os.Stat(dir); return err })
	switch {
	case errors.Is(err, unix.ENOTCONN):
		e.problem(check, "a dead mount of another program is at "+dir+" (\"Transport endpoint is not connected\")", "hushfs takes only its own dead mounts away", "fusermount3 -u -z "+shellQuote(dir))
		return
	case errors.Is(err, context.DeadlineExceeded):
		e.problem(check, dir+" does not answer", "Something is mounted there that hangs", "fusermount3 -u -z "+shellQuote(dir))
		return
	case errors.Is(err, os.ErrNotExist):
		if err := m.apart(refuse, avoid); err != nil {
			e.refused(check, err, why)
			return
		}
		e.absent(dir)
		return
	case err != nil:
		e.problem(check, dir+" cannot be looked at: "+err.Error(), why, "Choose another folder.")
		return
	case !i.IsDir():
		e.problem(check, dir+" is not a folder", why, "Choose a folder.")
		return
	}
	if err := answers(ctx, statTimeout, func() error { return m.check(refuse, avoid) }); err != nil {
		e.refused(check, err, why)
		return
	}
	e.ok(check, "%s is an empty folder of yours, on %s", dir, fileSystem(dir))
}

// occupied reports whether a drive is at dir, living, silent or dead, and tells.
func (e *examination) occupied(ctx context.Context, dir string, mounts []string) bool {
	for _, d := range e.living {
		if d.status.Mountpoint != dir || d.status.Phase == control.Done {
			continue
		}
		if e.at == nil {
			// Flags and environment are those of whoever asks: the daemon does not tell
			// its own.
			if at, err := locate(d.status.Store, e.flags.s3); err == nil {
				e.at = &at
			}
		}
		e.ok("mountpoint", "a drive is mounted at %s already, and its daemon answers", dir)
		return true
	}
	if stuckAt(e.mute, dir) != nil {
		e.problem("mountpoint", "a drive is mounted at "+dir+", and its daemon does not answer", "Programs that use it wait", "See what is said of the daemon.")
		return true
	}
	if !slices.Contains(mounts, dir) {
		return false
	}
	if answering(ctx, dir) {
		e.problem("mountpoint", "the drive at "+dir+" is served by a daemon that your folders do not lead to", "Only its own user, with the same XDG folders, can lock it", "It was mounted by another user, or with other XDG folders.")
	} else {
		e.ok("mountpoint", "a dead mount of hushfs is at %s; the next mount takes it away", dir)
	}
	return true
}

// elsewhere tells that the drive of STORE is mounted at another folder.
func (e *examination) elsewhere() bool {
	for _, d := range e.living {
		if e.at == nil || d.status.Store != e.at.Store || d.status.Phase != control.Mounted {
			continue
		}
		e.problem("mountpoint", fmt.Sprintf("the drive is mounted already, at %s (pid %d)", d.status.Mountpoint, d.status.PID), "A drive can be mounted once by a user",
			"Use it there, or: hushfs umount "+shellQuote(d.status.Mountpoint))
		return true
	}
	return false
}

// absent is a mountpoint that mount would make.
func (e *examination) absent(dir string) {
	above := dir
	for {
		above = filepath.Dir(above)
		if _, err := os.Stat(above); err == nil || above == "/" {
			break
		}
	}
	if err := unix.Faccessat(unix.AT_FDCWD, above, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		e.problem("mountpoint", fmt.Sprintf("%s is not there, and you may not make it in %s", dir, above), "The drive is to appear there", "Choose a place where you may write.")
		return
	}
	if e.at == nil {
		e.warn("mountpoint", dir+" is not there", "It was taken for the folder in which a drive is to appear, and no store was looked at",
			"For a drive in it, or one that is to appear there: hushfs doctor STORE DIR")
		return
	}
	e.ok("mountpoint", "%s is not there yet; mount makes it", dir)
}
