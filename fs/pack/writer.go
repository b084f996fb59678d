package pack

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Options of a Writer. Dir, Key, Next and Closed must be set.
type Options struct {
	Dir    string // folder of sealed packs that are not in the bucket
	Key    *crypt.Key
	Volume crypt.VolumeID
	Epoch  crypt.Epoch

	// Current returns the key that packs are sealed under now, and its epoch, when
	// these change; nil: Key and Epoch are for good.
	Current func() (*crypt.Key, crypt.Epoch)

	// Next returns a pack number that was never used before, not even by a
	// process that was killed.
	Next func() (meta.PackNo, error)

	// Closed is told of each pack whose file is complete and synced, before
	// anything may refer to it durably. After an error it is told again.
	Closed func(Info) error

	// Resealed is told of a closed pack that was sealed anew, when its new file is
	// complete and synced and before that replaces the old one; it returns when that
	// is durable. Only Reseal needs it.
	Resealed func(Info) error

	Buffers int               // packs in memory at a time, 4 MiB each and as much again while they are sealed; 0 means 6. One more is for small data
	Step    func(name string) // called at each step of Steps, by several goroutines at a time; nil is none
}

// Steps are the names given to Options.Step, in the order of a pack's life.
var Steps = []string{"pack.seal", "pack.write", "pack.written", "pack.synced", "pack.closed"}

// open is a pack that is still in memory. Its bytes are only appended to, under
// Writer.mu, and not changed once they are there.
type open struct {
	no    meta.PackNo
	data  []byte // of capacity Size
	since time.Time
	token chan struct{} // Writer.room or Writer.beside, which has a token of this pack

	busy   sync.Mutex // held by who seals and writes it, and guards the fields below; only Writer.mu is taken after it
	sealed []byte     // the object, once it was sealed: a retry writes the same bytes
	info   Info       // with sealed
	filed  bool       // the file is complete and synced
	done   bool       // and Closed was told
}

// Writer gathers bytes in packs and writes the packs to local files.
type Writer struct {
	o       Options
	write   func(path string, b []byte) error // Writer.writeFile; a test has another
	room    chan struct{}                     // a token a buffer
	beside  chan struct{}                     // of capacity 1: the token of the buffer for small data
	opening chan struct{}                     // of capacity 1: the right to open a pack
	wake    chan struct{}                     // of capacity 1: the queue has a pack
	besides sync.Mutex                        // held while small is being opened; taken before mu

	mu      sync.Mutex // guards the fields below
	cur     *open      // nil, or the pack that is being filled
	small   *open      // nil, or the pack that is filled with small data while there is no cur
	closing map[meta.PackNo]*open
	queue   []*open                    // of closing: those that nobody who waits for them writes
	local   map[meta.PackNo]Info       // closed, with a file in Dir
	names   map[crypt.Name]meta.PackNo // of those in local
	free    [][]byte                   // buffers for reuse
	spare   [][]byte                   // the same, of objects
	err     error                      // why the last attempt to write a file failed
	running bool
}

// NewWriter returns a writer over the closed packs that local lists.
func NewWriter(o Options, local []Info) *Writer {
	if o.Buffers == 0 {
		o.Buffers = 6
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Current == nil {
		o.Current = func() (*crypt.Key, crypt.Epoch) { return o.Key, o.Epoch }
	}
	w := &Writer{
		o:       o,
		room:    make(chan struct{}, o.Buffers),
		beside:  make(chan struct{}, 1),
		opening: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		closing: map[meta.PackNo]*open{},
		local:   map[meta.PackNo]Info{},
		names:   map[crypt.Name]meta.PackNo{},
	}
	w.write = w.writeFile
	for _, i := range local {
		w.addLocal(i)
	}
	return w
}

// retryEvery is how long a pack that could not be written waits.
const retryEvery = time.Second

// writers is how many packs Run seals and writes at a time.
const writers = 2

// Run seals and writes full packs until ctx ends. Without it Append does so
// itself. What it leaves is still read from memory, and written by Close.
func (w *Writer) Run(ctx context.Context) error {
	w.setRunning(true)
	defer w.setRunning(false)
	g, ctx := errgroup.WithContext(ctx)
	for range writers {
		g.Go(func() error {
			w.persist(ctx)
			return nil
		})
	}
	return g.Wait()
}

// Running tells whether Run is at work.
func (w *Writer) Running() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running
}

func (w *Writer) setRunning(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = on
}

// persist writes queued packs until ctx ends.
func (w *Writer) persist(ctx context.Context) {
	for {
		p := w.next()
		if p == nil {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			continue
		}
		for w.finish(p) != nil {
			select {
			case <-ctx.Done():
				w.enqueue(p)
				return
			case <-time.After(retryEvery):
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// next takes the oldest pack from the queue; nil when there is none.
func (w *Writer) next() *open {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil
	}
	p := w.queue[0]
	w.queue = w.queue[1:]
	if len(w.queue) > 0 {
		w.signal() // there is work for another
	}
	return p
}

// enqueue leaves p, which is in closing, to Run.
func (w *Writer) enqueue(p *open) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, p)
	w.signal()
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// smallMax is how many bytes of one Append count as small: what a program may be
// about to fsync, while those who write much wait for the disk.
const smallMax = 128 << 10

// Append copies data into the open pack and says where it lies: one run, or
// more where a pack became full. It waits while all buffers are in use, and
// fails at once when they cannot be emptied because the disk refuses. Small data
// does not wait behind large: there is one more buffer for it. What was
// taken before an error stays in packs, and nothing ever refers to it.
func (w *Writer) Append(ctx context.Context, data []byte) ([]Loc, error) {
	var locs []Loc
	small := len(data) <= smallMax
	for len(data) > 0 {
		w.mu.Lock()
		p := w.cur
		if p == nil && small {
			p = w.small
		}
		if p == nil {
			w.mu.Unlock()
			if err := w.begin(ctx, small); err != nil {
				return nil, err
			}
			continue
		}
		n := min(len(data), Size-len(p.data))
		locs = append(locs, Loc{p.no, uint32(len(p.data)), uint32(n)})
		p.data = append(p.data, data[:n]...)
		data = data[n:]
		full := len(p.data) == Size
		if full {
			w.retire(p)
		}
		inline := full && !w.running
		if full && w.running {
			w.queue = append(w.queue, p)
			w.signal()
		}
		w.mu.Unlock()
		if inline {
			if err := w.complete(p); err != nil {
				return nil, err
			}
		}
	}
	return locs, nil
}

// retire ends the filling of p; w is locked.
func (w *Writer) retire(p *open) {
	w.closing[p.no] = p
	if w.small == p {
		w.small = nil
	} else {
		w.cur = nil
	}
}

// begin opens a new pack, unless somebody else just did. For small data it is the
// one beside, if that is free and there is no other at once.
func (w *Writer) begin(ctx context.Context, small bool) error {
	if small {
		if opened, err := w.beginBeside(); opened || err != nil {
			return err
		}
	}
	select {
	case w.opening <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-w.opening }()
	w.mu.Lock()
	opened := w.cur != nil
	w.mu.Unlock()
	if opened {
		return nil
	}
	if err := w.reserve(ctx); err != nil {
		return err
	}
	no, err := w.o.Next()
	if err != nil {
		<-w.room
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cur = w.fresh(no, w.room)
	return nil
}

// beginBeside opens the pack for small data, where all buffers are in use or somebody
// waits for one, and says whether there is one now. Where the disk refuses there is
// none: small data would fill the memory too.
func (w *Writer) beginBeside() (bool, error) {
	w.besides.Lock()
	defer w.besides.Unlock()
	w.mu.Lock()
	opened, refused := w.cur != nil || w.small != nil, w.err != nil
	w.mu.Unlock()
	if opened {
		return true, nil
	}
	if refused || len(w.room) < cap(w.room) && len(w.opening) == 0 {
		return false, nil
	}
	select {
	case w.beside <- struct{}{}:
	default:
		return false, nil
	}
	no, err := w.o.Next()
	if err != nil {
		<-w.beside
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.small = w.fresh(no, w.beside)
	return true, nil
}

// fresh is an empty pack, whose token was taken; w is locked.
func (w *Writer) fresh(no meta.PackNo, token chan struct{}) *open {
	var data []byte
	if n := len(w.free); n > 0 {
		data, w.free = w.free[n-1][:0], w.free[:n-1]
	} else {
		data = make([]byte, 0, Size)
	}
	return &open{no: no, data: data, since: time.Now(), token: token}
}

// reserve takes the token of a buffer.
func (w *Writer) reserve(ctx context.Context) error {
	for {
		select {
		case w.room <- struct{}{}:
			return nil
		default:
		}
		w.mu.Lock()
		err, running := w.err, w.running
		w.mu.Unlock()
		if err != nil {
			return err
		}
		if !running {
			if p := w.next(); p != nil { // Run ended and left it
				if err := w.complete(p); err != nil {
					return err
				}
				continue
			}
		}
		select {
		case w.room <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery): // look again whether the disk refuses
		}
	}
}

// filling is the open pack no, nil when it is none; w is locked.
func (w *Writer) filling(no meta.PackNo) *open {
	for _, p := range []*open{w.cur, w.small} {
		if p != nil && p.no == no {
			return p
		}
	}
	return nil
}

// Close sees that the pack no is in a synced local file, sealing it now when it
// is still open. Packs that are closed already, or unknown, are no error.
func (w *Writer) Close(no meta.PackNo) error {
	w.mu.Lock()
	p := w.closing[no]
	mine := false
	if p == nil {
		if p = w.filling(no); p != nil && len(p.data) > 0 {
			mine = true
			w.retire(p)
		} else {
			p = nil
		}
	}
	w.mu.Unlock()
	switch {
	case p == nil:
		return nil
	case mine:
		return w.complete(p)
	}
	return w.finish(p)
}
