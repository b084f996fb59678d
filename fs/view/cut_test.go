package view

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// Cuts against a plain array of slots.
func TestCutMore(t *testing.T) {
	n := seed(t)
	rng := rand.New(rand.NewPCG(n, 3))
	for range 300 {
		const size = 40
		var want [size]uint64
		var cuts []cut
		for slot := uint64(1); slot < 12; slot++ {
			var ranges []meta.Range
			for at := rng.IntN(8); at < size-1; {
				to := min(size-1, at+1+rng.IntN(9))
				ranges = append(ranges, meta.Range{From: meta.ExtentKey(1, uint64(at)), To: meta.ExtentKey(1, uint64(to))})
				for i := at; i < to; i++ {
					want[i] = slot
				}
				at = to + rng.IntN(12)
			}
			cuts = cutMore(cuts, ranges, slot)
			var got [size]uint64
			for i, c := range cuts {
				if bytes.Compare(c.From, c.To) >= 0 || i > 0 && bytes.Compare(cuts[i-1].To, c.From) > 0 {
					t.Fatalf("cuts are not sorted and disjoint: %x", cuts)
				}
				for k := range size {
					if c.Contains(meta.ExtentKey(1, uint64(k))) {
						got[k] = c.slot
					}
				}
			}
			if got != want {
				t.Fatalf("slots\n%v, want\n%v", got, want)
			}
		}
	}
}

// Many small ranges, as a writer can put into a few commits, cost no more than they are.
func BenchmarkManyCuts(b *testing.B) {
	for b.Loop() {
		c := NewConfirmed(0, nil, meta.Usage{})
		for slot := range uint64(4) {
			batch := &meta.Batch{}
			for i := range uint64(26000) {
				from := 1 + slot*52000 + 2*i
				batch.Ranges = append(batch.Ranges, meta.Range{From: meta.ExtentKey(7, from), To: meta.ExtentKey(7, from+1)})
			}
			c.Apply(slot+1, batch, meta.Delta{})
		}
	}
}
