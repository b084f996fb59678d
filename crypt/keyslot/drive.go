package keyslot

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

const labelDrive = "hushfs/drive\x00"

const (
	shortID = 26 // characters, 130 bits: enough that nobody finds a second drive for one
	fullID  = 52 // characters
)

// DriveID is SHA-256 of "hushfs/drive" 00 ‖ SHA-256(owner encoding) ‖ volume id
// of the main volume. It says of a drive whose it is, and is no secret.
func DriveID(owner identity.Public, mainVolume crypt.VolumeID) [32]byte {
	sum := sha256.Sum256(owner.Encode())
	return sha256.Sum256(append(append([]byte(labelDrive), sum[:]...), mainVolume[:]...))
}

// DriveIDString is the form for mount strings and folders: the first 26
// characters of DriveIDFull.
func DriveIDString(id [32]byte) string { return DriveIDFull(id)[:shortID] }

// DriveIDFull is 52 characters of base32, lower case, without padding.
func DriveIDFull(id [32]byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:]))
}

// ParseDriveID reads the form of DriveIDFull, in either case. Else ErrDrive.
func ParseDriveID(s string) (id [32]byte, err error) {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(s))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%w: not %d letters and digits", ErrDrive, fullID)
	}
	copy(id[:], b)
	// The last character has four bits to spare, and base32 ignores newlines.
	if DriveIDFull(id) != strings.ToLower(s) {
		return [32]byte{}, fmt.Errorf("%w: not %d letters and digits", ErrDrive, fullID)
	}
	return id, nil
}

// MatchDriveID returns nil when s is the short or the full form of id, in
// either case, and ErrDrive when not.
func MatchDriveID(s string, id [32]byte) error {
	if s = strings.ToLower(s); s != DriveIDString(id) && s != DriveIDFull(id) {
		return ErrDrive
	}
	return nil
}
