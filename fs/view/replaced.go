package view

import (
	"fmt"
	"iter"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// Replaced says what stands for operations from now on, ascending by number. It may be of
// half a million: the steps are decoded one operation at a time. The zero value is empty.
type Replaced struct {
	ops Ops // with others among them
	nos []meta.OpNo
}

// Instead is what stands for one operation.
func Instead(at meta.Stamp, steps []meta.Change) Replaced {
	r := Replaced{nos: []meta.OpNo{at.No}}
	if len(steps) == 0 {
		steps = []meta.Change{nil}
	}
	for _, s := range steps {
		r.ops.add(s, at, &meta.Batch{}, meta.Delta{})
	}
	return r
}

// Len is how many operations it is about.
func (r Replaced) Len() int { return len(r.nos) }

// Has says whether it is about an operation.
func (r Replaced) Has(no meta.OpNo) bool {
	_, ok := slices.BinarySearch(r.nos, no)
	return ok
}

// All gives those after a number, and the steps that stand for each; none: nothing does.
func (r Replaced) All(after meta.OpNo) iter.Seq2[meta.OpNo, []meta.Change] {
	return func(yield func(meta.OpNo, []meta.Change) bool) {
		left := r.nos
		for len(left) > 0 && left[0] <= after {
			left = left[1:]
		}
		if len(left) == 0 {
			return
		}
		var steps []meta.Change
		for b := range r.ops.records() {
			no := decodePending(b, false).Stamp.No
			if no > left[0] {
				if !yield(left[0], steps) {
					return
				}
				if left, steps = left[1:], nil; len(left) == 0 {
					return
				}
			}
			if no != left[0] {
				continue
			}
			if p := decodePending(b, true); p.Op != nil {
				steps = append(steps, p.Op)
			}
		}
		yield(left[0], steps)
	}
}

// fits refuses a step that could not be read again: there is none.
func fits(s meta.Change) error {
	if s == nil {
		return nil
	}
	n, most := len(meta.EncodeStep(s)), meta.MaxStep
	if _, ok := s.(meta.Op); ok {
		most = meta.MaxOp
	}
	if n > most {
		return fmt.Errorf("%w: a step of %d bytes", meta.ErrMalformed, n)
	}
	return nil
}
