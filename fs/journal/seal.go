package journal

import (
	"bytes"
	"crypto/rand"
	"math"

	"github.com/hushfs/hushfs/crypt"
)

// The bytes of a file. Layout: docs/format.md, "Journal".
const (
	magic       = "HUSHJRN0"
	headerClear = len(magic) + 8 + 16 + 32 // magic ‖ file number ‖ journal id ‖ salt
	headerPlain = 8 + 4 + tagSize          // previous file ‖ its records ‖ its chain value
	headerSize  = headerClear + localOverhead + headerPlain
	headerBlock = 4096            // a header has a block of its own,
	headerEnd   = 2 * headerBlock // and a copy in the next: with it goes the file's key

	recordClear   = 4 + 4           // length of what is sealed ‖ index
	recordPlain   = 1 + 4 + tagSize // kind ‖ records known to be durable ‖ tag of the record before
	recordFixed   = recordClear + localOverhead + recordPlain
	maxSealed     = localOverhead + recordPlain + MaxRecord
	tagSize       = 16
	localOverhead = 12 + tagSize // crypt.Local: nonce and tag
)

// tag is the GCM tag that ends a sealed record or header, and so the value by
// which the next record holds on to all before it.
type tag [tagSize]byte

// link says where the file before ends for good: whatever lies there after so
// many records was never acknowledged, or is repeated in the file of the link.
type link struct {
	file  uint64
	count uint32
	chain tag
}

// fileKey seals the header and the records of one file.
type fileKey struct {
	local  *crypt.Local
	id     [16]byte
	number uint64
}

func newFileKey(secret *crypt.Key, id [16]byte, number uint64, salt []byte) fileKey {
	context := append(be.AppendUint64(id[:len(id):len(id)], number), salt...)
	return fileKey{local: crypt.NewLocal(secret, "hushfs/journal", context), id: id, number: number}
}

// newHeader draws the salt of a new file.
func newHeader(secret *crypt.Key, id [16]byte, number uint64, prev link) (fileKey, []byte) {
	salt := make([]byte, 32)
	rand.Read(salt)
	k := newFileKey(secret, id, number, salt)
	h := append([]byte(magic), be.AppendUint64(nil, number)...)
	h = append(append(h, id[:]...), salt...)
	plain := be.AppendUint32(be.AppendUint64(nil, prev.file), prev.count)
	plain = append(plain, prev.chain[:]...)
	return k, k.local.Seal(h, plain, h)
}

// openHeader opens one copy of a header; number is the one in the file's name.
func openHeader(secret *crypt.Key, id [16]byte, number uint64, b []byte) (k fileKey, prev link, chain tag, err error) {
	if len(b) < headerSize || !bytes.HasPrefix(b, []byte(magic)) {
		return k, prev, chain, ErrMalformed
	}
	b = b[:headerSize]
	head := b[:headerClear:headerClear]
	if be.Uint64(head[len(magic):]) != number || !bytes.Equal(head[len(magic)+8:][:16], id[:]) {
		return k, prev, chain, ErrForeign
	}
	k = newFileKey(secret, id, number, head[len(magic)+8+16:])
	plain, err := k.local.Open(nil, b[headerClear:], head)
	if err != nil {
		return k, prev, chain, ErrForeign
	}
	prev = link{file: be.Uint64(plain), count: be.Uint32(plain[8:]), chain: tag(plain[12:])}
	return k, prev, tag(b[headerSize-tagSize:]), nil
}

// associated is what a record is bound to besides its key, which is that of its
// journal and file already. The tag of the record before lies inside the
// sealing, not here: a record that follows a damaged one still opens, and so
// tells damage from a torn end.
func (k fileKey) associated(clear []byte) []byte {
	ad := make([]byte, 0, 64)
	ad = append(ad, "hushfs/journal-record\x00"...)
	ad = append(ad, k.id[:]...)
	ad = be.AppendUint64(ad, k.number)
	return append(ad, clear...)
}

// newPlain encodes a record with room for what seal fills in.
func newPlain(r *Record) ([]byte, error) {
	n := r.size()
	if n > math.MaxInt32 || n > MaxRecord+recordPlain+1024 {
		return nil, ErrTooLarge
	}
	b := make([]byte, recordPlain, recordPlain+n)
	b[0] = byte(r.Kind)
	b, err := appendPayload(b, r)
	if err == nil && len(b) > recordPlain+MaxRecord {
		err = ErrTooLarge
	}
	return b, err
}

// seal appends record number index to dst: clear part, then the sealed plain,
// whose first recordPlain bytes it fills in, all but the kind. Sealed again
// (another file), it gets another nonce.
func (k fileKey) seal(dst, plain []byte, index, durable uint32, prev tag) ([]byte, tag) {
	be.PutUint32(plain[1:], durable)
	copy(plain[5:], prev[:])
	start := len(dst)
	dst = be.AppendUint32(dst, uint32(localOverhead+len(plain)))
	dst = be.AppendUint32(dst, index)
	dst = k.local.Seal(dst, plain, k.associated(dst[start:]))
	return dst, tag(dst[len(dst)-tagSize:])
}

// sealed is a record that has been opened.
type sealed struct {
	kind    Kind
	index   uint32 // in the file
	durable uint32 // so many records of this file were synced when this one was written
	prev    tag
	payload []byte
	tag     tag
	at      int // offset in the file, where somebody noted it
	size    int // bytes in the file
}

// open opens the record at the beginning of b, wherever its file ends. It is
// ErrMalformed when no whole record of that index of this file lies there. The payload is
// appended to dst, which is not used otherwise any more.
func (k fileKey) open(dst, b []byte, index uint32) (sealed, error) {
	if len(b) < recordFixed || be.Uint32(b[4:]) != index {
		return sealed{}, ErrMalformed
	}
	n := int64(be.Uint32(b))
	if n < localOverhead+recordPlain || n > maxSealed || n > int64(len(b)-recordClear) {
		return sealed{}, ErrMalformed
	}
	end := recordClear + int(n)
	plain, err := k.local.Open(dst, b[recordClear:end], k.associated(b[:recordClear]))
	if err != nil {
		return sealed{}, ErrMalformed
	}
	return sealed{
		kind: Kind(plain[0]), index: index, durable: be.Uint32(plain[1:]), prev: tag(plain[5:recordPlain]), payload: plain[recordPlain:],
		tag: tag(b[end-tagSize : end]), size: end,
	}, nil
}
