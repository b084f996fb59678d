package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/volume"
)

// appear mounts v, and is the last that can fail before the drive is there. The
// mountpoint was looked at before the passphrase was asked for, a minute ago: it is
// looked at again.
//
// Where a dead mount lies there, root's new one comes to lie beneath it before it is
// taken away: no program ever finds the plain folder. An ordinary user has only
// fusermount3, which can but do one after the other. What programs write in between is
// told (s.hidden) and does not refuse the mount: they would go on to write into the plain
// folder, in clear, until somebody has tidied up.
func (s *server) appear(ctx context.Context, v *volume.Volume, o fs.Options) (*fs.Server, error) {
	dir := s.c.Mountpoint
	dead, err := deadAt(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil { // then the kernel was not asked
		return nil, explain("the drive was not mounted", err)
	}
	if dead != "" && os.Geteuid() == 0 {
		m, err := s.beneath(v, o)
		var refused *problem
		if err == nil || errors.As(err, &refused) {
			return m, err
		}
		s.log.Info("the dead mount is taken away before the next is there", "err", err)
	}
	if dead != "" {
		if err := takeDead(ctx, dir); err != nil {
			return nil, err
		}
	}
	if mounted, err := mountinfo.Mounted(dir); err != nil {
		return nil, err
	} else if mounted {
		return nil, &problem{code: codeMountpoint, what: "something is mounted at " + dir + " already", next: "Choose another folder, or unmount what is there."}
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, &problem{code: codeMountpoint, what: "the mountpoint cannot be used", why: err, next: "Choose another folder."}
	}
	defer folder.Close()
	if dead == "" {
		if err := stillEmpty(folder, dir); err != nil {
			return nil, err
		}
	}
	return s.over(folder, v, o)
}

// beneath mounts v beneath the dead mount, which it then takes away. It needs root and
// Linux 6.5; without, everything is as it was.
func (s *server) beneath(v *volume.Volume, o fs.Options) (*fs.Server, error) {
	dead, err := uppermost(s.c.Mountpoint)
	if err != nil {
		return nil, err
	}
	if dead == nil {
		return nil, errors.New("the dead mount is gone")
	}
	defer dead.Close()
	folder, err := covered(s.c.Mountpoint)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if err := stillEmpty(folder, s.c.Mountpoint); err != nil {
		return nil, err
	}
	o.Attach = func(tree *os.File) error {
		const moveMountBeneath = 0x200 // MOVE_MOUNT_BENEATH of linux/mount.h
		err := unix.MoveMount(int(tree.Fd()), "", int(dead.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH|moveMountBeneath)
		if err != nil {
			return fmt.Errorf("move_mount: %w", err)
		}
		if err := detachRoot(dead); err != nil {
			s.log.Error("the dead mount lies over the drive and hides it: take it away by fusermount3 -u -z", "err", err)
		}
		return nil
	}
	return s.over(folder, v, o)
}

// over mounts v over the folder, and looks afterwards whether that was empty.
func (s *server) over(folder *os.File, v *volume.Volume, o fs.Options) (*fs.Server, error) {
	m, err := fs.Mount(v, s.c.Mountpoint, o)
	if err != nil {
		return nil, err
	}
	hidden, err := namesIn(folder)
	if err != nil {
		s.log.Warn("it is not known whether the folder below the mount is empty", "err", err)
	}
	if len(hidden) > 0 {
		s.log.Warn("programs wrote into the folder below the mount before it was there", "entries", len(hidden))
		s.mu.Lock()
		s.hidden = hidden
		s.mu.Unlock()
	}
	return m, nil
}

// notShown is the problem of a drive that was opened and could not appear; closing is
// what went wrong when it was closed again.
func notShown(err, closing error) error {
	var refused *problem
	if errors.As(err, &refused) {
		refused.why = errors.Join(refused.why, closing)
		return refused
	}
	return &problem{code: codeFUSE, what: "the kernel did not mount the drive", why: errors.Join(err, closing),
		next: "Ordinary users need fusermount3 set-uid root (package fuse3); in a container also the right to mount."}
}

// stillEmpty refuses a mountpoint in which something has come to lie.
func stillEmpty(folder *os.File, dir string) error {
	names, err := namesIn(folder)
	if err != nil {
		return &problem{code: codeMountpoint, what: "the mountpoint cannot be used", why: err, next: "Choose another folder."}
	}
	if len(names) == 0 {
		return nil
	}
	return &problem{code: codeMountpoint, what: fmt.Sprintf("the mountpoint %s is not empty: programs wrote to it while no drive was mounted: %s", dir, namesText(names)),
		next: "That lies on the local disk, not encrypted. Move it away, mount again, then move it into the drive."}
}

// namesIn are the names in a folder, from the first on.
func namesIn(folder *os.File) ([]string, error) {
	if _, err := folder.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return folder.Readdirnames(-1)
}

// namesText names up to five of names.
func namesText(names []string) string {
	const most = 5
	var s []string
	for i, name := range names {
		if i == most {
			s = append(s, fmt.Sprintf("and %d more", len(names)-i))
			break
		}
		s = append(s, check.Printable(name))
	}
	return strings.Join(s, ", ")
}

// hiddenText says of a mount what lies below it.
func hiddenText(dir string, names []string) string {
	return fmt.Sprintf("programs wrote into the folder %s just before the drive was mounted, and it hides that now: %s. That lies on the local disk, not encrypted. "+
		"To bring it into the drive: hushfs umount %s, move it away, mount again, move it in", dir, namesText(names), shellQuote(dir))
}
