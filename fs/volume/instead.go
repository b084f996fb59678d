package volume

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
)

// instead is what stands for operations of a journal, which was said in several turns. It
// may be of half a million, of which most are like the one before: beyond a few it is
// kept compressed, in runs that ascend. The zero value is empty.
type instead struct {
	few   map[meta.OpNo][]byte // newer than what the runs say; its own bytes
	bytes int                  // of few
	runs  []*run               // a later one counts more
}

// run is what stands for some operations, ascending. What is asked for ascends too, so that
// few are open at a time.
type run struct {
	data        []byte // compressed: number, length, steps of each
	first, last meta.OpNo
	open        []byte // what is left of it from the number asked for last
}

// As much as is not compressed.
const (
	insteadFew   = 4096
	insteadBytes = 1 << 20
)

// add notes what stands for an operation from now on. It must be what DecodeStep takes.
func (x *instead) add(r journal.Replaced) error {
	var b []byte
	for _, s := range r.Steps {
		if _, err := meta.DecodeStep(s); err != nil {
			return err
		}
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	x.set(r.No, b)
	return nil
}

func (x *instead) set(no meta.OpNo, b []byte) {
	if x.few == nil {
		x.few = map[meta.OpNo][]byte{}
	}
	x.bytes += len(b) - len(x.few[no])
	x.few[no] = b
	if len(x.few) >= insteadFew || x.bytes >= insteadBytes {
		x.seal()
	}
}

// seal makes a run of what is not in one.
func (x *instead) seal() {
	if len(x.few) == 0 {
		return
	}
	nos := slices.Sorted(maps.Keys(x.few))
	var b []byte
	for _, no := range nos {
		b = binary.AppendUvarint(b, uint64(no))
		b = append(binary.AppendUvarint(b, uint64(len(x.few[no]))), x.few[no]...)
	}
	x.runs = append(x.runs, &run{data: slices.Clone(s2.Encode(nil, b)), first: nos[0], last: nos[len(nos)-1]})
	x.few, x.bytes = nil, 0
}

// then notes what was said later; newer is not used any more.
func (x *instead) then(newer *instead) {
	if len(newer.runs) > 0 {
		x.seal()
		x.runs = append(x.runs, newer.runs...)
	}
	for no, b := range newer.few {
		x.set(no, b)
	}
}

// of returns what stands for an operation; ok is false when it stands for itself. The
// numbers that are asked for ascend.
func (x *instead) of(no meta.OpNo) (steps []meta.Change, ok bool, err error) {
	b, ok := x.few[no]
	for _, r := range slices.Backward(x.runs) {
		// All are asked, so that those that are behind are closed.
		at, there, err := r.of(no)
		if err != nil {
			return nil, false, err
		}
		if there && !ok {
			b, ok = at, true
		}
	}
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		s, err := meta.DecodeStep(b[size:][:n])
		if err != nil {
			return nil, false, err
		}
		steps, b = append(steps, s), b[size+int(n):]
	}
	return steps, ok, nil
}

func (r *run) of(no meta.OpNo) (b []byte, ok bool, err error) {
	switch {
	case no < r.first:
		return nil, false, nil
	case no > r.last:
		r.open, r.data = nil, nil
		return nil, false, nil
	case r.open == nil:
		if r.open, err = s2.Decode(nil, r.data); err != nil {
			return nil, false, fmt.Errorf("decompress: %w", err)
		}
	}
	for len(r.open) > 0 {
		at, size := binary.Uvarint(r.open)
		if meta.OpNo(at) > no {
			return nil, false, nil
		}
		n, more := binary.Uvarint(r.open[size:])
		b = r.open[size+more:][:n]
		if meta.OpNo(at) == no {
			return b, true, nil
		}
		r.open = r.open[size+more+int(n):]
	}
	return nil, false, nil
}
