package volume

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// gather makes operations of what programs wrote and is none yet.
func (v *Volume) gather() error {
	return v.pinOld(v.life, 0)
}

// manyWait are so many operations that executing them again takes much memory.
const manyWait = 50_000

// rebase says how operations are executed again over what other machines did.
func (v *Volume) rebase() meta.RebaseOptions {
	if v.view.Pending().Len() >= manyWait {
		v.packs.Rest() // what is to come needs the memory more
	}
	_, _, name := v.state.Device()
	return meta.RebaseOptions{
		Device:    name,
		NewIno:    v.state.NextIno,
		Place:     v.places.find,
		Same:      v.equals.same,
		Tentative: v.tentative.has,
	}
}

// replaceMost is how many bytes of steps go into one record of the journal.
const replaceMost = 1 << 20

// followed is what following a slot made of operations, on its way to the journal. As long
// as the view is the same they lie in memory once.
type followed struct {
	slot     uint64
	replaced view.Replaced
	begun    bool      // some of it is in the journal
	told     meta.OpNo // up to this one
	part     int       // and so many steps of the next
}

// replace queues for the journal what stands for operations now, and that they follow
// another slot; v is locked. The bytes that the steps name must be on the disk first: they
// may have come with another operation.
func (v *Volume) replace(f view.Followed) error {
	for _, steps := range f.Replaced.All(0) {
		for _, s := range steps {
			for _, e := range meta.Contents(s) {
				if v.packs.Durable(e.Pack) {
					continue
				}
				if err := v.packs.Close(e.Pack); err != nil {
					return err
				}
			}
		}
	}
	v.queue = append(v.queue, queued{followed: &followed{slot: f.Slot, replaced: f.Replaced}})
	return nil
}

// write writes to the journal, not synced, what is not there yet; persisting is held.
// After an error it is called again.
func (f *followed) write(j *journal.Journal) (pos uint64, err error) {
	r := journal.FollowedRecord{Slot: f.slot, Rest: f.begun}
	size, told, part := 0, f.told, f.part
	next := func(more bool) error {
		r.More = more
		if pos, err = j.Append(journal.Followed(r)); err != nil {
			return err
		}
		f.begun, f.told, f.part = true, told, part
		r.Rest, r.Replaced, size = true, nil, 0
		return nil
	}
	for no, steps := range f.replaced.All(f.told) {
		encoded := make([][]byte, 0, len(steps))
		for _, s := range steps[part:] {
			encoded = append(encoded, meta.EncodeStep(s))
		}
		if n := stepsSize(encoded); size > 0 && size+n > replaceMost {
			if err := next(true); err != nil {
				return 0, err
			}
		}
		r.Replaced = append(r.Replaced, onwards(no, part))
		for i, b := range encoded {
			n := stepsSize(encoded[i : i+1])
			last := &r.Replaced[len(r.Replaced)-1]
			if size > 0 && size+n > replaceMost {
				last.Steps = append(last.Steps, seam(part))
				if err := next(true); err != nil {
					return 0, err
				}
				r.Replaced = append(r.Replaced, onwards(no, part))
				last = &r.Replaced[0]
			}
			last.Steps = append(last.Steps, b)
			size, part = size+n, part+1
		}
		told, part, size = no, 0, size+16
	}
	return pos, next(false)
}

// stepsSize is about how many bytes of a record the steps of one operation take.
func stepsSize(steps [][]byte) int {
	n := 16
	for _, s := range steps {
		n += len(s) + 4
	}
	return n
}

// seam stands where the steps of one operation go on in the next record, at the end of the
// one and at the beginning of the other: so many came before. No step begins like it.
func seam(part int) []byte { return binary.AppendUvarint([]byte{0}, uint64(part)) }

func isSeam(step []byte) bool { return len(step) > 0 && step[0] == 0 }

// onwards begins what stands for an operation, of which part steps are in records before.
func onwards(no meta.OpNo, part int) journal.Replaced {
	if part == 0 {
		return journal.Replaced{No: no}
	}
	return journal.Replaced{No: no, Steps: [][]byte{seam(part)}}
}

// retold is what a journal says that stands for operations, on its way from its records.
type retold struct {
	all  instead
	open journal.Replaced // with which the next record goes on
}

// add takes in a record, and says whether that was the last of several. Of an operation
// whose steps went into several records none counts when one of those is lost.
func (t *retold) add(r journal.FollowedRecord) (whole bool, err error) {
	if !r.Rest {
		*t = retold{} // what was not written whole
	}
	for _, p := range r.Replaced {
		open := t.open
		t.open = journal.Replaced{}
		if n := len(p.Steps); n > 0 && isSeam(p.Steps[0]) {
			if p.No != open.No || !bytes.Equal(p.Steps[0], seam(len(open.Steps))) {
				continue
			}
			p.Steps = append(open.Steps, p.Steps[1:]...)
		}
		if n := len(p.Steps); n > 0 && isSeam(p.Steps[n-1]) {
			p.Steps = p.Steps[:n-1]
			t.open = p
			continue
		}
		if err := t.all.add(p); err != nil {
			return false, fmt.Errorf("%w: what stands for operation %d: %w", ErrJournal, p.No, err)
		}
	}
	return !r.More, nil
}
