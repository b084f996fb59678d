package powerloss

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Mode is how an image is drawn.
type Mode int

const (
	Nothing Mode = iota // of what was not synced
	Everything
	NamesOnly // none of the data that was not synced
	DataOnly  // no change of names that was not synced
	Beginning // a beginning of the names, and one of each file's data
	Anything  // any part of the names, any pages of the data
	Garbage   // the same, and what was never written holds anything
	Modes     // how many there are
)

var modeNames = [Modes]string{"nothing", "everything", "names only", "data only", "a beginning", "anything", "anything, with garbage"}

func (m Mode) String() string { return modeNames[m] }

// Image is what a loss of power leaves.
type Image struct {
	names names
	files map[int]*content
	disk  *Disk
}

// Draw draws what may be left if the power is lost now.
func (d *Disk) Draw(mode Mode, r *rand.Rand) *Image {
	i := &Image{names: d.drawNames(mode, r), files: map[int]*content{}, disk: d}
	for _, id := range d.sorted() {
		if f := d.files[id]; f.now != nil {
			i.files[id] = f.draw(mode, r)
		}
	}
	return i
}

// sorted are the numbers of all files: the same draw is to give the same image.
func (d *Disk) sorted() []int {
	all := make([]int, 0, len(d.files))
	for id := range d.files {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func (d *Disk) drawNames(mode Mode, r *rand.Rand) names {
	n := d.firm.clone()
	switch mode {
	case Everything, NamesOnly:
		return d.now.clone()
	case Beginning:
		for _, e := range d.pending[:r.IntN(len(d.pending)+1)] {
			n.apply(e)
		}
	case Anything, Garbage:
		// Of each name any beginning of what was done to it, renames whole.
		lost := map[place]bool{}
		for _, e := range d.pending {
			keep := r.IntN(2) == 0
			for _, p := range e.places() {
				keep = keep && !lost[p]
			}
			if keep {
				n.apply(e)
				continue
			}
			for _, p := range e.places() {
				lost[p] = true
			}
		}
	}
	return n
}

// draw draws what is left of a file's data.
func (f *file) draw(mode Mode, r *rand.Rand) *content {
	if len(f.pending) == 0 || mode == Nothing || mode == NamesOnly {
		return f.firm
	}
	if mode == Everything || mode == DataOnly {
		return f.now
	}
	c := f.firm.clone()
	pending := f.pending
	if mode == Beginning {
		for _, e := range pending[:r.IntN(len(pending)+1)] {
			c.apply(e)
		}
		return c
	}
	// Up to some change of the size by itself all in order, then any pages of what
	// was written until the next one.
	for {
		at := slices.IndexFunc(pending, func(e *Event) bool { return e.kind != written })
		if at < 0 || r.IntN(2) == 0 {
			if at >= 0 {
				pending = pending[:at]
			}
			break
		}
		for _, e := range pending[:at+1] {
			c.apply(e)
		}
		pending = pending[at+1:]
	}
	c.scatter(pending, mode == Garbage, r)
	return c
}

// scatter does writes page by page: to each any beginning of what was done to it,
// the last perhaps in a part of its sectors; and chooses one of the sizes.
func (c *content) scatter(writes []*Event, garbage bool, r *rand.Rand) {
	size := c.size
	sizes := []int64{size}
	touch := map[int64][]*Event{}
	var order []int64
	for _, e := range writes {
		first, last := span(e)
		for i := first; i <= last; i++ {
			if touch[i] == nil {
				order = append(order, i)
			}
			touch[i] = append(touch[i], e)
		}
		size = max(size, e.off+int64(len(e.data)))
		sizes = append(sizes, size)
	}
	rate := r.IntN(4) // how much is lost: now little, now nearly all
	for _, i := range order {
		all := touch[i]
		n := len(all)
		if r.IntN(4) < rate {
			n = r.IntN(n + 1)
		}
		if n < len(all) && c.pages[i] == nil && garbage && r.IntN(2) == 0 {
			c.pages[i] = noise(r)
		}
		for k, e := range all[:n] {
			var keep func(int) bool
			if k == n-1 && r.IntN(6) == 0 {
				keep = func(int) bool { return r.IntN(2) == 0 }
			}
			c.pages[i] = over(c.pages[i], e, i, keep)
		}
	}
	c.size = sizes[r.IntN(len(sizes))]
	if r.IntN(2) == 0 {
		c.size = sizes[len(sizes)-1] // with the size and without the data is the usual case
	}
	for i := range c.pages {
		if i*pageSize >= c.size {
			delete(c.pages, i)
		}
	}
	if p := c.pages[c.size/pageSize]; p != nil {
		n := *p
		clear(n[c.size%pageSize:])
		c.pages[c.size/pageSize] = &n
	}
}

// Write makes what the image has at path at be all that is in the folder to,
// which keeps its own inode number. It tells whether the image has that path.
func (i *Image) Write(at, to string) (bool, error) {
	entries, err := os.ReadDir(to)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(to, e.Name())); err != nil {
			return false, err
		}
	}
	id, ok := find(i.names, at)
	if !ok {
		return false, nil
	}
	return true, i.write(id, to)
}

func (i *Image) write(dir int, to string) error {
	for name, id := range i.names[dir] {
		path, f := filepath.Join(to, name), i.disk.files[id]
		var err error
		switch {
		case f.folder:
			if err = os.Mkdir(path, 0o700); err == nil {
				err = i.write(id, path)
			}
		case f.target != "":
			err = os.Symlink(f.target, path)
		default:
			err = i.put(i.files[id], path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *Image) put(c *content, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(c.writeTo(f), f.Close())
}
