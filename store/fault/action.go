package fault

import (
	"context"
	"slices"
	"time"

	"github.com/hushfs/hushfs/store"
)

// A Request is one call on its way to the store.
type Request struct {
	Op          Op
	Name        string // for a List, the prefix
	Data        []byte // Put; the caller's, so never changed in place
	Off, Length int64  // Get
	After       string // List
	Max         int    // List

	bucket *Bucket // whose store Do asks
}

// An Answer is what comes back.
type Answer struct {
	Data  []byte       // Get
	Infos []store.Info // List
	Err   error
}

// Do passes the request, as it now is, on to the store.
func (r Request) Do(ctx context.Context) Answer {
	var a Answer
	switch s := r.bucket.store; r.Op {
	case Put:
		a.Err = s.PutIfAbsent(ctx, r.Name, r.Data)
	case Get:
		a.Data, a.Err = s.Get(ctx, r.Name, r.Off, r.Length)
	case List:
		a.Infos, a.Err = s.List(ctx, r.Name, r.After, r.Max)
	case Delete:
		a.Err = s.Delete(ctx, r.Name)
	}
	return a
}

// An Action answers a request in the store's stead; Request.Do asks the store
// itself. It may be called at the same time as itself.
type Action func(ctx context.Context, r Request) Answer

// Pass changes nothing. As an early rule it keeps a call from later ones.
func Pass(ctx context.Context, r Request) Answer {
	return r.Do(ctx)
}

// Fail does nothing and answers err.
func Fail(err error) Action {
	return func(context.Context, Request) Answer { return Answer{Err: err} }
}

// LostAnswer does what was asked, and then the connection breaks.
func LostAnswer(ctx context.Context, r Request) Answer {
	r.Do(ctx)
	return lost()
}

// Late breaks the connection while the request is still on its way: it is
// done when the test calls Deliver.
func Late(_ context.Context, r Request) Answer {
	r.Data = slices.Clone(r.Data)
	r.bucket.keep(r)
	return lost()
}

// Twice does what was asked two times and gives the second answer, as a
// client does that tries again by itself: a put that won answers ErrExist.
func Twice(ctx context.Context, r Request) Answer {
	r.Do(ctx)
	return r.Do(ctx)
}

// Hang does nothing, and answers when ctx ends.
func Hang(ctx context.Context, _ Request) Answer {
	<-ctx.Done()
	return Answer{Err: ctx.Err()}
}

// Delay waits until gate can be received from, best by being closed, and then
// does what was asked. When ctx ends first, nothing is done.
func Delay(gate <-chan struct{}) Action {
	return func(ctx context.Context, r Request) Answer {
		select {
		case <-gate:
			return r.Do(ctx)
		case <-ctx.Done():
			return Answer{Err: ctx.Err()}
		}
	}
}

// Slow does what was asked, and answers so much later. When ctx ends first, it was
// done and its answer is lost.
func Slow(d time.Duration) Action {
	return func(ctx context.Context, r Request) Answer {
		a := r.Do(ctx)
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return a
		case <-ctx.Done():
			return Answer{Err: ctx.Err()}
		}
	}
}

// Partial breaks the connection in the middle. Of a Put half of the bytes are stored,
// which no store should do; of all else nothing is done.
func Partial(ctx context.Context, r Request) Answer {
	if r.Op == Put {
		r.Data = r.Data[:len(r.Data)/2]
		r.Do(ctx)
	}
	return lost()
}

// FlipBit changes one bit of what a Get returns or a Put stores: bit n%8 of
// byte n/8, where n is first reduced to the number of bits there are. Empty
// data stays as it is, and so do List and Delete.
func FlipBit(n int) Action {
	return onData(func(data []byte) []byte {
		if bits := 8 * len(data); bits > 0 {
			i := (n%bits + bits) % bits
			data[i/8] ^= 1 << (i % 8)
		}
		return data
	})
}

// Truncate keeps the first n bytes of what a Get returns or a Put stores, or
// the first n objects of a List; n below 0 cuts off the last -n instead.
func Truncate(n int) Action {
	cut := onData(func(data []byte) []byte { return data[:atMost(len(data), n)] })
	return func(ctx context.Context, r Request) Answer {
		a := cut(ctx, r)
		a.Infos = a.Infos[:atMost(len(a.Infos), n)]
		return a
	}
}

// atMost is how many of have Truncate keeps.
func atMost(have, n int) int {
	if n < 0 {
		n = max(have+n, 0)
	}
	return min(have, n)
}

// onData applies change to the data on its way in or out. Change owns what it
// is given.
func onData(change func([]byte) []byte) Action {
	return func(ctx context.Context, r Request) Answer {
		if r.Op == Put {
			r.Data = change(slices.Clone(r.Data))
		}
		a := r.Do(ctx)
		if r.Op == Get && a.Err == nil {
			a.Data = change(a.Data)
		}
		return a
	}
}

// Swap does what was asked, but to another object.
func Swap(otherName string) Action {
	return func(ctx context.Context, r Request) Answer {
		r.Name = otherName
		return r.Do(ctx)
	}
}

// Missing answers as if the object were not there: ErrNotExist to a Get and
// nothing to a List. A Put or Delete is acknowledged and not done.
func Missing(_ context.Context, r Request) Answer {
	if r.Op == Get {
		return Answer{Err: store.ErrNotExist}
	}
	return Answer{}
}

func lost() Answer { return Answer{Err: store.ErrUnavailable} }
