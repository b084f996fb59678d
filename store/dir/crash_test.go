package dir

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/hushfs/hushfs/store"
)

var steps = []step{stepCreate, stepWrite, stepSync, stepFolders, stepLink, stepUnlink, stepSettle}

const crashName = "v0/s/00/l/ff"

// The process dies before each step of a put, and another begins with what is
// in the directory: the object is whole or absent, and the same put again
// says which it was and ends with the object there.
func TestCrashAtEveryStep(t *testing.T) {
	var seen []step
	b := open(t, t.TempDir(), Options{})
	b.step = func(s step) error {
		seen = append(seen, s)
		clone := t.TempDir()
		if err := os.CopyFS(clone, b.root.FS()); err != nil {
			t.Fatal(err)
		}
		linked := s == stepUnlink || s == stepSettle
		after := open(t, clone, Options{})
		_, err := after.Get(t.Context(), crashName, 0, -1)
		if linked && err != nil || !linked && !errors.Is(err, store.ErrNotExist) {
			t.Errorf("before %s: get: %v", s, err)
		}
		err = after.PutIfAbsent(t.Context(), crashName, []byte("data"))
		if linked && !errors.Is(err, store.ErrExist) || !linked && err != nil {
			t.Errorf("before %s: the same put again: %v", s, err)
		}
		wantData(t, after, crashName, "data")
		wantListed(t, after, crashName)
		return nil
	}
	put(t, b, crashName, "data")
	if got := slices.Compact(seen); !slices.Equal(got, steps) {
		t.Errorf("steps %q, want %q", got, steps)
	}
}

// The disk fails at each step: the error has its class, no temporary file
// stays, and the same put again tells the truth.
func TestFailureAtEveryStep(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.ENOSPC: store.ErrFull,
		syscall.EROFS:  store.ErrDenied,
		syscall.EIO:    store.ErrUnavailable,
	} {
		for _, failing := range steps {
			root := t.TempDir()
			b := open(t, root, Options{})
			b.step = func(s step) error {
				if s == failing {
					return errno
				}
				return nil
			}
			err := b.PutIfAbsent(t.Context(), crashName, []byte("data"))
			// The object is there before the temporary name goes.
			if failing == stepUnlink && err != nil || failing != stepUnlink && !errors.Is(err, want) {
				t.Errorf("%v at %s: %v", errno, failing, err)
			}
			if left := temps(t, root); (failing == stepUnlink) != (len(left) == 1) {
				t.Errorf("%v at %s: temporary files %q", errno, failing, left)
			}
			b.step = nil
			linked := failing == stepUnlink || failing == stepSettle
			err = b.PutIfAbsent(t.Context(), crashName, []byte("data"))
			if linked && !errors.Is(err, store.ErrExist) || !linked && err != nil {
				t.Errorf("%v at %s: the same put again: %v", errno, failing, err)
			}
			wantData(t, b, crashName, "data")
		}
	}
}

// A name that is taken is not said to be so before it is made to last: the
// process that linked it may have died, and the caller will rely on it.
func TestTakenNameIsSettled(t *testing.T) {
	root := t.TempDir()
	put(t, open(t, root, Options{}), crashName, "data")
	b := open(t, root, Options{})
	var seen []step
	b.step = func(s step) error { seen = append(seen, s); return nil }
	for _, want := range [][]step{
		{stepFolders, stepFolders, stepFolders, stepFolders, stepSettle}, // v0, s, 00, l
		{stepSettle}, // the folders are known by now
	} {
		seen = nil
		if err := b.PutIfAbsent(t.Context(), crashName, []byte("data")); !errors.Is(err, store.ErrExist) {
			t.Error(err)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("steps %q, want %q", seen, want)
		}
	}
	b.step = func(s step) error { return syscall.EIO }
	if err := b.PutIfAbsent(t.Context(), crashName, nil); errors.Is(err, store.ErrExist) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("taken, and the folder cannot be synced: %v", err)
	}
}

// Another racer links the name between our look and our link.
func TestNameTakenMeanwhile(t *testing.T) {
	root := t.TempDir()
	b, other := open(t, root, Options{}), open(t, root, Options{})
	b.step = func(s step) error {
		if s == stepLink {
			put(t, other, crashName, "other")
		}
		return nil
	}
	if err := b.PutIfAbsent(t.Context(), crashName, []byte("data")); !errors.Is(err, store.ErrExist) {
		t.Error(err)
	}
	wantData(t, b, crashName, "other")
	if left := temps(t, root); len(left) > 0 {
		t.Errorf("temporary files %q", left)
	}
}

// A network file system sends the link twice: the second is told that the
// name is taken, by what the first did.
func TestLinkSentTwice(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, Options{})
	b.step = func(s step) error {
		if s != stepLink {
			return nil
		}
		return b.root.Link(TempFolder+"/"+temps(t, root)[0], crashName)
	}
	put(t, b, crashName, "data")
	wantData(t, b, crashName, "data")
}

// A put that is cancelled on its way leaves nothing; after the link it is done.
func TestCancelAtEveryStep(t *testing.T) {
	for _, at := range steps {
		root := t.TempDir()
		b := open(t, root, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		b.step = func(s step) error {
			if s == at {
				cancel()
			}
			return nil
		}
		err := b.PutIfAbsent(ctx, crashName, []byte("data"))
		cancel()
		// From stepLink on, nothing looks at ctx any more.
		late := slices.Index(steps, at) >= slices.Index(steps, stepLink)
		if late && err != nil || !late && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %s: %v", at, err)
		}
		if late {
			wantData(t, b, crashName, "data")
		} else {
			wantListed(t, b)
		}
		if left := temps(t, root); len(left) > 0 {
			t.Errorf("cancelled at %s: temporary files %q", at, left)
		}
	}
}
