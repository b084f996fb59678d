package volume

import (
	"context"
	"errors"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/view"
)

// opened counts the handles of one inode. What the kernel knows of its times is
// kept as long as there is one.
type opened struct {
	ref   meta.Ref
	count int

	// With the writeback cache the kernel owns mtime and ctime of a file that it
	// writes: it tells them by SETATTR, before or after the WRITE. An operation
	// that had to carry a guess instead is put right when the kernel has no more
	// dirty pages.
	known   bool // the kernel told times since the file was opened
	mtime   meta.Time
	ctime   meta.Time
	guessed bool // an operation carries the time of receipt
}

// Open takes a handle of an inode, which keeps its content until Release even
// when its last name goes. A handle to write with is refused while the local
// disk is full.
func (v *Volume) Open(ref meta.Ref, write bool) error {
	if write {
		if err := v.room(); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := v.inode(ref); err != nil {
		return err
	}
	v.hold(ref)
	return nil
}

// hold counts a handle; v is locked.
func (v *Volume) hold(ref meta.Ref) {
	o := v.open[ref.Ino]
	if o == nil {
		o = &opened{ref: ref}
		v.open[ref.Ino] = o
	}
	o.count++
}

// Release gives a handle back.
func (v *Volume) Release(ref meta.Ref) {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.open[ref.Ino]
	if o == nil {
		return
	}
	if o.count--; o.count == 0 {
		delete(v.open, ref.Ino)
		delete(v.orphans, ref.Ino)
	}
}

// Write puts data into a file at off. It returns when reads see it; it is
// durable after Fsync.
func (v *Volume) Write(ctx context.Context, ref meta.Ref, off uint64, data []byte) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	if off > meta.MaxFileSize || uint64(len(data)) > meta.MaxFileSize-off {
		return meta.ErrTooLarge
	}
	v.landing.RLock()
	defer v.landing.RUnlock()
	locs, err := v.packs.Append(ctx, data)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return ErrShutdown
	}
	extents := make([]meta.Extent, len(locs))
	for i, l := range locs {
		extents[i] = meta.Extent{Off: off, Len: uint64(l.Len), Pack: l.Pack, PackOff: l.Off}
		off += uint64(l.Len)
	}
	if o := v.orphans[ref.Ino]; o != nil {
		return v.applyOrphan(o, &meta.Write{Ref: ref, Extents: extents, Size: off})
	}
	d := v.dirty[ref.Ino]
	if d == nil {
		n, err := v.inode(ref)
		if err != nil {
			return err
		}
		if n.Kind != meta.File {
			return meta.ErrNotFile
		}
		d = &dirty{ref: ref, first: time.Now()}
		v.dirty[ref.Ino] = d
	}
	d.last = now()
	for _, e := range extents {
		d.add(e)
	}
	if len(d.extents) >= meta.MaxExtents {
		return v.pin(ref.Ino)
	}
	return nil
}

// Flush says that the kernel has sent all it had of the file, as at close.
func (v *Volume) Flush(ref meta.Ref) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.settleFile(ref)
}

// settleFile makes operations of a file's data and puts guessed times right; v
// is locked.
func (v *Volume) settleFile(ref meta.Ref) error {
	o := v.open[ref.Ino]
	if d := v.dirty[ref.Ino]; d != nil {
		// The kernel sends times no later than this, so a guess is needed only
		// where it never told any.
		if o != nil && o.known {
			d.timed = true
			o.guessed = true // the times stored now may be older than the last told
		}
		if err := v.pin(ref.Ino); err != nil {
			return err
		}
	}
	if o == nil || !o.guessed || !o.known {
		return nil
	}
	o.guessed = false
	n, err := v.inode(ref)
	if err != nil || (n.Mtime == o.mtime && n.Ctime == o.ctime) {
		return nil // unlinked meanwhile, or right as it is
	}
	return v.execute(&meta.Setattr{Ref: ref, Valid: meta.SetMtime | meta.SetCtime, Mtime: o.mtime, Ctime: o.ctime})
}

// Fsync returns when the file, and every operation before, survives a crash.
func (v *Volume) Fsync(ref meta.Ref) error {
	v.mu.Lock()
	err := v.settleFile(ref)
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return v.persist()
}

// SyncTree returns when every operation executed so far survives a crash.
func (v *Volume) SyncTree() error { return v.persist() }

// Truncate sets the size of a file. mtime is what the kernel told with it, nil
// for the present.
func (v *Volume) Truncate(ctx context.Context, ref meta.Ref, size uint64, mtime *meta.Time) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return ErrShutdown
	}
	n, err := v.inode(ref)
	if err != nil {
		return err
	}
	if size > n.Size {
		if err := v.room(); err != nil {
			return err
		}
	}
	if mtime == nil {
		t := now()
		mtime = &t
	}
	op := &meta.Truncate{Ref: ref, Size: size, Mtime: mtime}
	if o := v.orphans[ref.Ino]; o != nil {
		return v.applyOrphan(o, op)
	}
	if size == 0 {
		delete(v.dirty, ref.Ino) // all of it goes
	} else if err := v.pin(ref.Ino); err != nil {
		return err
	}
	if n, err = v.inode(ref); err != nil {
		return err
	}
	op.Observed = n.Version
	return v.execute(op)
}

// PunchHole makes a range of a file read as zeros.
func (v *Volume) PunchHole(ctx context.Context, ref meta.Ref, off, length uint64) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	op := &meta.PunchHole{Ref: ref, Off: off, Len: length}
	if o := v.orphans[ref.Ino]; o != nil {
		return v.applyOrphan(o, op)
	}
	if err := v.pin(ref.Ino); err != nil {
		return err
	}
	n, err := v.inode(ref)
	if err != nil {
		return err
	}
	op.Observed = n.Version
	return v.execute(op)
}

// Read fills dst with the bytes of a file from off on and returns how many
// there are before its end. The bytes have been verified.
func (v *Volume) Read(ctx context.Context, ref meta.Ref, off uint64, dst []byte) (int, error) {
	for try := 0; ; try++ {
		n, err := v.readOnce(ctx, ref, off, dst)
		// A pack may have gone with what was cut off or deleted meanwhile.
		if !errors.Is(err, pack.ErrUnknown) || try == 2 {
			return n, err
		}
	}
}

func (v *Volume) readOnce(ctx context.Context, ref meta.Ref, off uint64, dst []byte) (int, error) {
	runs, size, err := v.extents(ref, off, off+uint64(len(dst)))
	if err != nil || off >= size {
		return 0, err
	}
	dst = dst[:min(uint64(len(dst)), size-off)]
	at := uint64(0)
	for _, e := range runs {
		if e.Off-off >= uint64(len(dst)) {
			break
		}
		clear(dst[at : e.Off-off])
		at = min(e.End()-off, uint64(len(dst)))
		if err := v.reader.ReadAt(ctx, pack.Loc{Pack: e.Pack, Off: e.PackOff}, dst[e.Off-off:at]); err != nil {
			return 0, err
		}
	}
	clear(dst[at:])
	return len(dst), nil
}

// extents returns what covers [off, end) of a file, sorted and disjoint, newest
// writes included, and the file's size.
func (v *Volume) extents(ref meta.Ref, off, end uint64) ([]meta.Extent, uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var runs []meta.Extent
	n, err := v.stored(ref)
	if err != nil {
		return nil, 0, err
	}
	size := n.Size
	err = v.base(ref, func(r meta.Reader) error {
		return meta.Extents(r, ref, n, off, end, func(e meta.Extent) bool {
			runs = append(runs, e)
			return true
		})
	})
	d := v.dirty[ref.Ino]
	if err != nil || d == nil {
		return runs, size, err
	}
	over := dirty{extents: runs}
	within(d.extents, off, end, over.add)
	return over.extents, max(size, d.size), nil
}

// Data returns the first offset from off on that holds data, or with hole that
// lies in a hole; the end of the file counts as a hole. ok is false when there
// is none before the end.
func (v *Volume) Data(ref meta.Ref, off uint64, hole bool) (at uint64, ok bool, err error) {
	runs, size, err := v.extents(ref, off, meta.MaxFileSize)
	if err != nil || off >= size {
		return 0, false, err
	}
	at = off
	for _, e := range runs {
		if !hole {
			return max(e.Off, off), true, nil
		}
		if e.Off > at {
			break
		}
		at = e.End()
	}
	return min(at, size), hole, nil
}

// orphan is a file that has handles and no name any more. It ends with them; no
// slot ever says anything of it.
type orphan struct {
	ref meta.Ref
	m   *view.Memory // its inode and extents alone
}

// disown keeps the content of a file whose last name goes, as long as it has
// handles; v is locked. It is called before the operation that removes it.
func (v *Volume) disown(ref meta.Ref) error {
	n, err := v.stored(ref)
	if err != nil || n.Kind == meta.Dir || n.Nlink > 1 {
		return err
	}
	d := v.dirty[ref.Ino]
	delete(v.dirty, ref.Ino)
	if v.open[ref.Ino] == nil {
		return nil
	}
	o := &orphan{ref, view.NewMemory()}
	err = v.view.Read(func(r meta.Reader) error {
		var b meta.Batch
		key := meta.InodeKey(ref)
		val, err := r.Get(key)
		if err != nil {
			return err
		}
		b.Puts = append(b.Puts, meta.KV{Key: key, Value: val})
		x := meta.ExtentRange(ref.Ino)
		err = r.Scan(x.From, x.To, func(k, val []byte) bool {
			b.Puts = append(b.Puts, meta.KV{Key: append([]byte(nil), k...), Value: val})
			return true
		})
		if err != nil {
			return err
		}
		return o.m.Apply(0, &b)
	})
	if err != nil {
		return err
	}
	v.orphans[ref.Ino] = o
	for d != nil && (len(d.extents) > 0 || d.size > n.Size) {
		k := min(len(d.extents), meta.MaxExtents)
		w := &meta.Write{Ref: ref, Extents: d.extents[:k:k], Size: d.size}
		if err := v.applyOrphan(o, w); err != nil {
			return err
		}
		if d.extents = d.extents[k:]; len(d.extents) == 0 {
			break
		}
	}
	return nil
}

// applyOrphan changes a file without a name; v is locked.
func (v *Volume) applyOrphan(o *orphan, op meta.Op) error {
	b, err := op.Apply(o.m, meta.Stamp{Device: v.device, No: v.nextOp, Time: now()})
	if err != nil {
		return err
	}
	return o.m.Apply(0, b)
}
