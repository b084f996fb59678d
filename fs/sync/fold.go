package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

const (
	// foldCommits and foldBytes are how much may lie above the newest checkpoint
	// before it is folded; who has been idle for foldIdle, or leaves, folds what is
	// more than foldLeave commits.
	foldCommits = 256
	foldBytes   = 4 << 20
	foldLeave   = 8
	foldDead    = 1024 // dead slots that are folded away, however few commits lie above them
	foldIdle    = 30 * time.Second

	// foldAgain is the least time between two tries.
	foldAgain = 30 * time.Second
)

// fold takes over the checkpoint that a commit announces, over which chain and confirmed
// have moved, and returns its tables; nil when there is none, or none that can be used.
//
// A checkpoint is its author's word. Whoever saw the commits under it knows better, and
// forgets nothing before the tables gave it back: all that they wrote must be in the
// tables. It is not looked whether older tables were merged rightly.
func fold(ctx context.Context, st *chain.State, c *chain.Commit, confirmed *view.Confirmed, o LoadOptions) (*table.Set, error) {
	k := c.Checkpoint
	if k == nil || k.Slot <= st.Folded().Slot {
		return nil, nil
	}
	if o.Wrong.has(k) {
		o.Log.Warn("checkpoint passed over: it is wrong, or rests on one that is", "slot", uint64(k.Slot), "announced", uint64(c.Slot), "device", int(c.Device))
		return nil, nil
	}
	set, err := trust(ctx, st, k, confirmed, o)
	if passing(ctx, err) {
		return nil, err
	}
	if err == nil {
		err = st.Fold(c)
	}
	if err != nil {
		o.Log.Error("checkpoint passed over", "slot", uint64(k.Slot), "announced", uint64(c.Slot), "device", int(c.Device), "err", err)
		return nil, nil
	}
	return set, nil
}

// trust checks a checkpoint against what this machine saw.
func trust(ctx context.Context, st *chain.State, k *chain.Checkpoint, confirmed *view.Confirmed, o LoadOptions) (*table.Set, error) {
	if err := st.CheckFold(k); err != nil {
		return nil, err
	}
	runs, err := table.DecodeRuns(k.Tables)
	if err != nil {
		return nil, err
	}
	set := table.NewSet(runs, Source{o.Tables}, o.Memory)
	confirmed.Written(uint64(k.Slot), func(key, value []byte, deleted bool) bool {
		var got []byte
		err = Retry(ctx, func() (err error) {
			got, err = set.Get(key)
			return err
		})
		switch {
		case errors.Is(err, meta.ErrAbsent) && deleted:
			err = nil
		case err == nil && (deleted || !bytes.Equal(got, value)), errors.Is(err, meta.ErrAbsent):
			err = fmt.Errorf("%w: its tables do not hold what was written", chain.ErrForged)
		}
		return err == nil
	})
	return set, err
}

// folded puts the tables of a checkpoint that was passed below the view; working is
// held. Where they cannot be had now, the next checkpoint will do.
func (s *Syncer) folded(ctx context.Context, c *chain.Commit) {
	if c.Checkpoint == nil {
		return
	}
	o := LoadOptions{Tables: s.o.Tables, Memory: s.o.Memory, Log: s.log, Wrong: s.wrong}
	set, err := fold(ctx, s.o.Chain, c, s.o.View.Snapshot(), o)
	if err != nil {
		s.log.Warn("checkpoint not taken over", "slot", uint64(c.Checkpoint.Slot), "err", err)
	}
	if set == nil {
		return
	}
	s.o.View.Rebase(uint64(c.Checkpoint.Slot), set)
	s.tables, s.bytes = set, 0
	s.o.Slots.Drop(c.Checkpoint.Slot + 1)
	s.mendHole()
	s.log.Info("folded", "slot", uint64(c.Checkpoint.Slot), "tables", set.Tables(), "bytes", set.Bytes())
}

// foldDue says whether what lies above the checkpoint is to be folded now; with leave,
// whether it is worth it at all. working is held.
func (s *Syncer) foldDue(leave bool) bool {
	_, number, _ := s.o.State.Device()
	n := s.o.Chain.Above()
	switch {
	case s.halted() != nil || number == 0:
		return false
	case n >= s.o.FoldCommits || s.bytes >= foldBytes || n > 0 && (s.sight.hole != 0 || s.deadAbove() >= foldDead):
		return true
	}
	return n > min(foldLeave, s.o.FoldCommits) && (leave || time.Since(s.moved) >= foldIdle)
}

// Fold merges what lies above the newest checkpoint into tables, puts them into the
// store and announces them in the chain. Where somebody else is faster, nothing is
// announced. Killed at any step it leaves tables that nobody names, or a checkpoint
// that a hint does not lead to yet: the next one does.
func (s *Syncer) Fold(ctx context.Context) error {
	if err := lockFor(ctx, &s.folding); err != nil {
		return err
	}
	defer s.folding.Unlock()
	f, err := s.foldBegin(ctx)
	if err != nil || f == nil {
		return err
	}
	runs, err := table.Fold(ctx, f.tables.Runs(), f.entries(ctx), table.FoldOptions{
		Plan:  table.MakePlan(f.tables.Runs(), uint64(f.state.Bytes())),
		Src:   Source{s.o.Tables},
		Epoch: f.epoch,
		Write: func(ctx context.Context, content []byte) (crypt.Name, error) { return s.writeTable(ctx, f, content) },
		Step:  func() { s.o.Step("fold.merged") },
	})
	if err != nil {
		return fmt.Errorf("fold up to slot %d: %w", f.k.Slot, err)
	}
	f.k.Tables = table.AppendRuns(nil, runs)
	if len(f.k.Tables) > chain.MaxTables {
		return fmt.Errorf("fold up to slot %d: %w: its tables fill %d bytes", f.k.Slot, chain.ErrTooLarge, len(f.k.Tables))
	}
	return s.announce(ctx, f.k)
}

// folding is a fold on its way: the state of one slot, and what lies below it.
type folding struct {
	k      *chain.Checkpoint
	state  *view.Confirmed
	tables *table.Set
	key    *crypt.Key
	epoch  crypt.Epoch
}

// foldBegin takes the state as it is now; nil when nothing lies above the checkpoint.
func (s *Syncer) foldBegin(ctx context.Context) (*folding, error) {
	if err := s.turn(ctx); err != nil {
		return nil, err
	}
	defer s.working.Unlock()
	if err := s.halted(); err != nil {
		return nil, err
	}
	if err := s.conclude(ctx); err != nil {
		return nil, err
	}
	if s.o.Chain.Above() == 0 {
		return nil, nil
	}
	f := &folding{
		k: s.o.Chain.Checkpoint(), state: s.o.View.Snapshot(), tables: s.tables,
		key: s.o.Chain.Key, epoch: s.o.Chain.Epoch,
	}
	f.k.Usage = f.state.Usage()
	s.o.Step("fold.begin")
	return f, nil
}

// entries are what the fold adds to the tables.
func (f *folding) entries(ctx context.Context) iter.Seq2[table.Entry, error] {
	changes := f.state.Changes(func(err error) error { return Bring(ctx, err) })
	return func(yield func(table.Entry, error) bool) {
		for c, err := range changes {
			if !yield(table.Entry{Key: c.Key, Value: c.Value, Dead: c.Deleted}, err) {
				return
			}
		}
	}
}

// writeTable seals a table and puts it into the store.
func (s *Syncer) writeTable(ctx context.Context, f *folding, content []byte) (crypt.Name, error) {
	object, name, err := crypt.NewSealer(f.key, s.volume, crypt.TypeTable, f.epoch).Seal(nil, content)
	if err != nil {
		return crypt.Name{}, fmt.Errorf("seal table: %w", err)
	}
	where := chain.TableName(s.volume, name)
	err = s.o.Bucket.PutIfAbsent(ctx, where, object)
	s.reached(err)
	if errors.Is(err, store.ErrExist) {
		// Ours, after a lost answer; or a thing of the store's own making.
		var got []byte
		if got, err = s.get(ctx, where, int64(len(object))); err == nil && !bytes.Equal(got, object) {
			err = fmt.Errorf("%w: the store holds other bytes under its name", table.ErrDamaged)
		}
	}
	if err != nil {
		return crypt.Name{}, fmt.Errorf("upload table %s: %w", name, err)
	}
	// What was in memory as a change must not become far by being folded.
	made := block.Object{Type: crypt.TypeTable, Name: name, Length: int64(len(content)), Epoch: f.epoch}
	if err := s.o.Tables.Offer(made, object); err != nil {
		return crypt.Name{}, fmt.Errorf("table %s: %w", name, err)
	}
	s.o.Step("fold.table")
	return name, nil
}

// announce takes a slot with a checkpoint and writes a hint that leads to it.
func (s *Syncer) announce(ctx context.Context, k *chain.Checkpoint) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	var mine chain.ID
	for {
		if err := s.halted(); err != nil {
			return err
		}
		if err := s.conclude(ctx); err != nil {
			return err
		}
		switch at := s.o.Chain.Folded().Slot; {
		case at < k.Slot && s.own == mine && mine != chain.ID{}:
			return fmt.Errorf("the checkpoint of slot %d was announced and does not fit the chain", k.Slot)
		case at == k.Slot:
			s.o.Step("fold.announced")
			return s.leadTo(ctx)
		case at > k.Slot:
			return nil // somebody else was faster, or folded more
		}
		// Once made it is sent as it is: its tables must not lie in another store.
		s.end.seen = false
		if err := s.headThere(ctx); err != nil {
			return err
		}
		device, number, _ := s.o.State.Device()
		first := s.o.Chain.LastOp[number] + 1
		c, err := s.o.Chain.Build(s.slot(), device, number, time.Now(), chain.Content{First: first, Last: first - 1, Checkpoint: k})
		if err != nil {
			return fmt.Errorf("build commit: %w", err)
		}
		mine = c.ID
		s.attempt = &attempt{Sealed: c, first: first, last: first - 1}
	}
}

// leadTo writes a hint of the chain's head when the newest that is known leads to an
// older checkpoint; working is held.
func (s *Syncer) leadTo(ctx context.Context) error {
	device, number, _ := s.o.State.Device()
	if number == 0 {
		return nil
	}
	lags, err := s.hintLags(ctx)
	if !lags || err != nil {
		return err
	}
	err = s.writeHint(ctx, device, number)
	s.reached(err)
	if err != nil {
		return err
	}
	s.o.Step("fold.hinted")
	return nil
}

// maintain folds and repairs hints, when there is time for it, until ctx ends.
func (s *Syncer) maintain(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var failed time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Since(failed) < foldAgain {
			continue
		}
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
			failed = time.Now()
			s.log.Warn("not folded or trimmed", "err", err, "again in", foldAgain)
		}
	}
}

func (s *Syncer) tidy(ctx context.Context) error {
	// Whoever publishes comes first, also while the store is away.
	if !s.working.TryLock() {
		return nil
	}
	due := s.foldDue(false)
	if !due && s.halted() == nil && (time.Since(s.moved) >= hintLag || s.owes()) {
		if err := s.leadTo(ctx); err != nil {
			s.working.Unlock()
			return err
		}
	}
	s.working.Unlock()
	if due {
		return s.Fold(ctx)
	}
	return s.trimDue(ctx)
}

// hintLag is how long a hint may lead to an older checkpoint than the newest before
// another machine than that which announced it writes one.
const hintLag = time.Minute

// Leave folds what is worth it before this machine goes.
func (s *Syncer) Leave(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	due := s.foldDue(true)
	s.working.Unlock()
	if !due {
		return nil
	}
	return s.Fold(ctx)
}
