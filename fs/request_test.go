package fs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A request hears of a signal signalGrace later, whoever asks, and is no goroutine's when it
// is answered: the bubble ends only when there is none left.
func TestPatientRequest(t *testing.T) {
	s := &Server{}
	synctest.Test(t, func(t *testing.T) {
		signal := make(chan struct{})
		ctx, end := s.ctx(signal)
		defer end()
		below, cancel := context.WithCancel(ctx)
		defer cancel()
		polled, endPolled := s.ctx(signal) // by who asks for nothing but Err
		defer endPolled()
		if err := errors.Join(ctx.Err(), below.Err(), polled.Err()); err != nil {
			t.Errorf("before the signal: %v", err)
		}
		close(signal)
		if err := s.atOnce(signal).Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("who is to hear of it at once hears %v", err)
		}
		if err := errors.Join(ctx.Err(), polled.Err()); err != nil {
			t.Errorf("with the signal: %v", err)
		}
		began := time.Now()
		<-below.Done()
		if after := time.Since(began); after != signalGrace {
			t.Errorf("heard after %v", after)
		}
		<-polled.Done()
		for what, ctx := range map[string]context.Context{"the request": ctx, "below it": below, "polled": polled} {
			if err := ctx.Err(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		for what, signal := range map[string]chan struct{}{"no signal": nil, "a signal": make(chan struct{})} {
			ctx, end := s.ctx(signal)
			done := ctx.Done()
			if signal != nil {
				close(signal)
			}
			synctest.Wait()
			end()
			select {
			case <-done:
				t.Errorf("%s, and answered: it ended", what)
			default:
			}
		}
		_, end := s.ctx(nil) // nobody asked
		end()
	})
}
