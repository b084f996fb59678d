package fs

import (
	"context"
	"sync"
	"time"
)

// signalGrace is for how long a program that waits hears nothing of a signal. Runtimes send
// themselves signals all the time, and timers ring: nobody expects that stat or fsync fails
// with EINTR because the store was two round trips away. Data bases take it for a broken
// disk, and a program that was told so of mkdir calls again and meets its own name.
const signalGrace = 5 * time.Second

// interrupted is the context of one request: it ends when the program that waits gets
// a signal.
type interrupted struct {
	context.Context
	cancel <-chan struct{}
}

// atOnce is the context of what programs end by a signal on purpose, as flock --timeout does.
func (s *Server) atOnce(cancel <-chan struct{}) context.Context {
	return interrupted{context.Background(), cancel}
}

func (c interrupted) Done() <-chan struct{} { return c.cancel }

func (c interrupted) Err() error { return ended(c.cancel) }

func ended(by <-chan struct{}) error {
	select {
	case <-by:
		return context.Canceled
	default:
		return nil
	}
}

// patient is interrupted, signalGrace later. Most requests wait for nothing, so it listens
// for the signal only when somebody asks.
type patient struct {
	interrupted
	asked    sync.Once
	heard    chan struct{} // closed signalGrace after the signal
	answered chan struct{}
}

// ctx is the context of a request; end is called when it is answered.
func (s *Server) ctx(cancel <-chan struct{}) (ctx context.Context, end context.CancelFunc) {
	c := &patient{interrupted: interrupted{context.Background(), cancel}}
	return c, c.end
}

func (c *patient) Done() <-chan struct{} {
	c.asked.Do(func() {
		c.heard, c.answered = make(chan struct{}), make(chan struct{})
		go c.listen()
	})
	return c.heard
}

func (c *patient) Err() error {
	if ended(c.cancel) == nil {
		return nil
	}
	return ended(c.Done())
}

func (c *patient) end() {
	c.asked.Do(func() {}) // nobody is to ask from now on
	if c.answered != nil {
		close(c.answered)
	}
}

func (c *patient) listen() {
	select {
	case <-c.cancel:
	case <-c.answered:
		return
	}
	select {
	case <-time.After(signalGrace):
		close(c.heard)
	case <-c.answered:
	}
}
