package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/store"
)

// RepairHeader writes the drive's header again when the report says that none in the
// store opens. What lies under its name stays: the new one is then the next.
func RepairHeader(ctx context.Context, b store.Bucket, u *drive.Unlocked, r *Report) (string, error) {
	if !r.fixing(fixHeader) {
		return "", nil
	}
	for h := u.Header(); ; {
		name := keyslot.ObjectName(h.Counter)
		err := b.PutIfAbsent(ctx, name, h.Encode())
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, store.ErrExist) {
			return "", fmt.Errorf("write the drive header: %w", err)
		}
		if h, err = next(u, h); err != nil {
			return "", err
		}
	}
}

// next is the same header under the next number.
func next(u *drive.Unlocked, h *keyslot.Header) (*keyslot.Header, error) {
	k, err := h.OpenKeyring(u.Root())
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	sealed, err := keyslot.SealKeyring(u.Root(), h.Drive, h.Counter+1, k)
	if err != nil {
		return nil, err
	}
	return keyslot.New(u.Root(), h.Drive, h.Counter+1, h.Slots, sealed)
}
