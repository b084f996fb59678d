package main

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// syncOpen syncs the files of the mount at dir that programs of this user have open
// or mapped. syncfs(2) of FUSE has the kernel send what it keeps, and on newer
// kernels does not wait until that has arrived; fsync(2) does. What is closed was
// handed over as it was closed. A file that is gone meanwhile, or may not be opened,
// is passed over: the rest matters more.
func syncOpen(dir string) error {
	done := map[uint64]bool{} // inodes
	var failed error
	reach := func(path string) {
		if err := syncOnce(path, done); err != nil && failed == nil {
			failed = err
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, proc := range processes {
		fds, err := os.ReadDir(filepath.Join(proc, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			link := filepath.Join(proc, "fd", fd.Name())
			if target, err := os.Readlink(link); err == nil && within(dir, target) {
				reach(link) // also when its name is gone
			}
		}
		for _, path := range mapped(proc, dir) {
			reach(path)
		}
	}
	return failed
}

// mapped are the files in dir that a process has mapped.
func mapped(proc, dir string) []string {
	f, err := os.Open(filepath.Join(proc, "maps"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var paths []string
	for s := bufio.NewScanner(f); s.Scan(); {
		// address perms offset dev inode path
		if f := strings.SplitN(s.Text(), " ", 6); len(f) == 6 {
			if path := strings.TrimSpace(f[5]); within(dir, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// syncOnce syncs one regular file, unless that was done.
func syncOnce(path string, done map[uint64]bool) error {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || done[st.Ino] {
		return nil
	}
	done[st.Ino] = true
	fd, err := openToSync(path, unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	return again(func() error { return unix.Fsync(fd) })
}

// openToSync opens a file for fsync(2) alone. One of this user's does not count as read
// by that: the time of reading would be a change to send, after all that is waited for.
func openToSync(path string, flags int) (fd int, err error) {
	for _, mode := range []int{unix.O_RDONLY | unix.O_NOATIME, unix.O_RDONLY, unix.O_WRONLY} {
		fd, err = openAgain(path, mode|flags)
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			break
		}
	}
	return fd, err
}

// again repeats a call that a signal ended: those of Go's own runtime come at any time.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openAgain is open(2), again.
func openAgain(path string, flags int) (fd int, err error) {
	err = again(func() (err error) {
		fd, err = unix.Open(path, flags, 0)
		return err
	})
	return fd, err
}
