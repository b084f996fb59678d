package story

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// Failure is what is wrong in a story.
type Failure struct {
	Kind string // the same for failures of one cause, as far as can be told
	Text string
}

// Try plays something that may fail, as a test of its own that is not t: nil, it does
// not. A panic is a failure.
func Try(t testing.TB, play func(t testing.TB)) (f *Failure) {
	ctx, cancel := context.WithCancel(t.Context())
	x := &trial{TB: t, ctx: ctx}
	defer func() { f = x.first }()
	defer x.clean(cancel)
	defer func() {
		switch p := recover().(type) {
		case nil, ended:
		default:
			x.fail(fmt.Sprint("panic: ", p), fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	play(x)
	return nil
}

// ended is how a trial ends that failed.
type ended struct{}

// trial is a test that fails for itself.
type trial struct {
	testing.TB
	ctx   context.Context
	first *Failure
	after []func()
}

func (x *trial) fail(kind, text string) {
	if x.first == nil {
		x.first = &Failure{kind, text}
	}
}

// clean does what is to be done after it. What a panic left locked holds nobody up for
// ever.
func (x *trial) clean(cancel func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel()
		for _, fn := range slices.Backward(x.after) {
			func() {
				defer func() {
					if p := recover(); p != nil && p != any(ended{}) {
						x.fail("panic in the end", fmt.Sprintf("panic in the end: %v\n%s", p, debug.Stack()))
					}
				}()
				fn()
			}()
		}
	}()
	if x.first == nil || !strings.HasPrefix(x.first.Kind, "panic") {
		<-done
		return
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
}

func (x *trial) Fatalf(format string, args ...any) {
	x.fail(format, fmt.Sprintf(format, args...))
	panic(ended{})
}

func (x *trial) Fatal(args ...any) {
	x.fail("fatal", strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
	panic(ended{})
}

func (x *trial) FailNow() {
	x.fail("fails", "fails")
	panic(ended{})
}

func (x *trial) Errorf(format string, args ...any) { x.fail(format, fmt.Sprintf(format, args...)) }

func (x *trial) Error(args ...any) {
	x.fail("error", strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (x *trial) Fail()                    { x.fail("fails", "fails") }
func (x *trial) Failed() bool             { return x.first != nil }
func (x *trial) Log(...any)               {}
func (x *trial) Logf(string, ...any)      {}
func (x *trial) Context() context.Context { return x.ctx }
func (x *trial) Cleanup(fn func())        { x.after = append(x.after, fn) }

func (x *trial) TempDir() string {
	dir, err := os.MkdirTemp("", "story")
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
