package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hushfs/hushfs/store"
)

const (
	racers = 16
	rounds = 6
)

// raceSize returns the length of the bodies of a round. Stores have been seen
// that keep one winner while bodies are small and not when they are long.
func raceSize(round int) int {
	if round%3 == 2 {
		return 300 << 10
	}
	return 1 << 10
}

func cancelled(ctx context.Context, b store.Bucket) error {
	if err := b.PutIfAbsent(ctx, "v0/a", body(10, 1)); err != nil {
		return err
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, get := b.Get(gone, "v0/a", 0, -1)
	_, list := b.List(gone, "", "", 0)
	for op, err := range map[string]error{
		"put":                b.PutIfAbsent(gone, "v0/b", body(10, 1)),
		"put of a taken one": b.PutIfAbsent(gone, "v0/a", body(10, 1)),
		"get":                get,
		"list":               list,
		"delete":             b.Delete(gone, "v0/a"),
	} {
		if err := wantErr(op, err, context.Canceled); err != nil {
			return err
		}
	}
	return wantNames(ctx, b, "", "v0/a")
}

func oneWins(ctx context.Context, b store.Bucket) error {
	for round := range rounds {
		if err := race(ctx, b, fmt.Sprintf("v0/l/%d", round), raceSize(round)); err != nil {
			return fmt.Errorf("round %d, %d bytes: %w", round, raceSize(round), err)
		}
	}
	return nil
}

// race lets all racers put their own body under the name at once.
func race(ctx context.Context, b store.Bucket, name string, size int) error {
	bodies := make([][]byte, racers)
	for i := range bodies {
		bodies[i] = body(size, uint64(i))
	}
	errs := make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			<-start
			errs[i] = b.PutIfAbsent(ctx, name, bodies[i])
		})
	}
	close(start)
	wg.Wait()
	winner, winners := 0, 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case !errors.Is(err, store.ErrExist) && !errors.Is(err, store.ErrUnavailable):
			return wantErr("a loser", err, store.ErrExist)
		}
	}
	if winners != 1 {
		return fmt.Errorf("%d of %d racers won", winners, racers)
	}
	if err := wantBody(ctx, b, name, bodies[winner]); err != nil {
		return fmt.Errorf("the winner's: %w", err)
	}
	return wantErr("put after the race", b.PutIfAbsent(ctx, name, bodies[winner]), store.ErrExist)
}

func allOrNothing(ctx context.Context, b store.Bucket) error {
	for round := range 3 {
		name := fmt.Sprintf("v0/n/l/%d", round)
		var racing atomic.Bool
		racing.Store(true)
		seen := make([][]byte, 4) // by each reader, first
		errs := make([]error, len(seen))
		var readers sync.WaitGroup
		for i := range seen {
			readers.Go(func() {
				for racing.Load() && errs[i] == nil {
					got, err := b.Get(ctx, name, 0, -1)
					switch {
					case errors.Is(err, store.ErrNotExist) && seen[i] == nil:
					case err != nil:
						errs[i] = fmt.Errorf("reader: %w", err)
					case seen[i] == nil:
						seen[i] = got
					case !bytes.Equal(seen[i], got):
						errs[i] = fmt.Errorf("reader: the object changed from %d to %d bytes", len(seen[i]), len(got))
					}
				}
			})
		}
		err := race(ctx, b, name, 300<<10)
		racing.Store(false)
		readers.Wait()
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		want, err := b.Get(ctx, name, 0, -1)
		if err != nil {
			return err
		}
		for _, got := range seen {
			if got != nil && !bytes.Equal(got, want) {
				return fmt.Errorf("reader: %d bytes that are not the winner's", len(got))
			}
		}
	}
	return nil
}
