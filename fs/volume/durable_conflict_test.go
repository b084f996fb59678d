package volume

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// What another machine was faster with is in the store, in a copy: who waits for it is
// told so.
func TestConfirmOfACopy(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(w.laptop, write("x", "0"), drained)
	as(desk, write("a", "theirs"), drained)
	as(w.laptop, write("a", "mine"), fsync("a"))
	_, _, a, err := w.laptop.find("a")
	if err != nil {
		t.Fatal(err)
	}
	as(w.laptop, drained)
	for name, err := range map[string]error{
		"fsync":    w.laptop.v.Confirm(t.Context(), a.Ref),
		"create":   w.laptop.v.Confirm(t.Context(), meta.RootRef),
		"the file": w.laptop.v.WaitFile(t.Context(), a.Ref.Ino),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	as(w.machine("phone"), read("a", "theirs"), beside("a", "laptop", "mine"))
}

// changedElsewhere has another machine change a file to which data was written here,
// through a handle, and this one follow.
func changedElsewhere(t *testing.T, data []byte, how act) (m *machine, h meta.Ref) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m = w.machine("desktop")
	as(m, mkdir("mine"), drained)
	_, _, a, err := m.find("f")
	if err == nil {
		h, err = m.v.Open(t.Context(), a.Ref, true)
	}
	if err == nil {
		err = m.v.Write(t.Context(), h, 0, data)
	}
	as(w.laptop, how, drained)
	if err == nil {
		err = m.v.sync.CatchUp(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return m, h
}

// Bytes that went to a file of their own are waited for by that.
func TestWaitForACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, f := changedElsewhere(t, []byte("XX"), rewrite("f", "theirs"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := m.v.WaitFile(ctx, m.v.Ino(f)); !errors.Is(err, context.DeadlineExceeded) { // nothing is published
			t.Errorf("%v, and %d operations wait", err, m.v.view.Pending().Len())
		}
	})
}

// An fsync that was to end in the store fails once where the bytes went to a copy while it
// waited, so that its program knows; the copy's are as any others.
func TestConfirmFailsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		how   act
		known bool // before it is written
	}{"rewritten": {how: rewrite("f", "theirs")}, "leased": {how: leases("f")}, "leased, and known": {leases("f"), true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				as(w.laptop, write("f", "base"), drained)
				m := w.machine("desktop")
				as(m, mkdir("mine"), drained)
				h := m.opens("f", true)
				if c.known {
					as(w.laptop, c.how, drained)
					as(m, caughtUp, puts(h, 0, "XX"), synced(h))
				} else {
					as(m, puts(h, 0, "XX"), synced(h))
					as(w.laptop, c.how, drained)
				}
				m.run()
				if err := m.v.Confirm(t.Context(), h); !errors.Is(err, publish.ErrConflict) {
					t.Errorf("the fsync that waited: %v", err)
				}
				for range 2 {
					as(m, puts(h, 2, "YY"), synced(h))
					if err := m.v.Confirm(t.Context(), h); err != nil {
						t.Errorf("the next: %v", err)
					}
				}
				as(m, shows(h, "XXYY"), read(m.copyOf("", "f"), "XXYY"))
				m.halt()
				as(w.machine("third"), read(m.copyOf("", "f"), "XXYY"))
			})
		})
	}
}

// So they are by an fsync that is to end in the store.
func TestConfirmACopy(t *testing.T) {
	for name, how := range map[string]act{"rewritten": rewrite("f", "theirs"), "deleted": unlink("f")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, f := changedElsewhere(t, []byte("XX"), how)
				as(m, synced(f))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := m.v.Confirm(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, and %d operations wait", err, m.v.view.Pending().Len())
				}
				as(m, drained)
				if err := m.v.Confirm(t.Context(), f); err != nil {
					t.Errorf("when it was there: %v", err)
				}
			})
		})
	}
}

// Where a tick of the clock makes an operation of some of the bytes of a copy while others
// are in memory, an fsync covers all.
func TestFsyncOfACopy(t *testing.T) {
	data := large()
	for len(data)%(4<<20) < 2*inlineMax {
		data = append(data, "more"...)
	}
	m, h := changedElsewhere(t, nil, rewrite("f", "theirs"))
	as(m, puts(h, 0, string(data)))
	m.v.mu.Lock()
	err := m.v.pinSealed(m.v.own(h).Ino, time.Now())
	m.v.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.v.Fsync(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	m.crash()
	as(m, read(m.copyOf("", "f"), string(data)), read("f", "theirs"))
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
	if remote, err := m.v.Remote(t.Context(), e.Ref); !errors.Is(err, meta.ErrUnknown) {
		t.Errorf("it was known: %v, %v", remote, err)
	}
	m.v.view = near
	if remote, err := m.v.Remote(t.Context(), e.Ref); !remote || err != nil {
		t.Errorf("%v, %v, although the directory above says otherwise", remote, err)
	}
}

// bareOf is a state of which the attributes of inodes are not near, while the store is away.
type bareOf struct{ meta.Reader }

func (b bareOf) Get(k []byte) ([]byte, error) {
	if bytes.HasPrefix(k, meta.XattrRange(meta.RootRef).From[:1]) {
		return nil, meta.ErrUnknown
	}
	return b.Reader.Get(k)
}

// Where it is not known whether the store decides, nobody is told that a name is given, or
// that bytes are in the store; and nothing is done.
func TestNotSureIsNotTold(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"), mkdir("d/e"), write("d/e/f", "1"), write("g", "1"), func(m *machine) error {
		_, _, d, err := m.find("d")
		if err != nil {
			return err
		}
		return m.v.SetXattr(t.Context(), d.Ref, []byte(DurabilityAttr), []byte(DurabilityRemote), 0)
	}, drained)
	_, _, e, err := m.find("d/e")
	_, _, _, ferr := m.find("d/e/f")
	_, _, g, gerr := m.find("g")
	if err := errors.Join(err, ferr, gerr); err != nil {
		t.Fatal(err)
	}
	unnamed := tmpfile(m, "", "1")
	root, n := meta.RootRef, []byte("n")
	mk := func(kind meta.Kind, target string) func() (Given, error) {
		return func() (Given, error) {
			a, err := m.v.Make(t.Context(), e.Ref, n, Node{Kind: kind, Perm: 0o700, Target: []byte(target), Sure: true}, false)
			return a.Given, err
		}
	}
	link := func(ref meta.Ref) func() (Given, error) {
		return func() (Given, error) {
			a, err := m.v.Link(t.Context(), ref, e.Ref, n)
			return a.Given, err
		}
	}
	near := m.v.view
	for name, give := range map[string]func() (Given, error){
		"O_EXCL":                   mk(meta.File, ""),
		"mkdir":                    mk(meta.Dir, ""),
		"symlink":                  mk(meta.Symlink, "x"),
		"mknod":                    mk(meta.Fifo, ""),
		"link":                     link(g.Ref),
		"link of a temporary file": link(unnamed),
		"rename into":              func() (Given, error) { return m.v.RenameSure(t.Context(), root, []byte("g"), e.Ref, n, 0) },
		"rename out of":            func() (Given, error) { return m.v.RenameSure(t.Context(), e.Ref, []byte("f"), root, n, 0) },
		"fsync": func() (Given, error) {
			_, err := m.v.Remote(t.Context(), e.Ref)
			return Given{}, err
		},
	} {
		was := m.v.nextOp
		m.v.view = view.New(view.NewConfirmed(near.Slot(), bareOf{near.Confirmed()}, near.Usage()))
		m.v.Redecide()
		if _, err := give(); !errors.Is(err, meta.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		if m.v.nextOp != was {
			t.Errorf("%s: it was done", name)
		}
		m.v.o.Remote = true
		if remote, err := m.v.Remote(t.Context(), e.Ref); !remote || err != nil {
			t.Errorf("a mount that wants all in the store: %v, %v", remote, err)
		}
		m.v.o.Remote = false
		m.v.view = near
	}
	if _, err := m.v.Make(t.Context(), e.Ref, n, Node{Kind: meta.File, Perm: 0o600}, false); err != nil {
		t.Errorf("who relies on nothing: %v", err)
	}
	if remote, err := m.v.Remote(t.Context(), e.Ref); !remote || err != nil {
		t.Errorf("when it is near again: %v, %v", remote, err)
	}
	as(m, closes(unnamed), lock)
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
