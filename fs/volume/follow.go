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

// rebase says how operations are executed again over what other machines did.
func (v *Volume) rebase() meta.RebaseOptions {
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

// replace queues for the journal what stands for operations now, and that they follow
// another slot; v is locked. The bytes that the steps name must be on the disk first: they
// may have come with another operation.
func (v *Volume) replace(f view.Followed) error {
	for _, r := range f.Replaced {
		for _, s := range r.Steps {
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
	r := &journal.FollowedRecord{Slot: f.Slot, More: true}
	v.queue = append(v.queue, queued{followed: r})
	size := 0
	for _, p := range f.Replaced {
		var steps [][]byte
		for _, s := range p.Steps {
			steps = append(steps, meta.EncodeStep(s))
		}
		n := stepsSize(steps)
		if size > 0 && size+n > replaceMost {
			r, size = &journal.FollowedRecord{Slot: f.Slot, More: true, Rest: true}, 0
			v.queue = append(v.queue, queued{followed: r})
		}
		r.Replaced = append(r.Replaced, journal.Replaced{No: p.No, Steps: steps})
		size += n
	}
	r.More = false
	return nil
}

// stepsSize is about how many bytes of a record the steps of one operation take.
func stepsSize(steps [][]byte) int {
	n := 16
	for _, s := range steps {
		n += len(s) + 4
	}
	return n
}

func followedSize(f *journal.FollowedRecord) int {
	n := 64
	for _, p := range f.Replaced {
		n += stepsSize(p.Steps)
	}
	return n
}
