package view

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// What stands for very many operations is told one at a time, from any of them on, and is
// the same as before the view goes on.
func TestReplacedIsToldFromAnyOn(t *testing.T) {
	var ops Ops
	at := func(no int) meta.Stamp { return meta.Stamp{Device: 1, No: meta.OpNo(no)} }
	step := func(no, i int) meta.Change {
		return &meta.Setxattr{Ref: meta.Ref{Home: meta.Root, Ino: 7}, Name: fmt.Appendf(nil, "user.%d.%d", no, i), Value: []byte("x")}
	}
	const n = 2000
	for no := 1; no <= n; no++ {
		if no%5 == 0 {
			ops.add(nil, at(no), &meta.Batch{}, meta.Delta{})
		}
		for i := range no % 5 {
			ops.add(step(no, i), at(no), &meta.Batch{}, meta.Delta{})
		}
	}
	var nos []meta.OpNo
	for no := meta.OpNo(1); no <= n; no++ {
		if no%3 == 0 {
			nos = append(nos, no)
		}
	}
	r := Replaced{ops, nos}
	ops.add(step(n+1, 0), at(n+1), &meta.Batch{}, meta.Delta{})
	for _, after := range []int{0, 1, 3, 1000, n - 3, n - 1, n} {
		want := after/3*3 + 3
		for no, steps := range r.All(meta.OpNo(after)) {
			if int(no) != want || len(steps) != want%5 {
				t.Fatalf("after %d: operation %d has %d steps, want %d with %d", after, no, len(steps), want, want%5)
			}
			for i, s := range steps {
				if !meta.SameChange(s, step(want, i)) {
					t.Fatalf("step %d of operation %d is another", i, no)
				}
			}
			want += 3
		}
		if want <= n {
			t.Errorf("after %d: operation %d is not told", after, want)
		}
	}
	none, one := Instead(at(9), nil), Instead(at(9), []meta.Change{step(9, 0)})
	for _, r := range []Replaced{none, one} {
		count := 0
		for no, steps := range r.All(0) {
			if count++; no != 9 || len(steps) != r.ops.n-1 && len(steps) != r.ops.n {
				t.Errorf("operation %d has %d steps", no, len(steps))
			}
		}
		if count != 1 || r.Len() != 1 {
			t.Errorf("told %d times", count)
		}
	}
}

// A file comes back whole that has more extents than a step has room for: following is
// refused, and the map is as it was. It must not end the program.
func TestAStepThatIsTooLongIsRefused(t *testing.T) {
	p := newPair(t)
	a, b := p.all[0], p.all[1]
	p.run(a, "put f text")
	p.publish(a)
	p.follow(b)
	_, _, d, _ := p.find(b, "f")
	const (
		extents = 64 << 10
		each    = 4 << 20
	)
	for i := 0; i < extents; i += meta.MaxExtents {
		w := &meta.Write{Ref: d.Ref}
		for j := i; j < i+meta.MaxExtents; j++ {
			w.Extents = append(w.Extents, meta.Extent{Off: uint64(j) * each, Len: each, Pack: meta.MakePack(2, uint64(j+1))})
		}
		w.Size = uint64(i+meta.MaxExtents) * each
		p.must(b, w)
	}
	p.run(a, "rm f")
	p.publish(a)
	slot, waiting := b.view.Slot(), b.view.Pending().Len()
	for range 2 {
		_, err := b.view.Follow(p.chain[b.next:], meta.RebaseOptions{Device: "b", NewIno: b.newIno}, func(Followed) error {
			t.Error("it is written down")
			return nil
		})
		if !errors.Is(err, ErrTooMuch) {
			t.Fatalf("followed: %v", err)
		}
	}
	if b.view.Slot() != slot || b.view.Pending().Len() != waiting {
		t.Error("the map is another")
	}
}
