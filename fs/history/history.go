// Package history tells what happened to a drive, from the commits that its devices
// signed.
//
// It reads the store alone, as a machine does that has never seen the drive: a copy of
// the bucket is enough, and no cache and nothing that this machine remembers is asked.
// Commits say what was written under which key, and neither what was there before nor
// what a thing was called. So they are read a stretch at a time, from one checkpoint to
// the next, over the metadata as it was at the checkpoint; and names are taken back, or
// given, with the commits, beginning from those that there are now.
//
// What is held in memory is one stretch, normally 256 commits or 4 MiB, the places of
// all directories and of files that were moved (about 100 bytes each), the names of the
// stretch's files, 8 bytes for each commit, and 56 MiB of tables: never all the files
// and never all the history.
//
// A signature says who made a commit. When it was made is that device's claim.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
)

// Options of a History. Bucket and Drive must be set.
type Options struct {
	Bucket   store.Bucket
	Drive    *drive.Unlocked
	Log      *slog.Logger                 // nil discards
	Progress func(done, total chain.Slot) // told now and then how many slots were passed; nil: nobody is
}

const (
	// atOnce is how many objects are on their way at a time.
	atOnce = 16

	// listedMost is how many slots are listed at a time. Where they lie in a folder, each
	// listing reads the names of all.
	listedMost = 16 * store.DefaultList

	tableMemory = 8 << 20
	blockMemory = 48 << 20
)

// History is what the store shows of a drive's past. It is not safe for concurrent use.
type History struct {
	o         Options
	vol       crypt.VolumeID
	keys      *publish.Keys
	memory    *table.Memory
	blocks    *block.Reader
	loaded    *publish.Loaded
	state     *chain.State // at the head
	slots     []chain.Slot // that hold something, ascending, up to the head
	aboveHead []chain.Slot // and above it
	begins    chain.Slot   // the lowest that was not trimmed; 1: none was
}

// Open follows the chain to its head. Errors are those of Load of fs/sync.
func Open(ctx context.Context, o Options) (*History, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(_, _ chain.Slot) {}
	}
	h := &History{o: o, vol: o.Drive.Main().ID, keys: &publish.Keys{}, memory: table.NewMemory(tableMemory)}
	h.blocks = block.New(block.Options{
		Bucket: o.Bucket, Cache: cache.Off(), Volume: h.vol, Key: h.keys.Key, Memory: blockMemory,
		Place: func(o block.Object) string { return chain.TableName(h.vol, o.Name) },
		Bad:   func(string, error) {},
	})
	if err := h.load(ctx); err != nil {
		h.blocks.Close()
		return nil, err
	}
	return h, nil
}

// Close lets go of what was read.
func (h *History) Close() { h.blocks.Close() }

// Head is the newest slot, and Begins the oldest whose commit is still to be told:
// commits under a checkpoint may be trimmed, but for those that announce one.
func (h *History) Head() chain.Slot { return h.state.Slot }

// Begins is the slot from which on all commits are there; 1: nothing was trimmed.
func (h *History) Begins() chain.Slot { return h.begins }

// Trouble says why the chain could not be followed to its end; nil: it could.
func (h *History) Trouble() error { return h.loaded.Trouble }

func (h *History) load(ctx context.Context) error {
	follow := func(whole bool) (*publish.Loaded, error) {
		return publish.Load(ctx, publish.LoadOptions{
			Bucket: h.o.Bucket, Volume: h.vol, Identity: h.o.Drive.Identity(),
			Tables: h.blocks, Keys: h.keys, Memory: h.memory, Log: h.o.Log, Whole: whole,
		})
	}
	l, err := follow(false)
	if damaged(err) {
		l, err = follow(true) // what a table does not tell, all commits do
	}
	if err != nil {
		return err
	}
	h.loaded, h.state = l, l.Chain
	h.slots, err = h.list(ctx)
	if err != nil {
		return err
	}
	h.begins, err = h.lowest(ctx)
	return err
}

// lowest is the slot from which on nothing was trimmed. Whoever writes takes the first
// slot that is free, so all are taken; what is left of a part that was trimmed are
// single commits that announce checkpoints.
func (h *History) lowest(ctx context.Context) (chain.Slot, error) {
	for i, s := range h.slots {
		if i+1 == len(h.slots) || h.slots[i+1] == s+1 {
			return s, nil
		}
		object, err := h.get(ctx, s)
		if err != nil {
			return 0, err
		}
		if object == nil {
			continue
		}
		if c, err := h.state.Open(s, object); err != nil || c.Checkpoint == nil {
			return s, nil
		}
	}
	return 1, nil
}

// damaged says that a table cannot be read.
func damaged(err error) bool {
	return errors.Is(err, block.ErrDamaged) || errors.Is(err, table.ErrDamaged) || errors.Is(err, table.ErrVersion)
}

// list returns the slots up to the head that the store lists, ascending.
func (h *History) list(ctx context.Context) ([]chain.Slot, error) {
	var slots []chain.Slot
	for after := ""; ; {
		page, err := h.o.Bucket.List(ctx, chain.SlotPrefix(h.vol), after, listedMost)
		if err != nil {
			return nil, fmt.Errorf("list commits: %w", err)
		}
		for _, i := range page {
			if i.Name <= after {
				return nil, fmt.Errorf("list commits: the store repeats itself: %w", store.ErrUnavailable)
			}
			after = i.Name
			s, ok := chain.ParseSlotName(h.vol, i.Name)
			switch {
			case ok && s <= h.state.Slot:
				slots = append(slots, s)
			case ok:
				h.aboveHead = append(h.aboveHead, s)
			}
		}
		if len(page) < listedMost {
			break
		}
	}
	slices.Reverse(slots)
	slices.Reverse(h.aboveHead)
	return slots, nil
}

// foreign says whether the end of what lies in a slot tells that it is nobody's commit.
func (h *History) foreign(ctx context.Context, s chain.Slot) (bool, error) {
	end, err := h.o.Bucket.Get(ctx, chain.SlotName(h.vol, s), -chain.EndLength, -1)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the end of slot %d: %w", s, err)
	}
	return h.state.Foreign(end), nil
}

// get returns the object in a slot; nil: there is none.
func (h *History) get(ctx context.Context, s chain.Slot) ([]byte, error) {
	o, err := h.o.Bucket.Get(ctx, chain.SlotName(h.vol, s), 0, chain.MaxCommit+1)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get slot %d: %w", s, err)
	}
	return o, nil
}

// look shows a state to whoever reads it, and brings what is not near.
func look(ctx context.Context, r meta.Reader) meta.Look {
	return func(fn func(meta.Reader) error) error {
		return publish.Retry(ctx, func() error { return fn(r) })
	}
}
