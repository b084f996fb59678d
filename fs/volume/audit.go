package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/meta"
)

// What a check of the whole drive needs of a volume to mend it.

// Mend executes an operation that puts right what no program can reach.
func (v *Volume) Mend(ctx context.Context, op *meta.Mend) error {
	return v.changing(ctx, func() error { return v.execute(op) })
}

// Refold folds what lies above the newest checkpoint, however little that is, and
// leaves a hint that leads there; with ledger it names a new ledger object, in the place
// of one that is damaged.
func (v *Volume) Refold(ctx context.Context, ledger bool) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	if ledger {
		if err := v.sync.ForgetLedger(ctx); err != nil {
			return err
		}
	}
	return v.sync.Fold(ctx)
}

// Distrust has the next mount with that state folder read all commits in the place of
// tables, of which one is damaged.
func Distrust(state string) error {
	f, err := os.OpenFile(filepath.Join(state, distrustName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return pathless(err)
	}
	return f.Close()
}
