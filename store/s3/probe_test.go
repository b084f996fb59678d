package s3_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/probe"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Real servers pass again and again: at once, with 20 to 60 ms on the way there and
// back, which pulls the racers apart, and when two test at a time.
func TestProbeRepeatedly(t *testing.T) {
	for _, k := range s3test.Kinds {
		t.Run(string(k), func(t *testing.T) {
			b := s3test.Start(t, k).Open(t)
			// Before and after it is done, each time another while.
			far := func(ctx context.Context, r fault.Request) fault.Answer {
				on := func() { time.Sleep(10*time.Millisecond + rand.N(20*time.Millisecond)) }
				on()
				defer on()
				return r.Do(ctx)
			}
			for name, way := range map[string]*fault.Bucket{
				"at once":  fault.Wrap(b),
				"far away": fault.Wrap(b, fault.On(fault.Put, 0, far), fault.On(fault.Get, 0, far), fault.On(fault.List, 0, far)),
			} {
				for range 2 {
					v, err := probe.Run(t.Context(), way, probe.Options{})
					if err != nil || !v.Good() || v.Leftover > 0 {
						t.Errorf("%s: %v, %v", name, v, err)
					}
				}
			}
			// Two at a time are two machines that find the server on one day.
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if v, err := probe.Run(t.Context(), b, probe.Options{}); err != nil || !v.Good() {
						t.Errorf("two at a time: %v, %v", v, err)
					}
				})
			}
			wg.Wait()
		})
	}
}
