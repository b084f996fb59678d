package volume

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// What the kernel does with a file that it writes through its cache, and the
// times that the file has in the end. w: a WRITE; s: SETATTR of mtime 100 and
// ctime 101; u: of mtime 7 and ctime 102, as utimes does; c: of ctime 103, as chmod does;
// t: a truncation at 104; p: three seconds pass; f: FLUSH; r: the last RELEASE; o: OPEN;
// h: a hole is punched; k: the file is cloned into.
func TestTimesUnderWriteback(t *testing.T) {
	const (
		guess = -1 // the time of receipt
		made  = -2 // that of the making
	)
	cases := []struct {
		name, does   string
		mtime, ctime int64
	}{
		{"data, then times", "wsf", 100, 101},
		{"times, then data", "swf", 100, 101},
		{"journaled between data and times", "wpsf", 100, 101},
		{"journaled between times and data's end", "swpf", 100, 101},
		{"more data journaled after times", "wswpf", 100, 101},
		{"journaled, no close yet", "wswp", guess, guess},
		{"times never told, not closed yet", "wp", guess, guess},
		{"the kernel's did not change", "wf", made, made},
		{"the kernel's did not change, journaled before the close", "wpf", made, made},
		{"written again in the same tick", "wsfrowf", 100, 101},
		{"written again in the same tick, journaled before the close", "wsfrowpf", 100, 101},
		{"mapped and written after the last close", "wsfwr", 100, 101},
		{"mapped, written after the last close, journaled", "wsfwpr", 100, 101},
		{"a hole in the same tick", "wsfrohf", 100, 101},
		{"a hole, no close yet", "wsfroh", guess, guess},
		{"cloned into in the same tick", "wsfrokf", 100, 101},
		{"cloned into, no close yet", "wsfrok", guess, guess},
		{"set by a program", "wsuf", 7, 102},
		{"set by a program before the data came", "uwpf", 7, 102},
		{"mode changed later", "wscwpf", 100, 103},
		{"truncated later", "wpstf", 104, 104},
		{"truncated, then written", "wstwpsf", 100, 101},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.laptop
			m.mustOpen()
			a, err := m.v.Make(t.Context(), meta.RootRef, []byte("f"), Node{Kind: meta.File, Perm: 0o644}, true)
			if err != nil {
				t.Fatal(err)
			}
			was, begin := a.Inode.Mtime, now()
			for _, do := range c.does {
				if err := m.kernel(a.Ref, do); err != nil {
					t.Fatalf("%c: %v", do, err)
				}
			}
			as(m, func(m *machine) error { return m.v.persist() })
			m.crash() // memory must not have been needed for it
			m.mustOpen()
			if a, err = m.v.Attr(context.Background(), a.Ref); err != nil {
				t.Fatal(err)
			}
			for what, got := range map[string][2]meta.Time{
				"mtime": {a.Inode.Mtime, {Sec: c.mtime}}, "ctime": {a.Inode.Ctime, {Sec: c.ctime}},
			} {
				if got[1].Sec == made {
					got[1] = was
				}
				if got[1].Sec == guess {
					if got[0].Before(begin) {
						t.Errorf("%s %v is before the data came", what, got[0])
					}
				} else if got[0] != got[1] {
					t.Errorf("%s %v, want %v", what, got[0], got[1])
				}
			}
		})
	}
}

func (m *machine) kernel(ref meta.Ref, does rune) error {
	ctx := m.t.Context()
	at := func(mask meta.AttrMask, mtime, ctime int64) error {
		return m.v.Setattr(ctx, ref, meta.Setattr{Valid: mask, Mtime: meta.Time{Sec: mtime}, Ctime: meta.Time{Sec: ctime}, Perm: 0o600})
	}
	switch does {
	case 'w':
		return m.v.Write(ctx, ref, 0, []byte("data"))
	case 's':
		return at(meta.SetMtime|meta.SetCtime, 100, 101)
	case 'u':
		return at(meta.SetMtime|meta.SetCtime, 7, 102)
	case 'c':
		return at(meta.SetPerm|meta.SetCtime, 0, 103)
	case 't':
		if err := m.v.Truncate(ctx, ref, 2, &meta.Time{Sec: 104}); err != nil {
			return err
		}
		return at(meta.SetMtime|meta.SetCtime, 104, 104)
	case 'p':
		return m.v.pinOld(context.Background(), 0)
	case 'r':
		m.v.Release(ref)
		return nil
	case 'o':
		_, err := m.v.Open(ctx, ref, true)
		return err
	case 'h':
		return m.v.PunchHole(ctx, ref, 0, 1)
	case 'k':
		_, err := m.v.Copy(ctx, Span{ref, 0, 2}, Span{ref, 4, 2})
		return err
	}
	return m.v.Flush(context.Background(), ref)
}

func TestCloseOfAnUnlinkedFile(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	m.mustOpen()
	a, err := m.v.Make(t.Context(), meta.RootRef, []byte("f"), Node{Kind: meta.File, Perm: 0o644}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range "wps" {
		if err := m.kernel(a.Ref, do); err != nil {
			t.Fatal(err)
		}
	}
	as(m, unlink("f"))
	if err := m.kernel(a.Ref, 'f'); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := m.kernel(a.Ref, 'w'); err != nil {
		t.Errorf("write: %v", err)
	}
	if err := m.v.Fsync(context.Background(), a.Ref); err != nil {
		t.Errorf("fsync: %v", err)
	}
	m.v.Release(a.Ref)
	if _, err := m.v.Attr(context.Background(), a.Ref); err == nil {
		t.Error("it is there after its last handle")
	}
	as(m, lock)
}

// A time that a program gives a file that it closed stands for the content: whoever
// compares times would take the old one for the new.
func TestTimeAfterContent(t *testing.T) {
	was, is := strings.Repeat("a", 1<<20), strings.Repeat("b", 1<<20)
	w := newWorld(t)
	m := w.laptop
	as(m, write("f", was), drained)
	_, _, f, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err = m.v.Open(ctx, f.Ref, true)
	err = errors.Join(err,
		m.v.Write(ctx, f.Ref, 0, []byte(is)),
		m.v.Flush(ctx, f.Ref))
	if err != nil {
		t.Fatal(err)
	}
	m.v.Release(f.Ref)
	m.v.mu.Lock()
	afloat := m.v.dirty[f.Ref.Ino] != nil
	m.v.mu.Unlock()
	if !afloat {
		t.Fatal("nothing floats: it says nothing")
	}
	err = errors.Join(
		m.v.Setattr(ctx, f.Ref, meta.Setattr{Valid: meta.SetMtime, Mtime: meta.Time{Sec: 7}}),
		m.v.persist())
	if err != nil {
		t.Fatal(err)
	}
	m.crash()
	as(m, read("f", is))
	if _, _, f, err = m.find("f"); err != nil || f.Inode.Mtime != (meta.Time{Sec: 7}) {
		t.Fatalf("mtime %v, error %v", f.Inode, err)
	}
}
