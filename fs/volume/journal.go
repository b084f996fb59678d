package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// journalDir is where the journal called id lies, packDir where the closed packs
// of the journal in a folder lie.
func (v *Volume) journalDir(id [16]byte) string {
	return filepath.Join(v.o.State, fmt.Sprintf("journal-%x", id))
}

func packDir(journal string) string { return filepath.Join(journal, "packs") }

// openJournal opens the journal and everything that hangs on it, as the device
// that this machine is, or becomes.
func (v *Volume) openJournal(ctx context.Context, l *publish.Loaded, fresh state.Fresh) error {
	if v.older {
		return v.openOlder(l)
	}
	if err := v.goOnAccepting(l); err != nil {
		return err
	}
	m, err := v.unfinishedMove()
	if err != nil {
		return err
	}
	if m, err = v.faceRemoval(l, m); err != nil {
		return err
	}
	if m != nil && v.removed == nil {
		return v.renew(ctx, l, m)
	}
	if v.o.Rejoin != nil {
		fresh = state.Empty
	}
	if v.accepted != nil {
		fresh = state.Accepted
	}
	_, secret := v.state.Journal()
	dir, id, number, known := v.waitsIn(m)
	old, err := v.readJournal(dir, id, secret)
	if err != nil {
		return err
	}
	v.journal = old.journal
	settled, sure, err := old.settled(ctx, l, number, known)
	if err != nil {
		return err
	}
	if why := reason(fresh, number, sure); why != "" && v.removed == nil {
		v.log.Warn("becoming a new device", "reason", why)
		m = &move{was: number, known: settled, id: id}
		if err := v.beginMove(m); err != nil {
			return err
		}
		return v.renew(ctx, l, m)
	}
	v.device = number
	return v.takeUp(ctx, l, old, settled)
}

// takeUp executes what waits in the journal on the state that it was made on, and
// follows what other machines did since.
func (v *Volume) takeUp(ctx context.Context, l *publish.Loaded, o *old, settled meta.OpNo) error {
	ours := false
	slot := chain.Slot(o.slot)
	if o.attempt != nil {
		var err error
		if ours, err = o.ours(ctx, l); err != nil {
			return err
		}
		if ours {
			slot = max(slot, chain.Slot(o.attempt.Slot))
		}
	}
	at, astray, err := v.stateAt(ctx, l, o, slot, settled)
	if err != nil {
		return err
	}
	v.wire(at, o)
	v.astray = astray
	if ours {
		// What the commit brought must be there before what came after it.
		if err := v.attempts(ctx, l, o); err != nil {
			return err
		}
		if err := v.replay(ctx, o, settled); err != nil {
			return err
		}
	} else {
		if err := v.replay(ctx, o, settled); err != nil {
			return err
		}
		if err := v.attempts(ctx, l, o); err != nil {
			return err
		}
	}
	if at == l || l.Trouble != nil {
		return nil
	}
	return v.follow(ctx)
}

// stateAt returns the chain as of a slot, on which the operations of o were made, and
// has the view show that. Where it cannot be had any more they are astray: they are
// executed on what there is, as far as that is sure.
func (v *Volume) stateAt(ctx context.Context, l *publish.Loaded, o *old, slot chain.Slot, settled meta.OpNo) (at *publish.Loaded, astray bool, err error) {
	if v.behind.covers(slot) && o.waits(settled) {
		return l, true, nil
	}
	if slot == 0 || slot >= l.Chain.Slot || !o.waits(settled) {
		return l, false, nil
	}
	at, err = l.At(ctx, slot)
	if errors.Is(err, publish.ErrTrimmed) {
		v.log.Error("what waits in the journal was made on a state that is gone; it is done on the newest as far as that is sure", "slot", uint64(slot), "err", err)
		return l, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("go back to slot %d, which the journal follows: %w", slot, err)
	}
	v.view = view.New(at.Confirmed)
	return at, false, nil
}

// reason says why the state cannot be this machine's own, so that its numbers may
// be in use elsewhere too; empty when it can.
func reason(fresh state.Fresh, number meta.Device, sure bool) string {
	switch {
	case fresh == state.Moved:
		return string(state.Moved)
	case fresh == state.Accepted:
		return string(state.Accepted)
	case number != 0 && !sure:
		return "the chain has operations of this device that its journal does not know"
	}
	return ""
}

// old is a journal that was read, and what it holds.
type old struct {
	dir     string
	journal *journal.Journal
	waiting *journal.Waiting // the operations, in the files
	packs   []pack.Info
	attempt *journal.AttemptRecord
	last    meta.OpNo // newest operation that it knows of
	report  *journal.Report
	stored  []meta.PackNo // packs whose files are gone because the store has them

	keys     *epochKeys
	slot     uint64  // that the operations follow; 0: not known
	replaced instead // what stands for some of them
}

// waits says whether the journal has operations beyond settled.
func (o *old) waits(settled meta.OpNo) bool {
	return o.waiting.Last() > settled
}

// settled returns the newest operation of device number, known to have come to
// known, that is in the chain and is the one that the journal knows by that
// number. Beyond known that can only be the commit whose outcome was open. sure is
// false when the chain has more operations of the device than these: somebody
// else works under its number.
func (o *old) settled(ctx context.Context, l *publish.Loaded, number meta.Device, known meta.OpNo) (last meta.OpNo, sure bool, err error) {
	if a := o.attempt; a != nil {
		ours, err := o.ours(ctx, l)
		if err != nil {
			return 0, false, err
		}
		if ours {
			known = max(known, a.Last)
		}
	}
	return known, l.Chain.LastOp[number] == known, nil
}

// ours says whether the chain has the commit whose outcome was open.
func (o *old) ours(ctx context.Context, l *publish.Loaded) (bool, error) {
	id, ok, err := l.ID(ctx, chain.Slot(o.attempt.Slot))
	return ok && id == o.attempt.ID, err
}

// readJournal opens the journal called id in dir; one that is not there is empty.
func (v *Volume) readJournal(dir string, id [16]byte, secret *crypt.Key) (*old, error) {
	if err := makeFolders(v.o.State, dir, packDir(dir)); err != nil {
		return nil, fmt.Errorf("make the journal: %w", err)
	}
	j, waiting, report, err := journal.Open(dir, journal.Options{Key: secret, ID: id, Log: v.log, Step: v.o.Step})
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	for _, d := range report.Damaged {
		v.log.Error("journal file damaged", "file", d.File, "kept", d.Kept, "kept behind", d.Behind, "lost", d.Lost)
	}
	o := &old{dir: dir, journal: j, waiting: waiting, report: report, last: max(v.state.Known(), waiting.Last()), slot: report.Slot}
	var more retold
	for r, err := range waiting.Others() {
		if err != nil {
			return nil, errors.Join(err, j.Close())
		}
		switch r.Kind {
		case journal.KindPack:
			o.packs = append(o.packs, pack.Info{No: r.Pack.No, Name: r.Pack.Name, Length: int64(r.Pack.Length), Epoch: r.Pack.Epoch})
		case journal.KindAttempt:
			// An earlier one of the same slot was not sent: its record failed.
			o.attempt = &r.Attempt
			o.last = max(o.last, r.Attempt.Last)
		case journal.KindPlace:
			v.places.recorded(r.Place, waiting.Last())
		case journal.KindFollowed:
			whole, err := more.add(r.Followed)
			if err != nil {
				return nil, errors.Join(err, j.Close())
			}
			if whole {
				o.replaced.then(&more.all)
				o.slot, more = max(o.slot, r.Followed.Slot), retold{}
			}
		}
	}
	if err := unrecorded(o); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	if err := pack.Recover(packDir(dir), o.packs); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	// What a damaged journal does not name may yet be needed by who mends it.
	tidy := len(report.Damaged)+len(report.Aside) == 0 && !v.older
	if err := v.keepPacks(o, tidy); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	if o.keys, err = openEpochKeys(dir, secret, id); err != nil {
		v.log.Error("keys kept beside the journal not read", "err", err)
	}
	if tidy {
		o.keys.need(o.packs)
	}
	return o, nil
}

// keepPacks compares the pack files with the records of o. With tidy it removes
// those that no record names: they were not complete, so nothing in them was
// acknowledged, or they are in the store. A pack whose file is not whole counts
// as not there: its bytes may be in the journal too.
func (v *Volume) keepPacks(o *old, tidy bool) error {
	entries, err := os.ReadDir(packDir(o.dir))
	if err != nil {
		return pathless(err)
	}
	sizes := map[string]int64{}
	for _, e := range entries {
		i, err := e.Info()
		if err != nil {
			return pathless(err)
		}
		sizes[e.Name()] = i.Size()
	}
	var whole []pack.Info
	for _, p := range o.packs {
		name := filepath.Base(pack.Path("", p.No))
		size, ok := sizes[name]
		delete(sizes, name)
		if ok && size == p.ObjectSize() {
			whole = append(whole, p)
			continue
		}
		if !ok {
			// The record that says that it was stored may be what is lost.
			if i, err := v.knownPack(v.life, p.No); err == nil && i == p {
				o.stored = append(o.stored, p.No)
				continue
			}
		}
		v.log.Error("pack file of the journal is missing or damaged", "object", p.Name.String())
		v.notes.warn("damage", errors.New("a pack file of the journal is missing or damaged on the local disk"))
	}
	o.packs = whole
	if !tidy {
		return nil
	}
	for name := range sizes {
		if err := os.Remove(filepath.Join(packDir(o.dir), name)); err != nil {
			return pathless(err)
		}
	}
	return nil
}

// makeFolders makes those folders of paths that are missing, each in the one
// before or in parent, and their entries durable.
func makeFolders(parent string, paths ...string) error {
	for _, p := range paths {
		err := os.Mkdir(p, 0o700)
		if err == nil {
			err = syncDir(parent)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return pathless(err)
		}
		parent = p
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// pathless takes the path out of an error: it tells who and where one is.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
