package volume

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// forgeries are what a store makes of an object that has its key from a member who may
// read: every tag is right, since he seals as its author did. change spoils a plaintext.
var forgeries = map[string]func(f *forger, object []byte, change func([]byte)) []byte{
	"a segment, sealed anew": func(f *forger, object []byte, change func([]byte)) []byte {
		segments, header := f.opened(object)
		change(segments[0])
		tail, _ := crypt.ParseTail(object)
		return f.resealed(segments, header, object[len(object)-tail.Size():])
	},
	"a segment, sealed anew, and its hash": func(f *forger, object []byte, change func([]byte)) []byte {
		segments, header := f.opened(object)
		change(segments[0])
		return f.resealed(segments, header, nil)
	},
	"the last segment": func(f *forger, object []byte, change func([]byte)) []byte {
		segments, header := f.opened(object)
		change(segments[len(segments)-1])
		tail, _ := crypt.ParseTail(object)
		return f.resealed(segments, header, object[len(object)-tail.Size():])
	},
	"two segments, each sealed for the other's place": func(f *forger, object []byte, change func([]byte)) []byte {
		segments, header := f.opened(object)
		if len(segments) > 2 {
			segments[0], segments[1] = segments[1], segments[0]
		} else {
			change(segments[0])
		}
		tail, _ := crypt.ParseTail(object)
		return f.resealed(segments, header, object[len(object)-tail.Size():])
	},
	"all of it, shorter by a segment": func(f *forger, object []byte, change func([]byte)) []byte {
		segments, header := f.opened(object)
		if len(segments) > 1 {
			segments = segments[1:]
		} else {
			segments[0] = segments[0][:len(segments[0])/2]
		}
		return f.resealed(segments, header, nil)
	},
	"all of it, under another salt": func(f *forger, object []byte, change func([]byte)) []byte {
		segments, header := f.opened(object)
		change(segments[0])
		header = bytes.Clone(header)
		header[20]++
		key, _ := f.st.EpochKey(crypt.Epoch(binary.BigEndian.Uint32(header[8:])))
		copy(header[44:], key.Derive("hushfs/object", slices.Concat(header[5:7], f.w.vol[:], header[12:44]), 64)[32:])
		return f.resealed(segments, header, nil)
	},
}

// No byte of a file is shown that a reader forged, with the store's help, wherever in its
// pack; no machine keeps it for later; and who has the true one is not concerned.
func TestAttackReaderPacks(t *testing.T) {
	change := func(b []byte) {
		for i := range b {
			b[i] ^= 0x20
		}
	}
	var text strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	big := text.String() // each segment is another
	w := newWorld(t)
	w.laptop.near = 64 << 20
	as(w.laptop, write("a", big), drained)
	victim := w.names("p")[0]
	as(w.laptop, write("b", strings.Repeat("other", 1000)), drained)
	f := w.forger()
	truth := w.object(victim)
	if segments, header := f.opened(truth); !bytes.Equal(f.resealed(segments, header, nil), truth) {
		t.Fatal("the forger does not know the format")
	}
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.objects.Overwrite(victim, forge(f, bytes.Clone(truth), change))
			for _, near := range []int64{-1, 64 << 20} {
				m := w.machine("desk")
				m.near = near
				as(m, refuses(read("a", big), pack.ErrDamaged), read("b", strings.Repeat("other", 1000)))
				_, _, a, err := m.find("a")
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 4096)
				for off := 0; off < len(big); off += len(b) {
					n, err := m.v.Read(t.Context(), a.Ref, uint64(off), b)
					if err == nil && string(b[:n]) != big[off:off+n] {
						t.Fatalf("at %d it reads %.20q", off, b[:n])
					}
				}
				m.tells(victim, 0)
				m.crash()
				// Nothing of it stayed on that machine.
				w.objects.Overwrite(victim, truth)
				as(m, read("a", big))
				m.crash()
				w.objects.Overwrite(victim, forge(f, bytes.Clone(truth), change))
			}
			as(w.laptop, read("a", big))
			w.objects.Overwrite(victim, truth)
		})
	}
}

// No name is shown that a reader forged into a table, with the store's help.
func TestAttackReaderTables(t *testing.T) {
	change := func(b []byte) {
		for i := range b[:len(b)-4] {
			if string(b[i:i+4]) == "prec" {
				copy(b[i:], "forg")
				return
			}
		}
		b[len(b)/2] ^= 0x20
	}
	w := newWorld(t)
	as(w.laptop, write("precious", "1"), mkdir("d"), write("d/x", "2"), commits("a", 9), folded)
	want := w.laptop.tree()
	f := w.forger()
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			w.t = t
			for _, victim := range w.names("t") {
				truth := w.object(victim)
				w.objects.Overwrite(victim, forge(f, bytes.Clone(truth), change))
				for _, near := range []int64{-1, 64 << 20} {
					m := w.machine("desk")
					m.near = near
					if err := m.open(); err != nil {
						if !errors.Is(err, block.ErrDamaged) {
							t.Errorf("%s: %v", victim, err)
						}
						continue
					}
					var got strings.Builder
					if list, err := m.v.List(context.Background(), meta.RootRef); err == nil {
						for _, e := range list {
							got.Write(e.Name)
						}
					} else if !isNamed(err) {
						t.Errorf("list: %v", err)
					}
					if strings.Contains(got.String(), "forg") {
						t.Errorf("it lists %q", got.String())
					}
					as(m, refuses(isThere("forgious"), meta.ErrNotExist), read("precious", "1"), read("d/x", "2"))
					m.tells(victim, 0)
					m.crash()
					w.objects.Overwrite(victim, truth)
					m.mustOpen()
					if got := m.tree(); got != want {
						t.Errorf("when the store is honest again it sees\n%s\nwant\n%s", got, want)
					}
					m.crash()
					w.objects.Overwrite(victim, forge(f, bytes.Clone(truth), change))
				}
				w.objects.Overwrite(victim, truth)
			}
		})
	}
}
