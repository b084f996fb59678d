package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/volume"
)

// daemonConfig is all that a daemon is told, beside the keys. All paths are
// absolute.
type daemonConfig struct {
	location
	Mountpoint    string        `json:"mountpoint"`
	State         string        `json:"state"`
	Cache         string        `json:"cache"`
	Sockets       []string      `json:"sockets"` // to listen at the first that is free
	ReadOnly      bool          `json:"read_only"`
	Older         bool          `json:"older"`
	NoAtime       bool          `json:"no_atime"`
	AutoUnmount   bool          `json:"auto_unmount"`
	AllowOther    bool          `json:"allow_other"`
	OwnFiles      bool          `json:"own_files"`
	CacheSize     int64         `json:"cache_size"`
	DrainTimeout  time.Duration `json:"drain_timeout"`
	FullTimeout   time.Duration `json:"full_timeout"`
	Remote        bool          `json:"remote"` // fsync waits for the store
	RemoteTimeout time.Duration `json:"remote_timeout"`
	Poll          time.Duration `json:"poll"`
	StoreDelay    time.Duration `json:"store_delay"`
	DeviceName    string        `json:"device_name"`
	Verbose       bool          `json:"verbose"`
	JSON          bool          `json:"json"`
}

// server is a daemon at work: one volume, its mount, its socket.
type server struct {
	app    *app
	c      daemonConfig
	log    *slog.Logger
	bucket *bucket        // nil for a directory
	probe  *control.Probe // what was found out about it; nil: nothing yet
	why    string         // it is read-only though nobody asked for that; else empty
	since  time.Time
	hurry  context.CancelFunc // ends the drain, also one that has not begun
	gone   chan struct{}      // closed when the kernel has let go of the mount
	done   chan struct{}      // closed when result is there
	result control.Result     // how the drain ended; read after done

	mu     sync.Mutex     // guards the fields below
	vol    *volume.Volume // nil before it is open
	mount  *fs.Server     // nil before it is mounted
	phase  control.Phase
	until  time.Time     // of the drain
	last   volume.Status // as asked for last
	doing  string        // what it is at while it starts, where that takes long
	hidden []string      // names in the folder below the mount: written just before it was there

	passes int // how many want that writes pass that would wait for room
}

var _ control.Daemon = (*server)(nil)

// grace is how long a daemon that is done waits for its last answers to be
// read, and how long it waits for a busy mount when it is told to end.
const grace = 5 * time.Second

// serve is the life of a daemon: it opens the volume, mounts it, calls ready,
// and goes on until the mount is gone and what waits is in the store. Secret is
// wiped. ctx ends with the first signal; held stays the caller's.
func (a *app) serve(ctx context.Context, c daemonConfig, secret []byte, held *lock, log *slog.Logger, ready func(control.Status) error) error {
	// Who read its log may be gone: a line that cannot be written is lost, and not
	// the daemon, as Go has it for standard error.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	defer limitMemory(a.env)()
	step, err := newSteps(a.env)
	if err != nil {
		return err
	}
	u, err := drive.FromHandover(secret)
	wipe(secret)
	if err != nil {
		return explain("take over the unlocked drive", err)
	}
	defer u.Wipe()
	why := ""
	if !c.ReadOnly {
		if why, err = a.mayWrite(ctx, u, c); err != nil {
			return err
		}
		if why != "" {
			c.ReadOnly = true
			log.Warn("mounted read-only", "why", why)
		}
	}
	b, err := a.openStore(ctx, c.location, c.ReadOnly, log)
	if err != nil {
		return err
	}
	defer b.Close()

	draining, hurry := context.WithCancel(context.Background())
	defer hurry()
	s := &server{
		app: a, c: c, log: log, why: why, since: time.Now(), hurry: hurry, phase: control.Starting,
		gone: make(chan struct{}), done: make(chan struct{}),
	}
	if b, ok := b.(*bucket); ok {
		s.bucket, s.probe = b, probed(readVerdict(c.State, b.place))
	}
	end, err := s.listen(held)
	if err != nil {
		return err
	}
	defer end()

	noCache := makePrivate(c.Cache) // a drive can do without
	v, err := volume.Open(ctx, volume.Options{
		Bucket: slow(b, c.StoreDelay, a.env(envHeld)), Drive: u, State: c.State, Cache: c.Cache,
		ReadOnly: c.ReadOnly, Older: c.Older, NoAtime: c.NoAtime, DeviceName: c.DeviceName,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), CacheSize: c.CacheSize, FullTimeout: max(c.FullTimeout, 1), Remote: c.Remote, RemoteTimeout: c.RemoteTimeout, Patience: c.Patience, Poll: c.Poll, Program: runningProgram(),
		Log: log, Step: step, Writer: writer(u), NoCache: noCache, Clock: kernelTime, Passing: s.passing,
	})
	if err != nil {
		return explain("the drive was not mounted", err)
	}
	s.opened(v)

	m, err := s.appear(ctx, v, fs.Options{
		AllowOther: c.AllowOther, OwnFiles: c.OwnFiles, ReadOnly: c.ReadOnly, FsName: fsSource + u.ID.Short()[:8], Log: log,
	})
	if err != nil {
		// Nothing was written through it; what its journal held stays there.
		hurry()
		closing := v.Shutdown(draining)
		if errors.Is(closing, volume.ErrUndrained) {
			closing = nil
		}
		return notShown(err, closing)
	}
	s.showing(m)
	go func() { m.Wait(); close(s.gone) }()
	if c.AutoUnmount {
		if err := guard(c.Mountpoint); err != nil {
			log.Warn("the mount will stay when this process dies", "err", err)
		}
	}
	// Not before the mount is there: a process that dies while it is being
	// mounted can leave a mount that hangs.
	running := s.run(v)
	s.enter(control.Mounted)
	log.Info("mounted", "pid", os.Getpid(), "pending_ops", s.Status().Volume.PendingOps)
	if err := ready(s.Status()); err != nil {
		log.Warn("nobody was told that the mount is ready", "err", err)
	}

	relieved := s.watchMachine()
	signals := s.watchSignals(ctx)
	s.untilUnmounted(signals.first)
	err = s.drain(draining, v)
	relieved()
	running.end()
	// For those who ask too late for an answer through the socket.
	if werr := held.write(holder{PID: os.Getpid(), Mountpoint: c.Mountpoint, Result: &s.result}); werr != nil {
		log.Warn("the state folder cannot be written to", "err", werr)
	}
	signals.end()
	return err
}

// listen opens the socket and answers at it. The function that is returned
// waits until the last answers are read, and takes the socket away.
func (s *server) listen(held *lock) (end func(), err error) {
	for _, path := range s.c.Sockets {
		if err = makePrivate(filepath.Dir(path)); err != nil {
			continue
		}
		l, lerr := control.Listen(path)
		if err = lerr; err != nil {
			continue // a daemon with the same runtime folder and another state, or no such folder any more
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			err := control.Serve(ctx, l, grace, control.ServerOptions{
				Daemon: s, Log: s.log,
				Explain: func(err error) *control.Problem { return explain("the daemon", err).wire() },
			})
			if err != nil && ctx.Err() == nil {
				s.log.Error("the control socket is gone; umount and status do not reach this daemon", "err", err)
			}
		}()
		end = func() {
			stop()
			<-ended
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.log.Warn("control socket not removed", "err", err)
			}
		}
		if err := held.write(holder{PID: os.Getpid(), Mountpoint: s.c.Mountpoint, Socket: path}); err != nil {
			end()
			return nil, explain("write to the state folder", err)
		}
		return end, nil
	}
	return nil, &problem{code: codeState, what: "no control socket can be made", why: err, next: "Check owner and mode of XDG_RUNTIME_DIR and of the state folder."}
}

// running is the volume's background work.
type running struct {
	stop  context.CancelFunc
	ended chan struct{}
}

func (s *server) run(v *volume.Volume) running {
	ctx, stop := context.WithCancel(context.Background())
	r := running{stop, make(chan struct{})}
	go func() {
		defer close(r.ended)
		if err := v.Run(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("work in the background has stopped; nothing more is sent", "err", err)
		}
	}()
	return r
}

func (r running) end() {
	r.stop()
	<-r.ended
}

// drain shuts the volume down. It ends when everything is in the store, the
// time for it is over, or hurry was called.
func (s *server) drain(ctx context.Context, v *volume.Volume) error {
	s.letPass(true) // for good: nobody writes any more
	until := time.Now().Add(s.c.DrainTimeout)
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	s.mu.Lock()
	s.phase, s.until = control.Draining, until
	s.mu.Unlock()
	before := s.Status().Volume
	s.log.Info("unmounted; sending what waits", "pending_ops", before.PendingOps, "pending_bytes", before.PendingBytes)

	shown := make(chan struct{})
	watching, watched := context.WithCancel(ctx)
	go func() {
		defer close(shown)
		s.watchDrain(watching)
	}()
	err := v.Shutdown(ctx)
	watched()
	<-shown
	if err == nil && s.c.ReadOnly && before.PendingOps > 0 {
		// A mount that may not write is content with that; who reads "locked,
		// everything is in the store" would not be.
		err = fmt.Errorf("%s from an earlier mount, and this one was read-only: %w", unsent(before), volume.ErrUndrained)
		if gone := v.Removed(); gone != nil {
			err = fmt.Errorf("%s, which nobody will take: %w", unsent(before), gone)
		}
	}

	s.mu.Lock()
	s.phase = control.Done
	if err == nil {
		s.last.Stored, s.last.PendingOps, s.last.PendingBytes, s.last.OldestPending = true, 0, 0, time.Time{}
	} else {
		s.last.Stored = false
	}
	s.result = control.Result{Stored: err == nil, PendingOps: s.last.PendingOps, PendingBytes: s.last.PendingBytes}
	s.mu.Unlock()
	var p *problem
	if err != nil {
		p = explain("the drive is locked", err)
		if p.code == codeUndrained && (s.last.Stopped != "" || errors.Is(err, publish.ErrRollback)) && !errors.Is(err, publish.ErrConflict) {
			p.next = "The rest is safe in the journal of this machine; the next mount sends it once what is said above has been seen to."
			if errors.Is(err, chain.ErrVersion) {
				p.next = "Install a newer hushfs on this machine. The rest is safe in its journal; the next mount sends it."
			}
		}
		s.result.Message, s.result.Next = p.Error(), p.next
	}
	close(s.done)
	switch {
	case p == nil && before.ReadOnly:
		s.log.Info("locked; nothing was to be sent")
		return nil
	case p == nil:
		s.log.Info("locked; everything is in the store")
		return nil
	case p.code == codeUndrained:
		s.log.Warn("locked; not everything is in the store", "err", err)
	default:
		s.log.Error("locked; closing the volume failed", "err", err)
	}
	return p
}

// watchDrain keeps the status fresh, for nobody can ask the volume once it is
// closed, and shows the drain to whoever looks at a mount in the foreground.
func (s *server) watchDrain(ctx context.Context) {
	var bar *progress
	if isTerminal(s.app.stderr) {
		bar = s.app.newProgress()
		defer bar.end()
	}
	for pause(ctx, 200*time.Millisecond) == nil {
		bar.show(s.Status().Volume)
	}
}
