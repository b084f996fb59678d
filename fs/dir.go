package fs

import (
	"errors"
	"hash/maphash"
	"slices"
	"sort"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// listing is what an open directory shows: the names that were there when its reading
// began, ascending by cookie.
//
// A cookie is the place behind a name, and depends on the name alone (see cookie): so
// it leads to the same place in every listing of the mount, whatever names came or went
// in between. The kernel keeps what one reader was given and gives it to others, each of
// whom then goes on from some cookie with a listing of its own.
type listing struct {
	entries []listed
	names   []byte // of all entries, one behind the other
}

type listed struct {
	cookie uint64
	ref    meta.Ref
	name   uint32 // where its name begins in names
	length uint8
	kind   meta.Kind
}

// Cookies 1 and 2 stand behind "." and "..". The kernel's offsets are signed.
const (
	cookieFirst = 3
	cookieBits  = 63
)

// cookie is that of a name: a hash, with a key of the mount, or else names could be
// made to collide.
func (s *Server) cookie(name []byte) uint64 {
	return max(maphash.Bytes(s.seed, name)>>(64-cookieBits), cookieFirst)
}

// list makes the listing of a directory's entries.
func (s *Server) list(entries []volume.Entry) *listing {
	size := 0
	for _, e := range entries {
		size += len(e.Name)
	}
	l := &listing{entries: make([]listed, 0, len(entries)), names: make([]byte, 0, size)}
	for _, e := range entries {
		l.entries = append(l.entries, listed{s.cookie(e.Name), e.Ref, uint32(len(l.names)), uint8(len(e.Name)), e.Kind})
		l.names = append(l.names, e.Name...)
	}
	l.sort()
	return l
}

// sort orders the entries by their cookies. Names with one hash, of which there is a
// pair in thousands of millions of directories, come by name and get cookies that
// follow each other.
func (l *listing) sort() {
	slices.SortFunc(l.entries, func(a, b listed) int {
		switch {
		case a.cookie < b.cookie:
			return -1
		case a.cookie > b.cookie:
			return 1
		}
		return strings.Compare(l.name(a), l.name(b))
	})
	for i := 1; i < len(l.entries); i++ {
		if last := l.entries[i-1].cookie; l.entries[i].cookie <= last {
			l.entries[i].cookie = last + 1
		}
	}
}

func (l *listing) name(e listed) string { return string(l.names[e.name:][:e.length]) }

// after returns the entries behind a cookie.
func (l *listing) after(cookie uint64) []listed {
	return l.entries[sort.Search(len(l.entries), func(i int) bool { return l.entries[i].cookie > cookie }):]
}

func (s *Server) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	out.Fh = s.handles.add(ref, nil)
	s.handles.get(out.Fh).quiet = in.Flags&unix.O_NOATIME != 0
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return fuse.OK
}

func (s *Server) ReleaseDir(in *fuse.ReleaseIn) { s.handles.remove(in.Fh) }

func (s *Server) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	err := s.v.SyncTree()
	if err == nil {
		err = s.confirm(ctx, ref, ref)
	}
	return errno(s.log, "fsyncdir", err)
}

func (s *Server) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	dir, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	return s.readDir(cancel, in, dir, func(e fuse.DirEntry, _ meta.Ref) bool { return out.AddDirEntry(e) })
}

func (s *Server) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	dir, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	return s.readDir(cancel, in, dir, func(e fuse.DirEntry, ref meta.Ref) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			return false
		}
		if e.Name == "." || e.Name == ".." {
			return true // node id 0: no look-up is counted
		}
		err := s.entry(place{dir, e.Name}, entry, func() (volume.Attr, error) { return s.v.Attr(ctx, ref) })
		if err != nil && !errors.Is(err, volume.ErrStale) {
			errno(s.log, "readdirplus", err)
		}
		// Removed since it was listed, or unreadable: the kernel looks it up itself and
		// gets the error there.
		return true
	})
}

// readDir gives the entries of the open directory dir from a cookie on until add has
// no more room. What was opened may have become one with another directory since.
func (s *Server) readDir(cancel <-chan struct{}, in *fuse.ReadIn, dir meta.Ref, add func(e fuse.DirEntry, ref meta.Ref) bool) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	h := s.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if in.Offset == 0 || h.list == nil {
		entries, err := s.v.List(ctx, dir)
		if err != nil {
			return errno(s.log, "readdir", err)
		}
		h.list = s.list(entries)
		if !h.quiet {
			s.v.Accessed(dir)
		}
	}
	parent, err := s.v.Parent(ctx, dir)
	if err != nil {
		parent = dir // it was removed while it was open
	}
	for i, e := range []struct {
		name string
		ref  meta.Ref
	}{{".", dir}, {"..", parent}} {
		if in.Offset <= uint64(i) && !add(fuse.DirEntry{Name: e.name, Mode: types[meta.Dir], Ino: uint64(e.ref.Ino), Off: uint64(i) + 1}, e.ref) {
			return fuse.OK
		}
	}
	for _, e := range h.list.after(max(in.Offset, cookieFirst-1)) {
		if !add(fuse.DirEntry{Name: h.list.name(e), Mode: types[e.kind], Ino: uint64(e.ref.Ino), Off: e.cookie}, e.ref) {
			break
		}
	}
	return fuse.OK
}
