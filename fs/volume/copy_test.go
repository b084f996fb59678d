package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// clone copies a part of one file into another, which is made when it is missing, and
// goes on until all is there.
func clone(from, to string, off, length, at uint64) act {
	return func(m *machine) error {
		_, _, src, err := m.find(from)
		if err != nil {
			return err
		}
		dst, err := m.touch(to)
		if err != nil {
			return err
		}
		for length > 0 {
			n, err := m.v.Copy(context.Background(), Span{src.Ref, off, length}, Span{Ref: dst.Ref, Off: at})
			if err != nil || n == 0 {
				return err
			}
			off, at, length = off+n, at+n, length-n
		}
		return nil
	}
}

// uploaded is how many bytes lie in packs of the store.
func (w *world) uploaded() (n int) {
	for _, name := range w.names("p") {
		b, err := w.objects.Get(w.t.Context(), name, 0, -1)
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(b)
	}
	return n
}

func TestCloneCopiesNoBytes(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", big), drained)
	was := w.uploaded()
	as(w.laptop, clone("a", "b", 0, uint64(len(big)), 0), read("b", big), drained)
	if now := w.uploaded(); now != was {
		t.Errorf("%d bytes in packs, %d before", now, was)
	}
	// Each goes its own way from then on, and one stays when the other goes.
	as(w.laptop, rewrite("a", "short"), read("b", big), unlink("a"), drained, lock)
	as(w.machine("desktop"), read("b", big), missing("a"))
}

func TestCloneOfWhatIsNotSynced(t *testing.T) {
	for name, content := range map[string]string{"inline": "some bytes", "in a pack": big} {
		t.Run(name, func(t *testing.T) {
			n := uint64(len(content))
			w := newWorld(t)
			as(w.laptop, write("a", content), clone("a", "b", 0, n, 0), fsync("b"))
			w.laptop.crash()
			as(w.laptop, read("b", content), read("a", content))
			// The source goes before anything was sent.
			as(w.laptop, clone("a", "c", 2, 4, 1), unlink("a"), unlink("b"), drained, read("c", "\x00"+content[2:6]))
			w.laptop.crash()
			as(w.laptop, read("c", "\x00"+content[2:6]), lock)
			as(w.machine("desktop"), read("c", "\x00"+content[2:6]), missing("a"), missing("b"))
		})
	}
}

// A file that has no name any more is a source, and one that has none yet a target.
func TestCloneOfFilesWithoutNames(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("a", big))
	_, _, a, err := m.find("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.v.Open(t.Context(), a.Ref, false); err != nil {
		t.Fatal(err)
	}
	as(m, unlink("a"))
	tmp, err := m.v.Tmpfile(t.Context(), meta.RootRef, Node{Kind: meta.File, Perm: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	n, err := m.v.Copy(t.Context(), Span{a.Ref, 0, 1 << 30}, Span{Ref: tmp.Ref})
	if err != nil || n != uint64(len(big)) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	m.v.Release(a.Ref)
	as(m, drained) // would drop packs that nothing needs
	if _, err := m.v.Link(t.Context(), tmp.Ref, meta.RootRef, []byte("b")); err != nil {
		t.Fatal(err)
	}
	m.v.Release(tmp.Ref)
	as(m, read("b", big), lock)
	as(w.machine("desktop"), read("b", big))
}

// The clone was made of what the source was then; another machine changes the source
// first, or the target.
func TestCloneAgainstAnotherMachine(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "original"), write("b", "target"), drained)
	desk := w.machine("desktop")
	as(desk, read("a", "original"), mkdir("mine"), drained)
	as(desk, clone("a", "b", 0, 8, 0), clone("a", "c", 0, 8, 0))
	as(w.laptop, mkdir("news"), rewrite("a", "another content"), drained)
	as(desk, drained, read("a", "another content"), read("b", "original"), read("c", "original"), lock)
	as(w.machine("third"), read("a", "another content"), read("b", "original"), read("c", "original"))

	// Over a target that another machine changed it is in conflict, like a write.
	w.laptop.crash()
	as(desk, clone("a", "b", 0, 3, 0))
	as(w.laptop, rewrite("b", "IMPORTANT"), drained)
	as(desk, drained, read("b", "IMPORTANT"), beside("b", "desktop", "anoginal"))
}

func TestCloneRefuses(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "12345"), mkdir("d"))
	_, _, d, err := w.laptop.find("d")
	if err != nil {
		t.Fatal(err)
	}
	_, _, a, err := w.laptop.find("a")
	if err != nil {
		t.Fatal(err)
	}
	gone := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(7, 7)}
	for _, c := range []struct {
		name     string
		from, to Span
		n        uint64
		want     error
	}{
		{"at the end", Span{a.Ref, 5, 9}, Span{Ref: a.Ref}, 0, nil},
		{"nothing", Span{a.Ref, 0, 0}, Span{Ref: a.Ref}, 0, nil},
		{"over the end", Span{a.Ref, 3, 1 << 62}, Span{Ref: a.Ref, Off: 10}, 2, nil},
		{"beyond the longest file", Span{a.Ref, 0, 3}, Span{Ref: a.Ref, Off: meta.MaxFileSize - 2}, 0, meta.ErrTooLarge},
		{"from a directory", Span{d.Ref, 0, 3}, Span{Ref: a.Ref}, 0, meta.ErrIsDir},
		{"into a directory", Span{a.Ref, 0, 3}, Span{Ref: d.Ref}, 0, meta.ErrIsDir},
		{"from nothing", Span{gone, 0, 3}, Span{Ref: a.Ref}, 0, ErrStale},
		{"into nothing", Span{a.Ref, 0, 3}, Span{Ref: gone}, 0, ErrStale},
	} {
		if n, err := w.laptop.v.Copy(t.Context(), c.from, c.to); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v", c.name, n, err)
		}
	}
}

// More pieces than one operation names are copied by several, holes as holes.
func TestCloneOfManyPieces(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	m.mustOpen()
	a, err := m.touch("a")
	if err != nil {
		t.Fatal(err)
	}
	const pieces = 2*extentsMax + 77
	for i := pieces - 1; i >= 0; i-- {
		if err := m.v.Write(t.Context(), a.Ref, uint64(i)*1000, fmt.Appendf(nil, "piece %05d", i)); err != nil {
			t.Fatal(err)
		}
	}
	_, _, a, err = m.find("a")
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.content(a)
	if err != nil {
		t.Fatal(err)
	}
	as(m, clone("a", "b", 0, 1<<40, 0), read("b", string(want)))
	_, _, b, err := m.find("b")
	if err != nil {
		t.Fatal(err)
	}
	if at, ok, err := m.v.Data(t.Context(), b.Ref, 500, false); at != 1000 || !ok || err != nil {
		t.Errorf("data behind the first hole at %d, %v, %v", at, ok, err)
	}
	as(m, lock)
	as(w.machine("desktop"), read("b", string(want)))
}

// Random writes, truncations, holes and clones among three files, against plain bytes,
// with crashes and mounts between.
func TestClonesAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t)
		m := w.laptop
		names := []string{"a", "b", "c"}
		plain := map[string][]byte{}
		for _, name := range names {
			as(m, write(name, ""))
		}
		for range 250 {
			name := names[rng.IntN(3)]
			size := uint64(len(plain[name]))
			switch k := rng.IntN(100); {
			case k < 45:
				from := names[rng.IntN(3)]
				src := plain[from]
				off, at, n := rng.Uint64N(uint64(len(src))+10), rng.Uint64N(size+200), 1+rng.Uint64N(5000)
				if from == name && off < at+n && at < off+n {
					continue
				}
				as(m, clone(from, name, off, n, at))
				if off < uint64(len(src)) {
					plain[name] = overlaid(plain[name], at, bytes.Clone(src[off:min(off+n, uint64(len(src)))]))
				}
			case k < 75:
				data := []byte(strings.Repeat(string(rune('a'+rng.IntN(26))), 1+rng.IntN(4000)))
				at := rng.Uint64N(size + 300)
				_, _, a, err := m.find(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.v.Write(t.Context(), a.Ref, at, data); err != nil {
					t.Fatal(err)
				}
				plain[name] = overlaid(plain[name], at, data)
			case k < 80:
				_, _, a, err := m.find(name)
				if err != nil {
					t.Fatal(err)
				}
				to := rng.Uint64N(size + 10)
				if err := m.v.Truncate(t.Context(), a.Ref, to, nil); err != nil {
					t.Fatal(err)
				}
				plain[name] = append(plain[name][:min(to, size):min(to, size)], make([]byte, to-min(to, size))...)
			case k < 90:
				as(m, read(name, string(plain[name])))
			case k < 94:
				as(m, drained)
			case k < 97:
				as(m, fsync("a"), fsync("b"), fsync("c"))
				m.crash()
				m.mustOpen()
			default:
				as(m, lock)
				m.mustOpen()
			}
		}
		for _, name := range names {
			as(m, read(name, string(plain[name])))
		}
		as(m, lock)
		for _, name := range names {
			as(w.machine("desktop"), read(name, string(plain[name])))
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// overlaid writes data into b at an offset.
func overlaid(b []byte, at uint64, data []byte) []byte {
	if n := at + uint64(len(data)); n > uint64(len(b)) {
		b = append(b, make([]byte, n-uint64(len(b)))...)
	}
	copy(b[at:], data)
	return b
}
