package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
)

func (s *Server) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return s.setLock(cancel, in, false)
}

func (s *Server) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return s.setLock(cancel, in, true)
}

func (s *Server) setLock(cancel <-chan struct{}, in *fuse.LkIn, wait bool) fuse.Status {
	f, l, st := s.lockOf(in)
	if !st.Ok() {
		return st
	}
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return st
	}
	if in.Lk.Typ == syscall.F_UNLCK {
		s.locks.unlock(f, l)
		s.giveBack(ref)
		return fuse.OK
	}
	if err := s.lockable(s.atOnce(cancel), in.NodeId, s.handles.get(in.Fh)); err != nil {
		return errno(s.log, "lock", err)
	}
	h := s.handles.get(in.Fh)
	for {
		had := s.locks.of(f, l.owner)
		err := s.locks.lock(f, l, wait, cancel)
		if err == nil && h != nil && h.across {
			if err = s.lockAcross(s.atOnce(cancel), h, f, l, had, wait); err != nil {
				s.locks.back(lockFile{s.v.Ino(ref), f.kind}, l, had)
			}
		}
		// What is open may have become another file meanwhile.
		if ino := s.v.Ino(ref); ino != f.ino {
			if err == nil {
				s.locks.move(map[uint64]bool{in.Fh: true}, f.ino, ino)
			}
			f.ino = ino
		}
		s.giveBack(ref) // of a whole file, what was had is gone; it may have been exclusive
		if err != nil || h == nil || !h.across || s.locks.holds(f, l) {
			return errno(s.log, "lock", err)
		}
		// It waited for another machine, and a further thread of the program gave back
		// what it did not have yet.
	}
}

func (s *Server) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	f, l, st := s.lockOf(in)
	if !st.Ok() {
		return st
	}
	out.Lk = in.Lk
	by, blocked := s.locks.test(f, l)
	if h := s.handles.get(in.Fh); !blocked && h != nil && h.across {
		ref, st := s.file(in.NodeId, in.Fh)
		if !st.Ok() {
			return st
		}
		mode, err := s.v.LockedElsewhere(s.atOnce(cancel), ref)
		if err != nil {
			return errno(s.log, "ask for a lock", err)
		}
		// Who it is has no number here.
		blocked = mode == meta.LockExclusive || mode == meta.LockShared && l.exclusive
		by = lock{start: 0, end: 1<<63 - 1, exclusive: mode == meta.LockExclusive}
	}
	if !blocked {
		out.Lk.Typ = syscall.F_UNLCK
		return fuse.OK
	}
	out.Lk = fuse.FileLock{Start: by.start, End: by.end, Typ: syscall.F_RDLCK, Pid: by.pid}
	if by.exclusive {
		out.Lk.Typ = syscall.F_WRLCK
	}
	return fuse.OK
}

// lockOf reads a request that concerns a lock.
func (s *Server) lockOf(in *fuse.LkIn) (lockFile, lock, fuse.Status) {
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return lockFile{}, lock{}, st
	}
	f := lockFile{s.v.Ino(ref), rangeLocks}
	if in.LkFlags&fuse.LK_FLOCK != 0 {
		f.kind = wholeLocks
	}
	l := lock{
		owner: in.Owner, fh: in.Fh, pid: in.Lk.Pid,
		start: in.Lk.Start, end: in.Lk.End, exclusive: in.Lk.Typ == syscall.F_WRLCK,
	}
	switch in.Lk.Typ {
	case syscall.F_RDLCK, syscall.F_WRLCK, syscall.F_UNLCK:
	default:
		return f, l, fuse.EINVAL
	}
	if l.start > l.end || l.end > 1<<63-1 {
		return f, l, fuse.EINVAL
	}
	return f, l, fuse.OK
}
