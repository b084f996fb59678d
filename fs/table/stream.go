package table

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ahead is how much content is fetched at a time by what reads a table from its
// beginning to its end; one more such piece is on its way meanwhile.
const ahead = 1 << 20

// stream reads a table block by block. What is not near it fetches, and then
// what comes behind it, while that is used.
type stream struct {
	ctx      context.Context
	src      Source
	table    *Table
	x        *index
	expander *zstd.Decoder
	wg       *sync.WaitGroup // of fetches under way
	flight   chan error      // of the fetch under way; nil is none
	from     int64           // where that begins
	asked    int64           // content below was asked for; 0 as long as nothing was far
	block    int             // next one
	dead     uint64          // what the entries had so far
	plain    uint64
	it       blockIter
	stored   []byte // of the block at hand
	buf      []byte // the same expanded
}

// begin opens the table and goes to its first entry.
func (s *stream) begin() (err error) {
	if s.x, err = readIndex(s.table, s.readEnd); err != nil {
		return err
	}
	return s.next()
}

// next goes to the next entry. At the end of the table it.ok is false.
func (s *stream) next() error {
	if s.block > 0 {
		if s.it.next(); s.it.ok {
			s.count()
			return nil
		}
		if s.block == len(s.x.blocks) {
			if s.dead != s.table.Dead || s.plain != s.table.Plain {
				return s.table.damaged("it does not hold what its footer says")
			}
			return nil
		}
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	off, n := s.x.span(s.block, s.block)
	if int64(cap(s.stored)) < n {
		s.stored = make([]byte, n, 2*n)
	}
	s.stored = s.stored[:n]
	if err := s.readBlock(off, s.stored); err != nil {
		return err
	}
	if s.buf == nil {
		s.buf = make([]byte, blockSize+slack) // a larger block gets its own
	}
	plain, ok := expand(s.expander, s.buf, s.stored, int(s.x.blocks[s.block].plain))
	if !ok {
		return s.table.damaged(fmt.Sprintf("block %d does not expand", s.block))
	}
	b, err := s.x.open(s.block, plain)
	if err != nil {
		return err
	}
	s.block++
	s.it.first(b)
	s.count()
	return nil
}

func (s *stream) count() {
	s.plain += uint64(len(s.it.key) + len(s.it.value))
	if s.it.dead {
		s.dead++
	}
}

// readEnd reads a part of index and footer, and brings all of it if it is far;
// with it the beginning of the table.
func (s *stream) readEnd(off int64, dst []byte) error {
	err := nearOf(s.src, s.table, off, dst)
	if !errors.Is(err, ErrFar) {
		return err
	}
	if s.asked == 0 && s.table.Length > farWhole {
		s.launch(min(ahead, s.table.Length-int64(s.table.Index)))
	}
	p := endOf(s.table)
	if err := p.fetch(s.ctx, s.src); err != nil {
		return err
	}
	return nearOf(s.src, s.table, off, dst)
}

// readBlock reads a block. Once something was far, one piece more is under way
// than the one that is read.
func (s *stream) readBlock(off int64, dst []byte) error {
	n, end := int64(len(dst)), int64(s.x.footer.data)
	if s.flight != nil && off+n > s.from {
		err := <-s.flight
		if s.flight = nil; err != nil {
			return err
		}
	}
	err := nearOf(s.src, s.table, off, dst)
	for _, want := range [...]int64{ahead, n} { // the second time without what might have driven it out
		if !errors.Is(err, ErrFar) {
			break
		}
		p := partOf(s.table, off, min(max(n, want), end-off))
		if err := p.fetch(s.ctx, s.src); err != nil {
			return err
		}
		s.asked = max(s.asked, p.off+p.n)
		err = nearOf(s.src, s.table, off, dst)
	}
	if err == nil && s.flight == nil && s.asked > 0 {
		s.launch(min(s.asked+ahead, end))
	}
	return err
}

// launch fetches what lies below end and was not asked for, meanwhile.
func (s *stream) launch(end int64) {
	if end <= s.asked {
		return
	}
	p := part{s.table, s.asked, end - s.asked}
	flight := make(chan error, 1)
	s.flight, s.from, s.asked = flight, s.asked, end
	s.wg.Go(func() { flight <- p.fetch(s.ctx, s.src) })
}
