package main

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	logName = "hushfs.log" // in the state folder; the one before has .1 behind it
	maxLog  = 1 << 20      // bytes, then it becomes the one before
)

// logFile is the log of a daemon in the background. It is stderr, too, so that
// a panic's last words are in it.
type logFile struct {
	path string

	mu   sync.Mutex // guards the fields below
	file *os.File
	size int64
}

// openLog opens the log of the state folder for appending, a full one aside.
func openLog(state string) (*logFile, error) {
	l := &logFile{path: filepath.Join(state, logName)}
	return l, l.open()
}

func (l *logFile) open() error {
	if i, err := os.Stat(l.path); err == nil && i.Size() >= maxLog {
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	i, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, i.Size()
	return nil
}

// Write appends one line. A log that cannot be rotated goes on as it is.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size >= maxLog {
		if old := l.file; l.open() == nil && l.file != old {
			if err := l.takeStderr(); err != nil {
				return 0, err
			}
			old.Close()
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return n, err
}

// takeStderr makes the log this process's stderr.
func (l *logFile) takeStderr() error {
	return unix.Dup3(int(l.file.Fd()), int(os.Stderr.Fd()), 0)
}

// Close closes the log; stderr stays open on it.
func (l *logFile) Close() error { return l.file.Close() }
