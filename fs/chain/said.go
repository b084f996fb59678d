package chain

import (
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Said is what a record says, as far as it is told to people. What its kind does not
// have is zero.
type Said struct {
	Device meta.Device
	Name   string // of the device
	Epoch  crypt.Epoch
}

// Said returns what the record says. It verifies nothing.
func (r Record) Said() (s Said) {
	switch r.Kind {
	case KindDevice:
		if v, err := decodeDevice(r.Body); err == nil {
			s.Device, s.Name = v.no, v.name
		}
	case KindEpoch:
		if v, err := decodeEpoch(r.Body); err == nil {
			s.Epoch = v.epoch
		}
	case KindRemove:
		if v, err := decodeRemove(r.Body); err == nil {
			s.Device = v.no
		}
	case KindRename:
		if v, err := decodeRename(r.Body); err == nil {
			s.Device, s.Name = v.no, v.name
		}
	case KindWriter:
		if v, err := decodeWriter(r.Body); err == nil {
			s.Device = v.to
		}
	case KindAccepted:
		if v, err := decodeAccepted(r.Body); err == nil {
			s.Device = v.Device
		}
	}
	return s
}
