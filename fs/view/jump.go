package view

import "github.com/hushfs/hushfs/fs/meta"

// Jump puts another confirmed state in the place of the one that is there: a later one
// of the same chain, of which nobody has the batches between any more. Of the pending
// operations those up to settled are part of it; the others are executed again over it,
// as Follow does, which needs the old state once more. What differs between the two is
// not looked for, it may be most of a drive: Followed says All. From then on c is the
// view's.
//
// commit is called as by Follow, if anything is pending then. An error leaves the map as
// it was, and c.
func (v *View) Jump(c *Confirmed, settled meta.OpNo, o meta.RebaseOptions, commit func(Followed) error) (Followed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for p := range v.ops.written() {
		if p.Stamp.No > settled {
			break
		}
		n++
	}
	next := v.next(c)
	f := Followed{Slot: c.Slot(), All: true}
	o.Slot, o.Before = c.Slot()+1, v.before()
	if left := v.ops.from(n); left.n > 0 {
		re := meta.NewRebase(v.merged(), left.changes(), o)
		changed, err := next.rebase(re, left)
		if err != nil {
			return Followed{}, err
		}
		f.Moved, f.Replaced, f.Refused, f.Undone = re.Moved(), Replaced{next.ops, changed}, re.Refused(), re.Undone()
		if err := commit(f); err != nil {
			return Followed{}, err
		}
	}
	v.become(next)
	return f, nil
}
