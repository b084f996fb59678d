package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// system is what the cache asks of the machine; a test has another.
type system struct {
	rename func(from, to string) error
	free   func(dir string) int64 // bytes that an ordinary user may still write there
	unmap  func(dir string)       // gives back the memory of what is mapped of files below dir
	mapped func() int64           // bytes of this process' memory that are of mapped files
	boot   func() [16]byte        // tells one run of the machine from another; zero is unknown
	write  func(f *os.File, b []byte, off int64) error
}

func host() system {
	return system{rename: os.Rename, free: free, unmap: unmap, mapped: mapped, boot: bootID, write: writeAt}
}

func writeAt(f *os.File, b []byte, off int64) error {
	_, err := f.WriteAt(b, off)
	return err
}

func free(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return math.MaxInt64 // the write will tell
	}
	return int64(min(s.Bavail*uint64(s.Bsize), math.MaxInt64))
}

// writeFile writes a new file whole, or leaves none.
func writeFile(sys system, path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = sys.write(f, b, 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// unmap must not run while something that is mapped below dir is unmapped: what
// comes to be in its place would be lost.
func unmap(dir string) {
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		var from, to uintptr
		if !strings.Contains(line, " "+dir+"/") {
			continue
		}
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 && from < to {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}

func mapped() int64 {
	var total, resident, shared int64
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return math.MaxInt64
	}
	if _, err := fmt.Sscan(string(b), &total, &resident, &shared); err != nil {
		return math.MaxInt64
	}
	return shared * int64(os.Getpagesize())
}

func bootID() (id [16]byte) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	return parseBoot(string(b))
}

// blocks is what a file takes on the disk, in bytes.
func blocks(i fs.FileInfo) int64 {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return i.Size()
}

// trouble is what keeps the cache from writing: values and objects each have
// their own, and it goes when a write succeeds.
type trouble struct {
	mu    sync.Mutex // guards the fields below
	words [2]string
	said  string    // last
	when  time.Time // that was
}

const (
	ofValues = iota
	ofObjects
)

// again is after how long the same trouble is worth a line in the log again.
const again = 10 * time.Minute

// set tells whether this is news.
func (t *trouble) set(of int, err error) bool {
	words := ""
	if err != nil {
		words = describe(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.words[of] = words
	if words == "" || words == t.said && time.Since(t.when) < again {
		return false
	}
	t.said, t.when = words, time.Now()
	return true
}

func (t *trouble) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.words[0] == t.words[1] || t.words[1] == "" {
		return t.words[0]
	}
	return strings.TrimPrefix(t.words[0]+"; "+t.words[1], "; ")
}

// describe says an error without the path that errors of the disk carry.
func describe(err error) string {
	var no syscall.Errno
	var floor floorError
	switch {
	case errors.As(err, &floor):
		return floor.Error()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full"
	case errors.Is(err, syscall.EROFS):
		return "the disk is read-only"
	case errors.Is(err, fs.ErrPermission):
		return "the cache folder may not be written"
	case errors.Is(err, fs.ErrNotExist):
		return "the cache folder was removed"
	case errors.As(err, &no):
		return "the disk fails: " + no.Error()
	case errors.Is(err, errRoom), errors.Is(err, errBroken), errors.Is(err, errSmall), errors.Is(err, errLocked), errors.Is(err, errKey), errors.Is(err, errFormat):
		return err.Error()
	}
	return "the cache cannot be written"
}

// plain is an error without paths.
func plain(err error) error {
	if err == nil {
		return nil
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return errors.New(describe(err))
}
