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

// WriteHint writes the ledger of st and a hint at its slot that names it, with
// a box for each principal. What is there already is left as it is.
func WriteHint(ctx context.Context, b store.Bucket, st *chain.State, device *identity.Device, number meta.Device) error {
	name, object, err := st.SealLedger()
	if err != nil {
		return err
	}
	if err := put(ctx, b, chain.LedgerName(st.Volume, name), object); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	hint, err := st.SealHint(device, number, name, int64(len(object)))
	if err != nil {
		return err
	}
	if err := put(ctx, b, chain.HintName(st.Volume, st.Slot), hint); err != nil {
		return fmt.Errorf("write hint: %w", err)
	}
	return nil
}

// put makes an object of a kind that says the same whoever was first.
func put(ctx context.Context, b store.Bucket, name string, object []byte) error {
	if err := b.PutIfAbsent(ctx, name, object); err != nil && !errors.Is(err, store.ErrExist) {
		return err
	}
	return nil
}
