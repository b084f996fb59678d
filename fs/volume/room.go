package volume

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// room decides how fast may be written, and when it is said that there is no
// space. It looks at two quantities: what of the cap is left when all that only
// this machine has is taken off, and what is free on the disk that holds it. Of
// each the last part is set aside for the pages that the kernel took from
// programs before we were asked: they must never fail for want of our space.
//
// Outside of that part nobody waits. Within it a write waits for the uploads to
// make room, so that writers are as fast as these; one at a time and for at most
// holdMax, as long as more than half of the part is left, which lets single
// files through. Only when the store has made no progress for a while is a
// new file, or a longer one, refused, and the rest of the part given to what the
// kernel has. At its end writes wait until there is room: they do not fail.
type room struct {
	o    roomOptions
	log  *slog.Logger
	turn chan struct{} // of capacity 1: held by the write that is let in next
	more chan struct{} // of capacity 1: look again, something was freed

	// coming are the bytes that were let in and that Waiting does not count yet: writes wait
	// for a place in a pack, and the kernel sends up to a hundred at a time.
	coming atomic.Int64

	mu         sync.Mutex // guards the fields below; nothing of the volume is taken after it but what the options take
	progressed time.Time  // newest thing that the store took, or start
	taken      int64      // bytes let in since left was measured
	left       amount     // as measured last
	measured   time.Time
	fresh      bool // measured since the cache was told
	let        bool // all may pass: the mount goes away
	level      level
	full       bool // refused when last asked
}

// roomOptions of a room. All but Moving, Shrink, Flush and Log must be set; none may
// block for long or take a lock over which room is asked.
type roomOptions struct {
	Limit   int64                     // bytes of journal, packs and cache on the disk
	Full    time.Duration             // without progress for so long, new files are refused
	Waiting func() int64              // bytes that only this machine has: journal and packs, in memory too
	Memory  func() int64              // of these, bytes that are on their way to the disk
	Oldest  func() time.Time          // since when the oldest thing that can be sent waits; zero: nothing does
	Disk    func() (free, size int64) // of the disk below the journal; free without what is kept for sending
	Refused func() bool               // the disk takes nothing, whatever it says is free
	Moving  func() bool               // something is on its way to the store that takes long and has not failed
	Shrink  func()                    // gives back what only the cache has
	Flush   func(context.Context)     // makes what was written something that can be sent
	Log     *slog.Logger              // nil discards
}

// amount is what is left of the cap and of the disk, and how much of each is
// set aside.
type amount struct {
	cap, capAside   int64
	disk, diskAside int64
}

// level is how scarce room is.
type level uint8

const (
	ample  level = iota // nobody waits
	tight               // writes wait for the uploads, but not for long
	scarce              // writes wait for the uploads
	none                // writes wait
	never               // above all of them
)

const (
	// aside is the most that is set aside for pages that the kernel accepted: it
	// keeps some 46 MiB of them on a machine of 24 GiB.
	aside = 128 << 20

	// LeastCache is what the journal needs in any case: its files, and packs for
	// a few uploads.
	LeastCache = 64 << 20

	// DefaultFull is how long the store may make no progress before a full
	// journal refuses.
	DefaultFull = 60 * time.Second

	// headroom is what may be let in, and be written ahead in the journal, between
	// two looks of the cache at what is left for it; small is for folders, the state
	// and the log.
	headroom = 2*freshenFrom + small
	small    = 2 << 20

	// tidyFor is how long files that were sent may take to go.
	tidyFor = 3 * time.Second

	holdMax     = time.Second
	holdStep    = 50 * time.Millisecond
	measureFor  = 250 * time.Millisecond
	freshenFrom = 4 << 20 // bytes let in after which is measured anew
)

func newRoom(o roomOptions) *room {
	if o.Full <= 0 {
		o.Full = DefaultFull
	}
	if o.Moving == nil {
		o.Moving = func() bool { return false }
	}
	if o.Flush == nil {
		o.Flush = func(context.Context) {}
	}
	if o.Shrink == nil {
		o.Shrink = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &room{o: o, log: o.Log, turn: make(chan struct{}, 1), more: make(chan struct{}, 1), progressed: time.Now()}
}

// progress is told of each object that the store has taken, and when local
// files went.
func (r *room) progress() {
	r.mu.Lock()
	r.progressed = time.Now()
	r.mu.Unlock()
	r.again()
}

// again makes the one who waits look again.
func (r *room) again() {
	r.mu.Lock()
	r.measured = time.Time{}
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// letAll lets everything pass, or ends that: an unmount waits for what the
// kernel still has, and must not wait for the store.
func (r *room) letAll(on bool) {
	r.mu.Lock()
	r.let = on
	r.mu.Unlock()
	r.again()
}

// admit returns when n bytes may be written; arrived is told then when they were. It
// fails when ctx ends, and with nothing else. No lock of the volume may be held.
func (r *room) admit(ctx context.Context, n int64) error { return r.wait(ctx, n, never) }

// arrived is told of bytes that were let in, when Waiting counts them or they do not come.
func (r *room) arrived(n int64) { r.coming.Add(-n) }

// wait is admit. Where waiting is in vain it refuses when room is as scarce as from.
func (r *room) wait(ctx context.Context, n int64, from level) error {
	l := r.look(n)
	r.shrink()
	if l == ample {
		return nil
	}
	step := time.NewTicker(holdStep)
	defer step.Stop()
	came := time.Now()
	for queued := true; queued; {
		// Whoever has the turn may wait for as long as the store is away, for more than
		// is left: what is refused at the end of the room alone does not wait behind it.
		if l := r.look(n); l == ample {
			return nil
		} else if r.refuses() {
			if l >= from {
				return ErrNoSpace
			}
			if from == none && time.Since(came) >= holdMax {
				return nil
			}
		}
		select {
		case r.turn <- struct{}{}:
			queued = false
		case <-ctx.Done():
			return ctx.Err()
		case <-step.C:
		}
	}
	defer func() { <-r.turn }()
	// What floats is no operation yet, and nobody sends it.
	r.o.Flush(ctx)
	began := time.Now()
	for {
		held := time.Since(began) >= holdMax
		switch l := r.look(n); {
		case l >= from && r.refuses():
			return ErrNoSpace
		case l == ample:
			return nil
		case l == tight && held, l == scarce && held && r.refuses():
			r.mu.Lock()
			r.letIn(n)
			r.mu.Unlock()
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.more:
		case <-step.C:
		}
	}
}

// pause waits a step, after the disk has refused what was let in.
func (r *room) pause(ctx context.Context) error {
	step := time.NewTimer(holdStep)
	defer step.Stop()
	r.again()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-step.C:
		return nil
	}
}

// open says ErrNoSpace when nothing new may be begun: there is no room, and
// sending makes none.
func (r *room) open() error {
	if r.look(0) != ample && r.refuses() {
		return ErrNoSpace
	}
	return nil
}

// enter is open for what writes a little into the journal, and waits as admit.
func (r *room) enter(ctx context.Context) error { return r.wait(ctx, 0, tight) }

// change is enter for what makes nothing new, as a rename: as long as anything is left
// of what is set aside it is slowed, and not refused.
func (r *room) change(ctx context.Context) error { return r.wait(ctx, 0, none) }

// look says how scarce room is once n more bytes are written. Bytes for which
// there is room count as written.
func (r *room) look(n int64) level {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.let {
		r.letIn(n)
		return ample
	}
	now := time.Now()
	age := now.Sub(r.measured)
	if r.measured.IsZero() || age >= measureFor || r.taken >= freshenFrom || r.level != ample && age >= holdStep {
		r.measure(now)
	}
	l := r.left.level(r.taken + n)
	if l == ample {
		r.letIn(n)
	}
	return l
}

// letIn counts bytes as written; mu is held.
func (r *room) letIn(n int64) {
	r.taken += n
	r.coming.Add(n)
}

// shrink has the cache make way for what was written since it was told last.
func (r *room) shrink() {
	r.mu.Lock()
	fresh := r.fresh
	r.fresh = false
	r.mu.Unlock()
	if fresh {
		r.o.Shrink()
	}
}

// measure asks for what is left; mu is held.
func (r *room) measure(now time.Time) {
	r.measured, r.taken, r.fresh = now, 0, true
	coming := r.coming.Load() // before the others are asked: what arrives meanwhile counts twice rather than not at all
	r.left.cap, r.left.capAside = r.o.Limit-r.o.Waiting()-coming, min(aside, r.o.Limit/8)
	free, size := r.o.Disk()
	r.left.disk, r.left.diskAside = free-r.o.Memory()-coming, min(aside, size/10)
	if r.o.Refused() {
		r.left.disk = -1
	}
	if l := r.left.level(0); l != r.level {
		if r.level == ample {
			r.log.Warn("writers are slowed: little room is left for what is not in the store", "cap", r.left.cap, "disk", r.left.disk)
		} else if l == ample {
			r.log.Info("there is room again")
			r.full = false
		}
		r.level = l
	}
}

func (a amount) level(n int64) level {
	of := func(left, aside int64) level {
		switch left -= n; {
		case left >= aside:
			return ample
		case left >= aside/2:
			return tight
		case left >= 0:
			return scarce
		}
		return none
	}
	return max(of(a.cap, a.capAside), of(a.disk, a.diskAside))
}

// refuses says whether waiting is in vain: the store has taken nothing for long, or
// nothing waits whose sending would make room, and what was sent is gone from here.
func (r *room) refuses() bool {
	oldest := r.o.Oldest()
	moving := !oldest.IsZero() && r.o.Moving()
	r.mu.Lock()
	defer r.mu.Unlock()
	since := r.progressed
	if oldest.After(since) {
		since = oldest
	}
	limit := r.o.Full
	if oldest.IsZero() {
		limit = min(limit, tidyFor)
	}
	full := !moving && time.Since(since) >= limit
	if full && !r.full {
		r.log.Warn("no space left: new files are refused", "since", since, "waiting", !oldest.IsZero())
	}
	r.full = full
	return full
}

// state says why writers are slowed, empty when they are not, and whether new
// files are refused.
func (r *room) state() (why string, refused bool) {
	l := r.look(0)
	if l == ample {
		return "", false
	}
	r.mu.Lock()
	left := r.left
	r.mu.Unlock()
	why = "what waits has nearly filled the disk space that it may have (--cache-size)"
	if left.disk < left.diskAside {
		why = "the local disk is nearly full"
	}
	return why, r.refuses()
}

// isFull tells that a local disk has no room, of any kind.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, journal.ErrFull)
}

// Room says ErrNoSpace when what can still be refused should be: a write that
// the kernel does not cache, space that is asked for in advance.
func (v *Volume) Room() error { return v.room.open() }

// enterTo waits for room for a change of attributes, or refuses it. Times of a file
// that is open pass: they come with data that the kernel has accepted.
//
// The kernel tells times from within unlink, link and rename as well, after ours is done,
// and the program waits for it. A file that has lost its last name takes no room by that.
// One that has others got a ctime by the operation itself: while room is short known is true,
// and that one is enough.
func (v *Volume) enterTo(ctx context.Context, ref meta.Ref, op meta.Setattr) (known bool, err error) {
	if op.Valid == meta.SetMtime|meta.SetCtime {
		v.mu.Lock()
		open := v.open[v.at(ref).Ino] != nil
		n, err := v.inode(ref)
		v.mu.Unlock()
		switch {
		case open, errors.Is(err, ErrStale):
			return false, nil
		case err == nil && n.Mtime == op.Mtime && v.room.look(0) != ample:
			return true, nil
		}
	}
	return false, v.room.change(ctx)
}

// LetPass lets every write that was accepted by the kernel pass, or ends that. An
// unmount waits for them, and must not wait for the store.
func (v *Volume) LetPass(on bool) { v.room.letAll(on) }

// openRoom makes the volume's room; the parts that it asks need not be there yet.
func (v *Volume) openRoom() {
	if v.o.CacheSize == 0 {
		v.o.CacheSize = defaultCache(v.o.Cache)
	}
	limit := max(v.o.CacheSize, LeastCache)
	v.spare = newSpare(v.o.State, limit)
	v.room = newRoom(roomOptions{
		Limit: limit - v.spare.size - small,
		Full:  v.o.FullTimeout,
		Waiting: func() int64 {
			// What the cache knows of names is not given up for what waits: who is off
			// line at the end of the room wants to look around.
			return v.local() - v.spare.bytes() + min(v.cache.Usage().Meta, limit/4)
		},
		Memory: func() int64 {
			_, coming := v.packs.Disk()
			return coming
		},
		Oldest:  v.oldest,
		Flush:   func(ctx context.Context) { v.noted("changes", v.pinOld(ctx, 0)) },
		Disk:    v.spare.disk,
		Refused: func() bool { return isFull(v.packs.Err()) },
		Moving:  v.bucket.moving,
		Shrink:  func() { v.cache.Shrink() },
		Log:     v.log,
	})
	v.bucket.took = v.room.progress
	if !v.o.ReadOnly {
		v.noted("space for sending", v.spare.keep(false))
	}
}

// takeIn puts data into packs. Without an error the caller calls landed when an
// extent names the bytes. A disk that refuses is waited for, as room is: the kernel
// has told the program already that this is written.
func (v *Volume) takeIn(ctx context.Context, data []byte) (locs []pack.Loc, landed func(), err error) {
	for {
		if err := v.room.admit(ctx, int64(len(data))); err != nil {
			return nil, nil, err
		}
		leave := v.landing.enter()
		locs, err := v.packs.Append(ctx, data)
		v.room.arrived(int64(len(data)))
		if err == nil {
			return locs, leave, nil
		}
		leave()
		if !isFull(err) || v.life.Err() != nil {
			return nil, nil, err
		}
		v.yield(err)
		if err := v.room.pause(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// others is what the cache must leave of the cap: what lies here beside it, what was let
// in, and what can come before it is asked to make way.
func (v *Volume) others() int64 { return v.room.coming.Load() + v.local() + headroom }

// oldest is since when the oldest operation waits; zero when nothing does. Bytes that
// come, or float, as those of a large file that is being written, are about to become one.
func (v *Volume) oldest() time.Time {
	pending := v.view.Pending()
	switch {
	case pending.Len() > 0:
	case v.room.coming.Load() > 0, v.floats():
		return time.Now()
	default:
		return time.Time{}
	}
	t := pending.First().Time
	return time.Unix(t.Sec, int64(t.Nsec))
}

// floats says whether written bytes are no operation yet. Whoever holds v's lock, or
// waits for it, is told that there are some: they will be asked again.
func (v *Volume) floats() bool {
	if !v.mu.TryLock() {
		return true
	}
	defer v.mu.Unlock()
	return len(v.dirty) > 0
}
