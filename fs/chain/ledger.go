package chain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Ledger is a verified list of records and what follows from them: who owns the
// volume, which devices write, which epoch it is. It only grows. It is not safe for
// concurrent use while it is appended to.
type Ledger struct {
	volume  crypt.VolumeID
	owner   identity.Public
	signer  [32]byte // the owner's principal
	records []Record
	head    ID
	size    int // bytes of Encode
	devices map[meta.Device]Device
	removed map[meta.Device]Device // that were devices
	highest meta.Device
	writer  meta.Device // that alone may write; 0: any
	epochs  []epochBody // of epoch 1, 2, ...
}

// Device is a machine that may write.
type Device struct {
	No       meta.Device
	Name     string
	Key      identity.DeviceKey
	Enrolled Slot // of the commit that made it a device; 0 for the first
	Removed  Slot // of the commit that removed it; 0: none has
}

// Volume is the id that record 0 makes.
func (l *Ledger) Volume() crypt.VolumeID { return l.volume }

// Owner is who made the volume.
func (l *Ledger) Owner() identity.Public { return l.owner }

// Head is the hash of the newest record.
func (l *Ledger) Head() ID { return l.head }

// Len is the number of records.
func (l *Ledger) Len() int { return len(l.records) }

// Suffix returns the records from number from on.
func (l *Ledger) Suffix(from int) []Record {
	return slices.Clone(l.records[min(max(from, 0), len(l.records)):])
}

// Device returns the device with a number; false when there is none.
func (l *Ledger) Device(no meta.Device) (Device, bool) {
	d, ok := l.devices[no]
	return d, ok
}

// Devices returns all devices, ascending by number.
func (l *Ledger) Devices() []Device {
	return slices.SortedFunc(maps.Values(l.devices), func(a, b Device) int { return int(a.No) - int(b.No) })
}

// HighestDevice is the number that was given out last.
func (l *Ledger) HighestDevice() meta.Device { return l.highest }

// Epoch returns the newest epoch and the check value of its key; 0 and zeros before
// the first epoch record.
func (l *Ledger) Epoch() (crypt.Epoch, [32]byte) {
	if len(l.epochs) == 0 {
		return 0, [32]byte{}
	}
	e := l.epochs[len(l.epochs)-1]
	return e.epoch, e.kcv
}

// Slot is that of the newest record.
func (l *Ledger) Slot() Slot { return l.records[len(l.records)-1].Slot }

// Clone returns a ledger that grows on its own.
func (l *Ledger) Clone() *Ledger {
	c := *l
	c.records = slices.Clip(l.records)
	c.epochs = slices.Clip(l.epochs)
	c.devices = maps.Clone(l.devices)
	c.removed = maps.Clone(l.removed)
	return &c
}

// Until returns the ledger as it was after a slot.
func (l *Ledger) Until(s Slot) (*Ledger, error) {
	c := &Ledger{volume: l.volume}
	for _, r := range l.records {
		if r.Slot > s {
			break
		}
		if err := c.apply(r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Append verifies that r may follow and adds it.
//
// ErrForged when it is not in its place or not signed by who has the right;
// ErrVersion when it is, but of a kind this program does not know; ErrMalformed and
// ErrRefused when what it says is wrong or not allowed. The ledger is then as it was.
func (l *Ledger) Append(r Record) error {
	if err := l.verify(r); err != nil {
		return fmt.Errorf("record %d: %w", r.N, err)
	}
	if err := l.apply(r); err != nil {
		return fmt.Errorf("record %d: %w", r.N, err)
	}
	return nil
}

// verify holds r to all that does not depend on its kind.
func (l *Ledger) verify(r Record) error {
	if int64(r.N) != int64(len(l.records)) || r.Prev != l.head {
		return fmt.Errorf("%w: it does not follow the record before", ErrForged)
	}
	signer := l.owner
	if len(l.records) == 0 {
		if r.Slot != 0 || r.Kind != KindVolume || r.volume() != l.volume {
			return fmt.Errorf("%w: it does not make this volume", ErrForged)
		}
		v, err := decodeVolume(r.Body)
		if err != nil {
			return err
		}
		signer = v.owner
	} else if r.Slot < l.Slot() {
		return fmt.Errorf("%w: its slot is before that of the record before", ErrForged)
	}
	if r.Signer != signer.Principal() {
		return fmt.Errorf("%w: its signer has no right to it", ErrForged)
	}
	if err := signer.Verify(r.signed(l.volume), r.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	return nil
}

// apply adds a record that was verified.
func (l *Ledger) apply(r Record) error {
	encoded := len(r.Encode())
	size := l.size + 4 + encoded
	if l.size == 0 {
		size += 4 // the count
	}
	if encoded > MaxRecord || size > maxLedgerContent {
		return fmt.Errorf("%w: no room in the ledger", ErrRefused)
	}
	var err error
	switch r.Kind {
	case KindVolume:
		err = l.applyVolume(r)
	case KindDevice:
		err = l.applyDevice(r)
	case KindEpoch:
		err = l.applyEpoch(r)
	case KindRemove:
		err = l.applyRemove(r)
	case KindRename:
		err = l.applyRename(r)
	case KindWriter:
		err = l.applyWriter(r)
	case KindAccepted:
		err = l.applyAccepted(r)
	default:
		err = fmt.Errorf("%w: kind %d", ErrVersion, r.Kind)
	}
	if err != nil {
		return err
	}
	l.records = append(l.records, r)
	l.head = r.Hash()
	l.size = size
	return nil
}

func (l *Ledger) applyVolume(r Record) error {
	if len(l.records) != 0 {
		return fmt.Errorf("%w: the volume is made already", ErrRefused)
	}
	v, err := decodeVolume(r.Body)
	if err != nil {
		return err
	}
	l.owner, l.signer, l.devices = v.owner, v.owner.Principal(), map[meta.Device]Device{}
	l.removed = map[meta.Device]Device{}
	return nil
}

func (l *Ledger) applyDevice(r Record) error {
	v, err := decodeDevice(r.Body)
	if err != nil {
		return err
	}
	if int(v.no) != int(l.highest)+1 {
		return fmt.Errorf("%w: device number %d does not come after %d", ErrRefused, v.no, l.highest)
	}
	if other, ok := l.holder(v.key); ok {
		return fmt.Errorf("%w: device %d has that key already", ErrRefused, other)
	}
	l.devices[v.no] = Device{No: v.no, Name: v.name, Key: v.key, Enrolled: r.Slot}
	l.highest = v.no
	return nil
}

func (l *Ledger) applyEpoch(r Record) error {
	v, err := decodeEpoch(r.Body)
	if err != nil {
		return err
	}
	if int64(v.epoch) != int64(len(l.epochs))+1 {
		return fmt.Errorf("%w: epoch %d does not come after %d", ErrRefused, v.epoch, len(l.epochs))
	}
	l.epochs = append(l.epochs, v)
	return nil
}

// Encode returns the number of records u32, then each as length u32 ‖ record. It is
// the content of a ledger object.
func (l *Ledger) Encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, l.size), uint32(len(l.records)))
	return appendRecords(b, l.records)
}

// DecodeLedger reads what Encode wrote and verifies every record, from the one that
// makes v. Errors are those of Append; a ledger without records is ErrMalformed. With
// ErrVersion comes the ledger up to the record that is not understood, and nil where that
// one did not even decode.
func DecodeLedger(v crypt.VolumeID, b []byte) (*Ledger, error) {
	d := decoder{b: b}
	n := d.u32()
	l := &Ledger{volume: v}
	for range n {
		raw := d.bytes(MaxRecord)
		if d.bad {
			return nil, fmt.Errorf("ledger: %w", ErrMalformed)
		}
		r, err := DecodeRecord(raw)
		if err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		if err := l.Append(r); errors.Is(err, ErrVersion) {
			return l, fmt.Errorf("ledger: %w", err)
		} else if err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
	}
	if d.done() != nil || n == 0 {
		return nil, fmt.Errorf("ledger: %w", ErrMalformed)
	}
	return l, nil
}
