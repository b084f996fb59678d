// Package drive makes and opens a drive: its header with the ways into the root
// key, its keyring, and the first objects of its main volume.
package drive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/state"
)

var (
	ErrNoDrive  = errors.New("no drive there")             // the store holds no header
	ErrNotEmpty = errors.New("something is there already") // init never overwrites
	ErrNewer    = errors.New("drive of a newer format")    // this program is too old for it
	// ErrBare: objects of a drive are there, and no header.
	ErrBare = fmt.Errorf("%w: there are objects of one, and no header", ErrNoDrive)

	// ErrUnconfirmed: recovery words alone opened a drive, and nobody said that it
	// is the right one.
	ErrUnconfirmed = errors.New("the recovery words do not say which drive they are for")

	// ErrOlder: the store shows an older header than this machine has seen.
	ErrOlder = errors.New("the store shows an older drive header than this machine saw")

	ErrOther = errors.New("another drive than the one asked for") // Expect does not match
)

// ID says which drive it is and whose: a hash over the owner's keys and the
// first record of the main volume. It is no secret.
type ID [32]byte

// String is the whole id, 52 characters of base32.
func (id ID) String() string { return keyslot.DriveIDFull(id) }

// Short is the form for folders and mount strings, 26 characters.
func (id ID) Short() string { return keyslot.DriveIDString(id) }

// ParseID reads the form of String.
func ParseID(s string) (ID, error) {
	id, err := keyslot.ParseDriveID(s)
	return ID(id), err
}

// Unlocked is a drive whose root key is known.
type Unlocked struct {
	ID   ID
	Name string // what its owner calls it; may be empty

	// Headers is what was wrong with the headers in the store when it was unlocked, for
	// people; empty: the newest one opened.
	Headers string

	root    *crypt.Key
	header  *keyslot.Header
	keyring *keyslot.Keyring
}

// open opens the keyring of h under root, which it keeps, or wipes after an error.
func open(h *keyslot.Header, root *crypt.Key) (*Unlocked, error) {
	k, err := h.OpenKeyring(root)
	if err != nil {
		root.Wipe()
		return nil, err
	}
	if err := k.Check(h.Drive); err != nil {
		k.Wipe()
		root.Wipe()
		return nil, err
	}
	return &Unlocked{ID: h.Drive, Name: k.DriveName, root: root, header: h, keyring: k}, nil
}

// Root is the root key; it must not be wiped.
func (u *Unlocked) Root() *crypt.Key { return u.root }

// Previous are the root keys that the drive had before, newest first; they must
// not be wiped.
func (u *Unlocked) Previous() []*crypt.Key { return u.keyring.Previous }

// Identity is the member's identity.
func (u *Unlocked) Identity() *identity.Identity { return u.keyring.Identity }

// Main is the entry of the main volume in the keyring.
func (u *Unlocked) Main() keyslot.VolumeEntry {
	for _, v := range u.keyring.Volumes {
		if v.Kind == keyslot.KindMain {
			return v
		}
	}
	panic("drive: keyring without a main volume passed its check")
}

// Header is the header that opened the drive, or that it wrote since. It is not to be changed.
func (u *Unlocked) Header() *keyslot.Header { return u.header }

// HeaderName is the object that was opened.
func (u *Unlocked) HeaderName() string { return keyslot.ObjectName(u.header.Counter) }

// Wipe overwrites the keys.
func (u *Unlocked) Wipe() {
	u.keyring.Wipe()
	u.root.Wipe()
}

// Handover encodes the drive for a child process, to be sent through a pipe: the
// root key, 32 bytes, then Headers with its length, u16, and the header. The caller
// wipes it.
func (u *Unlocked) Handover() []byte {
	header, root := u.header.Encode(), u.root.Bytes()
	defer clear(root)
	said := u.Headers[:min(len(u.Headers), math.MaxUint16)]
	// In one piece: growing would leave a copy of the root key behind.
	b := make([]byte, 0, len(root)+2+len(said)+len(header))
	b = binary.BigEndian.AppendUint16(append(b, root...), uint16(len(said)))
	return append(append(b, said...), header...)
}

// FromHandover reads what Handover wrote. It keeps nothing of b. Errors are
// keyslot's ErrHeader, ErrNewer and ErrDrive.
func FromHandover(b []byte) (*Unlocked, error) {
	if len(b) < crypt.KeySize+2 {
		return nil, fmt.Errorf("%w: handover of %d bytes", keyslot.ErrHeader, len(b))
	}
	secret, rest := b[:crypt.KeySize], b[crypt.KeySize+2:]
	n := int(binary.BigEndian.Uint16(b[crypt.KeySize:]))
	if n > len(rest) {
		return nil, fmt.Errorf("%w: handover of %d bytes", keyslot.ErrHeader, len(b))
	}
	root, err := crypt.KeyFromBytes(secret)
	if err != nil {
		return nil, err
	}
	h, err := keyslot.Decode(rest[n:])
	if err != nil {
		root.Wipe()
		return nil, err
	}
	u, err := open(h, root)
	if err == nil {
		u.Headers = string(rest[:n])
	}
	return u, err
}

// KeepHeader stores the header in the state folder dir: whoever fills the bucket
// with junk headers cannot lock out a machine that has been in once. A newer
// header of the same drive that lies there stays.
func (u *Unlocked) KeepHeader(dir string) error {
	b := u.header.Encode()
	main, raw, err := state.Header(dir, keyslot.MaxSize)
	// One that cannot be read is no loss when it is replaced.
	if err == nil && main == u.Main().ID && bytes.Equal(raw, b) {
		return nil
	}
	if h, err := keyslot.Decode(raw); err == nil && h.Drive == u.header.Drive && h.Counter > u.header.Counter {
		// Its keyring opens only if it was made for this root, drive and counter.
		if k, err := h.OpenKeyring(u.root); err == nil {
			k.Wipe()
			return nil
		}
	}
	return state.KeepHeader(dir, u.Main().ID, b)
}
