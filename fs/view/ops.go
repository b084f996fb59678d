package view

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// Pending is one operation that was executed here and lies in no slot yet, or one of
// the steps that stand for it since another machine changed what it was about: they
// have its stamp, and come one after the other.
type Pending struct {
	Op    meta.Change // nil: there is nothing to do any more; its number has to reach the chain
	Stamp meta.Stamp
	Usage meta.Delta // what it added to the usage
	batch []byte     // what it wrote
	step  []byte     // encoding of Op
}

// Batch returns what the operation wrote. It is not to be changed.
func (p *Pending) Batch() *meta.Batch { return decodeBatch(p.batch) }

// Ops is a list of pending operations, oldest first, as it was at one moment. Half a
// million of them may wait, of which each is a few hundred bytes with what it wrote and
// most are like the one before: they are kept encoded, and compressed in blocks.
type Ops struct {
	blocks []block
	skip   int    // so many of the first block do not count, or are not there, of the tail
	tail   []byte // those that are in no block yet; it is only appended to
	n      int
	fills  int // so many of them are fills
	first  meta.Stamp
	last   meta.Stamp
	with   *coder  // of blocks; nil before the first
	like   []block // of another list, of which equal ones are shared: those behind what is in blocks; may be nil
}

// block is a run of operations.
type block struct {
	first meta.OpNo // its number
	data  []byte    // compressed
	n     int
	with  *coder // that did it
}

const (
	// blockOps is how many numbers of operations a block has at most. Blocks begin
	// at its multiples, so that two lists of the same operations have the same ones.
	blockOps = 256
	// blockBytes is about how long a block becomes before it is compressed.
	blockBytes = 128 << 10
)

// Len is how many there are.
func (o Ops) Len() int { return o.n }

// First and Last are the stamps of the oldest and of the newest; there must be one.
func (o Ops) First() meta.Stamp { return o.first }
func (o Ops) Last() meta.Stamp  { return o.last }

// All returns the operations, oldest first.
func (o Ops) All() iter.Seq[Pending] {
	return func(yield func(Pending) bool) {
		for b := range o.records() {
			if !yield(decodePending(b, true)) {
				return
			}
		}
	}
}

// written is All without the operations themselves: stamps, usage and batches.
func (o Ops) written() iter.Seq[Pending] {
	return func(yield func(Pending) bool) {
		for b := range o.records() {
			if !yield(decodePending(b, false)) {
				return
			}
		}
	}
}

// records returns the encoding of each.
func (o Ops) records() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		left, skip := o.n, o.skip
		run := func(b []byte) bool {
			for ; len(b) > 0 && left > 0; skip-- {
				var one []byte
				one, b = cutBytes(b)
				if skip > 0 {
					continue
				}
				if left--; !yield(one) {
					return false
				}
			}
			skip = max(skip, 0)
			return true
		}
		for _, k := range o.blocks {
			if left == 0 {
				return
			}
			if skip >= k.n {
				skip -= k.n
				continue
			}
			if !run(k.open()) {
				return
			}
		}
		run(o.tail)
	}
}

// upTo returns the first n of them.
func (o Ops) upTo(n int, last meta.Stamp) Ops {
	o.n, o.last = n, last
	return o
}

// from returns them without the first n.
func (o Ops) from(n int) Ops {
	if n >= o.n {
		return Ops{}
	}
	o.skip, o.n = o.skip+n, o.n-n
	whole := 0
	for whole < len(o.blocks) && o.skip >= o.blocks[whole].n {
		o.skip -= o.blocks[whole].n
		whole++
	}
	o.blocks = slices.Clone(o.blocks[whole:])
	if len(o.blocks) == 0 {
		for ; o.skip > 0; o.skip-- {
			_, o.tail = cutBytes(o.tail)
		}
		o.tail = bytes.Clone(o.tail)
	}
	for b := range o.records() {
		o.first = decodePending(b, false).Stamp
		break
	}
	if o.fills > 0 {
		o.fills = 0
		for p := range o.written() {
			if p.fill() {
				o.fills++
			}
		}
	}
	return o
}

// add appends an operation and what it wrote. A value of the list that somebody else
// has stays as it is.
func (o *Ops) add(op meta.Change, at meta.Stamp, b *meta.Batch, d meta.Delta) {
	if len(o.tail) > 0 && (o.last.No/blockOps != at.No/blockOps || len(o.tail) >= blockBytes && o.last.No != at.No) {
		o.seal()
	}
	r := binary.AppendUvarint(nil, uint64(at.Device))
	r = binary.AppendUvarint(r, uint64(at.No))
	r = binary.AppendVarint(r, at.Time.Sec)
	r = binary.AppendUvarint(r, uint64(at.Time.Nsec))
	r = binary.AppendVarint(r, d.Inodes)
	r = binary.AppendVarint(r, d.Bytes)
	if op == nil {
		r = appendBytes(r, nil)
	} else {
		step := meta.EncodeStep(op)
		if r = appendBytes(r, step); meta.IsFill(step) {
			o.fills++
		}
	}
	r = appendBatch(r, b)
	o.tail = appendBytes(o.tail, r)
	if o.n == 0 {
		o.first = at
	}
	o.last = at
	o.n++
}

// seal makes a block of the tail.
func (o *Ops) seal() {
	if o.with == nil {
		o.with = newCoder()
	}
	one, _ := cutBytes(o.tail)
	k := block{first: decodePending(one, false).Stamp.No, data: o.with.squeeze(o.tail), with: o.with}
	for b := o.tail; len(b) > 0; k.n++ {
		_, b = cutBytes(b)
	}
	// Before it there may be more blocks here than there, or fewer.
	for len(o.like) > 0 && o.like[0].first < k.first {
		o.like = o.like[1:]
	}
	if len(o.like) > 0 && o.like[0].n == k.n && bytes.Equal(o.like[0].data, k.data) {
		k = o.like[0]
	}
	o.blocks, o.tail = append(o.blocks, k), nil
}

func (k block) open() []byte {
	b, err := k.with.expander.DecodeAll(k.data, nil)
	if err != nil {
		panic(fmt.Errorf("pending operations: %w", err)) // we wrote it, a moment ago
	}
	return b
}

// decodePending reads an operation as add wrote it, without Op unless that is asked for.
func decodePending(b []byte, op bool) (p Pending) {
	p.Stamp.Device = meta.Device(cutUvarint(&b))
	p.Stamp.No = meta.OpNo(cutUvarint(&b))
	p.Stamp.Time.Sec = cutVarint(&b)
	p.Stamp.Time.Nsec = uint32(cutUvarint(&b))
	p.Usage = meta.Delta{Inodes: cutVarint(&b), Bytes: cutVarint(&b)}
	p.step, p.batch = cutBytes(b)
	if !op || len(p.step) == 0 {
		return p
	}
	var err error
	if p.Op, err = meta.DecodeStep(p.step); err != nil {
		panic(fmt.Errorf("pending operation %d: %w", p.Stamp.No, err)) // it was executed
	}
	return p
}

// A batch of a step may be longer than DecodeBatch takes, and has not to be judged again.
func appendBatch(dst []byte, b *meta.Batch) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Ranges)))
	for _, r := range b.Ranges {
		dst = appendBytes(appendBytes(dst, r.From), r.To)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Deletes)))
	for _, k := range b.Deletes {
		dst = appendBytes(dst, k)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Puts)))
	for _, kv := range b.Puts {
		dst = appendBytes(appendBytes(dst, kv.Key), kv.Value)
	}
	return dst
}

// decodeBatch reads what appendBatch wrote; the batch aliases it.
func decodeBatch(b []byte) *meta.Batch {
	out := &meta.Batch{}
	if n := cutUvarint(&b); n > 0 {
		out.Ranges = make([]meta.Range, n)
	}
	for i := range out.Ranges {
		out.Ranges[i].From, b = cutBytes(b)
		out.Ranges[i].To, b = cutBytes(b)
	}
	if n := cutUvarint(&b); n > 0 {
		out.Deletes = make([][]byte, n)
	}
	for i := range out.Deletes {
		out.Deletes[i], b = cutBytes(b)
	}
	if n := cutUvarint(&b); n > 0 {
		out.Puts = make([]meta.KV, n)
	}
	for i := range out.Puts {
		out.Puts[i].Key, b = cutBytes(b)
		out.Puts[i].Value, b = cutBytes(b)
	}
	return out
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func cutBytes(b []byte) (one, rest []byte) {
	n := cutUvarint(&b)
	return b[:n:n], b[n:]
}

func cutUvarint(b *[]byte) uint64 {
	v, n := binary.Uvarint(*b)
	*b = (*b)[n:]
	return v
}

func cutVarint(b *[]byte) int64 {
	v, n := binary.Varint(*b)
	*b = (*b)[n:]
	return v
}
