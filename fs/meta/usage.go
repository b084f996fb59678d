package meta

import "errors"

// Usage is what a volume holds, for statfs.
type Usage struct {
	Inodes uint64
	Bytes  uint64 // sum of the sizes of files
}

// Delta is what a batch adds to a usage. It is kept up to date with each change,
// since a scan of a large volume would take minutes, and it goes with each commit,
// since who applies a batch need not know what was there before.
type Delta struct {
	Inodes int64
	Bytes  int64
}

// Plus returns the usage after d. Sums that no honest author could make wrap around.
func (u Usage) Plus(d Delta) Usage {
	return Usage{u.Inodes + uint64(d.Inodes), u.Bytes + uint64(d.Bytes)}
}

// Plus returns the sum of both.
func (d Delta) Plus(e Delta) Delta { return Delta{d.Inodes + e.Inodes, d.Bytes + e.Bytes} }

// Minus returns what d has beyond e.
func (d Delta) Minus(e Delta) Delta { return Delta{d.Inodes - e.Inodes, d.Bytes - e.Bytes} }

// DeltaOf returns what b adds to the usage of the map that r reads, which b is not
// applied to yet. A range never covers an inode.
func DeltaOf(r Reader, b *Batch) (sum Delta, err error) {
	before := func(key []byte) error {
		value, err := r.Get(key)
		if errors.Is(err, ErrAbsent) {
			return nil
		}
		if err != nil {
			return err
		}
		sum = sum.Minus(weigh(value))
		return nil
	}
	for _, kv := range b.Puts {
		if kv.Key[0] != prefixInode {
			continue
		}
		if err := before(kv.Key); err != nil {
			return Delta{}, err
		}
		sum = sum.Plus(weigh(kv.Value))
	}
	for _, k := range b.Deletes {
		if k[0] != prefixInode {
			continue
		}
		if err := before(k); err != nil {
			return Delta{}, err
		}
	}
	return sum, nil
}

// weigh returns what one inode adds.
func weigh(value []byte) Delta {
	n, err := DecodeInode(value)
	if err != nil || n.Kind != File {
		return Delta{Inodes: 1} // whoever reads a damaged one is told
	}
	return Delta{1, int64(n.Size)}
}
