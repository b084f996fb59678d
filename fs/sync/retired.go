package sync

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// revive has a batch take back that packs are retired in which its extents lie, or everybody
// would take the commit for junk, and this machine could send nothing any more. Who retired
// them did not see what waited here, or means harm.
func (s *Syncer) revive(ctx context.Context, b *meta.Batch) error {
	for _, no := range packsOf(b) {
		key := meta.RetiredKey(no)
		err := Retry(ctx, func() error {
			_, err := s.o.View.Confirmed().Get(key)
			return err
		})
		switch {
		case err == nil:
			b.Deletes = append(b.Deletes, key)
		case !errors.Is(err, meta.ErrAbsent):
			return err
		}
	}
	slices.SortFunc(b.Deletes, bytes.Compare)
	b.Deletes = slices.CompactFunc(b.Deletes, bytes.Equal) // a clone has taken it back itself
	return nil
}
