package check

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
)

// readers is how many packs are read at a time. Each takes some 4 MiB of memory.
const readers = 8

// progressEvery is how often the reading of packs says how far it is.
const progressEvery = 200 * time.Millisecond

// checkData reads every byte of the packs that files need, or of some that are drawn.
// Which were whole is noted, so that a check that was interrupted need not read them
// again.
func (c *checker) checkData(ctx context.Context) error {
	if c.o.Data <= 0 {
		return nil
	}
	todo, done, total := c.drawn()
	var mu sync.Mutex // guards what follows, and the counts
	var said time.Time
	say := func() {
		if now := time.Now(); now.Sub(said) >= progressEvery {
			said = now
			c.o.Progress(Progress{Stage: StageData, Done: done, Total: total})
		}
	}
	say()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, r := range todo {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			o := r.object(c.vol)
			d, err := c.verify(gctx, o, nil)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			size := crypt.ObjectSize(o.length)
			done += size
			say()
			c.report.Counts.Read++
			c.report.Counts.ReadBytes += size
			if d != nil {
				r.damage = d
				return nil
			}
			return c.o.Notebook.add(r.name)
		})
	}
	err := g.Wait()
	if ferr := c.o.Notebook.flush(); err == nil {
		err = ferr
	}
	c.o.Progress(Progress{Stage: StageData, Done: done, Total: total})
	return err
}

// drawn are the packs to be read, in the order of their names, and how many bytes of
// those that are wanted were read by an earlier check, and are in all.
func (c *checker) drawn() (todo []*packRow, done, total int64) {
	var least *packRow
	lowest := uint64(math.MaxUint64)
	take := func(r *packRow) {
		size := crypt.ObjectSize(int64(r.length))
		total += size
		if c.o.Notebook.has(r.name) {
			c.report.Counts.Earlier++
			done += size
			return
		}
		todo = append(todo, r)
	}
	for _, r := range c.packs.byName() {
		if !r.needed || r.damage != nil {
			continue
		}
		lot := draw(c.o.Seed, r.name)
		if least == nil || lot < lowest {
			least, lowest = r, lot
		}
		if c.o.Data >= 1 || float64(lot) < c.o.Data*float64(math.MaxUint64) {
			take(r)
		}
	}
	if total == 0 && least != nil {
		take(least) // a sample is never of nothing
	}
	return todo, done, total
}

// draw is a number that hangs on seed and name alone, so that the same packs are drawn
// again by a check that goes on.
func draw(seed uint64, n crypt.Name) uint64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, seed), n[:]...))
	return binary.BigEndian.Uint64(sum[:])
}
