package drive

import (
	"encoding/binary"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/meta"
)

// settingWriter is the key of the setting that names the only device that may
// write to the drive: its number, u16 big endian. Layout: docs/format.md,
// "Keyring".
const settingWriter = "single-writer"

// settings of a new drive.
func (o *CreateOptions) settings() []keyslot.KV {
	if !o.SingleWriter {
		return nil
	}
	const first = 1 // this machine
	return []keyslot.KV{{Key: settingWriter, Value: keyslot.NewValue(binary.BigEndian.AppendUint16(nil, first))}}
}

// Writer returns the only device that may write to the drive, and whether there
// is such a one: 0 when the drive says it in a way that this program does not
// know, and nobody may.
func (u *Unlocked) Writer() (only meta.Device, single bool) {
	for _, s := range u.keyring.Settings {
		if s.Key == settingWriter {
			if b := s.Value.Bytes(); len(b) == 2 {
				only = meta.Device(binary.BigEndian.Uint16(b))
			}
			return only, true
		}
	}
	return 0, false
}
