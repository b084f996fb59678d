package view

import (
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// ahead is what Follow would do, found out before it is called.
type ahead struct {
	changes uint64   // of the view, when it was found out
	slots   []uint64 // numbers
	result  *executed
}

// executed are the pending operations of a view, executed again over slots.
type executed struct {
	next      *View
	followed  Followed
	tentative []meta.OpNo // operations whose programs were not told yet: who is told stays so
}

// Ahead finds out what Follow, called with the same, will do, as long as nothing else
// changes the map before that: many operations take seconds, in which the map can be read
// and changed. Follow finds out anew what is not so any more; an error is nothing that it
// would not meet.
func (v *View) Ahead(slots []Slot, o meta.RebaseOptions) error {
	v.mu.Lock()
	v.ahead = nil
	if v.ops.n == 0 {
		v.mu.Unlock()
		return nil
	}
	was := &View{confirmed: v.confirmed.Clone(), pending: v.pending.copy(), ops: v.ops}
	a := &ahead{changes: v.changes, slots: numbers(slots)}
	v.mu.Unlock()
	var err error
	if a.result, err = was.again(slots, o); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ahead = a
	return nil
}

// found returns what Ahead found out, if that is so still; v is locked. It is not kept.
func (v *View) found(slots []Slot, o meta.RebaseOptions) *executed {
	a := v.ahead
	v.ahead = nil
	if a == nil || a.changes != v.changes || !slices.Equal(a.slots, numbers(slots)) {
		return nil
	}
	for _, no := range a.result.tentative {
		if !o.Tentative(no) {
			return nil // its program has been told
		}
	}
	return a.result
}

// again executes the pending operations of v, which does not change, over slots.
func (v *View) again(slots []Slot, o meta.RebaseOptions) (*executed, error) {
	x := &executed{next: v.next(v.confirmed.Clone())}
	for _, s := range slots {
		x.next.confirmed.Apply(s.No, s.Batch, s.Usage)
	}
	o.Slot, o.Before = x.next.confirmed.Slot()+1, v.before()
	if ask := o.Tentative; ask != nil {
		o.Tentative = func(no meta.OpNo) bool {
			waits := ask(no)
			if waits {
				x.tentative = append(x.tentative, no)
			}
			return waits
		}
	}
	re := meta.NewRebase(v.merged(), v.ops.changes(), o)
	changed, err := x.next.rebase(re, v.ops)
	if err != nil {
		return nil, err
	}
	keys := touched(slots)
	differing(v.pending, x.next.pending, keys)
	x.next.settleDown()
	x.followed = Followed{Slot: x.next.confirmed.Slot(), Keys: sorted(keys), Moved: re.Moved(), Replaced: Replaced{x.next.ops, changed}, Refused: re.Refused(), Undone: re.Undone()}
	return x, nil
}

// before returns what says how the map was when a pending operation was executed: see
// meta.RebaseOptions. v does not change meanwhile.
func (v *View) before() func(no meta.OpNo) meta.Reader {
	var past *Confirmed
	left := v.ops
	return func(no meta.OpNo) meta.Reader {
		if past == nil {
			past = v.confirmed.Clone()
		}
		n := 0
		for p := range left.written() {
			if p.Stamp.No >= no {
				break
			}
			past.Apply(past.Slot(), p.Batch(), p.Usage)
			n++
		}
		if n == 0 {
			return past
		}
		left = left.from(n)
		return past
	}
}

// touched are the keys that slots write.
func touched(slots []Slot) map[string]struct{} {
	keys := map[string]struct{}{}
	for _, s := range slots {
		for _, kv := range s.Batch.Puts {
			keys[string(kv.Key)] = struct{}{}
		}
		for _, k := range s.Batch.Deletes {
			keys[string(k)] = struct{}{}
		}
	}
	return keys
}

func numbers(slots []Slot) []uint64 {
	out := make([]uint64, len(slots))
	for i, s := range slots {
		out[i] = s.No
	}
	return out
}
