package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// forks knows the commits of other histories that stop nobody any more: a person
// compared this machine's history with another's and settled it, or the device that
// signed them was removed since. Their slots are dead, like those of junk.
type forks struct {
	settled map[chain.ID]bool
}

func newForks(settled []chain.Link) forks {
	f := forks{settled: map[chain.ID]bool{}}
	for _, l := range settled {
		f.settled[l.ID] = true
	}
	return f
}

// over says whether a commit of another history stops nobody: it was settled, it goes
// on from one that was, or a commit in one of the next slots, on the head of st, removes
// its device.
func (f forks) over(ctx context.Context, b store.Bucket, st *chain.State, c *chain.Commit, confirmed meta.Reader) (bool, error) {
	over := f.settled[c.ID] || f.settled[c.Prev]
	if !over {
		var err error
		if over, err = removed(ctx, b, st, c, confirmed); err != nil {
			return false, err
		}
	}
	if over {
		f.settled[c.ID] = true
	}
	return over, nil
}

// removed looks for the commit that removes the device of c, above the slot of c.
func removed(ctx context.Context, b store.Bucket, st *chain.State, c *chain.Commit, confirmed meta.Reader) (bool, error) {
	at := st.Clone()
	for slot := c.Slot + 1; slot <= c.Slot+lookAbove; slot++ {
		object, err := b.Get(ctx, chain.SlotName(st.Volume, slot), 0, chain.MaxCommit+1)
		if errors.Is(err, store.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for what follows slot %d: %w", c.Slot, err)
		}
		j, err := judge(ctx, at, slot, object, confirmed)
		switch {
		case err != nil:
			return false, err
		case j.Verdict == chain.Stop:
			return false, nil
		case j.Verdict != chain.Valid:
			continue
		case j.Commit.Removes(c.Device):
			return true, nil
		}
		if err := at.Advance(j.Commit); err != nil {
			return false, nil
		}
	}
	return false, nil
}

// dead makes junk of a judgement of evidence that stops nobody.
func dead(j chain.Judgement) chain.Judgement {
	return chain.Judgement{Verdict: chain.Junk, Commit: j.Commit, Reason: "settled: " + j.Reason}
}
