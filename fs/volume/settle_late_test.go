package volume

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// A mount does not take for a slow line what is none, however long the line took before:
// the commit that was on its way has arrived, and the disk does not take the note of it.
func TestMountTellsWhatFailedBehindASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		killedSending(w, w.laptop, 1)
		w.laptop.bucket = fault.Wrap(w.objects, fault.On(fault.Put, 1, func(_ context.Context, r fault.Request) fault.Answer {
			time.Sleep(sendLimit + time.Second)
			return r.Do(context.Background())
		}).Prefix(w.prefix("l")))
		away := w.laptop.state() + " away"
		w.laptop.step = func(name string) {
			if name == "sync.taken" {
				if err := os.Rename(w.laptop.state(), away); err != nil {
					t.Error(err)
				}
			}
		}
		if err := w.laptop.open(); !errors.Is(err, os.ErrNotExist) || errors.Is(err, store.ErrTimeout) {
			t.Errorf("mounted, or it tells of something else: %v", err)
		}
		w.laptop.step = nil
		w.laptop.crash()
		if err := os.Rename(away, w.laptop.state()); err != nil {
			t.Fatal(err)
		}
		w.laptop.bucket = w.objects
		as(w.laptop, read("d/0", strings.Repeat(big, 20)), drained)
		w.checkOps(0)
	})
}
