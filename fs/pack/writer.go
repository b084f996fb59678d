package pack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Options of a Writer. Dir, Key, Next and Closed must be set.
type Options struct {
	Dir    string // folder of sealed packs that are not in the bucket
	Key    *crypt.Key
	Volume crypt.VolumeID
	Epoch  crypt.Epoch

	// Next returns a pack number that was never used before, not even by a
	// process that was killed.
	Next func() (meta.PackNo, error)

	// Closed is told of each pack whose file is complete and synced, before
	// anything may refer to it durably.
	Closed func(Info) error

	Buffers int               // packs in memory at a time, 4 MiB each; 0 means 6
	Step    func(name string) // called at each step of Steps; nil is none
}

// Steps are the names given to Options.Step, in the order of a pack's life.
var Steps = []string{"pack.seal", "pack.write", "pack.written", "pack.synced", "pack.closed"}

// open is a pack that is still in memory. Its bytes are only appended to, under
// Writer.mu, and not changed once they are there.
type open struct {
	no     meta.PackNo
	data   []byte // of capacity Size
	since  time.Time
	sealed []byte        // the object, once it was sealed: a retry writes the same bytes
	info   Info          // with sealed
	done   chan struct{} // closed when the file is complete
	busy   sync.Mutex    // held by who seals and writes it; no lock is taken after it but mu
}

// Writer gathers bytes in packs and writes the packs to local files.
type Writer struct {
	o    Options
	room chan struct{} // a token a buffer

	work chan *open // full packs, to the goroutines of Run

	mu      sync.Mutex // guards the fields below
	cur     *open      // nil, or the pack that is being filled
	closing map[meta.PackNo]*open
	local   map[meta.PackNo]Info // closed, with a file in Dir
	free    [][]byte             // buffers for reuse
	err     error                // why the last attempt to write a file failed
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
	w := &Writer{
		o:       o,
		room:    make(chan struct{}, o.Buffers),
		work:    make(chan *open, o.Buffers),
		closing: map[meta.PackNo]*open{},
		local:   map[meta.PackNo]Info{},
	}
	for _, i := range local {
		w.local[i.No] = i
	}
	return w
}

// retryEvery is how long a pack that could not be written waits.
const retryEvery = time.Second

// Run seals and writes full packs until ctx ends. Without it Append does so
// itself.
func (w *Writer) Run(ctx context.Context) error {
	w.setRunning(true)
	defer w.setRunning(false)
	g, ctx := errgroup.WithContext(ctx)
	for range 2 {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case p := <-w.work:
					w.persist(ctx, p)
				}
			}
		})
	}
	return g.Wait()
}

func (w *Writer) setRunning(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = on
}

// persist writes p until it succeeds or ctx ends.
func (w *Writer) persist(ctx context.Context, p *open) {
	for w.finish(p) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryEvery):
		}
	}
}

// Append copies data into the open pack and says where it lies: one run, or
// more where a pack became full. It waits while all buffers are in use, and
// fails at once when they cannot be emptied because the disk refuses.
func (w *Writer) Append(ctx context.Context, data []byte) ([]Loc, error) {
	var locs []Loc
	for len(data) > 0 {
		w.mu.Lock()
		if w.cur == nil {
			w.mu.Unlock()
			if err := w.begin(ctx); err != nil {
				return nil, err
			}
			continue
		}
		p := w.cur
		n := min(len(data), Size-len(p.data))
		locs = append(locs, Loc{p.no, uint32(len(p.data)), uint32(n)})
		p.data = append(p.data, data[:n]...)
		data = data[n:]
		full := len(p.data) == Size
		if full {
			w.retire(p)
		}
		inline := full && !w.running
		w.mu.Unlock()
		switch {
		case inline:
			if err := w.finish(p); err != nil {
				return nil, err
			}
		case full:
			w.work <- p
		}
	}
	return locs, nil
}

// retire ends the filling of p; w is locked.
func (w *Writer) retire(p *open) {
	w.closing[p.no] = p
	w.cur = nil
}

// begin opens a new pack, unless somebody else just did.
func (w *Writer) begin(ctx context.Context) error {
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
	if w.cur != nil {
		<-w.room
		return nil
	}
	var data []byte
	if n := len(w.free); n > 0 {
		data, w.free = w.free[n-1][:0], w.free[:n-1]
	} else {
		data = make([]byte, 0, Size)
	}
	w.cur = &open{no: no, data: data, since: time.Now(), done: make(chan struct{})}
	return nil
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
		err := w.err
		w.mu.Unlock()
		if err != nil {
			return err
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

// Close sees that the pack no is in a synced local file, sealing it now when it
// is still open. Packs that are closed already, or unknown, are no error.
func (w *Writer) Close(no meta.PackNo) error {
	w.mu.Lock()
	p := w.closing[no]
	if p == nil && w.cur != nil && w.cur.no == no {
		p = w.cur
		w.retire(p)
	}
	w.mu.Unlock()
	if p == nil {
		return nil
	}
	return w.finish(p)
}

// finish seals p and writes its file. Whoever comes second waits for the first.
func (w *Writer) finish(p *open) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	select {
	case <-p.done:
		return nil
	default:
	}
	err := w.writeOut(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	if err != nil {
		return err
	}
	w.local[p.no] = p.info
	delete(w.closing, p.no)
	if len(w.free) < cap(w.room) {
		w.free = append(w.free, p.data)
	}
	p.data, p.sealed = nil, nil
	close(p.done)
	<-w.room
	return nil
}

// writeOut seals p once and brings the object to disk.
func (w *Writer) writeOut(p *open) error {
	if p.sealed == nil {
		w.o.Step("pack.seal")
		s := crypt.NewSealer(w.o.Key, w.o.Volume, crypt.TypePack, w.o.Epoch)
		sealed, name, err := s.Seal(make([]byte, 0, crypt.ObjectSize(int64(len(p.data)))), p.data)
		if err != nil {
			return fmt.Errorf("seal pack: %w", err)
		}
		p.sealed = sealed
		p.info = Info{No: p.no, Name: name, Length: int64(len(p.data)), Epoch: w.o.Epoch}
	}
	if err := w.writeFile(Path(w.o.Dir, p.no), p.sealed); err != nil {
		return fmt.Errorf("write pack file: %w", err)
	}
	if err := w.o.Closed(p.info); err != nil {
		return err
	}
	w.o.Step("pack.closed")
	return nil
}

// Path is the local file of pack no.
func Path(dir string, no meta.PackNo) string {
	return filepath.Join(dir, fmt.Sprintf("%016x", uint64(no)))
}

func (w *Writer) writeFile(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w.o.Step("pack.write")
	if _, err := f.Write(b); err != nil {
		return err
	}
	w.o.Step("pack.written")
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	w.o.Step("pack.synced")
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
