package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// checkHeads refuses a store that shows less, or another history, than this
// machine saw, or than the keyring says there is at least.
func (v *Volume) checkHeads(ctx context.Context, l *publish.Loaded, minSlot uint64, minID [32]byte) error {
	heads := []chain.Head{v.state.Head(), {Slot: chain.Slot(minSlot), ID: minID}}
	for _, h := range heads {
		if h.Slot == 0 {
			continue
		}
		id, ok, err := l.ID(ctx, h.Slot)
		switch {
		case err != nil:
			return fmt.Errorf("look for slot %d: %w", h.Slot, err)
		case ok && id == h.ID:
		case ok:
			return fmt.Errorf("%w: slot %d holds another commit", ErrFork, h.Slot)
		default:
			err := fmt.Errorf("%w: it has commits up to slot %d, this machine saw slot %d", ErrRollback, l.Chain.Slot, h.Slot)
			if len(l.Damaged) > 0 {
				err = fmt.Errorf("%w; damaged or missing: %s", err, l.Damaged[0])
			}
			return err
		}
	}
	return nil
}

// evidenceName is the file of an object that proves two histories.
const evidenceName = "evidence-%016x"

// evidence keeps the sealed object that proves two histories in the state folder,
// where the store cannot take it away. As long as it is there nothing is written to
// the store.
func (v *Volume) evidence(slot chain.Slot, object []byte) {
	if err := v.keep(fmt.Sprintf(evidenceName, uint64(slot)), object); err != nil && !errors.Is(err, fs.ErrExist) {
		v.log.Error("evidence not kept", "slot", uint64(slot), "err", pathless(err))
	}
}

// keep writes a file of the state folder, once and for good.
func (v *Volume) keep(name string, b []byte) error {
	f, err := os.OpenFile(filepath.Join(v.o.State, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return syncDir(v.o.State)
}

// alarmed makes what Load found a reason to write nothing when this machine, now or
// earlier, saw two histories.
func (v *Volume) alarmed(l *publish.Loaded) error {
	if l.Evidence != nil {
		v.evidence(l.EvidenceSlot, l.Evidence)
	}
	if l.Trouble != nil {
		return nil
	}
	entries, err := os.ReadDir(v.o.State)
	if err != nil {
		return pathless(err)
	}
	for _, e := range entries {
		var slot uint64
		if _, err := fmt.Sscanf(e.Name(), evidenceName, &slot); err == nil && e.Name() == fmt.Sprintf(evidenceName, slot) {
			l.Trouble = fmt.Errorf("%w: one was seen at slot %d, and the proof is kept in the state folder as %s", publish.ErrFork, slot, e.Name())
			return nil
		}
	}
	return nil
}
