package chain

import (
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// A volume of a single writer, for stores that cannot tell who of several came
// first: one device alone makes commits, and only it can hand that on. The first one
// is named outside the ledger, by who made the drive. From the first hand-over on the
// ledger names it, and a commit of any other device is junk for everybody: one that
// was the writer, and does not know yet that it is none any more, does no harm.

// writerBody hands the writing on: from u16, to u16.
type writerBody struct{ from, to meta.Device }

func (v writerBody) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(v.from))
	return binary.BigEndian.AppendUint16(b, uint16(v.to))
}

func decodeWriter(b []byte) (v writerBody, err error) {
	d := decoder{b: b}
	v.from, v.to = meta.Device(d.u16()), meta.Device(d.u16())
	if err := d.done(); err != nil || v.from == 0 || v.to == 0 || v.from == v.to {
		return writerBody{}, fmt.Errorf("%w: writer record", ErrMalformed)
	}
	return v, nil
}

// Writer is the only device that may write; false when no record says so.
func (l *Ledger) Writer() (meta.Device, bool) { return l.writer, l.writer != 0 }

func (l *Ledger) applyWriter(r Record) error {
	v, err := decodeWriter(r.Body)
	if err != nil {
		return err
	}
	if l.writer != 0 && l.writer != v.from {
		return fmt.Errorf("%w: device %d hands on what is device %d's", ErrRefused, v.from, l.writer)
	}
	for _, no := range []meta.Device{v.from, v.to} {
		if _, ok := l.Device(no); !ok {
			return fmt.Errorf("%w: device %d is none", ErrRefused, no)
		}
	}
	l.writer = v.to
	return nil
}

// NewWriterRecords makes the records by which device from hands the writing on to
// device to, in a commit in the slot given that from makes. A device without a number
// gets the next: then key is set, and to is not looked at. The ledger is not changed.
// by must be the owner. Errors are those of Append, and ErrDeviceName.
func (l *Ledger) NewWriterRecords(by *identity.Identity, slot Slot, from, to meta.Device, key identity.DeviceKey, name string) ([]Record, error) {
	var recs []Record
	after := l
	if key != nil {
		to = l.HighestDevice() + 1
		r, err := l.NewDeviceRecord(by, slot, to, key, name)
		if err != nil {
			return nil, err
		}
		after = l.Clone()
		if err := after.Append(r); err != nil {
			return nil, err
		}
		recs = append(recs, r)
	}
	r, err := after.newRecord(by, slot, KindWriter, writerBody{from, to}.encode())
	if err != nil {
		return nil, err
	}
	return append(recs, r), nil
}

// checkWriter: where one device alone may write, the author is it; and it alone hands
// that on, in a commit that does nothing else but to make the next one a device.
func (s *State) checkWriter(c *Commit) error {
	if only, single := s.Ledger.Writer(); single && c.Device != only {
		return fmt.Errorf("%w: device %d alone may write, and this is device %d", ErrRefused, only, c.Device)
	}
	for i, r := range c.Records {
		if r.Kind != KindWriter {
			continue
		}
		v, err := decodeWriter(r.Body)
		switch {
		case err != nil:
			return err
		case v.from != c.Device:
			return fmt.Errorf("%w: device %d hands on what is device %d's", ErrRefused, c.Device, v.from)
		case i != len(c.Records)-1 || i > 1 || i == 1 && !enrols(c.Records[0], v.to):
			return fmt.Errorf("%w: a hand-over in one commit with other records", ErrRefused)
		}
	}
	return nil
}

// handsOver tells whether a commit hands the writing on.
func handsOver(c *Commit) bool {
	n := len(c.Records)
	return n > 0 && c.Records[n-1].Kind == KindWriter
}

// enrols tells whether r makes device no.
func enrols(r Record, no meta.Device) bool {
	if r.Kind != KindDevice {
		return false
	}
	v, err := decodeDevice(r.Body)
	return err == nil && v.no == no
}
