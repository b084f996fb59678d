package block

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
)

// fetch brings segments of f from the bucket: the one called first, and those
// behind it as far as they verify. The bucket is asked twice.
func (r *Reader) fetch(ctx context.Context, f *flight, first, count int) ([]*segment, parcel, error) {
	var why []error
	if first == f.asked[0] {
		why = f.why
	}
	for range 2 {
		got, p, err := r.request(ctx, f.o, first, count)
		switch {
		case err == nil:
			r.mended(f.o, got)
			return got, p, nil
		case ctx.Err() != nil:
			return nil, p, ctx.Err()
		case errors.Is(err, crypt.ErrForged), errors.Is(err, crypt.ErrVersion), errors.Is(err, store.ErrNotExist), errors.Is(err, ErrKey):
			why = append(why, fmt.Errorf("store: %w", err))
		default:
			if strings.Contains(err.Error(), f.o.Name.String()) {
				return nil, p, err // a store names what it was asked for
			}
			return nil, p, fmt.Errorf("%v %v: %w", f.o.Type, f.o.Name, err)
		}
	}
	d := &Damage{f.o, errors.Join(why...)}
	if !f.askedFor(first) {
		return nil, parcel{}, d // who wants this one asks for it, and is told then
	}
	if r.o.Gone(f.o) {
		return nil, parcel{}, ErrGone
	}
	r.damaged(f.o, first, d.Why)
	return nil, parcel{}, d
}

// request gets count segments, and the tail when it is not known, and checks
// them. It returns at least the first.
func (r *Reader) request(ctx context.Context, o Object, first, count int) (got []*segment, p parcel, err error) {
	if len(r.keys(o.Epoch)) == 0 {
		return nil, parcel{}, ErrKey
	}
	op, claimed, others := r.claim(o)
	found := sync.OnceFunc(func() {
		if claimed {
			r.unclaim(o)
		}
	})
	defer found()
	p, err = r.get(ctx, o, first, count, claimed)
	if err == nil && others != nil {
		op, p.tail, err = r.othersTail(ctx, o, others)
	}
	if err != nil {
		return nil, parcel{}, err
	}
	if op == nil {
		if op, err = r.unlock(o, p.tail); err != nil {
			return nil, parcel{}, err
		}
		r.keepOpener(op)
	}
	found()
	sealed := p.sealed
	for index := first; index < first+count; index++ {
		_, n := crypt.SegmentRange(o.Length, index)
		var s *segment
		if s, err = r.open(op, index, sealed[:min(n, int64(len(sealed)))]); err != nil {
			break // whoever wants that one asks for it alone
		}
		sealed = sealed[n:]
		got = append(got, s)
	}
	if len(got) == 0 {
		return nil, parcel{}, err
	}
	if len(sealed) > 0 || len(got) < count {
		p.sealed, p.joined = p.sealed[:len(p.sealed)-len(sealed)], nil
	}
	return got, p, nil
}

// get gets count sealed segments and, with tail, the tail: in one request where
// they are neighbours, else at the same time.
func (r *Reader) get(ctx context.Context, o Object, first, count int, tail bool) (parcel, error) {
	name := r.o.Place(o)
	off, _ := crypt.SegmentRange(o.Length, first)
	last, n := crypt.SegmentRange(o.Length, first+count-1)
	end, size := last+n, o.Size()
	p := parcel{first: first}
	if !tail {
		var err error
		p.sealed, err = r.o.Bucket.Get(ctx, name, off, end-off)
		return p, err
	}
	if first+count == o.segments() {
		b, err := r.o.Bucket.Get(ctx, name, off, size-off)
		if err != nil {
			return p, err
		}
		if int64(len(b)) != size-off {
			return p, crypt.ErrForged
		}
		p.sealed, p.tail, p.joined = b[:end-off:end-off], b[end-off:], b
		return p, nil
	}
	// Off line one of the two asks whether the store is back, and the other is told at once
	// that it is not: that must not end the one that asks, or nobody would ever hear.
	var g errgroup.Group
	g.Go(func() (err error) {
		p.tail, err = r.o.Bucket.Get(ctx, name, size-crypt.TailSize(o.Length), crypt.TailSize(o.Length))
		return err
	})
	g.Go(func() (err error) {
		p.sealed, err = r.o.Bucket.Get(ctx, name, off, end-off)
		return err
	})
	return p, g.Wait()
}

// claim returns what opens o when it is in memory. Else the tail is for the
// caller to fetch, until unclaim, or others is closed when somebody else has
// fetched it or failed.
func (r *Reader) claim(o Object) (op *opener, claimed bool, others chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if op, ok := r.openers.lru.Get(o); ok {
		return op, false, nil
	}
	if others := r.tails[o]; others != nil {
		return nil, false, others
	}
	r.tails[o] = make(chan struct{})
	return nil, true, nil
}

func (r *Reader) unclaim(o Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.tails[o])
	delete(r.tails, o)
}

// othersTail waits for the tail that somebody else fetches, and fetches it when
// that came to nothing: the other may have been cancelled.
func (r *Reader) othersTail(ctx context.Context, o Object, others chan struct{}) (*opener, []byte, error) {
	select {
	case <-others:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if op := r.opener(o); op != nil {
		return op, nil, nil
	}
	n := crypt.TailSize(o.Length)
	b, err := r.o.Bucket.Get(ctx, r.o.Place(o), o.Size()-n, n)
	return nil, b, err
}
