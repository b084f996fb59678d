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
// machine saw, or than the keyring says there is at least. The error is a *Setback.
func (v *Volume) checkHeads(ctx context.Context, l *publish.Loaded) error {
	mine, least := v.state.Head(), v.o.Drive.Main()
	for _, h := range []struct {
		chain.Link
		by Witness
	}{
		{chain.Link{Slot: mine.Slot, ID: mine.ID}, ThisMachine},
		{chain.Link{Slot: chain.Slot(least.MinSlot), ID: least.MinCommit}, Keyring},
	} {
		if h.Slot == 0 {
			continue
		}
		id, ok, err := l.ID(ctx, h.Slot)
		if err != nil {
			return fmt.Errorf("look for slot %d: %w", h.Slot, err)
		}
		if h.by == Keyring && !(ok && id == h.ID) && l.Chain.Ledger.GaveUp(h.Slot, least.MinLedger) {
			v.gone = h.Link
			continue
		}
		s, err := v.setback(ctx, l, h.Link, h.by, id, ok)
		if err != nil {
			return err
		}
		if s != nil {
			return s
		}
	}
	return nil
}

// evidenceName is the file of an object that proves two histories; a second one of
// another content, for the same slot, has a number behind.
const (
	evidenceName = "evidence-%016x"
	evidenceMore = evidenceName + "-%d"
	evidenceMost = 16 // of one slot
)

// evidence keeps the sealed object that proves two histories in the state folder,
// where the store cannot take it away. As long as it is there nothing is written to
// the store, unless a person settled it or its device was removed.
func (v *Volume) evidence(slot chain.Slot, object []byte) {
	name := fmt.Sprintf(evidenceName, uint64(slot))
	for n := 2; ; n++ {
		err := v.keep(name, object)
		if errors.Is(err, fs.ErrExist) {
			there, rerr := os.ReadFile(filepath.Join(v.o.State, name))
			if rerr == nil && string(there) == string(object) || n > evidenceMost {
				return
			}
			name = fmt.Sprintf(evidenceMore, uint64(slot), n)
			continue
		}
		if err != nil {
			v.log.Error("evidence not kept", "slot", uint64(slot), "err", pathless(err))
		}
		return
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

// kept is an object of another history in a state folder.
type kept struct {
	file   string
	slot   chain.Slot
	object []byte
}

// keptEvidence lists the objects of other histories that a state folder holds.
func keptEvidence(dir string) ([]kept, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, pathless(err)
	}
	var all []kept
	for _, e := range entries {
		var slot uint64
		var n int
		if _, err := fmt.Sscanf(e.Name(), evidenceName, &slot); err != nil {
			continue
		}
		if e.Name() != fmt.Sprintf(evidenceName, slot) {
			if _, err := fmt.Sscanf(e.Name(), evidenceMore, &slot, &n); err != nil || e.Name() != fmt.Sprintf(evidenceMore, slot, n) {
				continue
			}
		}
		k := kept{file: e.Name(), slot: chain.Slot(slot)}
		// One that cannot be read alarms all the same.
		k.object, _ = os.ReadFile(filepath.Join(dir, e.Name()))
		all = append(all, k)
	}
	return all, nil
}

// alarmed makes what Load found a reason to write nothing when this machine, now or
// earlier, saw two histories.
func (v *Volume) alarmed(l *publish.Loaded) error {
	if l.Evidence != nil {
		v.evidence(l.EvidenceSlot, l.Evidence)
	}
	defer func() {
		if l.Trouble != nil {
			v.log.Error("nothing is written to the store", "err", l.Trouble)
		}
	}()
	if l.Trouble != nil {
		return nil
	}
	open, err := unsettled(v.o.State, l, v.state, nil)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		l.Trouble = fmt.Errorf("%w: %s", publish.ErrFork, open[0])
	}
	return nil
}
