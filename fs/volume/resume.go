package volume

import (
	"context"
	"errors"
)

// Save brings everything that was written so far to the journal, synced, as before
// the machine stops or sleeps. What fails stays in memory, and is tried again by
// Run.
func (v *Volume) Save(ctx context.Context) error {
	return errors.Join(v.pinOld(ctx, 0), v.persist())
}

// Resumed tells that the machine was asleep: what waits is tried at once, however long
// the wait before it was to be.
func (v *Volume) Resumed() { v.sync.Resumed() }
