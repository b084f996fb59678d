package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// A journal may have been set aside, under a name kept-…: of a device that this machine
// was, with changes that the drive does not take, or of which nobody can say whether it has
// them. Nothing takes them up again. But they are the member's, so they are shown, on the
// state that they were made on, and can be written to a local folder.

// errNotKept: no journal of that name was set aside.
var errNotKept = errors.New("no such journal is kept in the state folder of this machine")

// Kept is a journal that was set aside.
type Kept struct {
	Name     string // of its folder in the state folder
	Exported bool   // ExportPending wrote all that it holds to a folder
}

// KeptIn lists the journals that were set aside in a state folder, by name. It needs no key.
func KeptIn(state string) (all []Kept, err error) {
	entries, err := os.ReadDir(state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathless(err)
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	for _, e := range entries {
		if m := keptMove(e.Name()); m != nil && e.IsDir() {
			all = append(all, Kept{Name: e.Name(), Exported: there[keptExportedName(m.id)]})
		}
	}
	return all, nil
}

// keptExportedName is the file that says that all of a journal was exported, which was set
// aside: exportedName says it of operations, and more may have come after them.
func keptExportedName(id [16]byte) string { return fmt.Sprintf("exported-kept-%x", id) }

// keptMove reads the name of a journal that was set aside; nil when it is none.
func keptMove(name string) *move {
	m, id := &move{}, []byte(nil)
	_, err := fmt.Sscanf(name, keptName, (*uint16)(&m.was), (*uint64)(&m.known), &id)
	copy(m.id[:], id)
	if err != nil || fmt.Sprintf(keptName, uint16(m.was), uint64(m.known), m.id[:]) != name {
		return nil
	}
	return m
}

// ShowKept has a volume that was opened read-only, and that nobody works with yet, show
// what a journal holds that was set aside, in place of what waits in this machine's own.
// Nothing of it is written anywhere; ExportPending exports it.
func (v *Volume) ShowKept(ctx context.Context, name string) error {
	m := keptMove(strings.TrimSuffix(name, "/"))
	if m == nil {
		return errNotKept
	}
	if _, err := os.Lstat(m.path(v, keptName)); errors.Is(err, fs.ErrNotExist) {
		return errNotKept
	}
	l, err := v.loadChain(ctx, v.distrusted())
	if err != nil {
		return err
	}
	_, secret := v.state.Journal()
	o, err := v.readJournal(m.path(v, keptName), m.id, secret)
	if err != nil {
		return err
	}
	err = v.journal.Close()
	v.journal = o.journal
	if err != nil {
		return err
	}
	settled, _, err := o.settled(ctx, l, m.was, m.known)
	if err != nil {
		return err
	}
	at, err := v.keptAt(ctx, l, o, m, settled)
	if err != nil {
		return err
	}
	v.removed = fmt.Errorf("this machine is not device %d any more, whose journal was kept", m.was)
	// What the chain has of a device of that number may be another's: of these operations
	// it has none beyond settled.
	v.device = 0
	v.reader.Close()
	v.wire(at, o)
	v.device = m.was
	return v.replay(ctx, o, settled)
}

// keptAt returns the state that a journal which was set aside is shown on: that on which
// its operations were made or, where they were made on a history that was given up, the
// newest that both have. There nothing has a number of what is gone. Where that state
// cannot be had any more it is the newest.
func (v *Volume) keptAt(ctx context.Context, l *publish.Loaded, o *old, m *move, settled meta.OpNo) (*publish.Loaded, error) {
	slot := chain.Slot(o.slot)
	if a := o.attempt; a != nil && settled >= a.Last {
		slot = max(slot, chain.Slot(a.Slot)) // that commit is in the chain
	}
	base := min(slot, l.Chain.Slot)
	for _, a := range l.Chain.Ledger.Accepted() {
		if a.Had.Slot < slot && slot <= a.Seen.Slot {
			base = min(base, a.Had.Slot)
		}
	}
	if v.behind != nil { // the store was set back just now
		base = min(base, v.behind.same)
	}
	at, gone := l, base == 0
	if base > 0 {
		var err error
		if at, err = l.At(ctx, base); errors.Is(err, publish.ErrTrimmed) {
			at, gone = l, true
		} else if err != nil {
			return nil, fmt.Errorf("go back to slot %d, which the journal follows: %w", base, err)
		}
	}
	v.astray = gone || base < slot
	had := accepted{had: chain.Link{Slot: base}}
	v.behind = &lookback{journal: m.id, same: base, common: had.common(at.Chain.Ledger, 0)}
	switch {
	case !gone:
		v.behind.common[m.was] = true
	case l.Chain.LastOp[m.was] > settled:
		delete(v.behind.common, m.was) // somebody worked on under its number
	}
	v.view = view.New(at.Confirmed)
	return at, nil
}

// aside says whether what is shown is a journal that was set aside.
func (b *lookback) aside() bool { return b != nil && b.journal != [16]byte{} }

// exporting is the id of the journal whose operations are shown: this machine's own, or one
// that was set aside.
func (v *Volume) exporting() ([16]byte, error) {
	if v.behind.aside() {
		return v.behind.journal, nil
	}
	m, err := v.unfinishedMove()
	if err != nil {
		return [16]byte{}, err
	}
	_, id, _, _ := v.waitsIn(m)
	return id, nil
}
