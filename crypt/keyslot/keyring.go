package keyslot

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

const labelKeyring = "hushfs/keyring"

// KindMain is the kind of the drive's main volume. Other kinds are kept as
// they are.
const KindMain = 1

// Keyring is what the root key guards: who the member is, and which volumes
// there are, with the heads below which none of them may be.
type Keyring struct {
	Identity  *identity.Identity
	Volumes   []VolumeEntry         // any order; encoded by id, each once
	Words     *identity.WordsPublic // of the recovery words; nil when there are none
	Previous  []*crypt.Key          // earlier roots, newest first
	DriveName string                // as a slot's label
	Settings  []KV                  // any order; encoded by key, each once
}

// VolumeEntry names a volume and the newest state of it that the writer of the
// header had seen. A machine that has seen nothing yet refuses older states.
type VolumeEntry struct {
	ID        crypt.VolumeID
	Kind      uint8 // KindMain or another number above 0
	MinSlot   uint64
	MinCommit [32]byte
	MinLedger [32]byte
}

// Check returns ErrDrive unless the keyring is that of the owner of drive.
// After words, drive is the one beside the words or confirmed by a person: the
// header's own says nothing, as whoever made the slot chose it.
func (k *Keyring) Check(drive [32]byte) error {
	for _, v := range k.Volumes {
		if v.Kind == KindMain && DriveID(k.Identity.Public(), v.ID) == drive {
			return nil
		}
	}
	return fmt.Errorf("%w: the keyring is of another drive", ErrDrive)
}

// Wipe wipes the identity, the earlier roots and the settings' values.
func (k *Keyring) Wipe() {
	if k.Identity != nil {
		k.Identity.Wipe()
	}
	for _, p := range k.Previous {
		p.Wipe()
	}
	for _, s := range k.Settings {
		s.Value.Wipe()
	}
	*k = Keyring{}
}

// SealKeyring seals k for the header of that drive and counter: 28 bytes more
// than the encoding. Errors are ErrHeader.
func SealKeyring(root *crypt.Key, drive [32]byte, counter uint64, k *Keyring) ([]byte, error) {
	plain, err := k.Encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return crypt.NewLocal(root, labelKeyring, drive[:]).Seal(nil, plain, keyringData(counter)), nil
}

// OpenKeyring is the inverse of SealKeyring. Errors are ErrHeader and ErrNewer.
func OpenKeyring(root *crypt.Key, drive [32]byte, counter uint64, sealed []byte) (*Keyring, error) {
	if len(sealed) > MaxKeyring {
		return nil, fmt.Errorf("%w: keyring of %d bytes", ErrHeader, len(sealed))
	}
	plain, err := crypt.NewLocal(root, labelKeyring, drive[:]).Open(nil, sealed, keyringData(counter))
	if err != nil {
		return nil, fmt.Errorf("%w: keyring does not open", ErrHeader)
	}
	defer clear(plain)
	return DecodeKeyring(plain)
}

// OpenKeyring opens the header's keyring.
func (h *Header) OpenKeyring(root *crypt.Key) (*Keyring, error) {
	return OpenKeyring(root, h.Drive, h.Counter, h.Keyring)
}

// keyringData is the associated data: counter u64. The drive is in the key.
func keyringData(counter uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, counter)
}

// String returns "keyring", as do GoString, Format for every verb, and LogValue.
func (Keyring) String() string { return "keyring" }

// GoString returns "keyring".
func (Keyring) GoString() string { return "keyring" }

// Format writes "keyring" whatever the verb.
func (Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "keyring") }

// LogValue returns "keyring".
func (Keyring) LogValue() slog.Value { return slog.StringValue("keyring") }

// MarshalText refuses with ErrSecret, and encoding/json with it.
func (Keyring) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary refuses with ErrSecret, and encoding/gob with it.
func (Keyring) MarshalBinary() ([]byte, error) { return nil, ErrSecret }
