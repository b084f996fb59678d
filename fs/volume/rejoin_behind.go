package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// A machine may find that it was removed in a store that was set back. Nothing that its
// journal holds is taken into the volume then, so nobody has to accept anything for it to
// be saved: it is shown on what the store has, as far as that is sure, and what its other
// changes wrote is shown in files of their own. Nothing of that is written anywhere. When
// the machine joins anew, it accepts what the store has.

// removal is an ErrRemoved of fs/sync when this very machine was removed in the history
// that l is; nil when it was not. Its number may be another's there.
func (v *Volume) removal(l *publish.Loaded) error {
	key, number, _ := v.state.Device()
	d, gone := l.Chain.Ledger.Removed(number)
	if !gone || !bytes.Equal(d.Key.Encode(), key.Public().Encode()) {
		return nil
	}
	return publish.Removal(l.Chain.Ledger, number)
}

// mayLeave is an ErrUnexported when the machine that is to join anew would leave behind
// what nobody has exported. It comes before a person is asked for anything.
func (v *Volume) mayLeave() error {
	waiting, last, err := v.waitingOps()
	if err != nil {
		return err
	}
	m, err := v.unfinishedMove()
	if err != nil {
		return err
	}
	_, id, _, _ := v.waitsIn(m)
	return v.exported(id, waiting, last)
}

// lookback is what a machine that was removed knows while it shows what waits on another
// history than that it was made on. A nil one is none.
type lookback struct {
	journal [16]byte // that is shown, where it was set aside; zero: this machine's own

	same   chain.Slot           // up to here both histories are the same; 0: that is not known
	common map[meta.Device]bool // the devices that are the same in both

	waiting int       // operations of the journal
	newest  meta.OpNo // of these
	unfits  int       // of these, those that fit nothing that the store has
}

// lookBehind has the journal be shown on what the store has.
func (v *Volume) lookBehind(l *publish.Loaded, s *Setback) {
	_, self, _ := v.state.Device()
	from := accepted{had: chain.Link{Slot: s.from()}}
	v.behind = &lookback{same: s.Same.Slot, common: from.common(l.Chain.Ledger, self)}
	v.behind.common[self] = true // its number is its own in both, see removal
	v.notes.warn("store", fmt.Errorf("%w. What waits here is shown on what the store has, as far as that is sure; what the rest wrote is shown in the root folder as recovered-…", s))
}

// lookAtMove has what waits be shown that was on its way to the device which this machine
// became, and which was removed meanwhile. A move is made since numbers of the old device
// may be another's, or in no history any more.
func (v *Volume) lookAtMove(l *publish.Loaded, m *move, number meta.Device) {
	if m == nil || v.behind != nil {
		return
	}
	v.behind = &lookback{common: map[meta.Device]bool{}}
	if v.accepted != nil {
		v.behind.common = v.accepted.common(l.Chain.Ledger, number)
		return
	}
	for _, d := range l.Chain.Ledger.AllDevices() {
		v.behind.common[d.No] = true
	}
}

// covers says whether operations that were made on a slot were made on another history.
func (b *lookback) covers(slot chain.Slot) bool {
	return b != nil && (slot == 0 || b.same == 0 || slot > b.same)
}

// foreign says whether a pack may be another device's, which has the same number. The upper
// half of the counters is this process's own: what came inline, see nextPack.
func (b *lookback) foreign(no meta.PackNo) bool {
	return b != nil && no.Counter() <= meta.MaxCounter/2 && !b.common[no.Device()]
}

// another says whether an operation may be about something that another device has under
// the same number.
func (b *lookback) another(op meta.Op) (is bool) {
	if b == nil {
		return false
	}
	no := func(d meta.Device) { is = is || d != 0 && !b.common[d] }
	meta.Renumber(op, func(i meta.Ino) meta.Ino { no(i.Device()); return i }, func(p meta.PackNo) meta.PackNo {
		is = is || b.foreign(p)
		return p
	})
	meta.Reobserve(op, func(version uint64) uint64 { no(meta.WrittenBy(version)); return version })
	return is
}

// show adds to the view, and to nothing else, files with what operations wrote that were
// not executed. waiting are those of the journal that are in no slot, newest the last.
func (b *lookback) show(ctx context.Context, v *Volume, s *salvage, waiting int, newest meta.OpNo) error {
	b.waiting, b.newest = waiting, newest
	for _, n := range s.undone {
		b.unfits += n
	}
	for _, p := range s.pieces {
		v.scratch++
		ref := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(v.device, meta.MaxCounter-v.scratch)}
		file := &meta.Make{Parent: meta.RootRef, Name: recoveredName(&p), Ref: ref, Kind: meta.File, Perm: 0o600, UID: v.o.UID, GID: v.o.GID}
		err := v.show(ctx, file)
		for n := 2; errors.Is(err, meta.ErrExist); n++ { // somebody has a file of that name
			file.Name = fmt.Appendf(nil, "%s-%d", recoveredName(&p), n)
			err = v.show(ctx, file)
		}
		for some := range slices.Chunk(p.extents, extentsMax) {
			if err == nil {
				err = v.show(ctx, &meta.Write{Ref: ref, Extents: some, Size: some[len(some)-1].End()})
			}
		}
		if err != nil {
			return fmt.Errorf("show what was written to inode %d: %w", p.ino, err)
		}
	}
	return nil
}

// show executes what comes to no journal.
func (v *Volume) show(ctx context.Context, op meta.Change) error {
	return v.locked(ctx, func() error {
		_, err := v.view.Execute(op, v.stamp())
		if err == nil {
			v.nextOp++
		}
		return err
	})
}

func (b *lookback) last() meta.OpNo {
	if b == nil {
		return 0
	}
	return b.newest
}
