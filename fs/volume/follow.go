package volume

import (
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
		Squeeze:   v.squeezed.squeeze,
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
	size := 0
	next := func(more bool) error {
		r.More = more
		if pos, err = j.Append(journal.Followed(r)); err != nil {
			return err
		}
		f.begun = true
		if n := len(r.Replaced); n > 0 {
			f.told = r.Replaced[n-1].No
		}
		r.Rest, r.Replaced, size = true, r.Replaced[:0], 0
		return nil
	}
	for no, steps := range f.replaced.All(f.told) {
		encoded := make([][]byte, len(steps))
		for i, s := range steps {
			encoded[i] = meta.EncodeStep(s)
		}
		n := stepsSize(encoded)
		if size > 0 && size+n > replaceMost {
			if err := next(true); err != nil {
				return 0, err
			}
		}
		r.Replaced = append(r.Replaced, journal.Replaced{No: no, Steps: encoded})
		size += n
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
