package volume

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// Setback is an ErrRollback or ErrFork that says what is missing: the store ends before
// the newest commit that is known, or has another one in its place.
type Setback struct {
	Seen  chain.Link // the newest commit that is known
	Had   chain.Link // the newest that the store has, or with Fork what it has in the slot of Seen
	Store chain.Link // the newest that the store has
	Same  chain.Link // the newest that both have, as far as it is known; slot 0: it is not
	By    Witness    // who knows Seen
	Fork  bool       // the store holds another commit in the slot of Seen
	Above chain.Slot // a commit lies above a slot that is absent; 0: none

	Accepted *chain.Accepted // what somebody on another machine took for right instead; nil: nobody did
	accepter string          // the name of that device

	Removed error // an ErrRemoved of fs/sync: this machine is no device any more in what the store has; nil: it is, or never was

	Missing publish.Missing // up to Seen
	Damaged []string        // objects that are missing or no commits
	Files   []MissingFile   // what the missing commits were about, as far as they are kept near; only where a person is asked
	Known   int             // how many commits Files is made from
	Waiting int             // operations in the journal; only where a person is asked
	why     error           // ErrRollback or ErrFork, of this package or of fs/sync

	known  []publish.Known // what this machine's records show of the history that Seen is in
	parted chain.Slot      // from here on the store is known to have other commits, or none
	base   chain.Slot      // see from
}

// Witness is who knows of a commit that the store does not show.
type Witness string

// The witnesses.
const (
	ThisMachine Witness = "this machine"
	Keyring     Witness = "the drive's header" // a machine that wrote its keyring
	AHint       Witness = "a device, in a hint"
)

func (s *Setback) Error() string {
	var b strings.Builder
	b.WriteString(s.why.Error())
	b.WriteString(": ")
	switch {
	case s.Fork:
		fmt.Fprintf(&b, "slot %d holds another commit, %v, than %s saw, %v", s.Seen.Slot, s.Had.ID, s.By, s.Seen.ID)
	default:
		fmt.Fprintf(&b, "it has commits up to slot %d, %s saw slot %d", s.Had.Slot, s.By, s.Seen.Slot)
	}
	if s.Same.Slot > 0 {
		fmt.Fprintf(&b, ". Both are the same up to slot %d", s.Same.Slot)
		if s.parted <= s.Had.Slot {
			b.WriteString(", and others wrote over what came after")
		}
	}
	if s.Missing.Slots > 0 {
		fmt.Fprintf(&b, ". Missing: %s", s.Missing)
	}
	if s.Above > 0 {
		fmt.Fprintf(&b, ". Slot %d is not there, and slot %d is", s.Had.Slot+1, s.Above)
	}
	if a := s.Accepted; a != nil && s.Removed == nil {
		fmt.Fprintf(&b, ". Somebody at device %d (%s) accepted on %s that the store was set back to slot %d. To accept it here too: hushfs accept-rollback STORE",
			a.Device, s.accepter, a.Time.Local().Format("2006-01-02 15:04"), a.Had.Slot)
	}
	if len(s.Damaged) > 0 {
		fmt.Fprintf(&b, "; damaged or missing: %s", s.Damaged[0])
	}
	if s.Removed != nil {
		fmt.Fprintf(&b, ". There %s", s.Removed)
	}
	return b.String()
}

// Unwrap makes errors.Is find ErrRollback or ErrFork, and ErrRemoved of fs/sync.
func (s *Setback) Unwrap() []error {
	if s.Removed != nil {
		return []error{s.why, s.Removed}
	}
	return []error{s.why}
}

// lost says whether a commit that proves another history is of the one that is known and
// not shown: it is a commit that this machine knows, or goes on from one. One above all that
// it knows is none of what it is told is missing: others went on there.
func (s *Setback) lost(ctx context.Context, l *publish.Loaded, c *chain.Commit) (bool, error) {
	if c.Slot > s.Seen.Slot {
		return false, nil
	}
	for _, k := range s.known {
		if k.ID != c.ID && k.ID != c.Prev {
			continue
		}
		id, ok, err := l.ID(ctx, k.Slot)
		if err != nil {
			return false, fmt.Errorf("look for slot %d: %w", k.Slot, err)
		}
		if !ok || id != k.ID {
			return true, nil
		}
	}
	return false, nil
}

// setback compares the chain with a commit that is known to have been in it, and what this
// machine knows one by one with both; nil: the chain has it.
func (v *Volume) setback(ctx context.Context, l *publish.Loaded, seen chain.Link, by Witness, had chain.ID, there bool) (*Setback, error) {
	if there && had == seen.ID {
		return nil, nil
	}
	s := &Setback{Seen: seen, Had: chain.Link{Slot: l.Chain.Slot, ID: l.Chain.Head}, By: by, Fork: there, Damaged: l.Damaged, Above: l.Above, why: ErrRollback}
	s.Store, s.Removed = s.Had, v.removal(l)
	if there {
		s.why, s.Had = ErrFork, chain.Link{Slot: seen.Slot, ID: had}
	}
	mine := v.state.Head()
	slots, commits := v.slots, v.commits
	if slots == nil { // this is no mount, and there may be one
		slots, commits = publish.LookAtSlots(filepath.Join(v.o.State, slotsDir)), publish.LookAtSlots(filepath.Join(v.o.Cache, commitsDir))
	}
	s.known = slices.DeleteFunc(l.Known(chain.Link{Slot: mine.Slot, ID: mine.ID}, v.state.Remembered(), slots, commits),
		func(k publish.Known) bool { return k.Slot > seen.Slot || k.Slot == seen.Slot && k.ID != seen.ID })
	same, parted, err := l.Parting(ctx, s.known)
	if err != nil {
		return nil, fmt.Errorf("look up to where the history is the same: %w", err)
	}
	s.Same, s.parted = same.Link, s.Had.Slot
	if s.base = seen.Slot - 1; !there { // that one at least; what else is another is not known
		s.base, s.parted = min(s.Had.Slot, seen.Slot), s.Had.Slot+1
	}
	if parted != 0 {
		// The history of this machine itself is not what the store has.
		s.base, s.parted = same.Slot, min(s.parted, parted)
	}
	for _, a := range l.Chain.Ledger.Accepted() {
		if a.At > s.Same.Slot && a.Had.Slot < seen.Slot && a.Seen.Slot >= a.Had.Slot && (s.Same.Slot == 0 || s.Same.Slot >= a.Had.Slot) {
			s.Accepted = &a
			for _, d := range l.Chain.Ledger.AllDevices() {
				if d.No == a.Device {
					s.accepter = d.Name
				}
			}
		}
	}
	s.Missing = publish.MissingOf(s.known, same, s.parted, seen.Slot)
	for i, d := range s.Missing.Devices {
		if had, ok := l.Chain.Ledger.Device(d.Device); ok && d.Name == "" && had.Enrolled <= s.Same.Slot {
			s.Missing.Devices[i].Name = had.Name
		}
	}
	return s, nil
}

// from is the slot above which commits may be missing: up to there what the store has is
// what Seen goes on from. 0: nothing is known to be.
func (s *Setback) from() chain.Slot { return s.base }
