package crashwork

import "slices"

// stamp tells when something was done to a file's content.
type stamp struct {
	step    int
	ordered bool // the drive was told at once, in the order of names
	shut    int  // from this step on the drive has it: the file was closed
}

type change struct {
	stamp
	val  Val
	torn bool // by a mapping: a crash may show a part of it
}

type growth struct {
	stamp
	size int64
}

// data is the history of a file's content: for each block, and for the size, all
// that it was, oldest first, and which of these was last acknowledged.
type data struct {
	blocks map[int][]change
	firm   map[int]int // block: index of what was acknowledged last
	sizes  []growth
	size   int   // index of what was acknowledged last
	pins   []int // steps that need all that was handed over before
}

func newData() *data {
	return &data{blocks: map[int][]change{}, firm: map[int]int{}, sizes: []growth{{stamp: stamp{step: -1}}}}
}

// past is the history of block i, which begins with zeros.
func (d *data) past(i int) []change {
	if h := d.blocks[i]; h != nil {
		return h
	}
	return []change{{stamp: stamp{step: -1}}}
}

// now is what block i holds, length the size.
func (d *data) now(i int) Val {
	h := d.past(i)
	return h[len(h)-1].val
}

func (d *data) length() int64 { return d.sizes[len(d.sizes)-1].size }

// blocksOf is how many blocks a file of some size has.
func blocksOf(size int64) int { return int((size + blockSize - 1) / blockSize) }

// put makes v what block i holds.
func (d *data) put(at stamp, i int, v Val, torn bool) {
	d.blocks[i] = append(d.past(i), change{at, v, torn})
}

// grow makes the file at least so long.
func (d *data) grow(at stamp, size int64) {
	if size > d.length() {
		d.sizes = append(d.sizes, growth{at, size})
	}
}

// cut truncates the file, or makes it longer.
func (d *data) cut(at stamp, size int64) {
	for i := range d.blocks {
		if end := int64(i+1) * blockSize; end > size {
			if v := d.now(i); v.Len > 0 || v.Raw != nil {
				d.put(at, i, v.cut(int(size-int64(i)*blockSize)), false)
			}
		}
	}
	d.sizes = append(d.sizes, growth{at, size})
}

// ack: all that was done is acknowledged.
func (d *data) ack() {
	for i, h := range d.blocks {
		d.firm[i] = len(h) - 1
	}
	d.size = len(d.sizes) - 1
}

// ackBlocks: so were n blocks from i on.
func (d *data) ackBlocks(i, n int) {
	for b := i; b < i+n; b++ {
		d.firm[b] = len(d.past(b)) - 1
	}
}

// ackSize: and the size, as far as a write needs it.
func (d *data) ackSize() { d.size = len(d.sizes) - 1 }

// since is the index of the oldest in a history that may be left when the names
// are those after step last.
func since[T any](h []T, when func(T) stamp, firm, last int, pins []int) int {
	pin := -1
	for _, p := range pins {
		if p <= last {
			pin = p
		}
	}
	for i := len(h) - 1; i > firm; i-- {
		if s := when(h[i]); s.ordered && s.step <= last || s.shut <= pin {
			return i
		}
	}
	return firm
}

// settled is a file of which exactly this is there, for good.
func settled(size int64, vals map[int]Val) *data {
	d := newData()
	d.sizes = []growth{{stamp{step: -1}, size}}
	for i, v := range vals {
		d.blocks[i] = []change{{stamp: stamp{step: -1}, val: v}}
	}
	return d
}

// pinned: the step needs all of the content that was handed over.
func (d *data) pinned(step int) {
	if d != nil {
		d.pins = append(slices.Clip(d.pins), step)
	}
}
