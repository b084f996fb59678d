package volume

import (
	"fmt"
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

	Missing publish.Missing // from Same to Seen
	Damaged []string        // objects that are missing or no commits
	Files   []MissingFile   // what the missing commits were about, as far as they are kept near; only where a person is asked
	Known   int             // how many commits Files is made from
	Waiting int             // operations in the journal; only where a person is asked
	why     error           // ErrRollback or ErrFork, of this package or of fs/sync
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
		if s.Same.Slot < s.Had.Slot {
			b.WriteString(", and others wrote over what came after")
		}
	}
	if s.Missing.Slots > 0 {
		fmt.Fprintf(&b, ". Missing: %s", s.Missing)
	}
	if s.Above > 0 {
		fmt.Fprintf(&b, ". Slot %d is not there, and slot %d is", s.Had.Slot+1, s.Above)
	}
	if a := s.Accepted; a != nil {
		fmt.Fprintf(&b, ". Somebody at device %d (%s) accepted on %s that the store was set back to slot %d. To accept it here too: hushfs accept-rollback STORE",
			a.Device, s.accepter, a.Time.Local().Format("2006-01-02 15:04"), a.Had.Slot)
	}
	if len(s.Damaged) > 0 {
		fmt.Fprintf(&b, "; damaged or missing: %s", s.Damaged[0])
	}
	return b.String()
}

// Unwrap makes errors.Is find ErrRollback or ErrFork.
func (s *Setback) Unwrap() error { return s.why }

// setback compares the chain with a commit that is known to have been in it, and
// remembered commits with both; nil: the chain has it.
func setback(l *publish.Loaded, seen chain.Link, by Witness, had chain.ID, there bool, remembered []chain.Remembered) *Setback {
	if there && had == seen.ID {
		return nil
	}
	s := &Setback{Seen: seen, Had: chain.Link{Slot: l.Chain.Slot, ID: l.Chain.Head}, By: by, Fork: there, Damaged: l.Damaged, Above: l.Above, why: ErrRollback}
	s.Store = s.Had
	if there {
		s.why, s.Had = ErrFork, chain.Link{Slot: seen.Slot, ID: had}
	}
	for _, r := range remembered {
		if id, ok := l.Near(r.Slot); ok && id == r.ID && r.Slot < seen.Slot {
			s.Same = r.Link
		}
	}
	for _, a := range l.Chain.Ledger.Accepted() {
		if a.Had.Slot < seen.Slot && a.Seen.Slot >= a.Had.Slot && (s.Same.Slot == 0 || s.Same.Slot >= a.Had.Slot) {
			s.Accepted = &a
			for _, d := range l.Chain.Ledger.AllDevices() {
				if d.No == a.Device {
					s.accepter = d.Name
				}
			}
		}
	}
	s.Missing = publish.MissingOf(remembered, s.from(), seen.Slot)
	return s
}

// from is the slot above which commits are missing.
func (s *Setback) from() chain.Slot {
	switch {
	case s.Same.Slot > 0:
		return s.Same.Slot
	case s.Fork:
		return s.Seen.Slot - 1 // that one at least; what else is another is not known
	}
	return min(s.Had.Slot, s.Seen.Slot)
}
