package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// user is a process that keeps a mount busy. Which files it has open is its own
// affair and is not told.
type user struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	How  string `json:"how"` // working folder, root folder, program, open file, mapped file
}

// users finds the processes that use the mount at dir, as far as this user may
// look into them. Where none shows that it does, they are those that were killed and
// cannot end: what they had open is not told any more. This process itself, to which a
// shell may have given a file there, counts only where nobody else does: who asks looks
// for others.
func users(dir string) []user { return usersIn("/proc", dir, os.Getpid()) }

func usersIn(proc, dir string, self int) []user {
	pids, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return nil
	}
	var found, late, own []user
	for _, process := range pids {
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil {
			continue
		}
		// A thread may have a table of files of its own, or have outlived the first.
		threads, err := filepath.Glob(filepath.Join(process, "task", "[0-9]*"))
		if err != nil {
			continue
		}
		how, stuck := uses(process, dir), false
		for _, thread := range threads {
			if how == "" && filepath.Base(thread) != filepath.Base(process) {
				how = uses(thread, dir)
			}
			stuck = stuck || ending(thread)
		}
		switch {
		case how != "" && pid == self:
			own = append(own, user{pid, "this command itself", how})
		case how != "":
			found = append(found, user{pid, comm(process), how})
		case stuck:
			late = append(late, user{pid, comm(process), "killed, and waits in the kernel"})
		}
	}
	for _, some := range [][]user{found, late} {
		if len(some) > 0 {
			return some
		}
	}
	return own
}

// ending reports whether a thread is past its end and held up by a file system, of
// FUSE as far as the kernel says for whom it waits.
func ending(thread string) bool {
	b, err := os.ReadFile(filepath.Join(thread, "stat"))
	if err != nil {
		return false
	}
	// The fields begin behind the name in parentheses: state, six numbers, flags.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 7 || f[0] != "D" {
		return false
	}
	const exiting = 0x4 // PF_EXITING
	flags, err := strconv.ParseUint(f[6], 10, 64)
	if err != nil || flags&exiting == 0 {
		return false
	}
	at, err := os.ReadFile(filepath.Join(thread, "wchan"))
	where := string(at)
	return err != nil || where == "0" || where == "" || strings.Contains(where, "fuse") || strings.Contains(where, "request_wait")
}

// below are the mounts that lie in the mount at dir.
func below(dir string) []string {
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.Mountpoint == dir || !within(dir, i.Mountpoint), false
	})
	if err != nil {
		return nil
	}
	var dirs []string
	for _, i := range found {
		dirs = append(dirs, i.Mountpoint)
	}
	return dirs
}

// busyText says who keeps the mount at dir busy.
func busyText(dir string) string {
	if found := users(dir); len(found) > 0 {
		return usersText(found)
	}
	if in := below(dir); len(in) > 0 {
		return "something is mounted in it, at " + in[len(in)-1]
	}
	return "no process that you may look into has a file open there now; if one opens and closes files all the time, end it or try again; else it may be one of another user, a loop device or a file used for swap"
}

// uses is how the process or thread at proc uses the mount at dir, "" when it does
// not. Only the names that the kernel keeps are read; nothing of the mount is touched.
func uses(proc, dir string) string {
	in := func(link string) bool {
		target, err := os.Readlink(link)
		return err == nil && within(dir, target)
	}
	for link, how := range map[string]string{"cwd": "working folder", "root": "root folder", "exe": "program"} {
		if dir != "/" && in(filepath.Join(proc, link)) {
			return how
		}
	}
	if fds, err := os.ReadDir(filepath.Join(proc, "fd")); err == nil {
		for _, fd := range fds {
			if in(filepath.Join(proc, "fd", fd.Name())) {
				return "open file"
			}
		}
	}
	f, err := os.Open(filepath.Join(proc, "maps"))
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		// address perms offset dev inode path
		if f := strings.SplitN(s.Text(), " ", 6); len(f) == 6 && within(dir, strings.TrimSpace(f[5])) {
			return "mapped file"
		}
	}
	return ""
}

// comm is the short name of a process, made harmless for a terminal.
func comm(proc string) string {
	b, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil {
		return "?"
	}
	return strings.Trim(strconv.QuoteToASCII(strings.TrimSpace(string(b))), `"`)
}

// usersText names up to five users of a mount.
func usersText(found []user) string {
	var s []string
	for i, u := range found {
		if i == 5 {
			s = append(s, fmt.Sprintf("and %d more", len(found)-i))
			break
		}
		s = append(s, fmt.Sprintf("pid %d (%s: %s)", u.PID, u.Name, u.How))
	}
	return strings.Join(s, ", ")
}
