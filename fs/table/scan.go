package table

import (
	"bytes"
	"errors"
)

// Scan calls fn for the keys in [from, to) that have a value, ascending, until
// fn returns false. k is valid during the call only; v is not to be changed and
// does not change.
//
// Errors are those of Get. fn may have been called for all that is before the
// place of the error. After a *Far the caller scans again, from the start or
// from behind the last key that it got. The Far brings what the scan will need
// of the table that it came to, up to 4 MiB, so a directory takes two or three
// turns; a scan over very much more is better continued than begun anew.
func (s *Set) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	rows, err := s.open(from, to)
	if err != nil {
		return err
	}
	for len(rows) > 0 {
		// The newest of those with the lowest key counts, and the others of
		// that key are passed by.
		best := rows[0]
		for _, c := range rows[1:] {
			if bytes.Compare(c.it.key, best.it.key) < 0 {
				best = c
			}
		}
		var bound []byte // the lowest key of all others
		for _, c := range rows {
			if c == best {
				continue
			}
			if bytes.Equal(c.it.key, best.it.key) {
				if err := c.next(); err != nil {
					return err
				}
			}
			if c.it.ok && (bound == nil || bytes.Compare(c.it.key, bound) < 0) {
				bound = c.it.key
			}
		}
		for best.it.ok && (bound == nil || bytes.Compare(best.it.key, bound) < 0) {
			if !best.it.dead && !fn(best.it.key, best.it.value) {
				return nil
			}
			if err := best.next(); err != nil {
				return err
			}
		}
		n := 0
		for _, c := range rows {
			if c.it.ok {
				rows[n] = c
				n++
			}
		}
		rows = rows[:n]
	}
	return nil
}

// open returns a cursor on the first entry of [from, to) in each run that has
// one, newest first. A Far is for all runs at once.
func (s *Set) open(from, to []byte) ([]*cursor, error) {
	var head *hash
	if b := headOf(from, to); b != nil {
		h := hashOf(b)
		head = &h
	}
	var rows []*cursor
	var missing []part
	for _, run := range s.runs {
		i := run.from(from)
		if i == len(run) || bytes.Compare(run[i].First, to) >= 0 {
			continue
		}
		c := &cursor{set: s, run: run[i:], from: from, to: to, head: head}
		var far *Far
		switch err := c.settle(); {
		case errors.As(err, &far):
			missing = append(missing, far.parts...)
		case err != nil:
			return nil, err
		case c.it.ok:
			rows = append(rows, c)
		}
	}
	if missing != nil {
		return nil, &Far{s.src, missing}
	}
	return rows, nil
}

// cursor goes through the entries of one run in [from, to). While it.ok it
// stands on one.
type cursor struct {
	set      *Set
	run      Run // the table at hand and those after it
	from, to []byte
	head     *hash // that all keys of the range share; nil is none
	x        *index
	block    int // next one of x
	last     int // last one of x that the range meets
	it       blockIter
}

// next goes to the next entry.
func (c *cursor) next() error {
	c.it.next()
	return c.settle()
}

// settle goes on to the next block, or table, where a block is at its end, and
// ends the cursor at the end of the range.
func (c *cursor) settle() error {
	for !c.it.ok {
		if c.x == nil {
			if len(c.run) == 0 || bytes.Compare(c.run[0].First, c.to) >= 0 {
				return nil
			}
			x, err := c.set.index(&c.run[0])
			if errors.Is(err, ErrFar) {
				return c.farIndexes()
			}
			if err != nil {
				return err
			}
			c.x, c.block, c.last = x, x.find(c.from), x.below(c.to)
		}
		if c.block > c.last {
			c.x, c.run = nil, c.run[1:]
			continue
		}
		if c.head != nil && c.set.excludes(c.x, c.block, c.head) {
			c.block++
			continue
		}
		b, err := c.set.block(c.x, c.block)
		if errors.Is(err, ErrFar) {
			return &Far{c.set.src, []part{c.x.bringable(c.block, c.last)}}
		}
		if err != nil {
			return err
		}
		c.block++
		if c.it.first(b); bytes.Compare(c.it.key, c.from) < 0 {
			c.it.seek(c.from)
		}
	}
	if bytes.Compare(c.it.key, c.to) >= 0 {
		c.it.ok, c.x, c.run = false, nil, nil
	}
	return nil
}

// farIndexes is a Far for the index of the table at hand, and for those of the
// tables after it that the range meets and that are not near either, as long as
// they are together no more than a Far of blocks.
func (c *cursor) farIndexes() *Far {
	far := &Far{src: c.set.src}
	sum := int64(0)
	for i := range c.run {
		t := &c.run[i]
		p := endOf(t)
		if sum += p.n; i > 0 {
			if sum > farBytes || bytes.Compare(t.First, c.to) >= 0 {
				break
			}
			if _, err := c.set.index(t); !errors.Is(err, ErrFar) {
				break
			}
		}
		far.parts = append(far.parts, p)
	}
	return far
}
