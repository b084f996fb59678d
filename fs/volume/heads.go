package volume

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// checkHeads refuses a store that shows less, or another history, than this
// machine saw, or than the keyring says there is at least.
func (v *Volume) checkHeads(l *publish.Loaded, minSlot uint64, minID [32]byte) error {
	heads := []chain.Head{v.state.Head(), {Slot: chain.Slot(minSlot), ID: minID}}
	for _, h := range heads {
		if h.Slot == 0 {
			continue
		}
		id, ok := l.IDs[h.Slot]
		switch {
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

// evidence keeps the sealed object that proves two histories in the state folder,
// where the store cannot take it away.
func (v *Volume) evidence(slot chain.Slot, object []byte) {
	path := filepath.Join(v.o.State, fmt.Sprintf("evidence-%016x", uint64(slot)))
	if err := os.WriteFile(path, object, 0o600); err != nil {
		v.log.Error("evidence not kept", "slot", uint64(slot), "err", pathless(err))
	}
}
