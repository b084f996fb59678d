package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// user is a process that keeps a mount busy. Which files it has open is its own
// affair and is not told.
type user struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	How  string `json:"how"` // working folder, root folder, program, open file, mapped file
}

// users finds the processes that use the mount at dir, as far as this user may
// look into them.
func users(dir string) []user {
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []user
	for _, proc := range pids {
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			continue
		}
		if how := uses(proc, dir); how != "" {
			found = append(found, user{pid, comm(proc), how})
		}
	}
	return found
}

// uses is how the process at proc uses the mount at dir, "" when it does not.
// Only the names that the kernel keeps are read; nothing of the mount is touched.
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
