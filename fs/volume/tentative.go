package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// tentative knows the operations that give names and whose programs wait for the store:
// they were told nothing yet. Where another machine took such a name first, the operation
// is not done, and its program hears so. It has a lock of its own, taken after all
// others. The zero value is ready.
type tentative struct {
	mu      sync.Mutex // guards the fields below; nothing is taken after it
	waiting map[meta.OpNo]*verdict
	halves  map[*half]bool // of those that were refused, until they are taken away
}

// verdict is what is known of an operation whose program waits.
type verdict struct {
	refused error // nil: it was not
	half    *half // of the file that gets its first name by it; nil: of others
	names   []nameGiven
}

// nameGiven is a name that an operation gave a file, and what it was called before; the zero
// value: that is not known.
type nameGiven struct {
	ref     meta.Ref
	is, was placed
}

// tentativeMost is how many operations are kept in mind.
const tentativeMost = 1 << 16

// errManyWait: more programs wait for names than anybody has.
var errManyWait = errors.New("too many programs wait for a name")

// add notes the operation no that is about to give a name.
func (t *tentative) add(no meta.OpNo, h *half) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= tentativeMost {
		return errManyWait // one that is forgotten would be told that it has the name
	}
	if t.waiting == nil {
		t.waiting, t.halves = map[meta.OpNo]*verdict{}, map[*half]bool{}
	}
	t.waiting[no] = &verdict{half: h}
	return nil
}

// gave notes a name that the operation no gave, whose program waits.
func (t *tentative) gave(no meta.OpNo, n nameGiven) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.waiting[no]; w != nil {
		w.names = append(w.names, n)
	}
}

// has says whether the program of an operation waits.
func (t *tentative) has(no meta.OpNo) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting[no] != nil
}

// followed notes what became of operations. It returns the names that were not given, in the
// order in which they were to be.
func (t *tentative) followed(refused []meta.Refusal) (not []nameGiven) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range refused {
		if w := t.waiting[r.No]; w != nil {
			if w.refused = r.Err; w.half != nil {
				t.halves[w.half] = true
			}
			not, w.names = append(not, w.names...), nil
		}
	}
	return not
}

// rehome says in which directories files are made that were merged into others.
func (t *tentative) rehome(moved map[meta.Ref]meta.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	move := func(h *half) {
		if to, ok := moved[h.home]; ok {
			h.home = to
		}
	}
	for _, w := range t.waiting {
		if w.half != nil && !t.halves[w.half] {
			move(w.half)
		}
	}
	for h := range t.halves {
		move(h)
	}
}

// leftover lists what is to be taken away.
func (t *tentative) leftover() []*half {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.halves))
}

// gone notes that something was taken away.
func (t *tentative) gone(h *half) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.halves, h)
}

// end says why an operation, for which nobody waits any more, was refused; nil: it was not.
func (t *tentative) end(no meta.OpNo) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.waiting[no]
	delete(t.waiting, no)
	if w == nil {
		return nil
	}
	return w.refused
}

// sure says whether what is given a name in one of these directories is to be told to the
// program when the store has it. It fails where that is not known.
func (v *Volume) sure(ctx context.Context, dirs ...meta.Ref) (sure bool, err error) {
	for _, dir := range dirs {
		if v.o.ReadOnly || sure {
			break
		}
		remote, rerr := v.Remote(ctx, dir)
		sure, err = remote, errors.Join(err, rerr)
	}
	if sure {
		return true, nil
	}
	return false, err
}

// Given is an operation that gave a name, and whose program waits to hear whether it has
// it. The zero value: it waits for nothing.
type Given struct{ no meta.OpNo }

// executeName is execute of an operation that gives a name, with h where that is the first
// one of a file; v is locked.
func (v *Volume) executeName(sure bool, op meta.Op, h *half) (Given, error) {
	if !sure {
		return Given{}, v.execute(op)
	}
	no := v.nextOp
	// Before, or another machine's slot could come in between.
	if err := v.tentative.add(no, h); err != nil {
		return Given{}, err
	}
	err := v.execute(op)
	if v.nextOp == no {
		_ = v.tentative.end(no) // it was not executed: the number will be another's
		return Given{}, err
	}
	return Given{no}, err
}

// ConfirmName returns when the store has what an operation gave a name; errors of Confirm,
// and of Named. It is called once, whatever became of the operation.
func (v *Volume) ConfirmName(ctx context.Context, g Given) error {
	if g == (Given{}) {
		return nil
	}
	err := v.await(ctx, g.no)
	refused := v.Named(g)
	if refused == nil {
		return err
	}
	// The program may believe that nothing is left of it, whatever happens next.
	ctx, cancel := v.patient(context.WithoutCancel(ctx))
	defer cancel()
	if err := errors.Join(v.changing(ctx, v.takeBack), v.persist()); err != nil {
		v.log.Warn("what another machine has the name of is not taken away yet", "err", err)
	}
	return refused
}

// Named says whether an operation that is waited for gave its name, as far as that is
// known: publish.ErrFaster where another machine was faster. It is asked once: nobody waits
// for the operation from then on.
func (v *Volume) Named(g Given) error {
	// An operation can be gone from the view before it is known why.
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.tentative.end(g.no); err != nil {
		return fmt.Errorf("%w: %w", publish.ErrFaster, err)
	}
	return nil
}
