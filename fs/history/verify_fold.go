package history

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
)

// checkpoint holds a checkpoint against the commits under it: the chain and the state
// that they made.
func (v *verifier) checkpoint(ctx context.Context, s *stretch, st *chain.State, state *view.Confirmed) error {
	at := v.announcer(s)
	if err := st.CheckFold(s.fold); err != nil {
		v.find(at, Checkpoint, "the checkpoint of slot %d: %v", s.fold.Slot, err)
		return nil
	}
	if then, err := v.state.Ledger.Until(s.top.Slot); err != nil || then.Head() != st.Ledger.Head() {
		v.find(s.top.Slot, Ledger, "the commits up to here make another list of devices than the drive's ledger has")
		return nil
	}
	runs, err := table.DecodeRuns(s.fold.Tables)
	if err != nil {
		v.find(at, Checkpoint, "the checkpoint of slot %d: %v", s.fold.Slot, err)
		return nil
	}
	key, err := firstDifference(ctx, state, table.NewSet(runs, publish.Source{Blocks: v.blocks}, v.memory))
	switch {
	case damaged(err):
		v.find(at, Checkpoint, "the checkpoint of slot %d: its tables, or those before it, cannot be read: %v", s.fold.Slot, err)
	case err != nil:
		return err
	case key != nil:
		v.find(at, Checkpoint, "the checkpoint of slot %d: its tables do not hold what the commits wrote, first of all %s", s.fold.Slot, inWords(key))
	default:
		v.out.Checkpoints++
	}
	return nil
}

// announcer is the slot of the commit that announces the checkpoint on top of a stretch.
func (v *verifier) announcer(s *stretch) chain.Slot {
	if s.said > 0 {
		return s.said
	}
	return s.top.Slot
}

// pageKeys is how many keys of two states are compared at a time.
const pageKeys = 4096

// firstDifference returns the first key that two states do not have alike; nil: none.
func firstDifference(ctx context.Context, a, b meta.Reader) ([]byte, error) {
	from := []byte{0}
	for {
		x, xEnd, err := page(ctx, a, from, nil)
		if err != nil {
			return nil, err
		}
		y, _, err := page(ctx, b, from, xEnd)
		if err != nil {
			return nil, err
		}
		for i := range max(len(x), len(y)) {
			switch {
			case i >= len(x):
				return y[i].Key, nil
			case i >= len(y):
				return x[i].Key, nil
			case !bytes.Equal(x[i].Key, y[i].Key):
				return slices.MinFunc([][]byte{x[i].Key, y[i].Key}, bytes.Compare), nil
			case !bytes.Equal(x[i].Value, y[i].Value):
				return x[i].Key, nil
			}
		}
		if xEnd == nil {
			return nil, nil
		}
		from = xEnd
	}
}

// page copies the keys of a state from one on, below to, or (nil) as many as make a
// page; end is where the next begins, nil when there is none.
func page(ctx context.Context, r meta.Reader, from, to []byte) (all []meta.KV, end []byte, err error) {
	limit := to
	if limit == nil {
		limit = []byte{0xff}
	}
	at := from
	err = look(ctx, r)(func(r meta.Reader) error {
		return r.Scan(bytes.Clone(at), limit, func(k, v []byte) bool {
			all = append(all, meta.KV{Key: bytes.Clone(k), Value: bytes.Clone(v)})
			at = append(bytes.Clone(k), 0)
			// With a limit more than a page is a difference already.
			return len(all) < 2*pageKeys && (to != nil || len(all) < pageKeys)
		})
	})
	if err != nil {
		return nil, nil, err
	}
	if to == nil && len(all) == pageKeys {
		end = at
	}
	return all, end, nil
}

// inWords says what a key is about, without a name.
func inWords(k []byte) string {
	if dir, _, err := meta.ParseDirentKey(k); err == nil {
		return fmt.Sprintf("%s %d", "a name in directory", uint64(dir))
	}
	if ref, err := meta.ParseInodeKey(k); err == nil {
		return fmt.Sprintf("%s %d", "inode", uint64(ref.Ino))
	}
	if ino, _, err := meta.ParseExtentKey(k); err == nil {
		return fmt.Sprintf("%s %d", "an extent of inode", uint64(ino))
	}
	if ref, _, err := meta.ParseXattrKey(k); err == nil {
		return fmt.Sprintf("%s %d", "an attribute of inode", uint64(ref.Ino))
	}
	if no, err := meta.ParsePackKey(k); err == nil {
		return fmt.Sprintf("%s %d", "pack", uint64(no))
	}
	return "a record"
}
