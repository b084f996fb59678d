package volume

import (
	"context"
	"fmt"
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// squeezed knows files with very many extents that were written anew with few: a copy of
// such a file after a conflict must fit into one commit. It has a lock of its own, taken
// after all others. The zero value is ready, but for v.
type squeezed struct {
	v *Volume

	mu    sync.Mutex // guards the field below; nothing is taken after it
	known map[uint64][]meta.Extent
}

const (
	// squeezedMost is how many stretches a file is written anew as. Each may be some
	// extents.
	squeezedMost = 4 << 10

	// squeezedHole is the least length of a hole, in bytes, that stays one where there are
	// too many.
	squeezedHole = 4 << 10
)

// crowded says that a file has to be written anew. It is an ErrUnknown.
type crowded struct {
	s *squeezed
	c meta.Content
}

func (c *crowded) Error() string { return "a file of very many extents is not written anew yet" }
func (c *crowded) Unwrap() error { return meta.ErrUnknown }

// squeeze returns fewer extents with the bytes of a content, or answers a crowded.
func (s *squeezed) squeeze(c meta.Content) ([]meta.Extent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list, ok := s.known[c.Version]; ok {
		return list, nil
	}
	return nil, &crowded{s, c}
}

// Fetch writes the file anew.
func (c *crowded) Fetch(ctx context.Context) error {
	buf := make([]byte, pack.Size)
	out := dirty{}
	for _, s := range stretches(c.c.Extents) {
		for off := s.Off; off < s.End(); off += uint64(len(buf)) {
			dst := buf[:min(uint64(len(buf)), s.End()-off)]
			var runs dirty
			within(c.c.Extents, off, off+uint64(len(dst)), runs.push)
			if err := c.s.v.readRuns(ctx, runs.extents, off, dst); err != nil {
				return fmt.Errorf("write a file of %d extents anew: %w", len(c.c.Extents), err)
			}
			locs, err := c.s.v.packs.Append(ctx, dst)
			if err != nil {
				return fmt.Errorf("write a file of %d extents anew: %w", len(c.c.Extents), err)
			}
			at := off
			for _, l := range locs {
				out.push(meta.Extent{Off: at, Len: uint64(l.Len), Pack: l.Pack, PackOff: l.Off})
				at += uint64(l.Len)
			}
		}
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.known == nil {
		c.s.known = map[uint64][]meta.Extent{}
	}
	c.s.known[c.c.Version] = out.extents
	return nil
}

// stretches joins extents over the holes between them, the short ones first, until they
// are few.
func stretches(list []meta.Extent) []meta.Extent {
	for hole := uint64(0); ; hole = max(squeezedHole, 2*hole) {
		var out []meta.Extent
		for _, e := range list {
			if n := len(out); n > 0 && e.Off-out[n-1].End() <= hole {
				out[n-1].Len = e.End() - out[n-1].Off
				continue
			}
			out = append(out, meta.Extent{Off: e.Off, Len: e.Len})
		}
		if len(out) <= squeezedMost {
			return out
		}
	}
}

// needed adds the packs of what was written anew and stands in no operation yet.
func (s *squeezed) needed(packs map[meta.PackNo]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.known {
		for _, e := range list {
			packs[e.Pack] = true
		}
	}
}

// used forgets all: it stands in operations now, or is not wanted.
func (s *squeezed) used() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
}
