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

// ErrNotRemoved: Rejoin is for machines that were removed.
var ErrNotRemoved = errors.New("this machine was not removed from the drive")

// faceRemoval sees whether the device of this machine, or the one that it is just
// ceasing to be, was removed. It answers the move that is to go on.
func (v *Volume) faceRemoval(l *publish.Loaded, m *move) (*move, error) {
	_, number, _ := v.state.Device()
	err := v.removal(l)
	// Where this machine has a number by now that was removed as well, the move holds all
	// that waits here: it is shown, or left behind.
	if m != nil && v.wasRemoved(l, m) && (err == nil || m.was == number) {
		if err := v.dropMove(m); err != nil {
			return m, err
		}
		m = nil
	}
	switch {
	case err == nil && v.o.Rejoin != nil && v.accepted == nil && (m == nil || m.was != 0):
		return m, ErrNotRemoved // and no interrupted Rejoin, which goes on
	case err == nil:
		v.takeName(l, number)
		return m, nil
	case v.o.ReadOnly:
		if m != nil && m.was == 0 {
			m = nil // it was about to join anew, and nothing is in that
		}
		v.removed = err
		v.lookAtMove(l, m, number)
		v.log.Warn("this machine was removed", "err", err)
		v.notes.warn("device", fmt.Errorf("%w. What it had not sent is shown here and nowhere else, and never will be sent: hushfs device export-pending writes it to a folder", err))
		return m, nil
	case v.o.Rejoin == nil:
		return m, err
	}
	return v.leaveBehind(l, m)
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
// the state that of a machine that was no device yet. It answers the move that is to go on.
func (v *Volume) leaveBehind(l *publish.Loaded, m *move) (*move, error) {
	_, secret := v.state.Journal()
	dir, id, number, known := v.waitsIn(m)
	o, err := v.readJournal(dir, id, secret)
	if err != nil {
		return m, err
	}
	settled, _, err := o.settled(v.life, l, number, known)
	waiting, last := o.waiting.Count(settled), o.waiting.Last()
	if cerr := o.journal.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = v.exported(id, waiting, last)
	}
	if err != nil {
		return m, err
	}
	if m, err = v.endMoveUndone(m); err != nil {
		return m, err
	}
	if waiting > 0 {
		if v.exportedUpTo(id) >= last {
			err = v.keep(keptExportedName(id), nil)
		}
		aside := &move{was: number, known: settled, id: id}
		if err == nil || errors.Is(err, fs.ErrExist) {
			err = os.Rename(dir, aside.path(v, keptName))
		}
	} else {
		err = os.RemoveAll(dir)
	}
	if err == nil {
		err = syncDir(v.o.State)
	}
	if err != nil {
		return m, pathless(err)
	}
	v.o.Step("volume.left")
	v.state.Renew()
	return m, nil
}

// endMoveUndone throws away what an unfinished move had moved, before what it was to move is
// left behind. Where it was part of an acceptance, an empty one takes its place, or it would
// be forgotten that what was given up is to be said.
func (v *Volume) endMoveUndone(m *move) (*move, error) {
	if m == nil || m.was == 0 {
		return m, nil
	}
	id, _ := v.state.Journal()
	var next *move
	if v.accepted != nil {
		next = &move{id: id}
		if err := os.Mkdir(next.path(v, moveName), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return m, pathless(err)
		}
	}
	return next, pathless(os.RemoveAll(v.journalDir(id)))
}

// waitsIn is the journal in which this machine's changes wait, of which device it is, and
// its newest operation that is known to be in the chain: this machine's own, or that of the
// device that it is just ceasing to be.
func (v *Volume) waitsIn(m *move) (dir string, id [16]byte, number meta.Device, known meta.OpNo) {
	if m != nil && m.was != 0 {
		return m.path(v, moveName), m.id, m.was, m.known
	}
	id, _ = v.state.Journal()
	_, number, _ = v.state.Device()
	return v.journalDir(id), id, number, v.state.Known()
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
	if last == 0 && !v.behind.aside() {
		return nil
	}
	id, err := v.exporting()
	if err != nil {
		return err
	}
	name := v.exportedName(id)
	if v.behind.aside() {
		name = keptExportedName(id)
	}
	if err := os.Remove(filepath.Join(v.o.State, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathless(err)
	}
	return pathless(v.keep(name, []byte(strconv.FormatUint(uint64(last), 10)+"\n")))
}
