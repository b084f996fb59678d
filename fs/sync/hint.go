package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// WriteHint writes a hint of the slot of st, with a box for each principal, and the
// ledger that it names: that of the hint last, when it is the same. What is there
// already is left as it is.
func WriteHint(ctx context.Context, b store.Bucket, st *chain.State, device *identity.Device, number meta.Device, last *chain.Hint) (*chain.Hint, error) {
	h := &chain.Hint{Epoch: st.Epoch, Slot: st.Slot, Commit: st.Head, Fold: st.Announced(), Device: number}
	if last != nil && last.Epoch == st.Epoch && last.Ledger.Head == st.Ledger.Head() {
		h.Ledger = last.Ledger
	} else {
		name, object, err := st.SealLedger()
		if err != nil {
			return nil, err
		}
		if err := present(b.PutIfAbsent(ctx, chain.LedgerName(st.Volume, name), object)); err != nil {
			return nil, fmt.Errorf("write ledger: %w", err)
		}
		h.Ledger = chain.LedgerRef{Name: name, Size: int64(len(object)), Head: st.Ledger.Head()}
	}
	hint, err := st.SealHint(device, number, h.Ledger.Name, h.Ledger.Size)
	if err != nil {
		return nil, err
	}
	if err := present(b.PutIfAbsent(ctx, chain.HintName(st.Volume, st.Slot), hint)); err != nil {
		return nil, fmt.Errorf("write hint: %w", err)
	}
	return h, nil
}

// present makes an error of PutIfAbsent nil for objects of a kind that says the same
// whoever was first.
func present(err error) error {
	if errors.Is(err, store.ErrExist) {
		return nil
	}
	return err
}
