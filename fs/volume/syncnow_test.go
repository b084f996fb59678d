package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// A sync that is not to be patient says soon that the store takes nothing, though it
// answers; one that is waits. The status says so in words for people, and all goes on when
// the store takes it.
func TestSyncWhereNothingIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		why        error
		text, next string
	}{
		"full":    {fmt.Errorf("%w: no space left on device", store.ErrFull), "the store is full: no space left on device", "make room in the store"},
		"quota":   {store.ErrFull, "the store is full", "make room in the store"},
		"refuses": {fmt.Errorf("%w: permission denied", store.ErrDenied), "the store refuses: permission denied", "check the permissions of the store"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				as(w.laptop, write("a", "1"), drained)
				w.laptop.run()
				v := w.laptop.v
				if s := v.Status(); s.NotTaken != "" || v.Refusal() != nil {
					t.Errorf("a store that takes all: %q, %v", s.NotTaken, v.Refusal())
				}
				w.faults.Add(fault.On(fault.Put, 1, fault.Fail(c.why)).Onwards())
				as(w.laptop, write("b", "2"))
				time.Sleep(10 * time.Minute) // virtual: by now it is tried every 30 s
				soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, _, err := v.Sync(soon, false); !errors.Is(err, c.why) || soon.Err() != nil || err.Error() != c.text {
					t.Errorf("sync says %v", err)
				}
				later, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, _, err := v.Sync(later, true); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a patient sync says %v", err)
				}
				s := v.Status()
				if s.NotTaken != c.text || s.NotTakenNext != c.next || s.Stored || s.Stopped != "" || strings.Contains(strings.Join(s.Warnings, " "), "upload") {
					t.Errorf("status: %+v", s)
				}
				if strings.Contains(s.Offline, "full") {
					t.Errorf("a full store cannot be reached: %q", s.Offline)
				}
				// That it was refused before says nothing of now: with room it takes a while, and ends well.
				synctest.Wait()
				w.faults.Clear()
				w.faults.Add(fault.On(fault.Put, 1, fault.Slow(20*time.Second)).Onwards())
				if _, _, err := v.Sync(t.Context(), false); err != nil {
					t.Errorf("with room: %v", err)
				}
				if s := v.Status(); s.NotTaken != "" || s.NotTakenNext != "" || !s.Stored {
					t.Errorf("with room: %+v", s)
				}
				w.faults.Clear()
				as(w.laptop, lock)
			})
		})
	}
}
