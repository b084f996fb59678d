package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// fat makes a commit of a device, as large as one may be, for the next slot.
func (w *world) fat(m *machine) *chain.Sealed {
	w.t.Helper()
	l := seen(w, w.objects, m)
	dev, no, _ := m.v.state.Device()
	first := l.Chain.LastOp[no] + 1
	r := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, meta.MaxXattr)
	for i := range value {
		value[i] = byte(r.Uint32())
	}
	build := func(n int) (*chain.Sealed, error) {
		var b meta.Batch
		for i := 0; n > 0; i++ {
			part := min(n, len(value))
			b.Puts = append(b.Puts, meta.KV{Key: meta.XattrKey(meta.RootRef, fmt.Appendf(nil, "user.%02d", i)), Value: value[:part]})
			n -= part
		}
		return l.Chain.Build(l.Next, dev, no, time.Now(), chain.Content{First: first, Last: first, Batch: &b})
	}
	low, high := 0, chain.MaxCommit
	for high-low > 1 {
		mid := (low + high) / 2
		switch _, err := build(mid); {
		case err == nil:
			low = mid
		case errors.Is(err, chain.ErrTooLarge):
			high = mid
		default:
			w.t.Fatal(err)
		}
	}
	c, err := build(low)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// A commit as large as one may be, and an object that is larger and ends as a commit does,
// are the same to who is there, who comes back, who lost the slot, and who is new.
func TestCommitAtTheLimit(t *testing.T) {
	for _, beyond := range []int{0, 1, 4096, 3 << 20} {
		t.Run(fmt.Sprint(beyond), func(t *testing.T) {
			w := newWorld(t)
			evil, loser, back := w.machine("evil"), w.machine("loser"), w.machine("back")
			as(w.laptop, write("a", "1"), drained)
			as(evil, write("e", "1"), drained)
			as(back, write("b", "1"), drained, lock)
			as(loser, write("l", "1"), drained, write("late", "1"))
			as(w.laptop, upToDate)
			c := w.fat(evil)
			if n := len(c.Object); n <= chain.MaxCommit*15/16 || n > chain.MaxCommit {
				t.Fatalf("the largest commit has %d bytes", n)
			}
			object := c.Object
			if beyond > 0 {
				object = append(make([]byte, chain.MaxCommit-len(object)+beyond), object...)
			}
			if err := w.objects.PutIfAbsent(t.Context(), chain.SlotName(w.vol, c.Slot), object); err != nil {
				t.Fatal(err)
			}
			as(loser, drained)
			as(w.laptop, upToDate, read("late", "1"))
			as(back, read("late", "1"))
			third := w.machine("third")
			as(third, read("late", "1"))
			want := w.laptop.v.view.Dump()
			for _, m := range []*machine{loser, back, third} {
				if m.v.view.Dump() != want {
					t.Errorf("%s sees something else", m.name)
				}
			}
			there := slices.Contains(w.valid(), c.Slot)
			if there != (beyond == 0) {
				t.Errorf("the slot counts: %v", there)
			}
		})
	}
}

// valid are the slots of the chain that are known one by one.
func (w *world) valid() (l []chain.Slot) {
	for _, r := range seen(w, w.objects, w.laptop).Chain.Remembered() {
		l = append(l, r.Slot)
	}
	return l
}
