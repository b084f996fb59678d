package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// history goes down the chain from the head. Each commit names the one before it, and
// checkpoints tell the ids of those below them, so a damaged commit does not end it.
type history struct {
	c     *checker
	want  *chain.Link             // the commit that comes next, its slot being the highest that it may have; nil: not known
	known map[chain.Slot]chain.ID // ids of all valid commits in [from, to]
	from  chain.Slot
	to    chain.Slot
	last  chain.Slot // passed before
	dead  []listed   // passed since the last commit that was found
	junk  Slots      // all that hold nobody's commit

	missing []chain.Slot // known commits that the store does not list, descending
	lowest  chain.Slot   // of the commits that were found and announce no checkpoint
}

// checkCommits reads every commit from the head down to the first that is there.
func (c *checker) checkCommits(ctx context.Context) error {
	var above Slots
	n, upto := c.loaded.Doubtful()
	if n > 0 && c.loaded.Trouble == nil {
		above = Slots{Count: n, From: uint64(c.state.Slot) + 1, To: uint64(upto)}
	}
	err := c.bucket.each(ctx, chain.SlotPrefix(c.vol), func(i store.Info) error {
		switch s, ok := chain.ParseSlotName(c.vol, i.Name); {
		case ok && s <= c.state.Slot:
			c.slots = append(c.slots, listedOf(s, i))
		case ok && above.has(s):
			above.date(listedOf(s, i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.tellAbove(ctx, &above); err != nil {
		return err
	}
	h := &history{c: c, want: &chain.Link{Slot: c.state.Slot, ID: c.state.Head}, last: c.state.Slot + 1}
	for run := range slices.Chunk(c.slots, atOnce) {
		slots := make([]chain.Slot, 0, atOnce)
		for _, l := range run {
			if !h.isDead(l.slot) {
				slots = append(slots, l.slot)
			}
		}
		objects, err := c.commits(ctx, slots)
		if err != nil {
			return err
		}
		for _, l := range run {
			var object []byte
			if len(slots) > 0 && slots[0] == l.slot {
				object, slots, objects = objects[0], slots[1:], objects[1:]
			}
			h.pass(l, object)
		}
		c.o.Progress(Progress{Stage: StageCommits, Done: int64(c.state.Slot - run[len(run)-1].slot + 1), Total: int64(c.state.Slot)})
	}
	h.end()
	c.tellDead(&h.junk)
	return nil
}

// commits gets the objects of slots side by side; nil where there is none.
func (c *checker) commits(ctx context.Context, slots []chain.Slot) ([][]byte, error) {
	objects := make([][]byte, len(slots))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range slots {
		g.Go(func() error {
			o, err := c.bucket.Get(ctx, chain.SlotName(c.vol, s), 0, chain.MaxCommit+1)
			if err != nil && !errors.Is(err, store.ErrNotExist) {
				return fmt.Errorf("get slot %d: %w", s, err)
			}
			objects[i] = o
			return nil
		})
	}
	return objects, g.Wait()
}

// isDead says of a slot that it is known to hold nobody's commit, whatever lies there.
func (h *history) isDead(s chain.Slot) bool {
	if s > h.c.state.Folded().Slot {
		_, ok := h.c.loaded.Near(s)
		return !ok
	}
	_, ok := h.known[s]
	return !ok && len(h.known) > 0 && h.from <= s && s <= h.to
}

// pass looks at what lies in the next slot downwards that the store lists.
func (h *history) pass(l listed, object []byte) {
	s := l.slot
	h.gap(s)
	h.last = s
	var commit *chain.Commit
	if object != nil {
		commit, _ = h.c.state.Open(s, object)
	}
	id, known := h.known[s]
	switch {
	case known && (commit == nil || commit.ID != id):
		h.damaged(s, object)
		h.want = h.below(s)
		return
	case known:
	case len(h.known) > 0 && h.from <= s && s <= h.to:
		h.junk.add(l)
		return
	case commit != nil && (h.want == nil || commit.ID == h.want.ID):
	default:
		h.dead = append(h.dead, l)
		return
	}
	for _, d := range h.dead {
		h.junk.add(d)
	}
	h.dead = nil
	h.c.report.Counts.Commits++
	h.noted(s, commit.ID)
	h.c.books.commit(commit)
	h.want = &chain.Link{Slot: s - 1, ID: commit.Prev}
	if commit.Checkpoint != nil {
		h.learn(commit)
	} else {
		h.lowest = s
	}
}

// noted holds a hint's word for the slot against the commit in it, and keeps its id
// where it may be needed again.
func (h *history) noted(s chain.Slot, id chain.ID) {
	if said, ok := h.c.ids[s]; ok && said != id {
		h.c.find(Finding{Kind: KindHint, Severity: Damaged, Cause: Forged, Slot: uint64(s), Object: chain.HintName(h.c.vol, s), Detail: fmt.Sprintf("hint: it vouches for another commit of slot %d than there is", s)})
	}
	if s > h.c.state.Folded().Slot {
		h.c.ids[s] = id
	}
}

// gap tells of commits above s, and below the last slot, that are known and not listed.
func (h *history) gap(s chain.Slot) {
	if s+1 >= h.last {
		return
	}
	var lost []chain.Slot
	for t := range h.known {
		if s < t && t < h.last {
			lost = append(lost, t)
		}
	}
	slices.Sort(lost)
	for _, t := range slices.Backward(lost) {
		h.missing = append(h.missing, t)
		h.want = h.below(t)
	}
}

// damaged tells of a commit that is known to have been there.
func (h *history) damaged(s chain.Slot, object []byte) {
	f := Finding{Kind: KindCommit, Severity: Damaged, Slot: uint64(s), Object: chain.SlotName(h.c.vol, s)}
	if object == nil {
		f.Cause, f.Detail = h.c.bucket.absent(f.Object)
	} else {
		f.Cause, f.Detail = Altered, "its bytes are not those that were written"
	}
	f.Detail = fmt.Sprintf("commit of slot %d: %s. Nothing of the present is lost, since it lies under the checkpoint of slot %d; but the commits can no more stand in for a table that is damaged", s, f.Detail, h.c.state.Folded().Slot)
	h.c.find(f)
}

// below is the known commit next below s, nil when there is none.
func (h *history) below(s chain.Slot) *chain.Link {
	for s--; s >= h.from && s > 0; s-- {
		if id, ok := h.known[s]; ok {
			return &chain.Link{Slot: s, ID: id}
		}
	}
	return nil
}

// learn takes over the ids that a checkpoint tells.
func (h *history) learn(commit *chain.Commit) {
	k, c := commit.Checkpoint, h.c
	forged := func(detail string) {
		c.find(Finding{Kind: KindCommit, Severity: Damaged, Cause: Forged, Slot: uint64(commit.Slot), Object: chain.SlotName(c.vol, commit.Slot), Detail: "checkpoint: " + detail})
		c.fixes = append(c.fixes, fix{do: fixFold})
	}
	switch at := c.state.Announced().Slot; {
	case c.fold != nil:
	case commit.Slot == at || c.refold:
		c.fold = k
	case commit.Slot > at && k.Slot > c.state.Folded().Slot:
		forged("it does not say what the commits under it do, or its tables cannot be read; it is passed over")
		return
	}
	ids, err := k.IDs(c.vol)
	if err != nil {
		forged(err.Error())
		return
	}
	delete(ids, 0)
	maps.DeleteFunc(h.known, func(s chain.Slot, _ chain.ID) bool { return s >= commit.Slot })
	for s, id := range ids {
		if old, ok := h.known[s]; ok && old != id || !ok && h.isDead(s) {
			forged("it tells another history than the one above it")
			return
		}
	}
	switch {
	case len(h.known) == 0:
		h.known, h.to = ids, k.Slot
	case k.Slot < h.from:
		return // it does not reach up to what is known; the commits between lead on
	default:
		maps.Copy(h.known, ids)
	}
	h.from = max(k.Base.Slot, 1)
}

// end tells what was left at the bottom.
func (h *history) end() {
	lowest := chain.Slot(1)
	if n := len(h.c.slots); n > 0 {
		lowest = h.c.slots[n-1].slot
	}
	trimmed := h.tellMissing()
	switch {
	case h.want != nil && h.want.ID == chain.ID(h.c.vol):
		for _, d := range h.dead {
			h.junk.add(d)
		}
	case len(h.dead) > 0:
		h.damaged(h.dead[0].slot, []byte{})
	case lowest > 1 && !trimmed:
		// Commits under a checkpoint may go, the oldest first.
		h.c.find(Finding{
			Kind: KindCommit, Severity: Note, Cause: Missing, Slot: uint64(lowest - 1), Object: chain.SlotName(h.c.vol, lowest-1),
			Detail: fmt.Sprintf("the history before slot %d is not in the store; it lies under a checkpoint, and nothing of the present needs it", lowest),
		})
	}
}

// tellMissing tells of the commits that are known and not there. Trimming goes upwards and
// leaves those that announce a checkpoint: what is missing above another commit was not
// trimmed. It says whether some was.
func (h *history) tellMissing() bool {
	var trimmed []chain.Slot
	for _, t := range h.missing {
		if h.lowest != 0 && t > h.lowest {
			h.damaged(t, nil)
		} else {
			trimmed = append(trimmed, t)
		}
	}
	if len(trimmed) == 0 {
		return false
	}
	h.c.find(Finding{
		Kind: KindCommit, Severity: Note, Cause: Missing, Slot: uint64(trimmed[0]), Object: chain.SlotName(h.c.vol, trimmed[0]),
		Detail: fmt.Sprintf("the commits up to slot %d were trimmed, but for those that announce a checkpoint; what they wrote lies in tables, and nothing of the present needs them", trimmed[0]),
	})
	return true
}
