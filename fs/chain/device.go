package chain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Seen is the newest commit of a device: its slot, and its time by the device's own
// clock, in nanoseconds since 1970.
type Seen struct {
	Slot Slot
	Time int64
}

// Seen returns the newest commit of each device that made one, as of the state.
func (s *State) Seen() map[meta.Device]Seen { return maps.Clone(s.seen) }

// Removed returns a device that was removed; false when none with that number was.
func (l *Ledger) Removed(no meta.Device) (Device, bool) {
	d, ok := l.removed[no]
	return d, ok
}

// AllDevices returns all that ever were devices, ascending by number.
func (l *Ledger) AllDevices() []Device {
	all := append(slices.Collect(maps.Values(l.devices)), slices.Collect(maps.Values(l.removed))...)
	slices.SortFunc(all, func(a, b Device) int { return int(a.No) - int(b.No) })
	return all
}

func (l *Ledger) wasRemoved(no meta.Device) bool {
	_, ok := l.removed[no]
	return ok
}

// holder is the device that has a key, or had it. A key has one number, ever: so the
// record of a device that was removed is of no use under another.
func (l *Ledger) holder(key identity.DeviceKey) (meta.Device, bool) {
	want := key.Encode()
	for _, devices := range []map[meta.Device]Device{l.devices, l.removed} {
		for no, d := range devices {
			if bytes.Equal(d.Key.Encode(), want) {
				return no, true
			}
		}
	}
	return 0, false
}

// removeBody takes a device's number away: number u16.
type removeBody struct{ no meta.Device }

func (v removeBody) encode() []byte { return binary.BigEndian.AppendUint16(nil, uint16(v.no)) }

func decodeRemove(b []byte) (v removeBody, err error) {
	d := decoder{b: b}
	v.no = meta.Device(d.u16())
	if err := d.done(); err != nil || v.no == 0 {
		return removeBody{}, fmt.Errorf("%w: remove record", ErrMalformed)
	}
	return v, nil
}

// renameBody calls a device another name: number u16, name (length u8).
type renameBody struct {
	no   meta.Device
	name string
}

func (v renameBody) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(v.no))
	return append(append(b, byte(len(v.name))), v.name...)
}

func decodeRename(b []byte) (v renameBody, err error) {
	d := decoder{b: b}
	v.no = meta.Device(d.u16())
	v.name = string(d.take(int(d.u8())))
	if err := d.done(); err != nil || v.no == 0 {
		return renameBody{}, fmt.Errorf("%w: rename record", ErrMalformed)
	}
	if err := CheckDeviceName(v.name); err != nil {
		return renameBody{}, fmt.Errorf("%w: rename record: %w", ErrMalformed, err)
	}
	return v, nil
}

func (l *Ledger) applyRemove(r Record) error {
	v, err := decodeRemove(r.Body)
	if err != nil {
		return err
	}
	d, ok := l.devices[v.no]
	switch {
	case !ok:
		return fmt.Errorf("%w: device %d is none", ErrRefused, v.no)
	case l.writer == v.no:
		// Nobody could write any more.
		return fmt.Errorf("%w: device %d alone writes", ErrRefused, v.no)
	}
	d.Removed = r.Slot
	l.removed[v.no] = d
	delete(l.devices, v.no)
	return nil
}

func (l *Ledger) applyRename(r Record) error {
	v, err := decodeRename(r.Body)
	if err != nil {
		return err
	}
	d, ok := l.devices[v.no]
	if !ok {
		return fmt.Errorf("%w: device %d is none", ErrRefused, v.no)
	}
	d.Name = v.name
	l.devices[v.no] = d
	return nil
}

// NewRemoveRecords makes the records that remove devices and open the next epoch with
// the key ek, for one commit in the slot given, which none of these devices makes.
// previous is the key of the epoch before. The ledger is not changed. by must be the
// owner. Errors are those of Append, and ErrKey when previous is another key.
func (l *Ledger) NewRemoveRecords(by *identity.Identity, slot Slot, devices []meta.Device, ek, previous *crypt.Key) ([]Record, error) {
	after := l.Clone()
	var recs []Record
	for _, no := range devices {
		r, err := after.newRecord(by, slot, KindRemove, removeBody{no}.encode())
		if err != nil {
			return nil, err
		}
		if err := after.Append(r); err != nil {
			return nil, err
		}
		recs = append(recs, r)
	}
	r, err := after.NewEpochRecord(by, slot, ek, previous)
	if err != nil {
		return nil, err
	}
	return append(recs, r), nil
}

// NewRenameRecord makes the record that calls device no another name, for a commit of
// its own in the slot given. The ledger is not changed. by must be the owner. Errors
// are those of Append, and ErrDeviceName.
func (l *Ledger) NewRenameRecord(by *identity.Identity, slot Slot, no meta.Device, name string) (Record, error) {
	if err := CheckDeviceName(name); err != nil {
		return Record{}, err
	}
	return l.newRecord(by, slot, KindRename, renameBody{no, name}.encode())
}

// checkRemovals: who is removed is to read nothing that is written after, so the
// record that opens the next epoch stands behind those that remove, and nothing else
// beside them. Nobody removes itself: another device has to see to what comes after. A
// rename is alone in its commit.
func (s *State) checkRemovals(c *Commit) error {
	removes := 0
	for _, r := range c.Records {
		switch r.Kind {
		case KindRename:
			if len(c.Records) != 1 {
				return fmt.Errorf("%w: a rename in one commit with other records", ErrRefused)
			}
		case KindRemove:
			v, err := decodeRemove(r.Body)
			switch {
			case err != nil:
				return err
			case v.no == c.Device:
				return fmt.Errorf("%w: device %d removes itself", ErrRefused, v.no)
			}
			removes++
		}
	}
	if n := len(c.Records); removes > 0 && (removes != n-1 || c.Records[n-1].Kind != KindEpoch) {
		return fmt.Errorf("%w: a device is removed without a new epoch, or in one commit with other records", ErrRefused)
	}
	return nil
}
