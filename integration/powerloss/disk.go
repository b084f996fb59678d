package powerloss

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// file is an inode of the disk.
type file struct {
	folder  bool
	target  string
	now     *content // as programs see it
	firm    *content // as it was synced
	pending []*Event // data since then
}

// names of all folders: of each folder, of each name what it stands for.
type names map[int]map[string]int

func (n names) clone() names {
	c := names{}
	for d, m := range n {
		c[d] = maps.Clone(m)
	}
	return c
}

// at is the folder's names, to be changed.
func (n names) at(dir int) map[string]int {
	if n[dir] == nil {
		n[dir] = map[string]int{}
	}
	return n[dir]
}

// apply does what an event does to names, all of it.
func (n names) apply(e *Event) {
	switch e.kind {
	case made, linked:
		n.at(e.dir)[e.name] = e.file
	case removed:
		delete(n.at(e.dir), e.name)
	case renamed:
		delete(n.at(e.dir), e.name)
		n.at(e.toDir)[e.toName] = e.file
	case swapped:
		a, b := n.at(e.dir), n.at(e.toDir)
		a[e.name], b[e.toName] = b[e.toName], a[e.name]
	}
}

// place is a name in a folder.
type place struct {
	dir  int
	name string
}

// places are those that an event changes.
func (e *Event) places() []place {
	if e.kind == renamed || e.kind == swapped {
		return []place{{e.dir, e.name}, {e.toDir, e.toName}}
	}
	return []place{{e.dir, e.name}}
}

// Disk is the folders at a point of their history.
type Disk struct {
	events  []Event
	next    int
	files   map[int]*file
	now     names    // as programs see them
	firm    names    // as they were synced
	pending []*Event // changes of names since then, in order
}

// NewDisk is the disk before the first event.
func NewDisk(h *History) *Disk {
	d := &Disk{events: h.events, files: map[int]*file{0: {folder: true}}, now: names{}, firm: names{}}
	for i := range h.start {
		d.do(&h.start[i])
	}
	for _, e := range d.pending {
		d.firm.apply(e)
	}
	d.pending = nil
	for _, f := range d.files {
		d.sync(f)
	}
	return d
}

// Step goes over the next event, which it returns; nil at the end.
func (d *Disk) Step() *Event {
	if d.next == len(d.events) {
		return nil
	}
	e := &d.events[d.next]
	d.next++
	d.do(e)
	return e
}

func (d *Disk) do(e *Event) {
	switch e.kind {
	case made:
		f := &file{folder: e.folder, target: e.target}
		if !e.folder && e.target == "" {
			f.now, f.firm = newContent(), newContent()
		}
		d.files[e.file] = f
		d.rename(e)
	case linked, removed, renamed, swapped:
		d.rename(e)
	case written, resized, punched:
		f := d.files[e.file]
		f.now.apply(e)
		f.pending = append(f.pending, e)
	case synced:
		d.sync(d.files[e.file])
	case settled:
		d.settle(e.file)
	}
}

func (d *Disk) rename(e *Event) {
	d.now.apply(e)
	d.pending = append(d.pending, e)
}

// sync makes a file's data firm.
func (d *Disk) sync(f *file) {
	for _, e := range f.pending {
		f.firm.apply(e)
	}
	f.pending = nil
}

// settle makes a folder's names firm. What becomes firm with them: the other half
// of a rename, and what was done to the same names before.
func (d *Disk) settle(dir int) {
	taken := map[place]bool{}
	var firm, rest []*Event
	for _, e := range slices.Backward(d.pending) {
		take := e.dir == dir || (e.kind == renamed || e.kind == swapped) && e.toDir == dir
		for _, p := range e.places() {
			take = take || taken[p]
		}
		if !take {
			rest = append(rest, e)
			continue
		}
		for _, p := range e.places() {
			taken[p] = true
		}
		firm = append(firm, e)
	}
	for _, e := range slices.Backward(firm) {
		d.firm.apply(e)
	}
	slices.Reverse(rest)
	d.pending = rest
}

// find is the number of what lies at a path, in some names.
func find(n names, p string) (id int, ok bool) {
	for name := range strings.SplitSeq(path.Clean(p), "/") {
		if id, ok = n[id][name]; !ok {
			return 0, false
		}
	}
	return id, true
}

// Read is the content of a file as programs see it: of one that is not subject to
// the loss.
func (d *Disk) Read(p string) ([]byte, bool) {
	id, ok := find(d.now, p)
	if !ok || d.files[id].now == nil {
		return nil, false
	}
	return d.files[id].now.bytes(), true
}

// Named is the path, as programs see it, that an event gives to a file; empty when
// it gives none.
func (d *Disk) Named(e *Event) string {
	switch e.kind {
	case made, linked:
		return d.pathOf(e.dir, e.name)
	case renamed:
		return d.pathOf(e.toDir, e.toName)
	}
	return ""
}

func (d *Disk) pathOf(dir int, name string) string {
	for dir != 0 {
		found := false
		for parent, m := range d.now {
			for n, id := range m {
				if id == dir {
					name, dir, found = n+"/"+name, parent, true
				}
			}
			if found {
				break
			}
		}
		if !found {
			return ""
		}
	}
	return name
}
