package sync

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

const (
	// aheadMost is how many slots are read at a time, and aheadBytes how long their
	// commits are at most together, as far as those before tell: a line that gets one
	// commit through in time gets that through too.
	aheadMost  = 16
	aheadBytes = chain.MaxCommit

	// aheadLate is for how long those that nobody needs are waited for: to break off a
	// request ends its connection.
	aheadLate = time.Second
)

// ahead gets what lies in slots before it is asked for, so that following many takes
// few round trips. It begins with one slot, or with a few more than came the last time
// where something is known to be there. When all held something it asks for three times as
// many more as it found: in vain it asks for hardly more than three times what it found, now
// or the last time. What it brings is judged slot by slot. working is held while there is one.
type ahead struct {
	s      *Syncer
	parent context.Context // of ctx
	ctx    context.Context
	cancel context.CancelFunc
	g      sync.WaitGroup

	coming  []*fetched // in the order of their slots, without a gap
	width   int        // how many are asked for at first
	found   int        // since then
	longest int        // of the objects that were found
	failed  bool       // the store did not answer
}

// fetched is what the store gave for a slot, and when.
type fetched struct {
	slot   chain.Slot
	object []byte
	err    error
	at     time.Time
	up     time.Duration
	done   chan struct{} // closed when the fields above are final
}

// readAhead begins to read slots; there says that the first of them holds something.
// Whoever calls it calls end.
func (s *Syncer) readAhead(ctx context.Context, there bool) *ahead {
	a := &ahead{s: s, parent: ctx, width: 1}
	if there {
		a.width = s.width
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// take returns what lies in a slot, most often the one after that of the last call. A
// longer object than a commit has one byte more, which is enough to refuse it.
func (a *ahead) take(slot chain.Slot) *fetched {
	if len(a.coming) > 0 && a.coming[0].slot != slot {
		a.alone() // dead slots were passed over, or this machine went to where others are
	}
	if len(a.coming) == 0 {
		n := a.width
		if a.found > 0 {
			n = a.most(3 * a.found)
		}
		for i := range n {
			a.ask(slot + chain.Slot(i))
		}
	}
	f := a.coming[0]
	a.coming = a.coming[1:]
	<-f.done
	a.s.reached(f.err)
	switch {
	case f.err == nil:
		a.found++
		a.longest = max(a.longest, len(f.object))
	case !errors.Is(f.err, store.ErrNotExist):
		a.failed = true
	}
	return f
}

// most is n, or how many slots are read at most at a time.
func (a *ahead) most(n int) int { return max(1, min(n, aheadMost, aheadBytes/max(a.longest, 1))) }

func (a *ahead) ask(slot chain.Slot) {
	f := &fetched{slot: slot, done: make(chan struct{})}
	a.coming = append(a.coming, f)
	ctx, name := a.ctx, chain.SlotName(a.s.volume, slot)
	a.g.Go(func() {
		defer close(f.done)
		f.object, f.err = a.s.o.Bucket.Get(ctx, name, 0, chain.MaxCommit+1)
		f.at, f.up = time.Now(), a.s.o.Uptime()
	})
}

// alone forgets what is on its way, and has the slots that come asked for one by one to
// begin with: nothing is known of them.
func (a *ahead) alone() {
	if len(a.coming) > 0 {
		a.wait()
		a.ctx, a.cancel = context.WithCancel(a.parent)
	}
	a.coming, a.width, a.found = nil, 1, 0
	a.s.width = 1 // what was found before says nothing of those either
}

// end waits for what is on its way, and notes how many to begin with the next time.
func (a *ahead) end() {
	a.wait()
	switch {
	case a.failed:
		a.s.width = 1 // the line may be too slow for several
	case a.found > 0:
		a.s.width = a.most(a.found + a.found/4 + 1)
	}
}

// wait returns when nothing is on its way any more.
func (a *ahead) wait() {
	late := time.AfterFunc(aheadLate, a.cancel)
	a.g.Wait()
	late.Stop()
	a.cancel()
}
