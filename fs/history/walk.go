package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// Walk says which part of the history is told, and in which order.
type Walk struct {
	Path   string // within the drive: only what concerns it, or lies below it; empty: all
	Onward bool   // the oldest first
}

// Each calls fn for commits, the newest first or the oldest, until it returns false.
//
// A path that there is now means the file or directory that has it, whatever it was
// called before; another means whatever was called so, then.
func (h *History) Each(ctx context.Context, w Walk, fn func(Entry) bool) error {
	only, err := h.scope(ctx, w.Path)
	if err != nil {
		return err
	}
	tell := func(e Entry) bool {
		if only != nil && !only.keep(&e) {
			return true
		}
		return fn(e)
	}
	if w.Onward {
		return h.up(ctx, tell)
	}
	return h.down(ctx, tell)
}

// down tells the newest first.
func (h *History) down(ctx context.Context, tell func(Entry) bool) error {
	n := &naming{}
	return h.stretches(ctx, func(s *stretch) (bool, error) {
		entries, err := h.descend(ctx, s, n)
		if err != nil {
			return false, err
		}
		for d := range entries {
			if !tell(d) {
				return false, nil
			}
		}
		return true, nil
	})
}

// descend tells of a stretch, the newest first, and takes the names n back with it. An
// n without an index is first made from the state above.
func (h *History) descend(ctx context.Context, s *stretch, n *naming) (iter.Seq[Entry], error) {
	if err := h.begin(ctx, n, h.above(s)); err != nil {
		return nil, err
	}
	all, err := h.read(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := n.seed(ctx, h.above(s), wanted(all)); err != nil && !unreadable(err) {
		return nil, err
	}
	return func(yield func(Entry) bool) {
		for _, d := range slices.Backward(all) {
			if !yield(h.tell(d, n, false)) {
				return
			}
		}
		if s.holed() {
			n.index = nil // what the missing commits did to names is not known
		}
	}, nil
}

// begin makes the index of names from a state, if there is none. Names that cannot be
// read are not known.
func (h *History) begin(ctx context.Context, n *naming, state meta.Reader) error {
	if n.index != nil {
		return nil
	}
	n.index = meta.NewNames()
	if err := n.index.Add(look(ctx, state), nil); err != nil && !unreadable(err) {
		return err
	}
	return nil
}

// up tells the oldest first. It goes down to find where the stretches begin, and
// remembers no more of them than that.
func (h *History) up(ctx context.Context, tell func(Entry) bool) error {
	parts, err := h.parts(ctx)
	if err != nil {
		return err
	}
	n := &naming{}
	for i := range slices.Backward(parts) {
		s, err := h.part(ctx, parts, i)
		if err != nil {
			return err
		}
		if s.holed() {
			// From above more is known of names than from below.
			entries, err := h.descend(ctx, s, &naming{})
			if err != nil {
				return err
			}
			all := slices.Collect(entries)
			for _, e := range slices.Backward(all) {
				if !tell(e) {
					return nil
				}
			}
			n.index = nil
			continue
		}
		below := h.below(s, false)
		if err := h.begin(ctx, n, below); err != nil {
			return err
		}
		all, err := h.read(ctx, s)
		if err != nil {
			return err
		}
		if err := n.seed(ctx, below, wanted(all)); err != nil && !unreadable(err) {
			return err
		}
		for _, d := range all {
			if !tell(h.tell(d, n, true)) {
				return nil
			}
		}
	}
	return nil
}

// part is where a stretch ends, and which commit announces the checkpoint that it begins
// with; slot 0: it begins at slot 0.
type part struct{ top, announced chain.Link }

// parts are those of all stretches, the newest first.
func (h *History) parts(ctx context.Context) ([]part, error) {
	parts := []part{{chain.Link{Slot: h.state.Slot, ID: h.state.Head}, h.state.Announced()}}
	for at := h.state.Announced(); at.Slot > 0; {
		c, err := h.announcing(ctx, at)
		if err != nil || c == nil {
			return parts, err
		}
		at = c.Checkpoint.Before
		parts = append(parts, part{c.Checkpoint.Link, at})
	}
	return parts, nil
}

// part makes one of the stretches.
func (h *History) part(ctx context.Context, parts []part, i int) (s *stretch, err error) {
	p := parts[i]
	s = &stretch{top: p.top}
	if p.announced.Slot > 0 {
		if s.base, err = h.announcing(ctx, p.announced); err != nil {
			return nil, err
		}
		if s.base == nil {
			s.lost = p.announced
		}
	}
	if i > 0 {
		c, err := h.announcing(ctx, parts[i-1].announced)
		if err != nil {
			return nil, err
		}
		if c != nil {
			s.fold = c.Checkpoint
		}
	}
	return s, h.fill(ctx, s)
}

func unreadable(err error) bool { return damaged(err) || errors.Is(err, errBlind) }

// read tells what each commit of a stretch did. Where the metadata below it cannot be
// read, what there was before is not known.
func (h *History) read(ctx context.Context, s *stretch) ([]*diff, error) {
	all, err := h.diffs(ctx, s, h.below(s, false))
	if damaged(err) {
		return h.diffs(ctx, s, h.below(s, true))
	}
	return all, err
}

// scope is a part of the tree.
type scope struct {
	ino  uint64 // 0: nothing has the path now
	path string
}

// ErrPath: a path that cannot be one of the drive.
var ErrPath = errors.New("not a path in the drive")

// scope finds what a path means; nil: everything.
func (h *History) scope(ctx context.Context, path string) (*scope, error) {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		switch p {
		case "", ".":
		case "..":
			return nil, ErrPath
		default:
			if err := meta.CheckName([]byte(p)); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrPath, err)
			}
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	at := meta.RootRef
	for _, p := range parts {
		err := look(ctx, h.loaded.Confirmed)(func(r meta.Reader) error {
			d, err := meta.Lookup(r, at.Ino, []byte(p))
			if err == nil {
				at = d.Ref
			}
			return err
		})
		if errors.Is(err, meta.ErrNotExist) {
			return &scope{path: "/" + strings.Join(parts, "/")}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return &scope{ino: uint64(at.Ino), path: "/" + strings.Join(parts, "/")}, nil
}

// keep drops the changes and leases that do not concern the scope, and says whether any is
// left.
func (s *scope) keep(e *Entry) bool {
	e.Changes = slices.DeleteFunc(e.Changes, func(c Change) bool { return !s.concerns(c) })
	e.Leases = slices.DeleteFunc(e.Leases, func(l Leasing) bool { return uint64(l.ino) != s.ino && !s.in(l.Path) })
	return len(e.Changes)+len(e.Leases) > 0
}

func (s *scope) in(path string) bool { return path == s.path || strings.HasPrefix(path, s.path+"/") }

func (s *scope) concerns(c Change) bool {
	if s.ino != 0 {
		return c.Inode == s.ino || slices.Contains(c.ways[0], s.ino) || slices.Contains(c.ways[1], s.ino)
	}
	return s.in(c.Path) || c.From != "" && s.in(c.From)
}
