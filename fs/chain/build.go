package chain

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Sealed is a commit as it goes into its slot. Whatever the store answers, only these
// bytes may be sent again for that slot: a device never signs two commits for one.
type Sealed struct {
	Slot   Slot
	ID     ID
	Object []byte
}

// Content is what a device puts into a commit.
type Content struct {
	First, Last meta.OpNo   // operations in Batch; Last is First-1 when there is none
	Batch       *meta.Batch // nil is an empty one
	Usage       meta.Delta
	Records     []Record
	Checkpoint  *Checkpoint
}

// Build seals a commit on the state's head for a slot above it: the next, or a later
// one when those between are dead. dev signs as device no. The state does not change.
//
// ErrTooLarge when the object would exceed MaxCommit, ErrMalformed when the batch is
// no good one, and an error of Ledger.Append or ErrRefused for what everybody would
// take for junk. Retired packs are not looked for: only Judge is told of them.
func (s *State) Build(slot Slot, dev *identity.Device, no meta.Device, t time.Time, with Content) (*Sealed, error) {
	return s.build(crypt.NewSealer(s.Key, s.Volume, crypt.TypeCommit, s.Epoch), slot, dev, no, t, with)
}

func (s *State) build(sealer *crypt.Sealer, slot Slot, dev *identity.Device, no meta.Device, t time.Time, with Content) (*Sealed, error) {
	if slot <= s.Slot {
		return nil, fmt.Errorf("%w: slot %d is not above %d", ErrOrder, slot, s.Slot)
	}
	b := with.Batch
	if b == nil {
		b = &meta.Batch{}
	}
	if k := with.Checkpoint; k != nil && (k.Slot > s.Slot || len(k.Tables) > MaxTables) {
		return nil, fmt.Errorf("%w: checkpoint", ErrRefused)
	}
	batch := b.Encode()
	if len(batch) > MaxCommit {
		return nil, ErrTooLarge
	}
	// What others will decode is what the rules are about.
	b, err := meta.DecodeBatch(batch)
	if err != nil {
		return nil, fmt.Errorf("%w: batch: %w", ErrMalformed, err)
	}
	c := &Commit{
		Slot: slot, Prev: s.Head, HeaderHash: sealer.HeaderHash(),
		Device: no, Time: t, Epoch: s.Epoch, First: with.First, Last: with.Last,
		Batch: b, Usage: with.Usage, Records: with.Records, Checkpoint: with.Checkpoint,
	}
	if err := s.checkOwn(c, dev); err != nil {
		return nil, err
	}
	body := c.encodeBody(batch)
	c.BodyHash = sha256.Sum256(body)
	signed := c.signed(s.Volume)
	content := encodeContent(c.Prev, body, dev.Sign(signed))
	if len(content) > MaxCommit {
		return nil, ErrTooLarge
	}
	object, _, err := sealer.Seal(nil, content)
	if err != nil {
		return nil, fmt.Errorf("seal commit: %w", err)
	}
	if len(object) > MaxCommit {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(object))
	}
	return &Sealed{Slot: slot, ID: sha256.Sum256(signed), Object: object}, nil
}

// checkOwn completes a commit with the ledger's head, and finds in time what would
// make it junk.
func (s *State) checkOwn(c *Commit, dev *identity.Device) error {
	if len(c.Records) > MaxRecords {
		return fmt.Errorf("%w: %d records", ErrTooLarge, len(c.Records))
	}
	after, err := s.ledgerAfter(c)
	if err != nil {
		return err
	}
	author, ok := after.Device(c.Device)
	if !ok || string(author.Key.Encode()) != string(dev.Public().Encode()) {
		return fmt.Errorf("%w: device %d has another key, or none", ErrRefused, c.Device)
	}
	c.Ledger = after.Head()
	return s.check(c, after, nil)
}
