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
	name := chain.HintName(st.Volume, st.Slot)
	err = b.PutIfAbsent(ctx, name, hint)
	if errors.Is(err, store.ErrExist) {
		err = sameHint(ctx, b, st, name, h)
	}
	if err != nil {
		return nil, fmt.Errorf("write hint: %w", err)
	}
	return h, nil
}

// sameHint returns nil when what lies under the name of a hint leads where h does.
// Anybody who may write to the store can have been there first.
func sameHint(ctx context.Context, b store.Bucket, st *chain.State, name string, h *chain.Hint) error {
	object, err := b.Get(ctx, name, 0, chain.MaxHint+1)
	if err != nil {
		return err
	}
	sealed, err := chain.ParseHint(object)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	there, err := sealed.Open(st.Volume, st.Key)
	if err == nil {
		err = there.VerifySignature(st.Volume, st.Ledger)
	}
	if err == nil && (there.Commit != h.Commit || there.Fold.Slot < h.Fold.Slot) {
		err = store.ErrExist
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// present makes an error of PutIfAbsent nil for objects of a kind that says the same
// whoever was first.
func present(err error) error {
	if errors.Is(err, store.ErrExist) {
		return nil
	}
	return err
}

// ForgetLedger has the next hint name a ledger object of its own: the one that hints
// name is damaged.
func (s *Syncer) ForgetLedger() {
	s.working.Lock()
	defer s.working.Unlock()
	h := *s.hint
	h.Ledger = chain.LedgerRef{}
	s.hint = &h
}
