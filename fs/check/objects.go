package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
)

// object is what signed metadata says of a pack or a table.
type object struct {
	typ    crypt.Type
	name   crypt.Name
	length int64 // of the content, before padding
	epoch  crypt.Epoch
	place  string
}

// damage is what is wrong with an object, and which of its content cannot be had.
type damage struct {
	cause  Cause
	detail string
	lost   []span // of the content, ascending; empty: nothing is lost
}

// span is [from, to).
type span struct{ from, to int64 }

func (o object) all() []span { return []span{{0, o.length}} }

// smallObject is up to how many bytes an object is got in one piece.
const smallObject = 8 << 20

// verify reads every byte of an object: the tail against the name, each segment against
// the tail, then what it seals and the padding behind. What is whole goes to sink,
// padding included, when there is one. What is wrong is looked at twice: a transfer can go wrong.
// The error is one of the store or of ctx.
func (c *checker) verify(ctx context.Context, o object, sink func(off int64, plain []byte)) (*damage, error) {
	d, err := c.verifyOnce(ctx, o, sink)
	if d == nil || err != nil || d.cause == Missing {
		return d, err
	}
	return c.verifyOnce(ctx, o, sink)
}

func (c *checker) verifyOnce(ctx context.Context, o object, sink func(off int64, plain []byte)) (*damage, error) {
	size, tailSize := crypt.ObjectSize(o.length), crypt.TailSize(o.length)
	from := size - tailSize
	if size <= smallObject {
		from = 0
	}
	end, err := c.bucket.Get(ctx, o.place, from, size-from)
	if errors.Is(err, store.ErrNotExist) {
		cause, detail := c.bucket.absent(o.place)
		return &damage{cause, detail, o.all()}, nil
	}
	if err != nil {
		return nil, err
	}
	if int64(len(end)) < size-from {
		return &damage{Truncated, fmt.Sprintf("it ends before byte %d", size), o.all()}, nil
	}
	key, ok := c.state.EpochKey(o.epoch)
	if !ok {
		return &damage{Forged, fmt.Sprintf("it is said to be of epoch %d, which there is not", o.epoch), o.all()}, nil
	}
	opener, d := c.unlock(o, key, end)
	if d != nil {
		return d, nil
	}
	n := crypt.Segments(crypt.Padme(o.length))
	plain := make([]byte, 0, crypt.SegmentSize)
	var run []byte // of sealed segments
	if from == 0 {
		run = end[:size-tailSize]
	}
	for i := range n {
		off, length := crypt.SegmentRange(o.length, i)
		if len(run) == 0 {
			if run, err = c.bucket.Get(ctx, o.place, off, min(4<<20/length*length, size-tailSize-off)); err != nil {
				if errors.Is(err, store.ErrNotExist) {
					cause, detail := c.bucket.absent(o.place)
					return &damage{cause, detail, o.all()}, nil
				}
				return nil, err
			}
		}
		sealed := run[:min(length, int64(len(run)))]
		run = run[len(sealed):]
		plain, err = opener.Segment(plain[:0], i, sealed)
		first := int64(i) * crypt.SegmentSize
		if err == nil && !zeros(plain[min(int64(len(plain)), max(0, o.length-first)):]) {
			err = errors.New("its padding is not zeros")
		}
		if err != nil {
			if d == nil {
				d = &damage{cause: Altered, detail: "the hash of its bytes is not the one that was signed"}
			}
			d.add(span{first, min(first+crypt.SegmentSize, o.length)})
		} else if sink != nil {
			sink(first, plain)
		}
	}
	return d, nil
}

// unlock checks a tail against what metadata says. It seals all else, so when it is
// wrong nothing can be had.
func (c *checker) unlock(o object, key *crypt.Key, end []byte) (*crypt.Opener, *damage) {
	tail, err := crypt.ParseTail(end)
	if err != nil {
		return nil, &damage{Altered, fmt.Sprintf("its end cannot be read: %v", err), o.all()}
	}
	opener, err := tail.Unlock(key, c.vol, tail.Type())
	switch {
	case err == nil && tail.Name() != o.name:
		return nil, &damage{Exchanged, "another object of this drive lies under its name", o.all()}
	case tail.Name() != o.name:
		return nil, &damage{Altered, "its end is not the one that was signed", o.all()}
	case err != nil || tail.Epoch() != o.epoch || tail.Segments() != crypt.Segments(crypt.Padme(o.length)) || tail.Type() != o.typ:
		return nil, &damage{Forged, "it is what its name says, and not what its record says", o.all()}
	}
	return opener, nil
}

func (d *damage) add(s span) {
	if s.from >= s.to {
		return // padding alone
	}
	if n := len(d.lost); n > 0 && d.lost[n-1].to == s.from {
		d.lost[n-1].to = s.to
		return
	}
	d.lost = append(d.lost, s)
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
