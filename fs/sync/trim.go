package sync

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// TrimOptions say when commits under a checkpoint are deleted.
type TrimOptions struct {
	Age  time.Duration    // since they were signed, and since the store has them; 0 means 14 days, less than 0 never
	Keep int              // so many of the newest slots stay; 0 means 256
	Now  func() time.Time // nil is time.Now
}

const (
	trimAge  = 14 * 24 * time.Hour
	trimKeep = 256

	// trimStep is how many commits go at a time, and trimDead how many dead slots for each
	// of them; trimEvery how often it is looked for more; trimSoon when there is more, and
	// trimFirst after the mount.
	trimStep  = 64
	trimDead  = 64
	trimFirst = time.Minute
	trimEvery = 15 * time.Minute
	trimSoon  = 2 * time.Second
)

// Trimmed is what a call of Trim came to.
type Trimmed struct {
	Deleted int        // objects
	Upto    chain.Slot // the commits up to here are gone, but for those that announce a checkpoint
	More    bool       // there is more to delete now

	room int // for how many dead slots there is room in this call
}

// trimming is what is known of the checkpoints under the newest one.
type trimming struct {
	mu     sync.Mutex // held by who trims; guards the fields below; taken before working
	marks  []mark     // ascending; each begins where the one before it ends
	denied bool       // the store does not let this machine delete
	taken  taking     // when the store took the head
	next   time.Time  // when it is looked for more
}

// mark is a checkpoint, without its content.
type mark struct {
	announced chain.Link
	at, base  chain.Link // its slot, and where its steps begin
	time      time.Time  // by its author's clock
	checked   bool       // its tables hold what those of the mark before and the commits between make
	below     chain.Slot // of the slots up to here this machine deleted all that may go
	trimmed   bool       // these commits are gone
}

// Trim deletes commits that lie under a checkpoint, the oldest first, up to most of them,
// and the dead slots between them, of which there may be very many: up to trimDead times
// as many.
//
// What goes is what nobody needs to read the drive: commits that were signed TrimOptions.Age
// ago, that the store has for as long, by its own dates where it tells them, and that
// are none of the newest Keep; under the checkpoint before the newest, so that a newest
// one which is damaged or wrong is no loss; and whose ids can be computed from the
// checkpoints that stay, so that a machine which saw them can find its head again. Those
// that announce a checkpoint stay. Before the commits under one are touched, whoever
// trims has made sure that its tables hold what these wrote, and that a hint leads past
// them; a fold that is wrong is said, with the device that made it, and passed over
// from then on, and nothing is deleted.
//
// Several machines may do so at a time. Each checks for itself; all delete the same
// objects, none is put in their place, and an object that is gone already is as good as
// deleted. So there is nothing to agree on, and a machine that dies in between leaves
// work for the next.
func (s *Syncer) Trim(ctx context.Context, most int) (Trimmed, error) {
	t := &s.trim
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Trimmed{room: most * trimDead}
	if s.o.Trim.Age < 0 || t.denied {
		return out, nil
	}
	st, err := s.trimBegin(ctx)
	if err != nil || st == nil {
		return out, err
	}
	if err := s.findMarks(ctx, st); err != nil {
		return out, err
	}
	for i := range t.marks {
		m := &t.marks[i]
		if m.trimmed {
			out.Upto = m.at.Slot
			continue
		}
		if i+1 == len(t.marks) || m.at.Slot+s.trimKeep() > st.Slot || !s.old(m.time) {
			break
		}
		err := s.trimUnder(ctx, st, i, &out)
		if errors.Is(err, errYoung) {
			break
		}
		if wrong := (*wrongError)(nil); errors.As(err, &wrong) {
			return out, s.foundWrong(ctx, st, wrong.commit, err)
		}
		if err != nil || out.More {
			return out, s.untrimmed(err)
		}
		m.trimmed, out.Upto = true, m.at.Slot
	}
	if out.Deleted > 0 {
		s.log.Info("trimmed", "objects", out.Deleted, "up to slot", uint64(out.Upto))
	}
	return out, s.untrimmed(nil)
}

// untrimmed says whether a person should know why old commits stay.
func (s *Syncer) untrimmed(err error) error {
	if err != nil && (errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled)) {
		return err
	}
	if errors.Is(err, store.ErrDenied) {
		s.trim.denied = true
		err = fmt.Errorf("old commits are not deleted, since the store does not let this machine: %w", err)
	}
	if s.o.Untrimmed != nil {
		s.o.Untrimmed(err)
	}
	if s.trim.denied {
		return nil // said; it is not tried again
	}
	return err
}

func (s *Syncer) trimKeep() chain.Slot {
	if s.o.Trim.Keep > 0 {
		return chain.Slot(s.o.Trim.Keep)
	}
	return trimKeep
}

func (s *Syncer) trimAge() time.Duration {
	if s.o.Trim.Age > 0 {
		return s.o.Trim.Age
	}
	return trimAge
}

// old says whether something was signed long enough ago.
func (s *Syncer) old(signed time.Time) bool {
	now := time.Now
	if s.o.Trim.Now != nil {
		now = s.o.Trim.Now
	}
	return now().Sub(signed) >= s.trimAge()
}

// errYoung: a commit is not old enough yet.
var errYoung = errors.New("too young to be trimmed")

// trimBegin returns the chain as it is, when the store is as this machine knows it and a
// hint leads to the newest checkpoint; nil when there is nothing to do.
func (s *Syncer) trimBegin(ctx context.Context) (*chain.State, error) {
	if err := s.turn(ctx); err != nil {
		return nil, err
	}
	defer s.working.Unlock()
	_, number, _ := s.o.State.Device()
	if s.halted() != nil || number == 0 || s.o.Chain.Announced().Slot == 0 {
		return nil, nil
	}
	if err := s.comeBack(ctx); err != nil {
		return nil, err
	}
	if err := s.conclude(ctx); err != nil {
		return nil, err
	}
	s.end.seen = false
	if err := s.headThere(ctx); err != nil {
		return nil, err
	}
	if err := s.leadTo(ctx); err != nil {
		return nil, err
	}
	return s.o.Chain.Clone(), nil
}

// findMarks goes down from the newest checkpoint to what is known, to where all is
// trimmed, or to where the checkpoints do not lead on; trim.mu is held.
func (s *Syncer) findMarks(ctx context.Context, st *chain.State) error {
	t := &s.trim
	var found []mark
	for at := st.Announced(); at.Slot > 0; {
		if n := len(t.marks); n > 0 && t.marks[n-1].announced == at {
			break
		}
		if n := len(t.marks); n > 0 && t.marks[n-1].announced.Slot >= at.Slot {
			t.marks = nil // what was known is passed over now
		}
		c, err := s.announcing(ctx, st, at)
		if err != nil {
			return err
		}
		k := c.Checkpoint
		if n := len(found); n > 0 && found[n-1].base != k.Link {
			break
		}
		m := mark{announced: at, at: k.Link, base: k.Base, time: c.Time}
		if m.base == m.at {
			m.trimmed = true // what lies under it has no steps, and stays
			found = append(found, m)
			break
		}
		if len(t.marks) == 0 {
			left := 0
			err := s.eachSlot(ctx, st, m.base.Slot, m.at.Slot, func(some []listed, _ chain.Slot) error {
				if left += len(some); left > 0 {
					return errEnough
				}
				return nil
			}, k.Before.Slot)
			if err != nil && !errors.Is(err, errEnough) {
				return err
			}
			m.trimmed = left == 0
		}
		found = append(found, m)
		if m.trimmed {
			break
		}
		at = k.Before
	}
	slices.Reverse(found)
	if n := len(t.marks); n > 0 && len(found) > 0 && found[0].base != t.marks[n-1].at {
		t.marks = nil
	}
	t.marks = append(t.marks, found...)
	// Where the lowest begins above the start of the chain, the tables there are not known.
	if len(t.marks) > 0 && t.marks[0].base.Slot > 0 {
		t.marks[0].trimmed = true
	}
	return nil
}

// announcing gets the commit that announces a checkpoint, as of a state above it.
func (s *Syncer) announcing(ctx context.Context, st *chain.State, at chain.Link) (*chain.Commit, error) {
	object, err := s.get(ctx, chain.SlotName(st.Volume, at.Slot), chain.MaxCommit)
	if err != nil {
		return nil, fmt.Errorf("get slot %d: %w", at.Slot, err)
	}
	return chain.OpenAnnouncing(st.Volume, st.Key, st.Ledger, at, object)
}

// errEnough ends eachSlot.
var errEnough = errors.New("enough")

// listed is a slot of which the store says that it has an object.
type listed struct {
	chain.Slot
	store.Info
}

// listedMost is how many slots are listed at a time. Where they lie in a folder, each
// listing reads the names of all.
const listedMost = 4 * store.DefaultList

// eachSlot calls fn for some slots at a time, above from, up to to, that the store lists
// and that announce no checkpoint that is known, ascending. Those of but are left out too.
// After some it is told up to where that was all.
func (s *Syncer) eachSlot(ctx context.Context, st *chain.State, from, to chain.Slot, fn func(some []listed, upto chain.Slot) error, but ...chain.Slot) error {
	stays := map[chain.Slot]bool{}
	for _, slot := range but {
		stays[slot] = true
	}
	for _, m := range s.trim.marks {
		stays[m.announced.Slot] = true
	}
	for few := true; from < to; few = false {
		// Of many slots few may be left.
		some, whole, err := []listed(nil), false, error(nil)
		high := to
		if few {
			some, whole, err = s.listSlots(ctx, st, from, to, 1)
		}
		if err == nil && !whole {
			high = min(to, from+listedMost)
			some, _, err = s.listSlots(ctx, st, from, high, math.MaxInt)
		}
		if err != nil {
			return err
		}
		some = slices.DeleteFunc(some, func(l listed) bool { return stays[l.Slot] })
		if err := fn(some, high); err != nil {
			return err
		}
		from = high
	}
	return nil
}

// listSlots lists the slots above from, up to to, ascending, with so many requests at
// most; whole says that these are all. Other names may lie between them.
func (s *Syncer) listSlots(ctx context.Context, st *chain.State, from, to chain.Slot, pages int) (some []listed, whole bool, err error) {
	end := chain.SlotName(st.Volume, from+1)
	for after := chain.SlotName(st.Volume, to+1); pages > 0 && !whole; pages-- {
		page, err := s.o.Bucket.List(ctx, chain.SlotPrefix(st.Volume), after, listedMost)
		s.reached(err)
		if err != nil {
			return nil, false, fmt.Errorf("list commits: %w", err)
		}
		for _, i := range page { // the newest come first
			if i.Name <= after {
				return nil, false, fmt.Errorf("list commits: the store repeats itself: %w", store.ErrUnavailable)
			}
			after = i.Name
			if slot, ok := chain.ParseSlotName(st.Volume, i.Name); ok && slot > from && slot <= to {
				some = append(some, listed{slot, i})
			}
		}
		whole = len(page) < listedMost || after >= end
	}
	slices.Reverse(some)
	return some, whole, nil
}

// trimUnder deletes the commits between a mark and the one before it, once its tables
// were checked, and the dead slots between them.
func (s *Syncer) trimUnder(ctx context.Context, st *chain.State, i int, out *Trimmed) error {
	t := &s.trim
	m := &t.marks[i]
	c, err := s.announcing(ctx, st, m.announced)
	if err != nil {
		return err
	}
	if !m.checked {
		err := s.checkFold(ctx, st, i, c)
		if errors.Is(err, errWrong) {
			return &wrongError{c, err}
		}
		if err != nil {
			return fmt.Errorf("check the fold of slot %d: %w", m.at.Slot, err)
		}
		m.checked = true
		s.o.Step("trim.checked")
	}
	now, err := s.storeTime(ctx, st)
	if err != nil {
		return err
	}
	commits := map[chain.Slot]bool{}
	for _, step := range c.Checkpoint.Steps {
		commits[step.Slot] = true
	}
	err = s.eachSlot(ctx, st, max(m.base.Slot, m.below), m.at.Slot, func(some []listed, upto chain.Slot) error {
		for len(some) > 0 {
			// Commits go in their order; of those that are nobody's, some at a time.
			n := 1
			for !commits[some[0].Slot] && n < len(some) && !commits[some[n].Slot] && n < out.room {
				n++
			}
			cost := n
			if commits[some[0].Slot] {
				cost = trimDead
			}
			if out.room < cost {
				out.More = true
				return errEnough
			}
			old := slices.IndexFunc(some[:n], func(l listed) bool {
				return !l.Modified.IsZero() && !now.IsZero() && now.Sub(l.Modified) < s.trimAge()
			})
			if old < 0 {
				old = n
			}
			deleted, err := s.trimSlots(ctx, st, some[:old], commits)
			if out.Deleted += deleted; err != nil {
				return err
			}
			out.room -= cost
			if old > 0 {
				m.below = some[old-1].Slot
			}
			if old < n {
				return errYoung
			}
			some = some[n:]
		}
		m.below = upto
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// trimSlots deletes slots side by side, and says how many.
func (s *Syncer) trimSlots(ctx context.Context, st *chain.State, some []listed, commits map[chain.Slot]bool) (int, error) {
	var deleted atomic.Int64
	trim := func(ctx context.Context, l listed) error {
		if (commits[l.Slot] || !s.foreign(ctx, st, l)) && s.announces(ctx, st, l.Slot, l.Info) {
			return nil
		}
		err := s.o.Bucket.Delete(ctx, l.Name)
		s.reached(err)
		if err != nil {
			return fmt.Errorf("delete slot %d: %w", l.Slot, err)
		}
		deleted.Add(1)
		s.o.Step("trim.deleted")
		return nil
	}
	if len(some) == 1 {
		err := trim(ctx, some[0])
		return int(deleted.Load()), err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchAhead)
	for _, l := range some {
		g.Go(func() error { return trim(ctx, l) })
	}
	err := g.Wait()
	return int(deleted.Load()), err
}

// foreign says whether the end of an object tells that it announces nothing.
func (s *Syncer) foreign(ctx context.Context, st *chain.State, l listed) bool {
	end, err := s.o.Bucket.Get(ctx, l.Name, -chain.EndLength, -1)
	s.reached(err)
	return err == nil && st.Foreign(end)
}

// announces says whether a slot holds a commit that announces a checkpoint which is in
// none of the marks, being passed over: hints may lead to it.
func (s *Syncer) announces(ctx context.Context, st *chain.State, slot chain.Slot, info store.Info) bool {
	if info.Size > chain.MaxCommit {
		return false
	}
	object, err := s.get(ctx, info.Name, chain.MaxCommit)
	if err != nil {
		return true // it stays, for now
	}
	c, err := st.Open(slot, object)
	return err == nil && c.Checkpoint != nil
}

// taking is when the store took a slot, by its own clock.
type taking struct {
	slot chain.Slot
	at   time.Time
}

// storeTime is when the store took the head: its clock shows that or more. Zero where it
// tells no times.
func (s *Syncer) storeTime(ctx context.Context, st *chain.State) (time.Time, error) {
	t := &s.trim
	if t.taken.slot == st.Slot {
		return t.taken.at, nil
	}
	page, err := s.o.Bucket.List(ctx, chain.SlotPrefix(st.Volume), chain.SlotName(st.Volume, st.Slot+1), 1)
	s.reached(err)
	if err != nil {
		return time.Time{}, fmt.Errorf("list commits: %w", err)
	}
	if len(page) == 0 {
		return time.Time{}, nil
	}
	t.taken = taking{st.Slot, page[0].Modified}
	return t.taken.at, nil
}

// trimDue trims a little when it is time for it.
func (s *Syncer) trimDue(ctx context.Context) error {
	s.trim.mu.Lock()
	due := !time.Now().Before(s.trim.next)
	s.trim.mu.Unlock()
	if !due {
		return nil
	}
	did, err := s.Trim(ctx, trimStep)
	wait := trimEvery
	if err == nil && did.More {
		wait = trimSoon
	}
	s.trim.mu.Lock()
	s.trim.next = time.Now().Add(wait)
	s.trim.mu.Unlock()
	return err
}
