package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Commit is what a slot says, opened. It is immutable.
type Commit struct {
	Slot Slot
	ID   ID
	Prev ID // id of the commit before; the volume id for the first

	// HeaderHash and BodyHash are what the id can be computed from again, with Slot
	// and Prev, when the object is gone.
	HeaderHash, BodyHash [32]byte

	Device      meta.Device // author
	Time        time.Time   // by the author's clock, which nobody checks
	Epoch       crypt.Epoch
	First, Last meta.OpNo // operations of the device in Batch; Last = First-1 when none
	Ledger      ID        // head of the ledger after Records
	Batch       *meta.Batch
	Usage       meta.Delta // what Batch adds to the volume's usage
	Records     []Record
	Checkpoint  *Checkpoint // nil: the commit announces none

	signature identity.Signature
	after     *Ledger    // set by Judge when valid
	opened    *crypt.Key // the key of the epoch that Records open, if they do
}

// signed is S, the string under a commit's signature, and ID is SHA-256 of it:
// "hushfs/commit" 00 ‖ volume id ‖ slot u64 ‖ previous id ‖ SHA-256(tail header) ‖
// SHA-256(body).
func (c *Commit) signed(v crypt.VolumeID) []byte {
	b := append([]byte(labelCommit), v[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Slot))
	b = append(b, c.Prev[:]...)
	b = append(b, c.HeaderHash[:]...)
	return append(b, c.BodyHash[:]...)
}

// CommitID computes a commit's id from what a bundle keeps of it.
func CommitID(v crypt.VolumeID, s Slot, prev ID, headerHash, bodyHash [32]byte) ID {
	c := Commit{Slot: s, Prev: prev, HeaderHash: headerHash, BodyHash: bodyHash}
	return sha256.Sum256(c.signed(v))
}

// encodeBody returns device u16, time i64 nanoseconds, epoch u32, first u64, last
// u64, ledger head 32, batch (length u32), usage (inodes i64, bytes i64), checkpoint
// (length u32, 0: none), number of records u16, records (length u32 each).
func (c *Commit) encodeBody(batch []byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 72+len(batch)), uint16(c.Device))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Time.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(c.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(c.First))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Last))
	b = append(b, c.Ledger[:]...)
	b = appendBytes(b, batch)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Usage.Inodes))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Usage.Bytes))
	var checkpoint []byte
	if c.Checkpoint != nil {
		checkpoint = c.Checkpoint.encode()
	}
	b = appendBytes(b, checkpoint)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Records)))
	return appendRecords(b, c.Records)
}

func (c *Commit) decodeBody(body []byte) error {
	d := decoder{b: body}
	c.Device = meta.Device(d.u16())
	c.Time = time.Unix(0, int64(d.u64()))
	c.Epoch = crypt.Epoch(d.u32())
	c.First, c.Last = meta.OpNo(d.u64()), meta.OpNo(d.u64())
	c.Ledger = d.hash()
	batch := d.bytes(meta.MaxBatch)
	c.Usage = meta.Delta{Inodes: int64(d.u64()), Bytes: int64(d.u64())}
	checkpoint := d.bytes(MaxCommit)
	n := int(d.u16())
	if d.bad || n > MaxRecords {
		return fmt.Errorf("%w: commit", ErrMalformed)
	}
	var err error
	if c.Records, err = d.records(n); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := d.done(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if c.Batch, err = meta.DecodeBatch(batch); err != nil {
		return fmt.Errorf("%w: commit: batch: %w", ErrMalformed, err)
	}
	if len(checkpoint) == 0 {
		return nil
	}
	if c.Checkpoint, err = decodeCheckpoint(checkpoint); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if c.Checkpoint.Slot >= c.Slot || c.Checkpoint.Before.Slot > c.Checkpoint.Slot {
		return fmt.Errorf("%w: commit: checkpoint of a slot to come", ErrMalformed)
	}
	return nil
}

// A commit object seals the previous id 32, the body (length u32), the signature list
// to the end. The previous id stands outside the body, since S has it already, and it
// must stand somewhere: who could not read it could not tell a fork from junk.
func encodeContent(prev ID, body []byte, s identity.Signature) []byte {
	b := append(make([]byte, 0, 32+4+len(body)+128), prev[:]...)
	return append(appendBytes(b, body), s.Encode()...)
}

// decodeCommit reads the content of a commit object that lies in slot s. Nobody's
// signature is looked at.
func decodeCommit(v crypt.VolumeID, s Slot, headerHash [32]byte, content []byte) (*Commit, error) {
	d := decoder{b: content}
	c := &Commit{Slot: s, HeaderHash: headerHash, Prev: d.hash()}
	body := d.bytes(MaxCommit)
	list := d.rest()
	if err := d.done(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	var err error
	if c.signature, err = identity.DecodeSignature(list); err != nil {
		return nil, fmt.Errorf("%w: commit: %w", ErrMalformed, err)
	}
	if err := c.decodeBody(body); err != nil {
		return nil, err
	}
	c.BodyHash = sha256.Sum256(body)
	c.ID = sha256.Sum256(c.signed(v))
	return c, nil
}
