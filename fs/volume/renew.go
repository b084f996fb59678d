package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// move is a journal of a device that this machine is no more, on its way into the
// journal of the one that it becomes. Until the folder is called move- no longer,
// the new journal holds nothing but a part of it, and nothing of that was
// published: after a crash it is thrown away and the move begins again, with
// another number.
type move struct {
	was   meta.Device
	known meta.OpNo // newest operation of was that is in the chain, and is this journal's
	id    [16]byte
}

const (
	moveName = "move-%04x-%016x-%032x" // was, known, id
	doneName = "done-%04x-%016x-%032x" // nothing in it is needed
	keptName = "kept-%04x-%016x-%032x" // for ExportPending, see ShowKept
)

func (m *move) path(v *Volume, name string) string {
	return filepath.Join(v.o.State, fmt.Sprintf(name, uint16(m.was), uint64(m.known), m.id[:]))
}

// unfinishedMove finds the move that a crash or an error interrupted, nil when
// there is none, and removes what finished ones left.
func (v *Volume) unfinishedMove() (*move, error) {
	entries, err := os.ReadDir(v.o.State)
	if err != nil {
		return nil, pathless(err)
	}
	var found *move
	for _, e := range entries {
		for _, shape := range []string{moveName, doneName} {
			m, id := &move{}, []byte(nil)
			_, err := fmt.Sscanf(e.Name(), shape, (*uint16)(&m.was), (*uint64)(&m.known), &id)
			copy(m.id[:], id)
			if err != nil || filepath.Base(m.path(v, shape)) != e.Name() {
				continue
			}
			if shape == moveName {
				found = m
			} else if err := os.RemoveAll(m.path(v, doneName)); err != nil {
				return nil, pathless(err)
			}
		}
	}
	return found, nil
}

// beginMove sets the journal of this state apart. It comes before anything else
// is written: a state that names another journal forgets this one.
func (v *Volume) beginMove(m *move) error {
	switch {
	case v.o.ReadOnly && v.accepted != nil:
		return v.unfinished(m)
	case v.o.ReadOnly:
		return fmt.Errorf("%w: it was copied, and becoming a device of its own needs a writable mount", ErrState)
	}
	if v.o.Writer != 0 {
		return fmt.Errorf("%w: its state folder was copied or moved, and the one it came from may still write", ErrWriter)
	}
	if err := v.journal.Close(); err != nil {
		return err
	}
	v.journal = nil
	if err := os.Rename(v.journalDir(m.id), m.path(v, moveName)); err != nil {
		return pathless(err)
	}
	return syncDir(v.o.State)
}

// unfinished is an ErrUnfinished that says what was interrupted.
func (v *Volume) unfinished(m *move) error {
	what := "becoming another device"
	switch {
	case v.accepted != nil && m.was == 0:
		what = "joining the drive anew"
	case v.accepted != nil:
		what = "accepting a rollback of the store"
	}
	return fmt.Errorf("%w: %s", ErrUnfinished, what)
}

// renew makes this machine a new device and moves what the old device's journal
// holds into a journal of its own, under new numbers: the old ones may be in
// use by whoever has the original of this state.
func (v *Volume) renew(ctx context.Context, l *publish.Loaded, m *move) error {
	if v.o.ReadOnly {
		return v.unfinished(m)
	}
	if v.o.Writer != 0 {
		return fmt.Errorf("%w: its state folder was copied or moved, and the one it came from may still write", ErrWriter)
	}
	partial, secret := v.state.Journal()
	if err := os.RemoveAll(v.journalDir(partial)); err != nil {
		return pathless(err)
	}
	o, err := v.readJournal(m.path(v, moveName), m.id, secret)
	if err != nil {
		return err
	}
	defer o.journal.Close() // it is only read
	v.places.untold(0)      // the new one is to have them as well
	settled, _, err := o.settled(ctx, l, m.was, m.known)
	if err != nil {
		return err
	}

	v.state.Renew()
	id, secret := v.state.Journal()
	fresh, err := v.readJournal(v.journalDir(id), id, secret)
	if err != nil {
		return err
	}
	fresh.last = 0
	v.wire(l, fresh)
	var number meta.Device
	err = v.sending(ctx, func(ctx context.Context) (err error) {
		number, err = v.sync.Enroll(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEnroll, err)
	}
	v.device, v.nextOp = number, 1
	if v.accepted != nil {
		if err := v.accepted.say(ctx, v); err != nil {
			return err
		}
	}
	a := &adoption{ctx: ctx, v: v, from: o, to: fresh, was: m.was, settled: settled, doubtful: l.Chain.LastOp[m.was]}
	at := l
	if v.accepted != nil {
		a.common = v.accepted.common(l.Chain.Ledger, number)
	}
	if a.doubtful <= settled && v.accepted == nil {
		// Nobody else worked under the number: all goes on where it was, and what other
		// machines did since is followed.
		if at, a.astray, err = v.stateAt(ctx, l, o, chain.Slot(o.slot), settled); err != nil {
			return err
		}
		if at != l {
			v.wireSync(at, packDir(fresh.dir))
		}
	}
	if err := a.run(); err != nil {
		return err
	}
	err = v.endMove(m, a.left)
	switch {
	case err != nil:
		return err
	case v.accepted != nil:
		return v.accepted.end(v)
	case at != l:
		return v.follow(ctx)
	}
	return nil
}

// follow shows what other machines did while this one was away. Where the store is away
// now, what is shown is right too, and the store is asked again.
func (v *Volume) follow(ctx context.Context) error {
	err := v.sending(ctx, v.sync.CatchUp)
	if err != nil && ctx.Err() == nil {
		v.log.Warn("what other machines did is not shown yet", "err", err)
		return nil
	}
	return err
}

// endMove says that the new journal holds all that could be moved; left is how
// many operations could not.
func (v *Volume) endMove(m *move, left int) error {
	to := m.path(v, doneName)
	if left > 0 {
		to = m.path(v, keptName)
		v.log.Error("changes of the device that this machine was may or may not be in the store; their journal is kept", "operations", left, "device", int(m.was))
		v.notes.warn("copied state", fmt.Errorf("%d changes made on this machine as device %d may or may not be in the store: another machine worked under the same number. Their journal is kept in the state folder, as kept-…. What to do: hushfs device export-pending --kept writes it to a folder; look whether the files that were written last on this machine are in the drive as you expect, and remove kept-… when nothing is missing", left, m.was))
	}
	if err := os.Rename(m.path(v, moveName), to); err != nil {
		return pathless(err)
	}
	if err := syncDir(v.o.State); err != nil {
		return pathless(err)
	}
	if left == 0 {
		if err := os.RemoveAll(to); err != nil {
			v.log.Warn("moved journal not removed", "err", pathless(err)) // the next mount does it
		}
	}
	return nil
}

// adoption executes the operations of one device's journal as another's.
//
// Operations up to doubtful have numbers that the chain knows. They may be the same
// ones, published by a twin that this state was copied to or from, or others. They
// are executed where the tree still allows it; what it does not allow is there
// already or collides with the twin's work, and stays in the old journal with
// whatever depends on it.
type adoption struct {
	ctx      context.Context // of the move
	v        *Volume
	from, to *old
	was      meta.Device
	settled  meta.OpNo // operations up to here are in the chain
	doubtful meta.OpNo
	astray   bool
	left     int // operations that were not executed
	torn     salvage

	inos     map[meta.Ino]meta.Ino       // inodes that no slot knows, old to new
	packs    map[meta.PackNo]meta.PackNo // closed packs, old to new
	versions map[uint64]uint64           // of content that adopted operations wrote, old to new
	unborn   map[meta.Ino]bool           // inodes whose making was not executed, or is in no history any more
	common   map[meta.Device]bool        // the devices that are in the history that was accepted what they were; nil: all
}

func (a *adoption) run() error {
	a.inos, a.packs = map[meta.Ino]meta.Ino{}, map[meta.PackNo]meta.PackNo{}
	a.versions, a.unborn = map[uint64]uint64{}, map[meta.Ino]bool{}
	if err := a.adoptPacks(); err != nil {
		return err
	}
	last := a.settled
	if a.v.accepted != nil || a.astray {
		a.torn.gap(0, 0) // what is waiting was made on more than the store has
	}
	for r, err := range a.from.waiting.Ops(a.settled) {
		if err != nil {
			return err
		}
		if r.No != last+1 {
			a.torn.gap(last+1, r.No)
		}
		last = r.No
		err = a.adopt(r)
		switch {
		case err == nil:
		case refused(err) && (r.No <= a.doubtful || a.left > 0 || a.torn.gaps):
			a.left++
		default:
			return fmt.Errorf("%w: operation %d: %w", ErrJournal, r.No, err)
		}
		if err := a.relieve(); err != nil {
			return err
		}
	}
	if a.v.accepted != nil {
		if err := a.rescueOlder(); err != nil {
			return err
		}
		return a.v.persist()
	}
	a.torn.tell(a.v, a.from)
	if err := a.v.yieldUp(a.ctx); err != nil {
		return err
	}
	return a.v.persist()
}

// adoptMost is how many operations wait for the new journal at a time: not all that the
// old one holds, which may be half a million.
const adoptMost = 2048

// relieve writes to the new journal what was adopted, when it is much. It is not synced: as
// long as the move is not at its end, a crash has it begin again.
func (a *adoption) relieve() error {
	a.v.mu.Lock()
	n := len(a.v.queue)
	a.v.mu.Unlock()
	if n < adoptMost {
		return nil
	}
	_, _, err := a.v.enqueue()
	return err
}

// errUnborn: an operation needs an inode that could not be made.
var errUnborn = errors.New("its inode was not made")

// refused says that the tree did not allow an operation, and that nothing else went
// wrong.
func refused(err error) bool {
	return errors.Is(err, errUnborn) || errors.Is(err, errTorn) || meta.Refused(err)
}

// adoptPacks gives the closed packs numbers of the new device. One that is sealed under a
// key that the chain has no more is sealed under the present one.
func (a *adoption) adoptPacks() error {
	var infos []pack.Info
	for _, p := range a.from.packs {
		no, err := a.v.state.NextPack()
		if err != nil {
			return err
		}
		from, to := pack.Path(packDir(a.from.dir), p.No), pack.Path(packDir(a.to.dir), no)
		was := p.No
		p.No = no
		if lost := a.lostKey(p); lost != nil {
			p, err = a.v.packs.Anew(from, p, lost)
		} else if err = os.Link(from, to); err != nil {
			err = pathless(err)
		}
		if errors.Is(err, pack.ErrDamaged) {
			// Its bytes may be in the journal too.
			a.v.log.Error("pack file of the journal is damaged", "pack", uint64(was))
			a.v.notes.warn("damage", errors.New("a pack file of the journal is missing or damaged on the local disk"))
			continue
		}
		if err != nil {
			return fmt.Errorf("adopt a pack file: %w", err)
		}
		a.packs[was] = no
		infos = append(infos, p)
	}
	// A record says that its file is there to stay.
	if err := syncDir(packDir(a.to.dir)); err != nil {
		return pathless(err)
	}
	for _, p := range infos {
		a.v.packs.Adopt(p)
		if err := a.v.closed(p); err != nil {
			return err
		}
	}
	return nil
}

// adopt executes one operation, with new numbers for the inodes and packs that
// no slot knows.
func (a *adoption) adopt(r journal.OpRecord) (err error) {
	op, err := meta.DecodeOp(r.Op)
	if err != nil {
		return err
	}
	steps, replaced, err := a.from.replaced.of(r.No)
	if err != nil {
		return err
	}
	if !replaced || a.torn.gaps {
		steps, replaced = nil, false
	}
	var whole meta.Op // with the bytes that it brings, once they are where they belong
	defer func() { a.fits(whole, r.No, err) }()
	for _, c := range append([]meta.Change{op}, steps...) {
		ref, ok := meta.Makes(c)
		if _, known := a.inos[ref.Ino]; !ok || known || ref.Ino.Device() != a.was {
			continue
		}
		if a.inos[ref.Ino], err = a.v.state.NextIno(); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				a.unborn[ref.Ino] = true
			}
		}()
	}
	if err := a.setApart(op); err != nil {
		return err
	}
	unborn := a.needsUnborn(op)
	if unborn && a.v.accepted == nil {
		return errUnborn
	}
	if a.v.accepted != nil && !a.hasBytes(op, r) {
		return errTorn // they went to the store with what it has no more
	}
	op = meta.Renumber(op, renumber(a.inos), renumber(a.packs))
	r.Op = meta.EncodeOp(op)
	// A pack that the chain has under a number of the old device may be the
	// twin's: bytes that came inline are the only ones that are sure.
	if op, err = a.v.restore(r, func(no meta.PackNo) bool { return no.Device() != a.was && a.v.complete(no) }); err != nil {
		return err
	}
	if a.v.accepted != nil {
		if whole = op; unborn {
			return errUnborn
		}
		if a.sawGone(op) {
			return errTorn
		}
	}
	// What was observed of our own changes changes its number with them.
	op = meta.Reobserve(op, renumber(a.versions))
	if replaced {
		return a.adoptSteps(op, steps, r)
	}
	v := a.v
	var at meta.Stamp
	var b *meta.Batch
	err = v.locked(a.ctx, func() error {
		at = meta.Stamp{Device: v.device, No: v.nextOp, Time: r.Time}
		if a.torn.gaps {
			if err := v.view.Read(func(r meta.Reader) error { return a.torn.allows(r, op) }); err != nil {
				return err
			}
		}
		b, err = v.view.Execute(op, at)
		if errors.Is(err, meta.ErrLeased) && !a.torn.gaps && r.No > a.doubtful {
			_, err = v.view.Resume([]meta.Change{op}, 0, at) // see yieldUp
		}
		return err
	})
	if err != nil || b != nil && b.Empty() {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	a.versions[meta.Stamp{Device: a.was, No: r.No}.Version()] = at.Version()
	v.nextOp++
	v.enlist(at, op)
	a.torn.done(op)
	return nil
}

// adoptSteps executes what stands for an operation. Its packs were closed before that was
// written down.
func (a *adoption) adoptSteps(op meta.Op, steps []meta.Change, r journal.OpRecord) error {
	v := a.v
	mine := make([]meta.Change, len(steps))
	for i, c := range steps {
		mine[i] = meta.ReobserveStep(meta.RenumberStep(c, renumber(a.inos), renumber(a.packs)), renumber(a.versions))
	}
	at, done := meta.Stamp{}, 0
	err := v.locked(a.ctx, func() (err error) {
		at = meta.Stamp{Device: v.device, No: v.nextOp, Time: r.Time}
		done, err = v.view.Resume(mine, done, at)
		return err
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	a.versions[meta.Stamp{Device: a.was, No: r.No}.Version()] = at.Version()
	v.nextOp++
	v.enlist(at, op)
	return v.replace(view.Followed{Slot: v.view.Slot(), Replaced: view.Instead(at, mine)})
}

// needsUnborn says whether op names an inode that was not made.
func (a *adoption) needsUnborn(op meta.Op) (needs bool) {
	meta.Renumber(op, func(i meta.Ino) meta.Ino {
		needs = needs || a.unborn[i]
		return i
	}, func(p meta.PackNo) meta.PackNo { return p })
	return needs
}

// renumber returns the function that m is, and the identity elsewhere.
func renumber[N comparable](m map[N]N) func(N) N {
	return func(n N) N {
		if to, ok := m[n]; ok {
			return to
		}
		return n
	}
}
