package volume

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// accepted is a rollback that a person accepted, on its way: this machine becomes a new
// device, says in the chain what it gave up, and executes what waits in its journal
// again on what the store has. As long as the file of its name lies in the state folder
// that is not done; the numbers of the device that this machine was are never used again.
type accepted struct {
	seen, had chain.Link

	executed, left, recovered int // operations of the journal, and files of bytes that fitted nowhere
}

const acceptedName = "accepted-%016x-%s-%016x-%s" // seen and had, slot and id each

func (a *accepted) path(v *Volume) string {
	return filepath.Join(v.o.State, fmt.Sprintf(acceptedName, uint64(a.seen.Slot), hex.EncodeToString(a.seen.ID[:]), uint64(a.had.Slot), hex.EncodeToString(a.had.ID[:])))
}

// unfinishedAcceptance finds what an interrupted acceptance left, nil when there is none.
func (v *Volume) unfinishedAcceptance() (*accepted, error) {
	entries, err := os.ReadDir(v.o.State)
	if err != nil {
		return nil, pathless(err)
	}
	for _, e := range entries {
		var seen, had []byte
		a := &accepted{}
		_, err := fmt.Sscanf(e.Name(), "accepted-%016x-%64x-%016x-%64x", (*uint64)(&a.seen.Slot), &seen, (*uint64)(&a.had.Slot), &had)
		copy(a.seen.ID[:], seen)
		copy(a.had.ID[:], had)
		if err == nil && filepath.Base(a.path(v)) == e.Name() {
			return a, nil
		}
	}
	return nil, nil
}

// face is what becomes of a store that shows less than is known, or another history: it
// is refused, or shown read-only without what waits (Options.Older), or a person is asked
// (Options.Accept). A machine that was removed in it is told that: it may look, and save
// what waits; and it is asked when it joins anew (Options.Rejoin), and else not. The chain
// that face returns is that to go on with.
func (v *Volume) face(ctx context.Context, l *publish.Loaded, whole bool) (*publish.Loaded, error) {
	l, s, err := v.compareHeads(ctx, l, whole)
	if err != nil {
		return nil, err
	}
	if s == nil && l.Claim.Slot > 0 && (v.o.Accept != nil || v.o.Older) {
		if s, err = v.setback(ctx, l, l.Claim, AHint, chain.ID{}, false); err != nil {
			return nil, err
		}
	}
	switch {
	case s == nil && v.o.Accept != nil && v.o.Rejoin == nil:
		unfinished, err := v.unfinishedAcceptance()
		if err == nil && unfinished == nil {
			err = ErrNothingMissing
		}
		return l, err
	case s == nil:
		return l, nil
	case v.o.Older:
		v.older, v.o.ReadOnly = true, true
		v.state.Freeze() // others may have gone on with it, above what this machine saw
		l.Trouble = s
		return l, nil
	case s.Removed != nil && v.o.ReadOnly && v.o.Accept == nil:
		v.state.Freeze()
		l.Trouble = s
		v.lookBehind(l, s)
		return l, nil
	case !s.Fork && errors.Is(l.Trouble, chain.ErrVersion):
		// What is missing may be what a newer program made, or trimmed. Nothing is given up by
		// who cannot tell.
		return nil, fmt.Errorf("%w. What this version can read is less than is known: %v", l.Trouble, s)
	case v.o.Accept != nil && (s.Removed != nil) == (v.o.Rejoin != nil):
		return l, v.ask(ctx, l, s)
	}
	return nil, s
}

// compareHeads is checkHeads, and passes over commits of the history that is known and not
// shown where they lie in slots of the one that is: they prove two histories, which the
// Setback says already, and hide what goes on above them. It returns the chain that was
// read past them.
func (v *Volume) compareHeads(ctx context.Context, l *publish.Loaded, whole bool) (*publish.Loaded, *Setback, error) {
	for {
		err := v.checkHeads(ctx, l)
		var s *Setback
		if err != nil && !errors.As(err, &s) {
			return nil, nil, err
		}
		if s == nil || l.Evidence == nil {
			return l, s, nil
		}
		c, err := l.Chain.Open(l.EvidenceSlot, l.Evidence)
		if err != nil {
			return l, s, nil
		}
		lost, err := s.lost(ctx, l, c)
		if err != nil || !lost {
			return l, s, err
		}
		v.lost = append(v.lost, chain.Link{Slot: c.Slot, ID: c.ID})
		if l, err = v.loadChain(ctx, whole); err != nil {
			return nil, nil, err
		}
	}
}

// ask shows a person what is missing, and goes on with what the store has when that is
// accepted.
func (v *Volume) ask(ctx context.Context, l *publish.Loaded, s *Setback) error {
	_, single := l.Chain.Ledger.Writer()
	then := "accept"
	if v.o.Rejoin != nil {
		then = "join anew"
	}
	switch {
	case s.Above > 0:
		return fmt.Errorf("%w: slot %d is not there and %s is. While it lies there, whatever takes slot %d contradicts it. Bring slot %d back from a copy of the store; if there is none, move the commits above it away",
			ErrUnacceptable, s.Had.Slot+1, chain.SlotName(l.Chain.Volume, s.Above), s.Had.Slot+1, s.Had.Slot+1)
	case l.Evidence != nil:
		return fmt.Errorf("%w: %w. Look which history it is of: hushfs heads STORE. Ask a machine that you trust for the words of slot %d (hushfs heads --slot %d STORE), say them here (hushfs heads --confirm 'WORDS' STORE), then %s", ErrUnacceptable, l.Trouble, l.Chain.Slot, l.Chain.Slot, then)
	case l.Trouble != nil && l.Claim.Slot == 0:
		return fmt.Errorf("%w: nothing can be written: %w", ErrUnacceptable, l.Trouble)
	case v.o.ReadOnly:
		return fmt.Errorf("%w: that is written into the store, and this mount may not write", ErrUnacceptable)
	case single || v.o.Writer != 0:
		return fmt.Errorf("%w: the drive has a single writer, and this machine would become another device", ErrUnacceptable)
	}
	if v.o.Rejoin != nil {
		if err := v.mayLeave(); err != nil {
			return err
		}
	}
	a := &accepted{seen: s.Seen, had: chain.Link{Slot: s.from()}}
	if s.Same.Slot == 0 && s.Accepted != nil {
		a.had.Slot = min(a.had.Slot, s.Accepted.Had.Slot) // there others went on
	}
	var err error
	if a.had.ID, _, err = l.ID(ctx, a.had.Slot); err != nil {
		return fmt.Errorf("look for slot %d: %w", a.had.Slot, err)
	}
	if a.had.Slot == 0 {
		a.had.ID = chain.ID(l.Chain.Volume)
	}
	s.Files, s.Known = v.missingFiles(ctx, l, s)
	if s.Waiting, _, err = v.waitingOps(); err != nil {
		return err
	}
	if err := v.o.Accept(s); err != nil {
		return err
	}
	if len(v.lost) > 0 {
		if err := v.state.Settle(v.lost...); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	if err := v.keep(filepath.Base(a.path(v)), nil); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("note that the rollback was accepted: %w", pathless(err))
	}
	l.Trouble = nil
	if s.By == Keyring {
		v.gone = s.Seen
	}
	v.state.Accept(l.Chain.Remember(), a.had.Slot)
	v.accepted = a
	v.forgetCommits()
	v.log.Warn("a rollback of the store is accepted", "seen slot", uint64(s.Seen.Slot), "seen", s.Seen.ID.String(), "slot", uint64(l.Chain.Slot), "commit", l.Chain.Head.String())
	return nil
}

// waitingOps is how many operations wait in the journal, and the last of it.
func (v *Volume) waitingOps() (n int, last meta.OpNo, err error) {
	_, secret := v.state.Journal()
	m, err := v.unfinishedMove()
	if err != nil {
		return 0, 0, err
	}
	dir, id, _, known := v.waitsIn(m)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	j, waiting, _, err := journal.Open(dir, journal.Options{Key: secret, ID: id, Log: v.log, Step: v.o.Step})
	if err != nil {
		return 0, 0, fmt.Errorf("open the journal: %w", err)
	}
	return waiting.Count(known), waiting.Last(), j.Close()
}

// openOlder opens the journal and leaves it as it is: what waits in it was made on
// commits that the store does not show.
func (v *Volume) openOlder(l *publish.Loaded) error {
	n, _, err := v.waitingOps()
	if err != nil {
		return err
	}
	v.aside = n
	id, secret := v.state.Journal()
	o, err := v.readJournal(v.journalDir(id), id, secret)
	if err != nil {
		return err
	}
	v.journal = o.journal
	_, v.device, _ = v.state.Device()
	v.wire(l, o)
	return nil
}

// say writes into the chain what was given up.
func (a *accepted) say(ctx context.Context, v *Volume) error {
	err := v.sending(ctx, func(ctx context.Context) error { return v.sync.Accept(ctx, a.seen, a.had) })
	if err != nil {
		return fmt.Errorf("%w: say what was given up: %w", ErrEnroll, err)
	}
	return nil
}

// end says that nothing of an acceptance is left to do.
func (a *accepted) end(v *Volume) error {
	if err := os.Remove(a.path(v)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathless(err)
	}
	return syncDir(v.o.State)
}

// fits notes what became of an operation of the journal on the history that was accepted.
// Bytes that fit nowhere there go to files of their own.
func (a *adoption) fits(op meta.Op, no meta.OpNo, err error) {
	if a.v.accepted == nil {
		return
	}
	if err == nil {
		a.v.accepted.executed++
		return
	}
	if !refused(err) {
		return
	}
	a.v.accepted.left++
	if op != nil {
		a.torn.refused(op, no)
	}
}

// rescueOlder puts bytes that fit nowhere into files of the root folder, and tells.
func (a *adoption) rescueOlder() error {
	if err := a.v.rescueTorn(a.ctx, &a.torn); err != nil {
		return err
	}
	did := a.v.accepted
	did.recovered = len(a.torn.pieces)
	a.v.log.Warn("changes that waited were executed on the history that was accepted", "executed", did.executed, "not executed", did.left, "recovered files", did.recovered)
	if did.left > 0 {
		a.v.notes.warn("accepted rollback", fmt.Errorf("%d changes that waited could not be made on the history that was accepted; what they wrote lies in the root folder as recovered-… (%d files), and their journal is kept in the state folder", did.left, did.recovered))
	}
	return nil
}

// Acceptance says how an accepted rollback went.
type Acceptance struct {
	Device    int    `json:"device"`    // that this machine is now
	Slot      uint64 `json:"slot"`      // the newest slot of the store
	Executed  int    `json:"executed"`  // changes of the journal that were made again
	Left      int    `json:"left"`      // that could not be; their journal is kept in the state folder
	Recovered int    `json:"recovered"` // files recovered-… with what those wrote
}

// Acceptance returns how the rollback was accepted with which this volume was opened.
func (v *Volume) Acceptance() Acceptance {
	a := Acceptance{Device: int(v.device), Slot: v.view.Slot()}
	if v.accepted != nil {
		a.Executed, a.Left, a.Recovered = v.accepted.executed, v.accepted.left, v.accepted.recovered
	}
	return a
}

// goOnAccepting finds out whether an earlier mount left the acceptance of a rollback
// unfinished. One whose new device is known, and whose journal was moved, is done; and
// nothing is given up when the store is what it was by now.
func (v *Volume) goOnAccepting(l *publish.Loaded) error {
	if v.accepted != nil {
		return nil
	}
	a, err := v.unfinishedAcceptance()
	if err != nil || a == nil {
		return err
	}
	m, err := v.unfinishedMove()
	if err != nil {
		return err
	}
	if id, ok := l.Near(a.seen.Slot); m == nil || ok && id == a.seen.ID {
		return a.end(v)
	}
	v.accepted = a
	return nil
}

// common are the devices that are in a ledger what they were in the history that was given
// up. What became a device after the point where the two part has its number anew: this
// machine, which is number now, and others may have numbers that were theirs, or each
// other's, before, and number inodes, packs and operations from 1 on again.
func (a *accepted) common(l *chain.Ledger, number meta.Device) map[meta.Device]bool {
	same := map[meta.Device]bool{}
	for _, d := range l.AllDevices() {
		if d.Enrolled <= a.had.Slot && d.No != number {
			same[d.No] = true
		}
	}
	return same
}

// gone says whether what a device had numbered is in no history any more.
func (a *adoption) gone(d meta.Device) bool { return a.common != nil && d != 0 && !a.common[d] }

// setApart gives inodes that are in no history any more numbers that nothing else has, or
// what was meant for them would be done to what has their numbers now.
func (a *adoption) setApart(op meta.Op) (err error) {
	meta.Renumber(op, func(i meta.Ino) meta.Ino {
		if _, known := a.inos[i]; !known && a.gone(i.Device()) && err == nil {
			a.inos[i], err = a.v.state.NextIno()
			a.unborn[i] = true
		}
		return i
	}, func(p meta.PackNo) meta.PackNo { return p })
	return err
}

// sawGone says whether an operation was made on a content that is in no history any more.
func (a *adoption) sawGone(op meta.Op) (saw bool) {
	meta.Reobserve(op, func(v uint64) uint64 {
		_, mine := a.versions[v]
		saw = saw || !mine && a.gone(meta.WrittenBy(v))
		return v
	})
	return saw
}

// hasBytes says whether the bytes of an operation, as it is in the old journal, are there:
// in its record, in packs that were closed on the local disk, or in packs that the chain
// knows.
func (a *adoption) hasBytes(op meta.Op, r journal.OpRecord) bool {
	inline := map[uint64]bool{}
	for _, i := range r.Inline {
		inline[i.Off] = true
	}
	for _, e := range meta.Contents(op) {
		if inline[e.Off] {
			continue
		}
		no, closed := a.packs[e.Pack]
		if !closed {
			no = e.Pack
		}
		if !closed && a.gone(no.Device()) || !a.v.complete(no) {
			return false
		}
	}
	return true
}
