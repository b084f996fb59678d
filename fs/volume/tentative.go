package volume

import (
	"context"
	"fmt"
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
	waiting map[meta.OpNo]bool
	names   map[placed][]meta.OpNo // several programs may wait for one name; oldest first
	refused map[meta.OpNo]error
	moved   map[meta.Ino]meta.Ino // open files of which what was written here went to a copy, until a program was told
}

// tentativeMost is how many operations, and files, are kept in mind.
const tentativeMost = 1 << 16

// add notes the operation no that is about to give a name.
func (t *tentative) add(no meta.OpNo, parent meta.Ref, name []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil || len(t.waiting) >= tentativeMost {
		t.waiting, t.names, t.refused = map[meta.OpNo]bool{}, map[placed][]meta.OpNo{}, map[meta.OpNo]error{}
	}
	t.waiting[no] = true
	at := placed{parent, string(name)}
	t.names[at] = append(t.names[at], no)
}

// has says whether the program of an operation waits.
func (t *tentative) has(no meta.OpNo) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting[no]
}

// followed notes what became of operations, and of the files that are open.
func (t *tentative) followed(refused []meta.Refusal, moved []meta.Moved) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range refused {
		if t.waiting[r.No] {
			t.refused[r.No] = r.Err
		}
	}
	if t.moved == nil {
		t.moved = map[meta.Ino]meta.Ino{}
	}
	for _, m := range moved {
		if m.From.Ino != m.To.Ino && len(t.moved) < tentativeMost {
			t.moved[m.From.Ino] = m.To.Ino
		}
	}
}

// end says what became of the oldest operation that gave a name, for which nobody waits
// any more.
func (t *tentative) end(parent meta.Ref, name []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := placed{parent, string(name)}
	if len(t.names[at]) == 0 {
		return nil
	}
	return t.drop(at, t.names[at][0])
}

// none forgets the operation no, which was not executed.
func (t *tentative) none(no meta.OpNo, parent meta.Ref, name []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.drop(placed{parent, string(name)}, no)
}

// drop forgets an operation and returns why it was refused, if it was; mu is held.
func (t *tentative) drop(at placed, no meta.OpNo) error {
	err := t.refused[no]
	t.names[at] = slices.DeleteFunc(t.names[at], func(n meta.OpNo) bool { return n == no })
	if len(t.names[at]) == 0 {
		delete(t.names, at)
	}
	delete(t.waiting, no)
	delete(t.refused, no)
	return err
}

// left says, once, whether what was written to a file went to a copy.
func (t *tentative) left(ino meta.Ino) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for from, to := range t.moved {
		if from == ino || to == ino {
			delete(t.moved, from)
			return true
		}
	}
	return false
}

// sure says whether what is given a name in a directory is to be told to the program
// when the store has it.
func (v *Volume) sure(ctx context.Context, parent meta.Ref) bool {
	return !v.o.ReadOnly && v.Remote(ctx, parent)
}

// executeName is execute of an operation that gives a name; v is locked.
func (v *Volume) executeName(sure bool, parent meta.Ref, name []byte, op meta.Op) error {
	no := v.nextOp
	if sure {
		// Before, or another machine's slot could come in between.
		v.tentative.add(no, parent, name)
	}
	err := v.execute(op)
	if sure && v.nextOp == no {
		v.tentative.none(no, parent, name) // the number will be another's
	}
	return err
}

// NameIn is a name in a directory.
type NameIn struct {
	Dir  meta.Ref
	Name []byte
}

// ConfirmNames returns when the store has what these names were last given here, in
// directories that want it so; errors of Confirm, and of Named. It is called once after
// each operation that gave them, whatever that came to.
func (v *Volume) ConfirmNames(ctx context.Context, names ...NameIn) (err error) {
	for _, n := range names {
		if err == nil && v.sure(ctx, n.Dir) {
			err = v.Confirm(ctx, n.Dir)
		}
		// Also of those that nobody waits for any more: an answer that is not fetched would
		// be that of the next who gives the name.
		if nerr := v.Named(n.Dir, n.Name); nerr != nil {
			err = nerr
		}
	}
	return err
}

// Named says whether what was last given a name here, and waited for, has it:
// publish.ErrFaster where another machine was faster. It is asked once.
func (v *Volume) Named(parent meta.Ref, name []byte) error {
	// An operation can be gone from the view before it is known why.
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.tentative.end(parent, name); err != nil {
		return fmt.Errorf("%w: %w", publish.ErrFaster, err)
	}
	return nil
}
