package chain

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/hushfs/hushfs/crypt"
)

// Fingerprint is what two people compare by voice of a history: SHA-256 of
// "hushfs/heads" 00 ‖ volume id ‖ slot u64 ‖ commit id. Who has the same for one slot
// has the same commits up to there, since each commit names the one before.
func Fingerprint(v crypt.VolumeID, at Link) [32]byte {
	b := append([]byte(labelHeads), v[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.Slot))
	return sha256.Sum256(append(b, at.ID[:]...))
}

const labelHeads = "hushfs/heads\x00"
