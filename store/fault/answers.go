package fault

import (
	"context"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/store"
)

// What a server may say, or fail to say, in place of doing what it was asked
// for. The words in brackets are those of S3.

// Reset breaks the connection before the request has arrived.
func Reset(context.Context, Request) Answer { return lost() }

// ServerError answers that the server failed (500).
func ServerError(context.Context, Request) Answer {
	return Answer{Err: fmt.Errorf("%w: server failed (500)", store.ErrUnavailable)}
}

// SlowDown answers that there are too many requests (503).
func SlowDown(context.Context, Request) Answer {
	return Answer{Err: fmt.Errorf("%w: server asks to slow down (503)", store.ErrUnavailable)}
}

// Forbidden answers that the caller may not do that (403).
func Forbidden(context.Context, Request) Answer {
	return Answer{Err: fmt.Errorf("%w: no permission (403)", store.ErrDenied)}
}

// Full answers that there is no room (507).
func Full(context.Context, Request) Answer {
	return Answer{Err: fmt.Errorf("%w (507)", store.ErrFull)}
}

// NoBucket answers that there is no such bucket (404).
func NoBucket(context.Context, Request) Answer {
	return Answer{Err: fmt.Errorf("%w: bucket does not exist (404)", store.ErrUnavailable)}
}

// Taken answers that the name is taken (412), whether or not it is.
func Taken(context.Context, Request) Answer {
	return Answer{Err: fmt.Errorf("%w (412)", store.ErrExist)}
}

// Duplicate has each object of a List twice. Other calls it passes on.
func Duplicate(ctx context.Context, r Request) Answer {
	a := r.Do(ctx)
	infos := make([]store.Info, 0, 2*len(a.Infos))
	for _, i := range a.Infos {
		infos = append(infos, i, i)
	}
	a.Infos = infos
	return a
}

// Without leaves the first n objects out of a List; where names count down, as those
// of slots do, they are the newest. Other calls it passes on.
func Without(n int) Action {
	return func(ctx context.Context, r Request) Answer {
		a := r.Do(ctx)
		a.Infos = a.Infos[min(n, len(a.Infos)):]
		return a
	}
}

// Backwards has the objects of a List in the wrong order. Other calls it passes on.
func Backwards(ctx context.Context, r Request) Answer {
	a := r.Do(ctx)
	slices.Reverse(a.Infos)
	return a
}

// Stale answers a List as it would have been before the last n objects were
// put through the bucket. Other calls it passes on.
func Stale(n int) Action {
	return func(ctx context.Context, r Request) Answer {
		if r.Op != List {
			return r.Do(ctx)
		}
		fresh := r.bucket.newest(n)
		limit := r.Max
		if limit <= 0 {
			limit = store.DefaultList
		}
		r.Max = limit + len(fresh)
		a := r.Do(ctx)
		a.Infos = slices.DeleteFunc(a.Infos, func(i store.Info) bool { return slices.Contains(fresh, i.Name) })
		a.Infos = a.Infos[:min(limit, len(a.Infos))]
		return a
	}
}

// newest returns the names of the n objects that were put last, or of all when
// there are fewer.
func (b *Bucket) newest(n int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for i := len(b.log) - 1; i >= 0 && len(names) < n; i-- {
		if b.log[i].Op == Put && b.log[i].Err == nil {
			names = append(names, b.log[i].Name)
		}
	}
	return names
}
