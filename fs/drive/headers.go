package drive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/store"
)

// headersMax is how many headers are looked at, newest first. Whoever can write
// to the bucket can put junk in front of the good one.
const headersMax = 16

// Peek returns the ids of the drives that b may hold, without any secret: those
// of which this machine has a header under stateRoot first, then by age of the
// header, newest first. Nothing vouches for them. Where no header in b can be
// read they are this machine's own that lie there. Errors are those of Unlock.
func Peek(ctx context.Context, b store.Bucket, stateRoot string) ([]ID, error) {
	found, err := headers(ctx, b, &passed{log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil && !lockedOut(err) {
		return nil, err
	}
	kept := copies(stateRoot)
	if err != nil {
		here, herr := lying(ctx, b, kept)
		if herr != nil {
			return nil, herr
		}
		found = here
	}
	known := map[ID]bool{}
	for _, c := range kept {
		known[c.Drive] = true
	}
	var ids []ID
	for _, h := range found {
		if id := ID(h.Drive); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, err
	}
	slices.SortStableFunc(ids, func(x, y ID) int {
		switch {
		case known[x] == known[y]:
			return 0
		case known[x]:
			return -1
		}
		return 1
	})
	return ids, nil
}

// passed are the headers that are passed over on the way to one that opens. Strangers
// put them there, or changed what was there.
type passed struct {
	log   *slog.Logger
	n     int
	first error // says which, and why
}

// over notes one.
func (p *passed) over(name string, err error) {
	p.log.Warn("header passed over", "object", name, "err", err)
	if p.n++; p.n == 1 {
		p.first = fmt.Errorf("%s: %w", name, err)
	}
}

// headers returns the headers that decode, newest first: one at least, or an
// error. Where the newest of them is enough the others are not fetched; nil: it never is.
// What does not decode or cannot be read is noted in over.
func headers(ctx context.Context, b store.Bucket, over *passed, enough func(*keyslot.Header) bool) ([]*keyslot.Header, error) {
	page, err := b.List(ctx, keyslot.Prefix, "", headersMax)
	if err != nil {
		return nil, fmt.Errorf("look for a drive: %w", err)
	}
	if len(page) == 0 {
		return nil, nothing(ctx, b)
	}
	names := make([]string, 0, len(page)+1)
	for _, i := range page {
		names = append(names, i.Name)
	}
	// Whatever strangers put in front, the first header cannot be displaced, and
	// it serves until slots are changed. It comes second.
	if first := keyslot.ObjectName(1); !slices.Contains(names, first) {
		names = slices.Insert(names, 1, first)
	}
	var found []*keyslot.Header
	var failed error
	newer := false
	for _, name := range names {
		raw, err := b.Get(ctx, name, 0, keyslot.MaxSize+1)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			// One that cannot be read may hide behind one that can.
			over.over(name, err)
			if failed == nil && !errors.Is(err, store.ErrNotExist) {
				failed = fmt.Errorf("read the drive header: %w", err)
			}
			continue
		}
		h, err := keyslot.DecodeObject(name, raw)
		if err != nil {
			newer = newer || errors.Is(err, keyslot.ErrNewer)
			over.over(name, err)
			continue
		}
		found = append(found, h)
		if len(found) == 1 && enough != nil && enough(h) {
			break
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case failed != nil:
		return nil, failed
	case newer:
		return nil, ErrNewer
	}
	return nil, fmt.Errorf("%w: %s, and %d in all", keyslot.ErrHeader, names[0], len(page))
}

// nothing says what a store without a header holds instead.
func nothing(ctx context.Context, b store.Bucket) error {
	// A volume first: it is what would have to be mounted.
	for _, look := range []struct {
		prefix string
		is     error
	}{
		{"v0/s/", ErrBare},
		{"v1/", fmt.Errorf("%w: v1", ErrNewer)},
		{"v2/", fmt.Errorf("%w: v2", ErrNewer)},
	} {
		page, err := b.List(ctx, look.prefix, "", 1)
		if err != nil {
			return fmt.Errorf("look for a drive: %w", err)
		}
		if len(page) > 0 {
			return look.is
		}
	}
	return ErrNoDrive
}
