package block

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/retry"
)

// After an outage whoever reads finds out that the store is back, also when nobody but
// readers asks it anything, and each of them makes two requests at a time.
func TestReadersFindTheStoreBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		data := random(1<<20, 1)
		o := w.stored(crypt.TypePack, data)
		bucket := retry.Wrap(w.bucket, retry.Options{})
		r := w.readerOver(bucket)
		defer r.Close()
		w.bucket.Add(fault.On(fault.Get, 0, fault.Hang))
		if err := w.read(r, o, data, 0, 4096); err == nil || bucket.Offline() == nil {
			t.Fatalf("it hangs: %v, %v", err, bucket.Offline())
		}
		w.bucket.Clear()
		w.bucket.Add(fault.On(fault.Get, 0, fault.Slow(100*time.Millisecond)))
		var err error
		for range 3 {
			time.Sleep(1100 * time.Millisecond)
			if err = w.read(r, o, data, 0, 4096); err == nil {
				return
			}
		}
		t.Errorf("the store has been back for a while: %v", err)
	})
}

// What a read fails with names the object once, whether the store does or not.
func TestReadErrorNamesTheObjectOnce(t *testing.T) {
	w := newWorld(t)
	data := random(1<<20, 1)
	o := w.stored(crypt.TypePack, data)
	r := w.reader()
	defer r.Close()
	for _, why := range []error{store.ErrUnavailable, fmt.Errorf("get v0/%v: %w", o.Name, store.ErrUnavailable)} {
		w.bucket.Clear()
		w.bucket.Add(fault.On(fault.Get, 0, fault.Fail(why)))
		err := w.read(r, o, data, 0, 4096)
		if !errors.Is(err, store.ErrUnavailable) || strings.Count(err.Error(), o.Name.String()) != 1 {
			t.Errorf("%v", err)
		}
	}
}
