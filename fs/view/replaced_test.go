package view

import (
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

// What stands for operations is told when it becomes something else, and not each time that
// another machine is followed while they wait.
func TestReplacedIsToldOnce(t *testing.T) {
	for name, theirs := range map[string]string{
		"a rename that keeps what it replaces":             "rm f",
		"a rename that keeps what it replaces, beside one": "put f theirs",
		"what is gone with its folder":                     "rm d/f\n rmdir d",
		"a rename that is given up":                        "put f theirs\n rm n",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			a, b := p.all[0], p.all[1]
			p.run(a, "mkdir d\n put d/f base\n put f base\n put n new")
			p.publish(a)
			p.follow(b)
			p.run(b, "put f mine\n mv n f\n put d/f mine\n put last 1")
			p.run(a, theirs)
			p.publish(a)
			p.follow(b)
			if len(b.replaced) == 0 {
				t.Fatal("nothing stands for anything")
			}
			for i := range 2 {
				told := b.replaced
				b.replaced = nil
				p.run(a, fmt.Sprintf("put other %d", i))
				p.publish(a)
				p.follow(b)
				if len(b.replaced) != 0 {
					t.Errorf("followed once more, %d operations are told again", len(b.replaced))
				}
				b.replaced = told
			}
			b.again()
		})
	}
}
