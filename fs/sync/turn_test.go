package sync_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store/fault"
)

// A command that is ended does not wait until another's request is answered.
func TestWhoGivesUpWaitsForNobody(t *testing.T) {
	folds := func(ctx context.Context, s *sync.Syncer) error { return s.Fold(ctx) }
	for name, c := range map[string]struct {
		asks      fault.Op
		busy, act func(context.Context, *sync.Syncer) error
	}{
		"to name a new ledger object, while others are followed": {
			fault.Get,
			func(ctx context.Context, s *sync.Syncer) error { return s.FollowNow(ctx) },
			func(ctx context.Context, s *sync.Syncer) error { return s.ForgetLedger(ctx) },
		},
		"to fold, while it is folded": {fault.Put, folds, folds},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			h.commit(1)
			f := h.follower()
			asked, answer, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			hang := func(ctx context.Context, r fault.Request) fault.Answer {
				close(asked)
				return fault.Delay(answer)(ctx, r)
			}
			f.store.Add(fault.On(c.asks, 1, hang))
			go func() { done <- c.busy(t.Context(), f.Syncer) }()
			<-asked
			late := time.AfterFunc(20*time.Second, func() { close(answer) }) // for who waits all the same
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.act(gone, f.Syncer); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want that it was given up", err)
			}
			if late.Stop() {
				close(answer)
			} else {
				t.Error("it waited")
			}
			<-done
		})
	}
}
