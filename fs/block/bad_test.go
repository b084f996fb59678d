package block

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

// An object that was damaged is told of as mended when the bucket has given each part that
// was bad, and not before, however much else of it was read.
func TestMended(t *testing.T) {
	for name, harm := range map[string]func(b []byte) []byte{
		"two segments": func(b []byte) []byte {
			for _, at := range []int64{1, 5} {
				off, _ := crypt.SegmentRange(int64(len(b)), int(at))
				b[off+9] ^= 1
			}
			return b
		},
		"the tail":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"missing":   nil,
		"cut short": func(b []byte) []byte { return b[:segmentSize] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.memory = 1 // what was read goes on to be fetched
			data := random(7*segmentSize, 1)
			o := w.stored(crypt.TypePack, data)
			was, err := w.mem.Get(background, place1(o), 0, -1)
			must(t, err)
			if harm == nil {
				must(t, w.mem.Delete(background, place1(o)))
			} else {
				w.mem.Overwrite(place1(o), harm(bytes.Clone(was)))
			}
			r := w.reader()
			at := func(index int) error { return w.read(r, o, data, index*segmentSize+3, 10) }
			for _, index := range []int{1, 5, 5} {
				if err := at(index); !errors.Is(err, ErrDamaged) {
					t.Fatalf("segment %d: %v", index, err)
				}
			}
			w.mem.Overwrite(place1(o), was)
			for _, step := range []struct {
				index int
				whole bool
			}{{0, false}, {3, false}, {6, false}, {5, false}, {2, false}, {1, true}} {
				must(t, at(step.index))
				if whole := slices.Contains(w.whole, place1(o)); whole != step.whole {
					t.Errorf("behind segment %d: mended %v", step.index, whole)
				}
			}
			must(t, at(5))
			must(t, at(1))
			if len(w.whole) != 1 {
				t.Errorf("told %d times", len(w.whole))
			}
			// And damaged again.
			w.mem.Overwrite(place1(o), was[:100])
			again := w.reader()
			if err := w.read(again, o, data, 3, 10); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
			w.mem.Overwrite(place1(o), was)
			must(t, w.read(again, o, data, 3, 10))
			if len(w.whole) != 2 {
				t.Errorf("told %d times, damaged twice", len(w.whole))
			}
		})
	}
}

// An object of which more is bad than is remembered stays damaged.
func TestMoreIsBadThanIsRemembered(t *testing.T) {
	w := newWorld(t)
	data := random(segmentSize, 1)
	o := w.stored(crypt.TypePack, data)
	r := w.reader()
	for index := range mostBad + 10 {
		r.damaged(o, index, ErrDamaged)
	}
	var all []*segment
	for index := range mostBad + 10 {
		all = append(all, &segment{key: key{o, index}})
	}
	r.mended(o, all)
	if len(w.whole) > 0 || len(r.bad.of[place1(o)]) != 1 {
		t.Errorf("mended %v, %d remembered", w.whole, len(r.bad.of[place1(o)]))
	}
}
