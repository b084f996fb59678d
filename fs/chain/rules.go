package chain

import (
	"bytes"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
)

// Past is what the batches up to the state's slot say of packs. Every machine must
// answer alike.
type Past interface {
	Packed(meta.PackNo) bool  // a commit has put the pack's record
	Retired(meta.PackNo) bool // and one has marked it as going to be deleted

	// Fenced says that a batch of a device breaks a lease of another in a slot, as
	// meta.Fence tells.
	Fenced(b *meta.Batch, by meta.Device, slot Slot) bool
}

// check holds a commit on the state's head, by a device that may sign it, to the
// rules. after is the ledger after its records. The error is ErrRefused. Which errors
// there are must depend on nothing but the arguments: every machine must agree.
func (s *State) check(c *Commit, after *Ledger, past Past) error {
	if c.Epoch != s.Epoch {
		return fmt.Errorf("%w: epoch %d, not %d", ErrRefused, c.Epoch, s.Epoch)
	}
	if c.Ledger != after.Head() {
		return fmt.Errorf("%w: it names another ledger", ErrRefused)
	}
	if err := s.checkOps(c); err != nil {
		return err
	}
	if err := s.checkRecords(c); err != nil {
		return err
	}
	if err := s.checkRemovals(c); err != nil {
		return err
	}
	if err := s.checkWriter(c); err != nil {
		return err
	}
	if s.Head == rootID(s.Volume) && !putsRoot(c.Batch) {
		return fmt.Errorf("%w: the first commit makes no root directory", ErrRefused)
	}
	if err := checkPrograms(c); err != nil {
		return err
	}
	if past != nil && past.Fenced(c.Batch, c.Device, c.Slot) {
		return fmt.Errorf("%w: another device has a lease of what it changes", ErrRefused)
	}
	return checkPacks(c, past)
}

// checkOps: the operations of a device are in the chain once, and none is left out.
func (s *State) checkOps(c *Commit) error {
	last := s.LastOp[c.Device]
	if c.First != last+1 || c.Last+1 < c.First || c.Last > meta.MaxOpNo {
		return fmt.Errorf("%w: operations %d to %d of device %d follow %d", ErrRefused, c.First, c.Last, c.Device, last)
	}
	return nil
}

// checkRecords: who changes the ledger does nothing else. A device record is the
// only one of its commit, and that commit is the device's first; it brings no file,
// since all that an unknown machine may do is to make itself known.
func (s *State) checkRecords(c *Commit) error {
	if len(c.Records) == 0 {
		return nil
	}
	if !c.Batch.Empty() || c.Last+1 != c.First {
		return fmt.Errorf("%w: ledger records and operations in one commit", ErrRefused)
	}
	_, known := s.Ledger.Device(c.Device)
	epochs := 0
	for _, r := range c.Records {
		switch r.Kind {
		case KindDevice:
			// The author being unknown before and known after, the record is its own.
			if (known || len(c.Records) != 1) && !handsOver(c) {
				return fmt.Errorf("%w: a device record that is not alone in the device's first commit", ErrRefused)
			}
		case KindAccepted:
			if v, err := decodeAccepted(r.Body); err != nil || v.Device != c.Device || len(c.Records) != 1 {
				return fmt.Errorf("%w: device %d accepts a rollback for another, or with other records", ErrRefused, c.Device)
			}
		case KindEpoch:
			if epochs++; epochs > 1 {
				return fmt.Errorf("%w: two epochs in one commit", ErrRefused)
			}
		}
	}
	return nil
}

// checkPrograms: what a device works with it says itself, and for nobody else.
func checkPrograms(c *Commit) error {
	own := func(key []byte) error {
		if no, err := meta.ParseProgramKey(key); err == nil && no != c.Device {
			return fmt.Errorf("%w: it says what device %d works with", ErrRefused, no)
		}
		return nil
	}
	for _, k := range c.Batch.Deletes {
		if err := own(k); err != nil {
			return err
		}
	}
	for _, kv := range c.Batch.Puts {
		if err := own(kv.Key); err != nil {
			return err
		}
	}
	return nil
}

// checkPacks: packs come under the commit's own epoch, or who was removed before it
// could read them; with numbers of the author's own, or one device could take those
// that another is about to use; and once, or whoever writes could put other bytes
// under everybody's files. No extent lies in a pack that is going to be deleted.
func checkPacks(c *Commit, past Past) error {
	var err error
	c.Batch.Packs(func(no meta.PackNo, p meta.PackRecord) bool {
		switch {
		case p.Epoch != uint32(c.Epoch):
			err = fmt.Errorf("%w: new pack %d is of epoch %d", ErrRefused, no, p.Epoch)
		case no.Device() != c.Device:
			err = fmt.Errorf("%w: pack %d has the number of device %d", ErrRefused, no, no.Device())
		case past != nil && past.Packed(no):
			err = fmt.Errorf("%w: pack %d has a record already", ErrRefused, no)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	for _, k := range c.Batch.Deletes {
		// Or a record could be written twice after all.
		if no, err := meta.ParsePackKey(k); err == nil && (past == nil || !past.Retired(no)) {
			return fmt.Errorf("%w: the record of pack %d, which is not retired, is deleted", ErrRefused, no)
		}
	}
	changed := retirements(c.Batch)
	c.Batch.Extents(func(e meta.Extent) bool {
		gone, ok := changed[e.Pack]
		if !ok {
			gone = past != nil && past.Retired(e.Pack)
		}
		if gone {
			err = fmt.Errorf("%w: extent in retired pack %d", ErrRefused, e.Pack)
		}
		return err == nil
	})
	return err
}

// retirements are the packs that a batch retires (true) or revives (false).
func retirements(b *meta.Batch) map[meta.PackNo]bool {
	var out map[meta.PackNo]bool
	note := func(key []byte, retires bool) {
		if no, err := meta.ParseRetiredKey(key); err == nil {
			if out == nil {
				out = map[meta.PackNo]bool{}
			}
			out[no] = retires
		}
	}
	for _, k := range b.Deletes {
		note(k, false)
	}
	for _, kv := range b.Puts {
		note(kv.Key, true)
	}
	return out
}

func putsRoot(b *meta.Batch) bool {
	root := meta.InodeKey(meta.RootRef)
	for _, kv := range b.Puts {
		if bytes.Equal(kv.Key, root) {
			return true
		}
	}
	return false
}
