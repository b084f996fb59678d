package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/volume"
)

const (
	littleRoom   = 1 << 30 // bytes; less is a warning
	littleInodes = 1000
)

// folders looks at the XDG folders of this user.
func (e *examination) folders(ctx context.Context) {
	e.begin("Folders")
	var err error
	if e.where, err = findPlaces(e.app.env); err != nil {
		e.refused("places", err, "hushfs keeps its journal and cache below your home")
		return
	}
	e.placed = true
	e.folder(ctx, "state-folder", "state folder", e.where.state, true)
	e.folder(ctx, "cache-folder", "cache folder", e.where.cache, false)
	e.runtime()
}

// folder looks at one of them. What lasts is where a crash must lose nothing.
func (e *examination) folder(ctx context.Context, check, what, path string, lasts bool) {
	why, level := "A drive does without, and fetches everything anew", warning
	if lasts {
		why, level = "It holds what is not in the store yet", trouble
	}
	bad := func(found, next string) {
		e.add(finding{Check: check, Level: level, Found: found, Why: why, Next: next})
	}
	there := path
	var st unix.Stat_t
	err := answers(ctx, statTimeout, func() error {
		for {
			err := unix.Stat(there, &st)
			if !errors.Is(err, unix.ENOENT) || there == "/" {
				return err
			}
			there = filepath.Dir(there)
		}
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		bad(fmt.Sprintf("the %s %s does not answer", what, path), "Look what is mounted there: findmnt -T "+shellQuote(path))
		e.placed = false // whoever looks into it waits for ever
		return
	case err != nil:
		bad(fmt.Sprintf("the %s %s cannot be looked at: %v", what, path, err), "Check the folders above it, their owners and modes.")
		return
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		bad(fmt.Sprintf("%s is no folder, and the %s should lie there", there, what), "Move it away.")
		return
	}
	var fs unix.Statfs_t
	if err := answers(ctx, statTimeout, func() error { return unix.Statfs(there, &fs) }); err != nil {
		bad(fmt.Sprintf("the disk of the %s %s cannot be looked at: %v", what, there, err), "Look what is mounted there: findmnt -T "+shellQuote(there))
		return
	}
	kind := fileSystem(there)
	free, inodes := int64(fs.Bavail)*fs.Bsize, fs.Ffree
	describe := fmt.Sprintf("%s on %s, %s free", path, kind, size(free))
	if there != path {
		describe += ", not made yet"
	}
	me := os.Geteuid()
	switch {
	case strings.HasPrefix(kind, "fuse."+fsSubtype):
		bad(fmt.Sprintf("the %s %s lies in a drive", what, path), "Set "+variableOf(check)+" to a folder on a local disk.")
	case there == path && me != 0 && int(st.Uid) != me:
		bad(fmt.Sprintf("the %s %s belongs to uid %d, not to you (uid %d)", what, path, st.Uid, me), "Give it back: chown "+fmt.Sprint(me)+" "+shellQuote(path))
	case fs.Flags&unix.ST_RDONLY != 0:
		bad(fmt.Sprintf("the %s is on a disk that is mounted read-only (%s)", what, describe), "Mount that disk read-write; look first whether it has errors: dmesg")
	case unix.Faccessat(unix.AT_FDCWD, there, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS) != nil:
		bad(fmt.Sprintf("you may not write to %s (mode %04o)", there, st.Mode&0o7777), "Check owner and mode, or set "+variableOf(check)+" to another place.")
	case lasts && kindOf(int64(fs.Type)) == networkFS:
		bad(fmt.Sprintf("the %s is on a network file system (%s)", what, describe), "Set XDG_STATE_HOME to a folder on a local disk.")
	case free < volume.LeastCache:
		bad(fmt.Sprintf("the disk of the %s is full (%s)", what, describe), "Make room on the local disk.")
	case fs.Files > 0 && inodes < littleInodes:
		bad(fmt.Sprintf("the disk of the %s has room for %d more files (%s)", what, inodes, describe), "Remove files there that are not needed.")
	case lasts && kindOf(int64(fs.Type)) == memoryFS:
		e.warn(check, fmt.Sprintf("the %s is in memory (%s)", what, describe), "What is not in the store yet is lost when this machine stops", "Set XDG_STATE_HOME to a folder on a disk.")
	case lasts && (strings.HasPrefix(kind, "fuse.") || kind == "9p"):
		e.warn(check, fmt.Sprintf("the %s is on %s", what, describe), "hushfs does not know whether fsync and locks can be trusted there", "Set XDG_STATE_HOME to a folder on a local disk, if that is none.")
	case free < littleRoom:
		e.warn(check, fmt.Sprintf("the disk of the %s is nearly full (%s)", what, describe), "Writers are slowed to the speed of the uploads", "Make room on the local disk.")
	case there == path && st.Mode&0o077 != 0:
		e.ok(check, "%s: %s; others may look into it (mode %04o), not into a drive's folder", what, describe, st.Mode&0o7777)
	default:
		e.ok(check, "%s: %s", what, describe)
	}
}

func variableOf(check string) string {
	if check == "cache-folder" {
		return "XDG_CACHE_HOME"
	}
	return "XDG_STATE_HOME"
}

// runtime looks at the folder of the control sockets.
func (e *examination) runtime() {
	v := e.app.env("XDG_RUNTIME_DIR")
	switch {
	case e.where.runtime != "":
		e.ok("runtime-folder", "control sockets lie in %s", e.where.runtime)
	case v == "":
		e.ok("runtime-folder", "XDG_RUNTIME_DIR is not set; control sockets lie in the state folder")
	case !filepath.IsAbs(v):
		e.warn("runtime-folder", "XDG_RUNTIME_DIR is no absolute path and is not used", "Commands that have another one find the daemon all the same, by the state folder", "Set it to /run/user/"+fmt.Sprint(os.Geteuid())+", or to nothing.")
	default:
		e.warn("runtime-folder", fmt.Sprintf("XDG_RUNTIME_DIR cannot be used: %v", private(v)), "Sockets go to the state folder; a command that can use the folder finds them there, too",
			"It must be your own and closed to others (mode 0700). After su or sudo it is the other user's: unset it.")
	}
}

// fileSystem is the type of the file system that path lies on, as the table of
// mounts has it.
func fileSystem(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	kind, longest := "an unknown file system", -1
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return kind
	}
	for _, m := range mounts {
		if within(m.Mountpoint, path) && len(m.Mountpoint) >= longest { // the last one lies on top
			kind, longest = m.FSType, len(m.Mountpoint)
		}
	}
	return kind
}

// space adds up the files below dir, and finds the oldest.
type space struct {
	files int
	bytes int64
	since int64 // seconds since 1970; 0: no file
}

func (s *space) add(i fs.FileInfo) {
	s.files++
	s.bytes += i.Size()
	if t := i.ModTime().Unix(); s.since == 0 || t < s.since {
		s.since = t
	}
}
