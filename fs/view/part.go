package view

import (
	"crypto/sha256"

	"github.com/hushfs/hushfs/fs/meta"
)

// What stands for one operation after a Follow may be more than a commit holds: then
// extents of its files, the fills, go first, in commits that end no operation. A view
// remembers which have; who executes the operations anew, after a crash, brings them
// again, which changes nothing.

// Fill names a step that brings extents of a file ahead of the inode: by the hash of what
// it writes. That is more when one of its packs was retired since.
type Fill [sha256.Size]byte

func (p *Pending) fillName() Fill { return sha256.Sum256(p.batch) }

// As much as goes into one commit.
const (
	// partMost is how many bytes of a commit an operation takes with its fills; what is left
	// is for the records of the packs of all else, signature and envelope.
	partMost = 1<<20 - 96<<10

	// partFull is the length at which a commit of fills takes no more.
	partFull = 640 << 10
)

func (p *Pending) fill() bool { return meta.IsFill(p.step) }

// takes is how many bytes of a commit a step takes. The record of a pack is longer than an
// extent, and each may have one.
func (p *Pending) takes() int {
	if p.fill() {
		return len(p.batch) * 3
	}
	return len(p.batch)
}

// waiting are the operations, and which of their fills are in the chain. Who settles
// operations has to be the one who asks.
func (v *View) waiting() (Ops, map[Fill]bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.ops, v.brought
}

// parted is the first operation that has fills which are not in the chain; 0: none has.
func (o Ops) parted(brought map[Fill]bool) meta.OpNo {
	if o.fills == 0 {
		return 0
	}
	for p := range o.written() {
		if p.fill() && !brought[p.fillName()] {
			return p.Stamp.No
		}
	}
	return 0
}

// TakePart merges fills of the oldest pending operation for one commit, if that does not
// fit into one with all of them; else Batch is nil. They stay pending: see Brought.
func (v *View) TakePart() (t Taken) {
	ops, brought := v.waiting()
	if no := ops.parted(brought); no == 0 || no != ops.first.No {
		return t
	}
	all := 0
	var b meta.Builder
	full := 0
	for p := range ops.written() {
		if p.Stamp.No != ops.first.No {
			break
		}
		name := Fill{}
		if p.fill() {
			if name = p.fillName(); brought[name] {
				continue
			}
		}
		all += p.takes()
		if p.fill() && full < partFull {
			b.Add(p.Batch())
			t.Part = append(t.Part, name)
			full += p.takes()
		}
	}
	if all <= partMost {
		return Taken{}
	}
	t.Ops, t.Batch = ops.upTo(1, ops.first), b.Batch()
	return t
}

// Brought says that fills are in the chain: a slot has them, and was settled with no
// operation.
func (v *View) Brought(fills []Fill) {
	v.mu.Lock()
	defer v.mu.Unlock()
	brought := make(map[Fill]bool, len(v.brought)+len(fills))
	for name := range v.brought {
		brought[name] = true
	}
	for _, name := range fills {
		brought[name] = true
	}
	v.brought = brought
}
