package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// A machine whose device was removed comes back. Whoever holds it may be somebody else
// by now, so nothing that its journal holds is taken into the volume, under no number.
// But it is the member's machine still, and may be in the member's hands: what is in
// the journal is shown to who mounts it read-only, can be written to a local folder,
// and the machine can join anew, as another device, when a person says so.

// ErrUnexported: a machine that joins anew would leave behind changes that nobody has
// exported.
var ErrUnexported = errors.New("changes made on this machine are in its journal alone")

// Rejoin says how a machine that was removed joins anew.
type Rejoin struct {
	Discard bool // also when its journal holds what nobody has exported
}

// errNotRemoved: Rejoin is for machines that were removed.
var errNotRemoved = errors.New("this machine was not removed from the drive")

// faceRemoval sees whether the device of this machine, or the one that it is just
// ceasing to be, was removed. It answers the move that is to go on.
func (v *Volume) faceRemoval(l *publish.Loaded, m *move) (*move, error) {
	if m != nil && v.wasRemoved(l, m) {
		if err := v.dropMove(m); err != nil {
			return m, err
		}
		m = nil
	}
	_, number, _ := v.state.Device()
	err := v.removal(l)
	switch {
	case err == nil && v.o.Rejoin != nil && v.accepted == nil && (m == nil || m.was != 0):
		return m, errNotRemoved // and no interrupted Rejoin, which goes on
	case err == nil:
		v.takeName(l, number)
		return m, nil
	case v.o.ReadOnly:
		if m != nil && m.was == 0 {
			m = nil // it was about to join anew, and nothing is in that
		}
		v.removed = err
		v.log.Warn("this machine was removed", "err", err)
		v.notes.warn("device", fmt.Errorf("%w. What it had not sent is shown here and nowhere else, and never will be sent: hushfs device export-pending writes it to a folder", err))
		return m, nil
	case v.o.Rejoin == nil:
		return m, err
	}
	return m, v.leaveBehind(l, number)
}

// wasRemoved says whether the device that this machine is just ceasing to be was removed.
// While a rollback is being accepted its number may be another's, see accepted.common.
func (v *Volume) wasRemoved(l *publish.Loaded, m *move) bool {
	_, number, _ := v.state.Device()
	if m.was == number { // it has no other yet, and its key tells
		return v.removal(l) != nil
	}
	return publish.Removal(l.Chain.Ledger, m.was) != nil && (v.accepted == nil || v.accepted.common(l.Chain.Ledger, number)[m.was])
}

// takeName remembers the name that the volume has for this machine.
func (v *Volume) takeName(l *publish.Loaded, number meta.Device) {
	key, _, name := v.state.Device()
	d, ok := l.Chain.Ledger.Device(number)
	if !ok || d.Name == name || v.o.ReadOnly || !bytes.Equal(d.Key.Encode(), key.Public().Encode()) {
		return
	}
	if err := v.state.Rename(d.Name); err != nil {
		v.log.Warn("this machine's new name is not remembered", "err", err)
	}
}

// dropMove ends a move out of the journal of a device that was removed meanwhile:
// nothing of it moves. Where this machine has no other number yet it is that device
// still; else the journal is kept, and what was moved of it was published nowhere.
func (v *Volume) dropMove(m *move) error {
	id, _ := v.state.Journal()
	if err := os.RemoveAll(v.journalDir(id)); err != nil {
		return pathless(err)
	}
	to := m.path(v, keptName)
	if id == m.id {
		to = v.journalDir(id)
	} else {
		v.log.Error("this machine was another device, which was removed; its journal is kept", "device", int(m.was))
		v.notes.warn("device", fmt.Errorf("this machine was device %d, which was removed; what that had not sent is kept in the state folder", m.was))
	}
	if err := os.Rename(m.path(v, moveName), to); err != nil {
		return pathless(err)
	}
	return syncDir(v.o.State)
}

// leaveBehind sets the journal of a device that was removed aside, for good, and makes
// the state that of a machine that was no device yet.
func (v *Volume) leaveBehind(l *publish.Loaded, number meta.Device) error {
	id, secret := v.state.Journal()
	o, err := v.readJournal(v.journalDir(id), id, secret)
	if err != nil {
		return err
	}
	settled, _, err := o.settled(v.life, l, number, v.state.Known())
	waiting, last := o.waiting.Count(settled), o.waiting.Last()
	if cerr := o.journal.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := v.exported(id, waiting, last); err != nil {
		return err
	}
	from := v.journalDir(id)
	if waiting > 0 {
		m := &move{was: number, known: settled, id: id}
		if err := os.Rename(from, m.path(v, keptName)); err != nil {
			return pathless(err)
		}
	} else if err := os.RemoveAll(from); err != nil {
		return pathless(err)
	}
	if err := syncDir(v.o.State); err != nil {
		return pathless(err)
	}
	v.state.Renew()
	return nil
}

// Removed is an ErrRemoved of fs/sync when this machine's device was removed, as far as
// it knows.
func (v *Volume) Removed() error {
	if v.removed != nil {
		return v.removed
	}
	return v.sync.Removed()
}

// Join makes this machine a device of the volume now, rather than with its first change.
func (v *Volume) Join(ctx context.Context) (int, error) {
	if err := v.writable(ctx); err != nil {
		return 0, err
	}
	_, number, _ := v.state.Device()
	return int(number), nil
}

// exportedName is the file that says up to which operation a journal was exported.
func (v *Volume) exportedName(id [16]byte) string { return fmt.Sprintf("exported-%x", id) }

// exportedUpTo is 0 when the journal was not exported.
func (v *Volume) exportedUpTo(id [16]byte) meta.OpNo {
	b, err := os.ReadFile(filepath.Join(v.o.State, v.exportedName(id)))
	if err != nil {
		return 0
	}
	no, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return meta.OpNo(no)
}

// exported is an ErrUnexported when operations wait in the journal called id, up to last,
// that were neither exported nor are to be left behind.
func (v *Volume) exported(id [16]byte, waiting int, last meta.OpNo) error {
	if waiting > 0 && !v.o.Rejoin.Discard && v.exportedUpTo(id) < last {
		return fmt.Errorf("%w: %d of them, which nobody will take from a device that was removed", ErrUnexported, waiting)
	}
	return nil
}

// noteExported remembers that all pending operations are exported.
func (v *Volume) noteExported() error {
	last := v.behind.last() // what else is pending then is in no journal
	if pending := v.view.Pending(); v.behind == nil && pending.Len() > 0 {
		last = pending.Last().No
	}
	if last == 0 {
		return nil
	}
	id, _ := v.state.Journal()
	name := v.exportedName(id)
	if err := os.Remove(filepath.Join(v.o.State, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathless(err)
	}
	return pathless(v.keep(name, []byte(strconv.FormatUint(uint64(last), 10)+"\n")))
}
