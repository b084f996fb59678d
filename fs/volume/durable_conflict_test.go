package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// What another machine's change made impossible is in no slot, and in the view no more:
// who waits for it is not told that the store has it.
func TestConfirmOfWhatIsImpossible(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(w.laptop, write("x", "0"), drained)
	as(desk, write("a", "theirs"), drained)
	as(w.laptop, write("a", "mine"), fsync("a"))
	_, _, a, err := w.laptop.find("a")
	if err != nil {
		t.Fatal(err)
	}
	as(w.laptop, refuses(drained, publish.ErrConflict))
	for name, err := range map[string]error{
		"fsync":    w.laptop.v.Confirm(t.Context(), a.Ref),
		"create":   w.laptop.v.Confirm(t.Context(), meta.RootRef),
		"the file": w.laptop.v.WaitFile(t.Context(), a.Ref.Ino),
	} {
		if !errors.Is(err, publish.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// changedElsewhere has another machine change a file to which data was written here,
// through a handle, and this one follow.
func changedElsewhere(t *testing.T, data []byte, how act) (m *machine, f meta.Ref) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m = w.machine("desktop")
	as(m, mkdir("mine"), drained)
	_, _, a, err := m.find("f")
	if err == nil {
		err = m.v.Open(t.Context(), a.Ref, true)
	}
	if err == nil {
		err = m.v.Write(t.Context(), a.Ref, 0, data)
	}
	as(w.laptop, how, drained)
	if err == nil {
		err = m.v.sync.CatchUp(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return m, a.Ref
}

// Bytes that had to go to a file of their own are waited for under the old one's number.
func TestWaitForWhatIsRecovered(t *testing.T) {
	m, f := changedElsewhere(t, []byte("XX"), rewrite("f", "theirs"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.v.WaitFile(ctx, f.Ino); !errors.Is(err, context.DeadlineExceeded) { // nothing is published
		t.Errorf("%v, and %d operations wait", err, len(m.v.view.Pending()))
	}
}

// So they are by an fsync that is to end in the store.
func TestConfirmWhatIsRecovered(t *testing.T) {
	for name, how := range map[string]act{"rewritten": rewrite("f", "theirs"), "deleted": unlink("f")} {
		t.Run(name, func(t *testing.T) {
			m, f := changedElsewhere(t, []byte("XX"), how)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err := m.v.Fsync(ctx, f)
			if err == nil {
				err = m.v.Confirm(ctx, f)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, and %d operations wait", err, len(m.v.view.Pending()))
			}
			as(m, drained)
			if err := m.v.Confirm(t.Context(), f); err != nil {
				t.Errorf("when it was there: %v", err)
			}
		})
	}
}

// Where a tick of the clock moves some of the bytes to a file of their own while others
// are in memory, an fsync of the old one covers all.
func TestFsyncOfWhatIsRecovered(t *testing.T) {
	data := large()
	for len(data)%(4<<20) < 2*inlineMax {
		data = append(data, "more"...)
	}
	m, f := changedElsewhere(t, data, rewrite("f", "theirs"))
	m.v.mu.Lock()
	err := m.v.pinSealed(f.Ino, time.Now())
	m.v.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.v.Fsync(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	m.crash()
	as(m, read(fmt.Sprintf("recovered-%x-1", uint64(f.Ino)), string(data)), read("f", "theirs"))
}

// unknown is a state of which nothing is near, while the store is away.
type unknown struct{}

func (unknown) Get([]byte) ([]byte, error)                       { return nil, meta.ErrUnknown }
func (unknown) Scan(_, _ []byte, _ func(k, v []byte) bool) error { return meta.ErrUnknown }

// That it cannot be known for a while what a directory says decides nothing for later.
func TestRemoteIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"), mkdir("d/e"))
	_, _, d, err := m.find("d")
	if err == nil {
		err = m.v.SetXattr(t.Context(), d.Ref, []byte(DurabilityAttr), []byte(DurabilityRemote), 0)
	}
	_, _, e, ferr := m.find("d/e")
	if err := errors.Join(err, ferr); err != nil {
		t.Fatal(err)
	}
	near := m.v.view
	m.v.view = view.New(view.NewConfirmed(1, unknown{}, meta.Usage{}))
	if m.v.Remote(t.Context(), e.Ref) {
		t.Error("it was known")
	}
	m.v.view = near
	if !m.v.Remote(t.Context(), e.Ref) {
		t.Error("local, although the directory above says otherwise")
	}
}

// That a pack of what is being written cannot be brought to the disk is said, although
// nobody asked for it.
func TestUnsealedIsSaid(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, floating("f", bytes.Repeat([]byte("x"), 2*inlineMax)))
	dir := packDir(m.v.journalDir(id(m)))
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	m.v.settle(t.Context(), 0)
	if s := m.v.Status(); len(s.Warnings) == 0 {
		t.Error("nothing is said")
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	m.v.settle(t.Context(), 0)
	if s := m.v.Status(); len(s.Warnings) != 0 {
		t.Errorf("warnings stay: %q", s.Warnings)
	}
	as(m, is("f", "local"), lock)
}

func id(m *machine) [16]byte {
	id, _ := m.v.state.Journal()
	return id
}
