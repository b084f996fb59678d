package history

import (
	"context"
	"errors"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
)

// stretch is the part of the chain between two checkpoints.
type stretch struct {
	base   *chain.Commit     // which announces the checkpoint that it begins with; nil: slot 0
	top    chain.Link        // where it ends
	fold   *chain.Checkpoint // that ends there; nil: it ends at the head
	places []place           // ascending, above the base and up to the top
	said   chain.Slot        // of the commit that announces the fold
	lost   chain.Link        // announces a checkpoint below, and cannot be read; slot 0: none
}

// place is a slot of a stretch.
type place struct {
	slot     chain.Slot
	id       chain.ID      // of the commit that the chain has there
	known    bool          // it has one there, and this is its id
	unproven bool          // nothing but its place says that it is one of the chain
	object   []byte        // what lies there; nil: nothing
	commit   *chain.Commit // nil: it is none that opens
}

// whole says that the chain's commit lies there.
func (p *place) whole() bool { return p.known && p.commit != nil && p.commit.ID == p.id }

// hole says that a commit of the chain is not there, or that one before it is not.
func (p *place) hole() bool { return p.known && !p.whole() || p.unproven }

// holed says that not all commits of a stretch are there.
func (s *stretch) holed() bool {
	return slices.ContainsFunc(s.places, func(p place) bool { return p.hole() })
}

// from is where a stretch begins: the link of its checkpoint.
func (h *History) from(base *chain.Commit) chain.Link {
	if base == nil {
		return chain.Link{ID: chain.ID(h.vol)}
	}
	return base.Checkpoint.Link
}

// stretches calls fn for the stretches from the head downwards until it returns false.
func (h *History) stretches(ctx context.Context, fn func(*stretch) (bool, error)) error {
	s := &stretch{top: chain.Link{Slot: h.state.Slot, ID: h.state.Head}}
	next := h.state.Announced()
	for {
		if next.Slot > 0 {
			base, err := h.announcing(ctx, next)
			if err != nil {
				return err
			}
			if s.base = base; base == nil || base.Checkpoint.Slot >= s.top.Slot {
				s.base, s.lost = nil, next
			}
		}
		if err := h.fill(ctx, s); err != nil {
			return err
		}
		more, err := fn(s)
		if err != nil || !more || s.base == nil {
			return err
		}
		k, said := s.base.Checkpoint, s.base.Slot
		h.o.Progress(h.state.Slot-k.Slot, h.state.Slot)
		s, next = &stretch{top: k.Link, fold: k, said: said}, k.Before
	}
}

// announcing opens the commit that announces a checkpoint; nil: what lies there is none.
func (h *History) announcing(ctx context.Context, at chain.Link) (*chain.Commit, error) {
	object, err := h.get(ctx, at.Slot)
	if err != nil || object == nil {
		return nil, err
	}
	c, err := chain.OpenAnnouncing(h.vol, h.state.Key, h.state.Ledger, at, object)
	if err != nil {
		return nil, nil
	}
	return c, nil
}

// fill gets what lies in the slots of a stretch, and finds out what should.
func (h *History) fill(ctx context.Context, s *stretch) error {
	bottom := h.from(s.base)
	var ids map[chain.Slot]chain.ID
	if k := s.fold; k != nil && len(k.Steps) > 0 && k.Base.Slot <= bottom.Slot {
		var err error
		if ids, err = k.IDs(h.vol); err != nil {
			ids = nil
		}
	}
	first := sort.Search(len(h.slots), func(i int) bool { return h.slots[i] > bottom.Slot })
	for _, slot := range h.slots[first:] {
		if slot > s.top.Slot {
			break
		}
		s.places = append(s.places, place{slot: slot})
	}
	for slot := range ids {
		if slot > bottom.Slot {
			if _, there := slices.BinarySearch(h.slots, slot); !there {
				s.places = append(s.places, place{slot: slot})
			}
		}
	}
	slices.SortFunc(s.places, func(a, b place) int {
		if a.slot < b.slot {
			return -1
		}
		return 1
	})
	if err := h.fetch(ctx, s.places); err != nil {
		return err
	}
	if ids != nil {
		for i := range s.places {
			p := &s.places[i]
			p.id, p.known = ids[p.slot]
		}
		return nil
	}
	h.trace(s)
	return nil
}

// fetch gets the objects of places side by side.
func (h *History) fetch(ctx context.Context, places []place) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range places {
		p := &places[i]
		g.Go(func() (err error) {
			if p.object, err = h.get(ctx, p.slot); err == nil && p.object != nil {
				p.commit, _ = h.state.Open(p.slot, p.object)
			}
			return err
		})
	}
	return g.Wait()
}

// trace finds the chain's commits from the top downwards: each names the one before.
// Where the one that is named is not there, it goes on with what may have been below.
func (h *History) trace(s *stretch) {
	want, sure := s.top.ID, true
	for i := len(s.places) - 1; i >= 0; i-- {
		p := &s.places[i]
		if p.commit == nil || sure && p.commit.ID != want {
			continue
		}
		p.id, p.known, p.unproven = p.commit.ID, true, !sure
		want, sure = p.commit.Prev, true
		if i > 0 && want != h.from(s.base).ID && !slices.ContainsFunc(s.places[:i], func(q place) bool { return q.commit != nil && q.commit.ID == want }) {
			sure = false
		}
	}
}

// errBlind: the metadata of a checkpoint cannot be read.
var errBlind = errors.New("the metadata of that time cannot be read")

// blind is metadata that cannot be read.
type blind struct{}

func (blind) Get([]byte) ([]byte, error) { return nil, errBlind }

func (blind) Scan(_, _ []byte, _ func(k, v []byte) bool) error { return errBlind }

// above is the state that a stretch ends with, as the tables have it that were made then.
func (h *History) above(s *stretch) meta.Reader {
	if s.fold == nil {
		return h.loaded.Confirmed
	}
	runs, err := table.DecodeRuns(s.fold.Tables)
	if err != nil {
		return blind{}
	}
	return table.NewSet(runs, publish.Source{Blocks: h.blocks}, h.memory)
}

// below is the state that a stretch begins with. With shut its tables are not looked at.
func (h *History) below(s *stretch, shut bool) *view.Confirmed {
	switch {
	case s.base == nil && h.begins > 1:
		return view.NewConfirmed(0, blind{}, meta.Usage{})
	case s.base == nil:
		return view.NewConfirmed(0, nil, meta.Usage{})
	}
	k := s.base.Checkpoint
	runs, err := table.DecodeRuns(k.Tables)
	if shut || err != nil {
		return view.NewConfirmed(uint64(k.Slot), blind{}, k.Usage)
	}
	return view.NewConfirmed(uint64(k.Slot), table.NewSet(runs, publish.Source{Blocks: h.blocks}, h.memory), k.Usage)
}
