package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

// Kind says what a ledger record does.
type Kind uint8

// The kinds of records. Those that stand in comments have their number and
// nothing else yet: a record of theirs is ErrVersion, as any unknown one.
const (
	KindVolume Kind = 1 // record 0: makes the volume
	KindDevice Kind = 2 // gives a machine a number
	KindEpoch  Kind = 3 // opens an epoch
	KindRemove Kind = 5 // takes a machine's number away
	KindRename Kind = 8 // calls a machine another name
	KindWriter Kind = 9 // hands on to another device that it alone writes

	KindAccepted Kind = 10 // says that a store that was set back was taken for the right one
	// 4 member, 6 grant, 7 succession
)

// Record is one entry of the ledger, in a form that does not depend on its kind:
// who does not know the kind can still tell who signed it. It is immutable.
type Record struct {
	N         uint32 // place in the ledger, from 0
	Prev      ID     // hash of the record before; zero for record 0
	Slot      Slot   // of the commit that carries it; 0 for the first three
	Kind      Kind
	Body      []byte   // by kind
	Signer    [32]byte // principal
	Signature identity.Signature
}

// Encode returns n u32, prev 32, slot u64, kind u8, body length u32, body, signer
// 32, and the signature list to the end.
func (r Record) Encode() []byte {
	return append(r.unsigned(), r.Signature.Encode()...)
}

// unsigned is the encoding up to the signature.
func (r Record) unsigned() []byte {
	b := binary.BigEndian.AppendUint32(nil, r.N)
	b = append(b, r.Prev[:]...)
	return append(b, r.rest()...)
}

// rest is the encoding without the two fields that the signed string has in clear,
// and without the signature.
func (r Record) rest() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Slot))
	b = append(b, byte(r.Kind))
	b = appendBytes(b, r.Body)
	return append(b, r.Signer[:]...)
}

// signed is the string under the signature: "hushfs/ledger" 00 ‖ volume id ‖ n ‖
// prev ‖ SHA-256(rest).
func (r Record) signed(v crypt.VolumeID) []byte {
	rest := sha256.Sum256(r.rest())
	b := append([]byte(labelLedger), v[:]...)
	b = binary.BigEndian.AppendUint32(b, r.N)
	b = append(b, r.Prev[:]...)
	return append(b, rest[:]...)
}

// Hash is SHA-256("hushfs/record" 00 ‖ encoding). The next record names it, and
// commits do, as the ledger's head.
func (r Record) Hash() ID {
	return sha256.Sum256(append([]byte(labelRecord), r.Encode()...))
}

// volume is the id of the volume that record 0 makes. The signature is left out,
// since it covers the id.
func (r Record) volume() crypt.VolumeID {
	return sha256.Sum256(append([]byte(labelVolume), r.unsigned()...))
}

// sign completes r.
func (r Record) sign(v crypt.VolumeID, by *identity.Identity) Record {
	r.Signature = by.Sign(r.signed(v))
	return r
}

// DecodeRecord reads exactly one record of at most MaxRecord bytes, or answers
// ErrMalformed. It looks neither into the body nor at the signature's truth. The
// record does not alias b.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) > MaxRecord {
		return Record{}, fmt.Errorf("%w: record of %d bytes", ErrMalformed, len(b))
	}
	d := decoder{b: b}
	r := Record{
		N:    d.u32(),
		Prev: d.hash(),
		Slot: Slot(d.u64()),
		Kind: Kind(d.u8()),
		Body: bytes.Clone(d.bytes(MaxRecord)),
	}
	r.Signer = d.hash()
	list := d.rest()
	if err := d.done(); err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	var err error
	if r.Signature, err = identity.DecodeSignature(list); err != nil {
		return Record{}, fmt.Errorf("%w: record: %w", ErrMalformed, err)
	}
	return r, nil
}

// appendRecords appends each as u32 length ‖ encoding.
func appendRecords(b []byte, records []Record) []byte {
	for _, r := range records {
		b = appendBytes(b, r.Encode())
	}
	return b
}

// records reads n of them.
func (d *decoder) records(n int) ([]Record, error) {
	var out []Record // grows with the input, not with what it claims
	for range n {
		b := d.bytes(MaxRecord)
		if d.bad {
			return nil, ErrMalformed
		}
		r, err := DecodeRecord(b)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
