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
	places []place           // ascending, above the base and up to the top, without those of dead
	dead   int               // slots that hold nobody's commit, so far as nothing else is needed to tell
	said   chain.Slot        // of the commit that announces the fold
	lost   chain.Link        // announces a checkpoint below, and cannot be read; slot 0: none
}

// place is a slot of a stretch.
type place struct {
	slot     chain.Slot
	id       chain.ID      // of the commit that the chain has there
	known    bool          // it has one there, and this is its id
	unproven bool          // nothing but its place says that it is one of the chain
	ends     bool          // its end is looked at first, since it is likely nobody's commit
	object   []byte        // what lies there; nil: nothing; empty: something that is none that opens
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
	if err := h.gather(ctx, s, bottom.Slot, ids); err != nil {
		return err
	}
	for slot, id := range ids {
		if slot > bottom.Slot {
			if _, there := slices.BinarySearch(h.slots, slot); !there {
				s.places = append(s.places, place{slot: slot, id: id, known: true})
			}
		}
	}
	slices.SortFunc(s.places, func(a, b place) int {
		if a.slot < b.slot {
			return -1
		}
		return 1
	})
	if ids == nil {
		h.trace(s)
	}
	return nil
}

// deadFew is how many dead slots in a row are fetched whole where it is not known which
// slots hold commits.
const deadFew = 16

// gather gets what lies in the slots that the store lists. There may be a million that
// hold nobody's commit: they are counted and not kept.
func (h *History) gather(ctx context.Context, s *stretch, bottom chain.Slot, ids map[chain.Slot]chain.ID) error {
	first := sort.Search(len(h.slots), func(i int) bool { return h.slots[i] > bottom })
	last := sort.Search(len(h.slots), func(i int) bool { return h.slots[i] > s.top.Slot })
	row := 0 // dead slots before
	for run := range slices.Chunk(h.slots[first:max(first, last)], 4*atOnce) {
		places := make([]place, len(run))
		for i, slot := range run {
			id, known := ids[slot]
			places[i] = place{slot: slot, id: id, known: known, ends: !known && (ids != nil || row >= deadFew)}
		}
		if err := h.fetch(ctx, places); err != nil {
			return err
		}
		for _, p := range places {
			if !p.known && (p.commit == nil || p.ends && !h.signed(&p)) {
				s.dead++
				row++
				continue
			}
			s.places = append(s.places, p)
			row = 0
		}
		h.o.Progress(h.state.Slot-s.top.Slot+(run[len(run)-1]-bottom), h.state.Slot)
	}
	return nil
}

// signed says whether a device signed what lies in a slot, as of that slot.
func (h *History) signed(p *place) bool {
	_, err := chain.OpenSigned(h.vol, h.state.Key, h.state.Ledger, chain.Link{Slot: p.slot, ID: p.commit.ID}, p.object)
	return err == nil
}

// fetch gets the objects of places side by side. Of one that is no commit that opens it
// keeps nothing but that it is there.
func (h *History) fetch(ctx context.Context, places []place) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range places {
		p := &places[i]
		g.Go(func() error {
			if p.ends {
				foreign, err := h.foreign(ctx, p.slot)
				if foreign || err != nil {
					p.object = []byte{}
					return err
				}
			}
			object, err := h.get(ctx, p.slot)
			if err != nil || object == nil {
				return err
			}
			if p.commit, err = h.state.Open(p.slot, object); err != nil {
				object = []byte{}
			}
			p.object = object
			return nil
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
		if i > 0 && want != h.from(s.base).ID && !named(s.places[:i], want) {
			sure = false
		}
	}
}

// named says whether one of the places holds a commit. It mostly is the last.
func named(places []place, id chain.ID) bool {
	for _, q := range slices.Backward(places) {
		if q.commit != nil && q.commit.ID == id {
			return true
		}
	}
	return false
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
