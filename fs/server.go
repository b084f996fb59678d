// Package fs speaks FUSE: it turns the kernel's requests into calls of a volume
// and errors into numbers.
//
// Node ids are our own (see nodes). With the writeback cache the kernel collects
// small writes into large ones and owns size and times of the files it writes;
// what other machines change is pushed to it by one notifier, for which nothing
// waits.
package fs

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// Options of a mount.
type Options struct {
	AllowOther bool   // other users may enter, as far as the modes of files let them
	OwnFiles   bool   // all files are shown as the mounting user's, whoever they are stored for
	ReadOnly   bool   // nothing is changed
	FsName     string // first column of df; holds no secret
	Log        *slog.Logger

	// Attach, unless it is nil, puts the mount where it is to be. It is given one that
	// answers and is nowhere in the tree of files yet; only root can make such. It is
	// called once, and when it fails the mount is gone.
	Attach func(tree *os.File) error
}

// Server is one mount. It ends when the mount is taken away.
type Server struct {
	fuse.RawFileSystem // answers ENOSYS to what is not overridden

	o       Options
	log     *slog.Logger
	v       *volume.Volume
	seed    maphash.Seed // of cookies
	owner   *fuse.Owner  // who all files are shown to belong to; nil: as stored
	nodes   *nodes
	handles handles
	locks   locks
	srv     *fuse.Server
	notify  *notifier
}

var _ fuse.RawFileSystem = (*Server)(nil)

// maxWrite is the size of the largest WRITE; 1 MiB is the kernel's own limit.
const maxWrite = 1 << 20

// background is how many requests for which no program waits the kernel sends at a
// time, inflight how many bytes of requests are in memory at a time. Writes are held
// when room is scarce, and then others must still be taken: inflight has place for
// background of the largest, and some more.
const (
	background = 64
	inflight   = (background + 24) << 20
)

// Mount mounts v at dir, an empty directory, and returns when the mount answers. Where
// Options.Attach is given, that does it, and dir does not count.
func Mount(v *volume.Volume, dir string, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{RawFileSystem: fuse.NewDefaultRawFileSystem(), o: o, log: o.Log, v: v, nodes: newNodes(), seed: maphash.MakeSeed()}
	if o.OwnFiles {
		s.owner = &fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	}
	opts := &fuse.MountOptions{
		AllowOther:               o.AllowOther,
		FsName:                   o.FsName,
		Name:                     "hushfs",
		Options:                  []string{"default_permissions"},
		MaxWrite:                 maxWrite,
		MaxBackground:            background,
		MaxInflightRequestBytes:  inflight,
		DirectMount:              os.Getuid() == 0,
		DisableSplice:            true,
		EnableAcl:                true,
		EnableLocks:              true,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		// With HANDLE_KILLPRIV_V2 taking setuid bits and capabilities from a changed
		// file is ours, and the kernel need not ask for them before every write. With
		// DONT_MASK the umask is ours: it does not count where a directory has a default
		// access control list. SETXATTR_EXT says who may not keep the setgid bit.
		ExtraCapabilities: fuse.CAP_WRITEBACK_CACHE | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_DONT_MASK | fuse.CAP_SETXATTR_EXT,
		PanicHandler:      s.panicked,
		// Only root can make mounts of it with other numbers of users. See isRoot.
		IDMappedMount: os.Getuid() == 0,
	}
	if o.ReadOnly {
		opts.Options = append(opts.Options, "ro")
	}
	srv, err := newServer(withVirtual(s), dir, opts, o.Attach)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	keepDevice()
	s.srv = srv
	s.notify = newNotifier(srv, s)
	v.Watch(s.notify)
	// NewServer has mounted and answered the first request; others queue until
	// Serve takes them. Its WaitMount is not used: it opens a file in the mount,
	// and a daemon killed while it waits for itself cannot die.
	go srv.Serve()
	go s.notify.run()
	return s, nil
}

// keepDevice keeps FUSE's device from the programs that this process starts: where root
// mounts, go-fuse opens it without O_CLOEXEC. A mount whose device anybody has open does
// not end with its daemon, but hangs.
func keepDevice() {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && to == "/dev/fuse" {
			if n, err := strconv.Atoi(fd.Name()); err == nil {
				syscall.CloseOnExec(n)
			}
		}
	}
}

// Shown returns when the kernel has dropped what it kept of all that other machines
// changed before, or the mount is gone, or ctx has ended. Requests of the kernel must not
// wait for it.
func (s *Server) Shown(ctx context.Context) error { return s.notify.through(ctx) }

// Wait returns when the mount is gone.
func (s *Server) Wait() {
	s.srv.Wait()
	s.notify.close()
}

// panicked keeps the mount alive when a request meets a mistake of ours.
func (s *Server) panicked(v any) fuse.Status {
	s.log.Error("request failed by a panic", "panic", fmt.Sprint(v))
	return fuse.EIO
}

func (s *Server) String() string { return "hushfs" }

func (s *Server) Init(*fuse.Server) {}

func (s *Server) OnUnmount() {}

// node finds the inode of a request, which shows that the mount is in use.
func (s *Server) node(id uint64) (meta.Ref, fuse.Status) {
	s.v.Used()
	ref, ok := s.nodes.ref(id)
	if !ok {
		return ref, estale
	}
	return ref, fuse.OK
}
