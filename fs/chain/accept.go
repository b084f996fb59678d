package chain

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Accepted says that a person took a store that had been set back for the right one:
// from here on the commits above Had, up to Seen, are none of this history. The machine
// that says so remembered Seen, or a device had vouched for it in a hint.
type Accepted struct {
	At     Slot // of the commit that says so; not in the record's body
	Seen   Link // the newest commit that was known
	Had    Link // the newest that the store had; slot 0 and the volume id: none
	Device meta.Device
	Time   time.Time // by the clock of that machine, which nobody checks
}

// acceptedSize is seen (slot u64, id 32), had (the same), device u16, time i64
// nanoseconds.
const acceptedSize = 40 + 40 + 2 + 8

func (v Accepted) encode() []byte {
	b := appendLink(appendLink(make([]byte, 0, acceptedSize), v.Seen), v.Had)
	b = binary.BigEndian.AppendUint16(b, uint16(v.Device))
	return binary.BigEndian.AppendUint64(b, uint64(v.Time.UnixNano()))
}

func decodeAccepted(b []byte) (v Accepted, err error) {
	d := decoder{b: b}
	v.Seen, v.Had = d.link(), d.link()
	v.Device = meta.Device(d.u16())
	v.Time = time.Unix(0, int64(d.u64()))
	d.must(v.Seen.Slot > 0 && v.Had.Slot <= v.Seen.Slot && v.Device > 0)
	if d.done() != nil {
		return Accepted{}, fmt.Errorf("%w: record of an accepted rollback", ErrMalformed)
	}
	return v, nil
}

// applyAccepted: it changes nobody's rights, so a device and a past are all it must have.
func (l *Ledger) applyAccepted(r Record) error {
	v, err := decodeAccepted(r.Body)
	if err != nil {
		return err
	}
	if _, ok := l.Device(v.Device); !ok {
		return fmt.Errorf("%w: device %d is none", ErrRefused, v.Device)
	}
	if v.Had.Slot >= r.Slot {
		return fmt.Errorf("%w: a history that ends at slot %d is accepted in slot %d", ErrRefused, v.Had.Slot, r.Slot)
	}
	return nil
}

// Accepted lists the rollbacks that were accepted, oldest first.
func (l *Ledger) Accepted() []Accepted {
	var all []Accepted
	for _, r := range l.records {
		if r.Kind != KindAccepted {
			continue
		}
		if v, err := decodeAccepted(r.Body); err == nil {
			v.At = r.Slot
			all = append(all, v)
		}
	}
	return all
}

// GaveUp tells whether a commit that somebody vouches for is one of those that were
// given up when a rollback was accepted. head is that of the ledger which he had then:
// when it is of this ledger, what was accepted up to there came before the commit, and
// gave up another one of that slot.
func (l *Ledger) GaveUp(slot Slot, head ID) bool {
	given := false
	for _, r := range l.records {
		if r.Kind == KindAccepted {
			v, err := decodeAccepted(r.Body)
			given = given || err == nil && slot > v.Had.Slot && slot <= v.Seen.Slot
		}
		given = given && r.Hash() != head
	}
	return given
}

// NewAcceptedRecord makes the record of an accepted rollback, in a commit of its own in
// the slot given. The ledger is not changed. by must be the owner. Errors are those of
// Append.
func (l *Ledger) NewAcceptedRecord(by *identity.Identity, slot Slot, v Accepted) (Record, error) {
	return l.newRecord(by, slot, KindAccepted, v.encode())
}

// Removes tells whether a commit that Judge found valid takes its number from a device.
func (c *Commit) Removes(no meta.Device) bool {
	if c.after == nil || len(c.Records) == 0 {
		return false
	}
	_, still := c.after.Device(no)
	return !still
}
