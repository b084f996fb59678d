package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// errWrong: a checkpoint does not say what the commits under it wrote.
var errWrong = errors.New("wrong checkpoint")

// wrongError is errWrong with the commit that announces the checkpoint.
type wrongError struct {
	commit *chain.Commit
	why    error
}

func (e *wrongError) Error() string { return e.why.Error() }
func (e *wrongError) Unwrap() error { return e.why }

// checkFold finds out whether the checkpoint of mark i, which c announces, says what that
// of the mark before it and the commits between say together: errWrong when not,
// errYoung when one of them may not go yet. The commits come from the store and are known
// by their ids. Where the oldest are gone, because a machine that trimmed them ended
// before it was done, it checked them, and what the rest wrote is looked for.
func (s *Syncer) checkFold(ctx context.Context, st *chain.State, i int, c *chain.Commit) error {
	m, k := s.trim.marks[i], c.Checkpoint
	base := &chain.Checkpoint{LastOp: map[meta.Device]meta.OpNo{}}
	if i > 0 {
		under, err := s.announcing(ctx, st, s.trim.marks[i-1].announced)
		if err != nil {
			return err
		}
		base = under.Checkpoint
	}
	before, err := s.tablesOf(base)
	if err != nil {
		return err
	}
	after, err := s.tablesOf(k)
	if err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	ids, err := k.IDs(st.Volume)
	if err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	confirmed := view.NewConfirmed(uint64(m.base.Slot), before, base.Usage)
	ops, gone := maps.Clone(base.LastOp), false
	for steps := k.Steps; len(steps) > 0; {
		n := min(len(steps), fetchAhead)
		commits, err := s.commitsOf(ctx, st, steps[:n], ids)
		if err != nil {
			return err
		}
		for _, c := range commits {
			switch {
			case c == nil:
				// Nothing before it is of use any more.
				gone, confirmed = true, view.NewConfirmed(0, nil, meta.Usage{})
				continue
			case !s.old(c.Time):
				return errYoung
			}
			confirmed.Apply(uint64(c.Slot), c.Batch, c.Usage)
			ops[c.Device] = c.Last
		}
		steps = steps[n:]
	}
	if gone {
		return s.holdsWritten(ctx, confirmed, after, k.Slot)
	}
	if !maps.Equal(ops, k.LastOp) || confirmed.Usage() != k.Usage {
		return fmt.Errorf("%w: its operations or sums are others", errWrong)
	}
	f := folding{state: confirmed}
	err = table.Grown(ctx, before, after, f.entries(ctx), func(err error) error { return Bring(ctx, err) }, func() { s.o.Step("trim.compared") })
	if errors.Is(err, table.ErrWrong) {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	return err
}

// tablesOf are the tables of a checkpoint.
func (s *Syncer) tablesOf(k *chain.Checkpoint) (*table.Set, error) {
	if len(k.Tables) == 0 {
		return table.NewSet(nil, Source{s.o.Tables}, s.o.Memory), nil
	}
	runs, err := table.DecodeRuns(k.Tables)
	if err != nil {
		return nil, err
	}
	return table.NewSet(runs, Source{s.o.Tables}, s.o.Memory), nil
}

// commitsOf gets the commits of steps side by side; nil for those that are not there. One
// that is another than its id says is an error.
func (s *Syncer) commitsOf(ctx context.Context, st *chain.State, steps []chain.Step, ids map[chain.Slot]chain.ID) ([]*chain.Commit, error) {
	commits := make([]*chain.Commit, len(steps))
	g, ctx := errgroup.WithContext(ctx)
	for i, step := range steps {
		g.Go(func() error {
			object, err := s.get(ctx, chain.SlotName(st.Volume, step.Slot), chain.MaxCommit)
			if errors.Is(err, store.ErrNotExist) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("get slot %d: %w", step.Slot, err)
			}
			c, err := st.Open(step.Slot, object)
			if err != nil || c.ID != ids[step.Slot] {
				return fmt.Errorf("the commit of slot %d was altered: %w", step.Slot, errors.Join(chain.ErrForged, err))
			}
			commits[i] = c
			return nil
		})
	}
	return commits, g.Wait()
}

// holdsWritten finds what was written up to a slot in tables.
func (s *Syncer) holdsWritten(ctx context.Context, confirmed *view.Confirmed, set *table.Set, slot chain.Slot) (err error) {
	confirmed.Written(uint64(slot), func(key, value []byte, deleted bool) bool {
		var got []byte
		err = Retry(ctx, func() (err error) {
			got, err = set.Get(key)
			return err
		})
		switch absent := errors.Is(err, meta.ErrAbsent); {
		case absent && deleted:
			err = nil
		case absent, err == nil && (deleted || !bytes.Equal(got, value)):
			err = errWrong
		}
		return err == nil
	})
	return err
}

// foundWrong says that a fold is wrong, and leads this machine to the state before it.
// Nothing was trimmed above that, so all commits are there still.
func (s *Syncer) foundWrong(ctx context.Context, st *chain.State, c *chain.Commit, why error) error {
	d, _ := st.Ledger.Device(c.Device)
	w := WrongFold{Slot: c.Checkpoint.Slot, Announced: c.Slot, Device: c.Device, Name: d.Name, Time: c.Time, Upto: st.Slot}
	s.log.Error("a checkpoint is wrong; nothing is trimmed, and it is passed over", "slot", uint64(w.Slot), "announced", uint64(w.Announced), "device", int(w.Device), "err", why)
	s.wrong.add(w)
	if s.o.Wrong != nil {
		s.o.Wrong(w)
	}
	s.trim.marks, s.trim.next = nil, time.Time{}
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	if err := s.conclude(ctx); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	if err := s.jump(ctx); err != nil {
		return fmt.Errorf("pass over a wrong checkpoint: %w", err)
	}
	return nil
}
