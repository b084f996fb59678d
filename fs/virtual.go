package fs

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// virtual is a Server with a folder .hushfs in its root that lies in no drive. Nobody
// lists it; who looks for it finds the file conflicts in it, whose text is that of the
// command. Only the mounting user may look, since it names files.
//
// The name is reserved: none of this machine's programs can give it. Where the drive has
// something real of that name, which an older program or a repair may have made, that is
// what is there, and the virtual folder is not.
type virtual struct {
	*Server
	born time.Time

	mu    sync.Mutex // guards the fields below; nothing is taken after it
	next  uint64
	texts map[uint64][]byte // of open files, by handle
}

var _ fuse.RawFileSystem = (*virtual)(nil)

const (
	virtualName   = ".hushfs"
	conflictsName = "conflicts"

	// Above all node ids and inode numbers that there can be.
	virtualDir    = 1<<63 | 1
	conflictsFile = 1<<63 | 2
	virtualIno    = 1 << 62

	virtualHandles = 1 << 63 // handles are above that
)

func withVirtual(s *Server) *virtual {
	return &virtual{Server: s, born: time.Now(), texts: map[uint64][]byte{}}
}

func isVirtual(id uint64) bool { return id == virtualDir || id == conflictsFile }

// real says that the drive itself has something of that name.
func (v *virtual) real(cancel <-chan struct{}) (bool, error) {
	ctx, end := v.ctx(cancel)
	defer end()
	_, err := v.v.Lookup(ctx, meta.RootRef, []byte(virtualName))
	if errors.Is(err, meta.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// reserved says that a name is that of the virtual folder, and is to stay so.
func (v *virtual) reserved(cancel <-chan struct{}, dir uint64, name string) fuse.Status {
	if isVirtual(dir) {
		return fuse.EPERM
	}
	if dir != rootID || name != virtualName {
		return fuse.OK
	}
	real, err := v.real(cancel)
	if err != nil {
		return errno(v.log, "lookup", err)
	}
	if real {
		return fuse.OK
	}
	v.log.Warn("a name of the root is reserved, and was refused")
	return fuse.EPERM
}

func (v *virtual) attrOf(id uint64, out *fuse.Attr) {
	*out = fuse.Attr{Ino: virtualIno + id&3, Mode: syscall.S_IFDIR | 0o500, Nlink: 2, Blksize: blockSize}
	if id == conflictsFile {
		out.Mode, out.Nlink = syscall.S_IFREG|0o400, 1
	}
	out.Owner = fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	t := v.born
	out.SetTimes(&t, &t, &t)
}

// find answers a look-up of a virtual name. It is asked again each time, so that
// something real is seen at once.
func (v *virtual) find(id uint64, out *fuse.EntryOut) fuse.Status {
	out.NodeId = id
	v.attrOf(id, &out.Attr)
	return fuse.OK
}

func (v *virtual) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	switch {
	case in.NodeId == virtualDir && name == conflictsName:
		return v.find(conflictsFile, out)
	case isVirtual(in.NodeId):
		return fuse.ENOENT
	case in.NodeId == rootID && name == virtualName:
		if real, err := v.real(cancel); err != nil {
			return errno(v.log, "lookup", err)
		} else if !real {
			return v.find(virtualDir, out)
		}
	}
	return v.Server.Lookup(cancel, in, name, out)
}

func (v *virtual) Forget(id, count uint64) {
	if !isVirtual(id) {
		v.Server.Forget(id, count)
	}
}

func (v *virtual) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !isVirtual(in.NodeId) {
		return v.Server.GetAttr(cancel, in, out)
	}
	v.attrOf(in.NodeId, &out.Attr)
	return fuse.OK
}

func (v *virtual) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	if !isVirtual(in.NodeId) {
		return v.Server.Statx(cancel, in, out)
	}
	var a fuse.Attr
	v.attrOf(in.NodeId, &a)
	at := fuse.SxTime{Sec: a.Mtime, Nsec: a.Mtimensec}
	out.Statx = fuse.Statx{
		Mask: unix.STATX_BASIC_STATS | unix.STATX_BTIME, Blksize: a.Blksize, Nlink: a.Nlink, Uid: a.Uid, Gid: a.Gid,
		Mode: uint16(a.Mode), Ino: a.Ino, Atime: at, Btime: at, Ctime: at, Mtime: at,
	}
	return fuse.OK
}

// Open makes the text. The kernel is to keep none of it, and believes no size: as with
// files of /proc it reads until there is nothing more.
func (v *virtual) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !isVirtual(in.NodeId) {
		return v.Server.Open(cancel, in, out)
	}
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return fuse.EPERM
	}
	ctx, end := v.ctx(cancel)
	defer end()
	all, err := v.v.Conflicts(ctx)
	if err != nil {
		return errno(v.log, "list conflicts", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	out.Fh = virtualHandles + v.next
	v.texts[out.Fh] = []byte(volume.ConflictsText(all))
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

func (v *virtual) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if !isVirtual(in.NodeId) {
		return v.Server.Read(cancel, in, buf)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	text := v.texts[in.Fh]
	text = text[min(in.Offset, uint64(len(text))):]
	return fuse.ReadResultData(text[:min(len(text), len(buf))]), fuse.OK
}

func (v *virtual) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if !isVirtual(in.NodeId) {
		v.Server.Release(cancel, in)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.texts, in.Fh)
}

func (v *virtual) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.OK
	}
	return v.Server.OpenDir(cancel, in, out)
}

// virtualEntries are what the virtual folder lists.
func virtualEntries(in *fuse.ReadIn, add func(fuse.DirEntry) bool) fuse.Status {
	for i, e := range []fuse.DirEntry{
		{Name: ".", Mode: syscall.S_IFDIR, Ino: virtualIno + 1},
		{Name: "..", Mode: syscall.S_IFDIR, Ino: uint64(meta.Root)},
		{Name: conflictsName, Mode: syscall.S_IFREG, Ino: virtualIno + 2},
	} {
		e.Off = uint64(i) + 1
		if in.Offset <= uint64(i) && !add(e) {
			break
		}
	}
	return fuse.OK
}

func (v *virtual) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !isVirtual(in.NodeId) {
		return v.Server.ReadDir(cancel, in, out)
	}
	return virtualEntries(in, out.AddDirEntry)
}

func (v *virtual) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !isVirtual(in.NodeId) {
		return v.Server.ReadDirPlus(cancel, in, out)
	}
	// Node id 0: the kernel looks it up itself.
	return virtualEntries(in, func(e fuse.DirEntry) bool { return out.AddDirLookupEntry(e) != nil })
}

func (v *virtual) ReleaseDir(in *fuse.ReleaseIn) {
	if !isVirtual(in.NodeId) {
		v.Server.ReleaseDir(in)
	}
}

// What changes nothing and has nothing to tell.

func (v *virtual) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.OK
	}
	return v.Server.FsyncDir(cancel, in)
}

func (v *virtual) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.OK
	}
	return v.Server.Flush(cancel, in)
}

func (v *virtual) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.OK
	}
	return v.Server.Fsync(cancel, in)
}

func (v *virtual) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if isVirtual(in.NodeId) {
		return 0, fuse.Status(syscall.ENODATA)
	}
	return v.Server.GetXAttr(cancel, in, name, dest)
}

func (v *virtual) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if isVirtual(in.NodeId) {
		return 0, fuse.OK
	}
	return v.Server.ListXAttr(cancel, in, dest)
}

// What changes something.

func (v *virtual) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.EPERM
	}
	return v.Server.SetAttr(cancel, in, out)
}

func (v *virtual) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.EPERM
	}
	return v.Server.SetXAttr(cancel, in, name, data)
}

func (v *virtual) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.EPERM
	}
	return v.Server.RemoveXAttr(cancel, in, name)
}

func (v *virtual) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() {
		return st
	}
	return v.Server.Create(cancel, in, name, out)
}

func (v *virtual) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.EPERM
	}
	return v.Server.Tmpfile(cancel, in, out)
}

func (v *virtual) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() {
		return st
	}
	return v.Server.Mknod(cancel, in, name, out)
}

func (v *virtual) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() {
		return st
	}
	return v.Server.Mkdir(cancel, in, name, out)
}

func (v *virtual) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() {
		return st
	}
	return v.Server.Symlink(cancel, in, target, name, out)
}

func (v *virtual) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() || isVirtual(in.Oldnodeid) {
		return fuse.EPERM
	}
	return v.Server.Link(cancel, in, name, out)
}

func (v *virtual) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() {
		return st
	}
	return v.Server.Unlink(cancel, in, name)
}

func (v *virtual) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if st := v.reserved(cancel, in.NodeId, name); !st.Ok() {
		return st
	}
	return v.Server.Rmdir(cancel, in, name)
}

func (v *virtual) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	for _, at := range []struct {
		dir  uint64
		name string
	}{{in.NodeId, oldName}, {in.Newdir, newName}} {
		if st := v.reserved(cancel, at.dir, at.name); !st.Ok() {
			return st
		}
	}
	return v.Server.Rename(cancel, in, oldName, newName)
}
