package powerloss

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Recorder shows a folder at another place and notes what is changed there. It
// syncs nothing: what was synced is in the history.
type Recorder struct {
	history *History
	server  *fuse.Server

	mu   sync.Mutex     // guards the field below; held over each change, so that the history has them in order
	nums map[uint64]int // inode number below: file
	last int
}

// Record begins a history of the folder dir, which is shown at mnt. Nobody else
// may touch it meanwhile.
func Record(dir, mnt string) (*Recorder, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, err
	}
	r := &Recorder{history: &History{}, nums: map[uint64]int{st.Ino: 0}}
	if err := r.scan(dir, 0); err != nil {
		return nil, err
	}
	root := &fs.LoopbackRoot{Path: dir, Dev: uint64(st.Dev)}
	top := &recorded{&fs.LoopbackNode{RootData: root}, r}
	root.RootNode = top
	server, err := fs.Mount(mnt, top, &fs.Options{MountOptions: fuse.MountOptions{Name: "powerloss", FsName: "powerloss", MaxWrite: 1 << 20}})
	if err != nil {
		return nil, err
	}
	r.server = server
	return r, nil
}

// End takes the place away and returns the history.
func (r *Recorder) End() (*History, error) {
	return r.history, r.server.Unmount()
}

// History is what was recorded so far; only its length may be asked for.
func (r *Recorder) History() *History { return r.history }

// scan notes what is there at the beginning.
func (r *Recorder) scan(dir string, id int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		start := &r.history.start
		if known, ok := r.nums[st.Ino]; ok {
			*start = append(*start, Event{kind: linked, file: known, dir: id, name: e.Name()})
			continue
		}
		file := r.number(st.Ino)
		ev := Event{kind: made, file: file, folder: e.IsDir(), dir: id, name: e.Name()}
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			*start = append(*start, ev)
			if err := r.scan(path, file); err != nil {
				return err
			}
		case syscall.S_IFLNK:
			if ev.target, err = os.Readlink(path); err != nil {
				return err
			}
			*start = append(*start, ev)
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			*start = append(*start, ev, Event{kind: written, file: file, data: b})
		}
	}
	return nil
}

// number gives the next number to what has an inode number below: one that is used
// again stands for another file. mu is held, or nobody else is there.
func (r *Recorder) number(ino uint64) int {
	r.last++
	r.nums[ino] = r.last
	return r.last
}

// does makes a change, and notes it if it succeeds.
func (r *Recorder) does(change func() syscall.Errno, event func() Event) syscall.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	errno := change()
	if errno == 0 {
		r.history.add(event())
	}
	return errno
}

// recorded is an inode that is shown.
type recorded struct {
	*fs.LoopbackNode
	r *Recorder
}

// WrapChild implements fs.NodeWrapChilder.
func (n *recorded) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &recorded{ops.(*fs.LoopbackNode), n.r}
}

// num is its number; the recorder is locked. On one device inodes are shown with the
// numbers that they have below.
func (n *recorded) num() int {
	if n.IsRoot() {
		return 0
	}
	return n.r.nums[n.StableAttr().Ino]
}

// child is the number of what lies under a name; the recorder is locked.
func (n *recorded) child(i *fs.Inode) int { return i.Operations().(*recorded).num() }

// makes is does of what makes an inode.
func (n *recorded) makes(name, target string, folder bool, do func() (*fs.Inode, syscall.Errno)) (i *fs.Inode, errno syscall.Errno) {
	errno = n.r.does(func() syscall.Errno {
		i, errno = do()
		return errno
	}, func() Event {
		return Event{kind: made, file: n.r.number(i.StableAttr().Ino), folder: folder, target: target, dir: n.num(), name: name}
	})
	return i, errno
}

// Mkdir implements fs.NodeMkdirer.
func (n *recorded) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makes(name, "", true, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Mkdir(ctx, name, mode, out) })
}

// Mknod implements fs.NodeMknoder.
func (n *recorded) Mknod(ctx context.Context, name string, mode, rdev uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makes(name, "", false, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Mknod(ctx, name, mode, rdev, out) })
}

// Symlink implements fs.NodeSymlinker.
func (n *recorded) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makes(name, target, false, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Symlink(ctx, target, name, out) })
}

// Create implements fs.NodeCreater.
func (n *recorded) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (i *fs.Inode, h fs.FileHandle, _ uint32, errno syscall.Errno) {
	// The kernel asks for what is not there; O_EXCL keeps it so.
	i, errno = n.makes(name, "", false, func() (*fs.Inode, syscall.Errno) {
		i, h, _, errno = n.LoopbackNode.Create(ctx, name, flags|syscall.O_EXCL, mode, out)
		return i, errno
	})
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return i, &handle{h.(*fs.LoopbackFile), i.Operations().(*recorded)}, 0, 0
}

// Link implements fs.NodeLinker.
func (n *recorded) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (i *fs.Inode, errno syscall.Errno) {
	errno = n.r.does(func() syscall.Errno {
		i, errno = n.LoopbackNode.Link(ctx, target, name, out)
		return errno
	}, func() Event {
		return Event{kind: linked, file: target.(*recorded).num(), dir: n.num(), name: name}
	})
	return i, errno
}

// Unlink implements fs.NodeUnlinker.
func (n *recorded) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.r.does(func() syscall.Errno { return n.LoopbackNode.Unlink(ctx, name) }, func() Event { return Event{kind: removed, dir: n.num(), name: name} })
}

// Rmdir implements fs.NodeRmdirer.
func (n *recorded) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.r.does(func() syscall.Errno { return n.LoopbackNode.Rmdir(ctx, name) }, func() Event { return Event{kind: removed, dir: n.num(), name: name} })
}

// Rename implements fs.NodeRenamer.
func (n *recorded) Rename(ctx context.Context, name string, to fs.InodeEmbedder, toName string, flags uint32) syscall.Errno {
	return n.r.does(func() syscall.Errno { return n.LoopbackNode.Rename(ctx, name, to, toName, flags) }, func() Event {
		e := Event{kind: renamed, dir: n.num(), name: name, toDir: to.(*recorded).num(), toName: toName}
		if i := n.GetChild(name); i != nil {
			e.file = n.child(i)
		}
		if flags&unix.RENAME_EXCHANGE != 0 {
			e.kind = swapped
		}
		return e
	})
}

// Open implements fs.NodeOpener.
func (n *recorded) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	var h fs.FileHandle
	open := func() (errno syscall.Errno) {
		h, _, errno = n.LoopbackNode.Open(ctx, flags)
		return errno
	}
	var errno syscall.Errno
	if flags&syscall.O_TRUNC != 0 {
		errno = n.r.does(open, func() Event { return Event{kind: resized, file: n.num()} })
	} else {
		errno = open()
	}
	if errno != 0 {
		return nil, 0, errno
	}
	return &handle{h.(*fs.LoopbackFile), n}, 0, 0
}

// Setattr implements fs.NodeSetattrer.
func (n *recorded) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, ok := in.GetSize()
	if h, is := f.(*handle); is {
		f = h.LoopbackFile
	}
	set := func() syscall.Errno { return n.LoopbackNode.Setattr(ctx, f, in, out) }
	if !ok {
		return set()
	}
	return n.r.does(set, func() Event { return Event{kind: resized, file: n.num(), size: int64(size)} })
}

// CopyFileRange would go past the recorder.
func (n *recorded) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *recorded) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, _, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folderHandle{h.(folderStream), n}, 0, 0
}

// folderStream is what go-fuse reads a folder with.
type folderStream interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
}

// folderHandle is an open folder.
type folderHandle struct {
	folderStream
	n *recorded
}

// Fsyncdir implements fs.FileFsyncdirer.
func (h *folderHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	return h.n.r.does(func() syscall.Errno { return 0 }, func() Event { return Event{kind: settled, file: h.n.num()} })
}

// handle is an open file.
type handle struct {
	*fs.LoopbackFile
	n *recorded
}

// PassthroughFd keeps the kernel from going past the recorder.
func (h *handle) PassthroughFd() (int, bool) { return 0, false }

// Write implements fs.FileWriter.
func (h *handle) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	errno = h.n.r.does(func() syscall.Errno {
		n, errno = h.LoopbackFile.Write(ctx, data, off)
		return errno
	}, func() Event { return Event{kind: written, file: h.n.num(), off: off, data: slices.Clone(data[:n])} })
	return n, errno
}

// Fsync implements fs.FileFsyncer.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	return h.n.r.does(func() syscall.Errno { return 0 }, func() Event { return Event{kind: synced, file: h.n.num()} })
}

// Allocate implements fs.FileAllocater.
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	hole := mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0
	if mode&^(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE) != 0 {
		return syscall.EOPNOTSUPP
	}
	var st syscall.Stat_t
	return h.n.r.does(func() syscall.Errno {
		errno := h.LoopbackFile.Allocate(ctx, off, size, mode)
		if errno == 0 {
			var out fuse.AttrOut
			errno = h.LoopbackFile.Getattr(ctx, &out)
			st.Size = int64(out.Size)
		}
		return errno
	}, func() Event {
		if hole {
			h.n.r.history.add(Event{kind: punched, file: h.n.num(), off: int64(off), size: int64(size)})
		}
		return Event{kind: resized, file: h.n.num(), size: st.Size}
	})
}
