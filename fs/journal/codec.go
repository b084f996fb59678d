package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

var be = binary.BigEndian

// appendPayload appends the encoding of a record's field, without its kind.
// Layout: docs/format.md, "Record".
func appendPayload(b []byte, r *Record) ([]byte, error) {
	switch r.Kind {
	case KindOp:
		if r.Op.Time.Nsec >= 1e9 {
			return nil, ErrMalformed
		}
		b = be.AppendUint64(b, uint64(r.Op.No))
		b = be.AppendUint64(b, uint64(r.Op.Time.Sec))
		b = be.AppendUint32(b, r.Op.Time.Nsec)
		b = appendBytes(b, r.Op.Op)
		b = be.AppendUint32(b, uint32(len(r.Op.Inline)))
		for _, in := range r.Op.Inline {
			b = be.AppendUint64(b, in.Off)
			b = appendBytes(b, in.Data)
		}
	case KindPack, kindCarried:
		if r.Pack.Size < 0 {
			return nil, ErrMalformed
		}
		b = be.AppendUint64(b, uint64(r.Pack.No))
		b = append(b, r.Pack.Name[:]...)
		b = be.AppendUint32(b, r.Pack.Length)
		b = be.AppendUint32(b, uint32(r.Pack.Epoch))
		b = be.AppendUint64(b, uint64(r.Pack.Size))
	case KindAttempt:
		b = be.AppendUint64(b, r.Attempt.Slot)
		b = append(b, r.Attempt.ID[:]...)
		b = be.AppendUint64(b, uint64(r.Attempt.First))
		b = be.AppendUint64(b, uint64(r.Attempt.Last))
		b = appendBytes(b, r.Attempt.Object)
	case KindSettled:
		b = be.AppendUint64(b, r.Settled.Slot)
		b = append(b, r.Settled.ID[:]...)
		b = be.AppendUint64(b, uint64(r.Settled.Last))
		b = appendPacks(b, r.Settled.Packs)
	case KindLost:
		b = be.AppendUint64(b, r.Lost.Slot)
		b = append(b, r.Lost.ID[:]...)
	case KindDropped:
		b = appendPacks(b, r.Dropped.Packs)
	case kindIndex:
		b = be.AppendUint32(b, uint32(len(r.index)))
		for _, e := range r.index {
			b = be.AppendUint64(be.AppendUint64(b, uint64(e.No)), e.Inode)
		}
	case KindFollowed:
		b = append(be.AppendUint64(b, r.Followed.Slot), flag(r.Followed.More)|flag(r.Followed.Rest)<<1)
		b = be.AppendUint32(b, uint32(len(r.Followed.Replaced)))
		for _, p := range r.Followed.Replaced {
			b = be.AppendUint64(b, uint64(p.No))
			b = be.AppendUint32(b, uint32(len(p.Steps)))
			for _, s := range p.Steps {
				b = appendBytes(b, s)
			}
		}
	case KindPlace:
		if len(r.Place.Name) == 0 || len(r.Place.Name) > meta.MaxName {
			return nil, ErrMalformed
		}
		b = be.AppendUint64(b, uint64(r.Place.No))
		for _, ref := range []meta.Ref{r.Place.Ref, r.Place.Parent} {
			b = be.AppendUint64(be.AppendUint64(b, uint64(ref.Home)), uint64(ref.Ino))
		}
		b = append(b, r.Place.Name...)
	default:
		return nil, ErrMalformed
	}
	return b, nil
}

// size is an upper bound of what appendPayload appends, so that a record that
// is far too large costs nothing.
func (r *Record) size() int {
	n := 128 + len(r.Op.Op) + len(r.Attempt.Object) + 8*(len(r.Settled.Packs)+len(r.Dropped.Packs)) + 16*len(r.index)
	for _, in := range r.Op.Inline {
		n += 12 + len(in.Data)
	}
	for _, p := range r.Followed.Replaced {
		n += 12
		for _, s := range p.Steps {
			n += 4 + len(s)
		}
	}
	return n
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func appendBytes(b, data []byte) []byte {
	return append(be.AppendUint32(b, uint32(len(data))), data...)
}

func appendPacks(b []byte, nos []meta.PackNo) []byte {
	b = be.AppendUint32(b, uint32(len(nos)))
	for _, no := range nos {
		b = be.AppendUint64(b, uint64(no))
	}
	return b
}

// decodePayload reads what appendPayload wrote. The record keeps b. An unknown
// kind is ErrNewer, anything else that is wrong ErrMalformed.
func decodePayload(k Kind, b []byte) (Record, error) {
	d := decoder{b: b}
	r := Record{Kind: k}
	switch k {
	case KindOp:
		r.Op.No = meta.OpNo(d.u64())
		r.Op.Time = meta.Time{Sec: int64(d.u64()), Nsec: d.u32()}
		d.bad = d.bad || r.Op.Time.Nsec >= 1e9
		r.Op.Op = d.bytes()
		for range d.count(12) {
			r.Op.Inline = append(r.Op.Inline, Inline{Off: d.u64(), Data: d.bytes()})
		}
	case KindPack, kindCarried:
		r.Pack.No = meta.PackNo(d.u64())
		r.Pack.Name = crypt.Name(d.hash())
		r.Pack.Length = d.u32()
		r.Pack.Epoch = crypt.Epoch(d.u32())
		r.Pack.Size = int64(d.u64())
		d.bad = d.bad || r.Pack.Size < 0
	case KindAttempt:
		r.Attempt = AttemptRecord{Slot: d.u64(), ID: d.hash(), First: meta.OpNo(d.u64()), Last: meta.OpNo(d.u64()), Object: d.bytes()}
	case KindSettled:
		r.Settled = SettledRecord{Slot: d.u64(), ID: d.hash(), Last: meta.OpNo(d.u64()), Packs: d.packs()}
	case KindLost:
		r.Lost = LostRecord{Slot: d.u64(), ID: d.hash()}
	case KindDropped:
		r.Dropped.Packs = d.packs()
	case kindIndex:
		for range d.count(16) {
			r.index = append(r.index, IndexEntry{No: meta.OpNo(d.u64()), Inode: d.u64()})
		}
	case KindFollowed:
		r.Followed.Slot = d.u64()
		r.Followed.More, r.Followed.Rest = d.flags()
		for range d.count(12) {
			p := Replaced{No: meta.OpNo(d.u64())}
			for range d.count(4) {
				p.Steps = append(p.Steps, d.bytes())
			}
			r.Followed.Replaced = append(r.Followed.Replaced, p)
		}
	case KindPlace:
		ref := func() meta.Ref { return meta.Ref{Home: meta.Ino(d.u64()), Ino: meta.Ino(d.u64())} }
		r.Place = PlaceRecord{No: meta.OpNo(d.u64()), Ref: ref(), Parent: ref()}
		d.bad = d.bad || len(d.b) == 0 || len(d.b) > meta.MaxName
		r.Place.Name, d.b = d.b, nil
	default:
		return Record{}, fmt.Errorf("record of kind %d: %w", k, ErrNewer)
	}
	if d.bad || len(d.b) != 0 {
		return Record{}, ErrMalformed
	}
	return r, nil
}

// decoder takes fields off b. After the first that is not there it is bad, and
// gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	t := d.b[:n:n]
	d.b = d.b[n:]
	return t
}

// flags reads the lowest two bits of a byte that has no others.
func (d *decoder) flags() (first, second bool) {
	t := d.take(1)
	d.bad = d.bad || t != nil && t[0] > 3
	return t != nil && t[0]&1 != 0, t != nil && t[0]&2 != 0
}

func (d *decoder) u32() uint32 {
	if t := d.take(4); t != nil {
		return be.Uint32(t)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if t := d.take(8); t != nil {
		return be.Uint64(t)
	}
	return 0
}

func (d *decoder) hash() (h [32]byte) {
	copy(h[:], d.take(32))
	return h
}

func (d *decoder) bytes() []byte {
	n := d.u32()
	if n > MaxRecord {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}

// count reads a number of things of at least size bytes each, and finds it bad
// when so many cannot follow.
func (d *decoder) count(size int) int {
	n := d.u32()
	if d.bad || int64(n)*int64(size) > int64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) packs() []meta.PackNo {
	var nos []meta.PackNo
	if n := d.count(8); n > 0 {
		nos = make([]meta.PackNo, n)
	}
	for i := range nos {
		nos[i] = meta.PackNo(d.u64())
	}
	return nos
}
