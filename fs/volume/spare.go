package volume

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// spare is a file in the state folder that holds nothing. It keeps some of the
// disk for sending, which needs a little room to make more: a commit is written
// down before it is sent, and bytes in memory go to a file first. When the disk
// is full to the last block it is given away; writers do not get its room.
type spare struct {
	dir  string
	size int64

	mu   sync.Mutex // guards held
	held bool
}

const (
	spareName = "spare"
	spareMost = 32 << 20 // packs in memory, a commit, a file of the journal
	spareLess = 4 << 20

	// brim is the free space at which the spare file goes, and which writers leave.
	brim = 2 << 20
)

// newSpare describes the file; limit is the cap, of which it is a part.
func newSpare(dir string, limit int64) *spare {
	s := &spare{dir: dir, size: min(spareMost, limit/16)}
	if _, size := statfs(dir); size > 0 {
		s.size = min(s.size, size/16)
	}
	s.size = max(s.size, spareLess)
	// An earlier mount may have had another cap. What it kept more goes at once; what
	// it kept less is made anew when there is room.
	if i, err := os.Lstat(s.path()); err == nil && i.Mode().IsRegular() && i.Size() >= s.size {
		s.held = i.Size() == s.size || os.Truncate(s.path(), s.size) == nil
	} else if err == nil {
		_ = os.Remove(s.path()) // make says what is wrong
	}
	return s
}

func (s *spare) path() string { return filepath.Join(s.dir, spareName) }

// disk is what writers may have of the disk, and its size. Both are large where
// the disk does not say.
func (s *spare) disk() (free, size int64) {
	free, size = statfs(s.dir)
	if size == 0 {
		return 1 << 60, 1 << 60
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		free -= s.size
	}
	return free - min(brim, size/64), size
}

// statfs gives the bytes of the disk that are free for this user, and all. Zero
// when it cannot be asked.
func statfs(dir string) (free, size int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}

// keep makes the file when there is room enough for it, and gives it away when
// there is none, or the disk refuses.
func (s *spare) keep(refused bool) error {
	free, size := statfs(s.dir)
	if size == 0 {
		return nil
	}
	switch s.mu.Lock(); {
	case s.held && (refused || free < min(brim, size/64)):
		s.mu.Unlock()
		s.give()
		return nil
	case !s.held && !refused && free-s.size >= min(aside, size/10):
		defer s.mu.Unlock()
		err := s.make()
		if isFull(err) {
			return nil // somebody else was faster
		}
		return err
	}
	s.mu.Unlock()
	return nil
}

// make makes the file; mu is held.
func (s *spare) make() (err error) {
	f, err := os.OpenFile(s.path(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return pathless(err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = pathless(cerr)
		}
		if err != nil {
			err = errors.Join(err, pathless(os.Remove(s.path())))
		}
		s.held = err == nil
	}()
	err = unix.Fallocate(int(f.Fd()), 0, 0, s.size)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < s.size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), s.size-off)], off); err != nil {
			return pathless(err)
		}
	}
	return nil
}

// bytes is what the file takes.
func (s *spare) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return s.size
	}
	return 0
}

// give removes the file and says whether it was there.
func (s *spare) give() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		return false
	}
	err := os.Remove(s.path())
	s.held = err != nil && !errors.Is(err, os.ErrNotExist)
	return err == nil
}
