package chain

import (
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

// Verdict is what a machine makes of the object in a slot.
type Verdict uint8

// The verdicts. The zero value is none of them.
const (
	// Valid: the next commit of the chain.
	Valid Verdict = iota + 1

	// Junk: nothing, skipped by everybody. Only who holds two equal copies from two
	// requests may skip it; a store that answers differently twice is failing.
	Junk

	// Evidence: signed for this very slot by a device that may write, on another
	// past. Honest machines never do that, unless the store shows them different
	// histories. The bytes must be kept and nothing written.
	Evidence

	// Stop: this machine cannot go on, though others can: a newer program was here,
	// or the key of the next epoch is missing. No later slot may be judged.
	Stop
)

// String returns the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case Valid:
		return "valid"
	case Junk:
		return "junk"
	case Evidence:
		return "evidence"
	case Stop:
		return "stop"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Judgement is a verdict and what it rests on.
type Judgement struct {
	Verdict Verdict
	Commit  *Commit // nil when the object did not open
	Reason  string  // for people; empty when valid
	Newer   bool    // it is Stop since a newer program wrote it
}

func junk(c *Commit, format string, args ...any) Judgement {
	return Judgement{Verdict: Junk, Commit: c, Reason: fmt.Sprintf(format, args...)}
}

func stop(c *Commit, format string, args ...any) Judgement {
	return Judgement{Verdict: Stop, Commit: c, Reason: fmt.Sprintf(format, args...)}
}

func newer(c *Commit, err error) Judgement {
	return Judgement{Verdict: Stop, Commit: c, Reason: err.Error(), Newer: true}
}

// Judge says what the object in a slot above the state's is. All machines with the
// same state come to the same verdict, but for Stop. past tells of packs as of the
// state; nil means that there are none so far. The state does not change, and
// object is not kept.
func (s *State) Judge(slot Slot, object []byte, past Past) Judgement {
	if slot <= s.Slot {
		return stop(nil, "slot %d is not above the head's, %d", slot, s.Slot)
	}
	c, err := s.open(slot, object)
	if err != nil {
		return junk(nil, "%v", err)
	}

	author, enrolled := s.Ledger.Device(c.Device)
	after, err := s.ledgerAfter(c)
	switch {
	case enrolled:
		// Of a known author nothing is believed, not even that a program was newer,
		// before the signature is good.
	case s.Ledger.wasRemoved(c.Device):
		// Its number is nobody's any more, whatever it brings along.
		return junk(c, "device %d was removed", c.Device)
	case errors.Is(err, ErrVersion) && c.Prev == s.Head:
		// The new device's record itself may be what cannot be read.
		return newer(c, err)
	case err != nil:
		return junk(c, "device %d is unknown: %v", c.Device, err)
	default:
		author, enrolled = after.Device(c.Device)
		if !enrolled {
			return junk(c, "device %d is unknown", c.Device)
		}
	}
	if err := author.Key.Verify(c.signed(s.Volume), c.signature); err != nil {
		return junk(c, "device %d: %v", c.Device, err)
	}

	if c.Prev != s.Head {
		return Judgement{Verdict: Evidence, Commit: c, Reason: fmt.Sprintf("device %d (%s) signed commit %v for slot %d on %v, but the head is %v",
			c.Device, author.Name, c.ID, slot, c.Prev, s.Head)}
	}
	if errors.Is(err, ErrVersion) {
		return newer(c, err)
	}
	if err != nil {
		return junk(c, "%v", err)
	}
	if err := s.check(c, after, past); err != nil {
		return junk(c, "%v", err)
	}
	if opened, _ := after.Epoch(); opened != s.Epoch {
		if c.opened, err = s.newKey(after); err != nil {
			return stop(c, "device %d (%s) opened epoch %d for %x without a key for this member: %v",
				c.Device, author.Name, opened, after.signer, err)
		}
	}
	c.after = after
	return Judgement{Verdict: Valid, Commit: c}
}

// open opens and decodes an object with any key that is known. What an envelope says
// of its version is nobody's word, so a newer one is junk like all that does not open.
func (s *State) open(slot Slot, object []byte) (*Commit, error) {
	if len(object) > MaxCommit {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(object))
	}
	tail, err := crypt.ParseTail(object)
	if err != nil {
		return nil, err
	}
	key, ok := s.keys[tail.Epoch()]
	if !ok || tail.Epoch() > s.Epoch {
		return nil, fmt.Errorf("sealed under epoch %d", tail.Epoch())
	}
	content, tail, err := crypt.Open(key, s.Volume, crypt.TypeCommit, object)
	if err != nil {
		return nil, err
	}
	c, err := decodeCommit(s.Volume, slot, tail.HeaderHash(), content)
	if err != nil {
		return nil, err
	}
	if c.Epoch != tail.Epoch() {
		return nil, fmt.Errorf("%w: the body names epoch %d, the envelope %d", ErrMalformed, c.Epoch, tail.Epoch())
	}
	return c, nil
}

// Open opens and decodes an object, with any key up to that of the state's epoch. It
// judges nothing: the commit is the one of its id, and whose that is others know.
func (s *State) Open(slot Slot, object []byte) (*Commit, error) { return s.open(slot, object) }

// Is tells whether an object is the commit of that id in that slot.
func (s *State) Is(slot Slot, id ID, object []byte) bool {
	c, err := s.open(slot, object)
	return err == nil && c.ID == id
}

// ledgerAfter returns the ledger after the records of c, or what is wrong with them.
func (s *State) ledgerAfter(c *Commit) (*Ledger, error) {
	if len(c.Records) == 0 {
		return s.Ledger, nil
	}
	l := s.Ledger.Clone()
	for _, r := range c.Records {
		if r.Slot != c.Slot {
			return nil, fmt.Errorf("%w: record %d is for slot %d", ErrForged, r.N, r.Slot)
		}
		if err := l.Append(r); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// newKey finds the key of the epoch that a ledger opens, and that it leads back to
// the one before.
func (s *State) newKey(l *Ledger) (*crypt.Key, error) {
	e, kcv := l.Epoch()
	if k, ok := s.keys[e]; ok {
		if k.Check(s.Volume, e) != kcv {
			return nil, ErrKey
		}
		return k, nil
	}
	if s.Identity == nil {
		return nil, ErrKey
	}
	return openEpoch(l, e, s.Identity)
}

func openEpoch(l *Ledger, e crypt.Epoch, id *identity.Identity) (*crypt.Key, error) {
	k, err := l.unwrap(e, id)
	if err != nil {
		return nil, err
	}
	before, err := l.previousKey(e, k)
	if err != nil {
		k.Wipe()
		return nil, err
	}
	before.Wipe() // a second copy
	return k, nil
}
