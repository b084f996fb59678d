// Package chain says which commits of a volume count.
//
// A volume's history is one chain of numbered slots. Whoever wants to write puts
// a commit into the next free slot; whatever lies in a slot is judged by every
// machine for itself, by the same rule and from the same bytes, and so all come to
// one history without talking to each other. A commit is valid, or it is junk that
// everybody skips, or it is evidence that the store shows different machines
// different histories. A State is what that judgement needs to know of the past.
//
// Who may write stands in the ledger, a list of signed records that begins with the
// one whose hash is the volume's id. It is verified from there each time and comes
// from nowhere else: no commit's batch can touch it. Hints tell a machine without
// memory where to begin; they are believed only as far as a device of the ledger
// signed them.
//
// Commit ids are hashes of what was signed, never of the bytes of an object. A
// signature covers the header of the envelope too, so nobody who merely holds the
// volume's key can seal somebody's commit a second time.
//
// Pure bytes in, verdicts out. The package fetches nothing, stores nothing, knows no
// clock and does not say what a batch means: that is fs/meta's, on a state that only
// fs/view has. Layouts: docs/format.md, "Chain".
package chain

import (
	"encoding/hex"

	"github.com/hushfs/hushfs/crypt"
)

// Slot numbers the places of the chain. Slot 0 is the volume before its first
// commit, and nothing lies there.
type Slot uint64

// ID is a commit id (SHA-256 over what its author signed), or the hash of a ledger
// record. The id of slot 0 is the volume id.
type ID [32]byte

// String returns 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Head is what a machine remembers of a volume: the newest slot that it knows to be
// valid, and the ledger as of then. Whatever does not descend from it is refused.
type Head struct {
	Slot   Slot
	ID     ID
	Ledger ID // hash of the newest record
}

// Limits of the format, in bytes unless said otherwise.
const (
	MaxCommit    = 1 << 20   // object in a slot: one PUT, never multipart
	MaxHint      = 1 << 20   // hint object
	MaxLedger    = 16 << 20  // ledger object
	InlineLedger = 64 << 10  // ledger inside a hint, before sealing
	MaxRecord    = 640 << 10 // one ledger record; MaxWraps boxes fit

	MaxWraps   = 500 // boxes in an epoch record
	MaxRecords = 256 // records in a commit
	BoxStep    = 16  // the boxes of a hint are a multiple of this
	MaxBoxes   = 512 // boxes of a hint

	MaxDeviceName = 64 // of a device, UTF-8 without control characters and '/'

	// maxLedgerContent keeps an encoded ledger, padded by at most 12 percent and
	// sealed, below MaxLedger.
	maxLedgerContent = 14 << 20
)

// Labels of what is hashed or signed. Each ends in 00 and is followed by fields of
// fixed lengths, so no two of these strings can be equal.
const (
	labelVolume   = "hushfs/volume\x00"
	labelRecord   = "hushfs/record\x00"
	labelLedger   = "hushfs/ledger\x00"
	labelCommit   = "hushfs/commit\x00"
	labelHint     = "hushfs/hint\x00"
	labelPrevious = "hushfs/previous-epoch" // crypt.Local adds the 00
)

// minSuite is the one suite of the envelope so far.
const minSuite = 1

// rootID is the predecessor of the first commit.
func rootID(v crypt.VolumeID) ID { return ID(v) }
