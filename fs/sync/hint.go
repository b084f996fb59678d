package sync

import (
	"bytes"
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
		if err := putLedger(ctx, b, chain.LedgerName(st.Volume, name), object); err != nil {
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
		return fmt.Errorf("%s: %w: %w", name, errHintTaken, err)
	}
	there, err := sealed.Open(st.Volume, st.Key)
	if err == nil {
		err = there.VerifySignature(st.Volume, st.Ledger)
	}
	if err == nil && (there.Commit != h.Commit || there.Fold.Slot < h.Fold.Slot) {
		err = store.ErrExist
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, errHintTaken, err)
	}
	return nil
}

// writeHint is WriteHint of the head, as the device with that number; working is held. What
// lies in the place of the hint and is none is told of until there is one.
func (s *Syncer) writeHint(ctx context.Context, device *identity.Device, number meta.Device) error {
	st := s.o.Chain
	h, err := WriteHint(ctx, s.o.Bucket, st, device, number, s.hint)
	if errors.Is(err, errHintTaken) {
		s.hints.pass(passedHint{name: chain.HintName(st.Volume, st.Slot), slot: st.Slot, err: err})
	}
	if err != nil {
		return err
	}
	s.hint = h
	s.hints.good(h.Slot)
	return nil
}

// hintLags says whether the newest hint leads to an older checkpoint or ledger than those
// that this machine knows; working is held. Another machine may have written one since
// this one looked.
func (s *Syncer) hintLags(ctx context.Context) (bool, error) {
	behind := func() bool {
		return s.hint.Fold.Slot < s.o.Chain.Announced().Slot || s.hint.Ledger.Head != s.o.Chain.Ledger.Head()
	}
	if !behind() || s.hint.Fold.Slot < s.o.Chain.Announced().Slot {
		return behind(), nil
	}
	f, err := findLedger(ctx, s.o.Bucket, s.volume, s.o.Identity, s.hints)
	switch {
	case err == nil && f.hint.Slot > s.hint.Slot && f.hint.Slot <= s.o.Chain.Slot && f.hint.Fold.Slot >= s.hint.Fold.Slot:
		s.hint = f.hint
	case err != nil && !errors.Is(err, ErrNoKey):
		return true, err
	}
	return behind(), nil
}

// putLedger puts a ledger object, whose name is its hash: what lies there already must
// be it.
func putLedger(ctx context.Context, b store.Bucket, name string, object []byte) error {
	err := b.PutIfAbsent(ctx, name, object)
	if !errors.Is(err, store.ErrExist) {
		return err
	}
	got, err := b.Get(ctx, name, 0, int64(len(object))+1)
	if err == nil && !bytes.Equal(got, object) {
		err = fmt.Errorf("%s: %w: the store holds other bytes under its name", name, store.ErrExist)
	}
	return err
}

// ForgetLedger has the next hint name a ledger object of its own: the one that hints
// name is damaged.
func (s *Syncer) ForgetLedger(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	h := *s.hint
	h.Ledger = chain.LedgerRef{}
	s.hint = &h
	return nil
}
