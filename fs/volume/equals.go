package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// equals knows of pairs of contents whether they are the same bytes: two machines that
// did the same to a file have no conflict. It has a lock of its own, taken after all
// others. The zero value is ready, but for v.
type equals struct {
	v *Volume

	mu    sync.Mutex // guards the fields below; nothing is taken after it
	known map[[2]uint64]bool
	packs map[meta.PackNo]meta.PackRecord // of contents that the view does not show yet
}

// equalsMost is how many pairs, and packs, are kept in mind: more than one Follow can ask
// for, or it would never have all answers.
const equalsMost = 1 << 20

// equalSize is how long the longest files are that are read to be compared, in bytes:
// nothing is published meanwhile. Longer ones differ, unless they have the same extents.
const equalSize = 1 << 30

// unread says that two contents have to be read to be compared. It is an ErrUnknown.
type unread struct {
	e            *equals
	ours, theirs meta.Content
}

func (c *unread) Error() string { return "two contents are not compared yet" }
func (c *unread) Unwrap() error { return meta.ErrUnknown }

func (c *unread) key() [2]uint64 { return [2]uint64{c.ours.Version, c.theirs.Version} }

// same says whether two contents of one size are the same, or answers an unread.
func (e *equals) same(ours, theirs meta.Content) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ours.Size > equalSize {
		return false, nil
	}
	c := &unread{e, ours, theirs}
	if same, ok := e.known[c.key()]; ok {
		return same, nil
	}
	return false, c
}

// Fetch compares. What is damaged is the same as nothing.
func (c *unread) Fetch(ctx context.Context) error {
	c.e.lend(c.ours.Packs, c.theirs.Packs)
	same, err := c.compare(ctx)
	var d *pack.Damage
	switch {
	case errors.As(err, &d), errors.Is(err, block.ErrDamaged), errors.Is(err, pack.ErrUnknown):
		same = false
	case err != nil:
		return fmt.Errorf("compare two files: %w", err)
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if len(c.e.known) >= equalsMost || c.e.known == nil {
		c.e.known = map[[2]uint64]bool{}
	}
	c.e.known[c.key()] = same
	return nil
}

// compare reads both from the beginning, up to where they differ.
func (c *unread) compare(ctx context.Context) (bool, error) {
	const step = 1 << 20
	a, b := make([]byte, step), make([]byte, step)
	for off := uint64(0); off < c.ours.Size; off += step {
		n := min(step, c.ours.Size-off)
		for _, x := range []struct {
			c   meta.Content
			dst []byte
		}{{c.ours, a[:n]}, {c.theirs, b[:n]}} {
			var runs dirty
			within(x.c.Extents, off, off+n, runs.push)
			if err := c.e.v.readRuns(ctx, runs.extents, off, x.dst); err != nil {
				return false, err
			}
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// lend makes packs known that the view does not show yet.
func (e *equals) lend(all ...map[meta.PackNo]meta.PackRecord) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.packs == nil || len(e.packs) >= equalsMost {
		e.packs = map[meta.PackNo]meta.PackRecord{}
	}
	for _, packs := range all {
		for no, r := range packs {
			e.packs[no] = r
		}
	}
}

// pack describes a pack that was lent.
func (e *equals) pack(no meta.PackNo) (pack.Info, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.packs[no]
	return pack.Info{No: no, Name: r.Name, Length: int64(r.Length), Epoch: crypt.Epoch(r.Epoch)}, ok
}
