package fs

import "iter"

// index finds nodes by a number. Node ids come one after the other, and mostly so do the
// inodes of one machine: eight numbers that follow each other share an entry of the map,
// which takes half as much as one for each. The zero value is empty.
type index struct {
	pages map[uint64]*page
	n     int // nodes in it
}

const pageNodes = 8

type page [pageNodes]*node

func (x *index) get(no uint64) *node {
	if p := x.pages[no/pageNodes]; p != nil {
		return p[no%pageNodes]
	}
	return nil
}

func (x *index) set(no uint64, n *node) {
	p := x.pages[no/pageNodes]
	if p == nil {
		if x.pages == nil {
			x.pages = map[uint64]*page{}
		}
		p = new(page)
		x.pages[no/pageNodes] = p
	}
	if p[no%pageNodes] == nil {
		x.n++
	}
	p[no%pageNodes] = n
}

func (x *index) remove(no uint64) {
	p := x.pages[no/pageNodes]
	if p == nil || p[no%pageNodes] == nil {
		return
	}
	x.n--
	p[no%pageNodes] = nil
	if *p == (page{}) {
		delete(x.pages, no/pageNodes)
	}
}

// all gives every node, in any order. Those that were not given yet may come in or go
// meanwhile.
func (x *index) all() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, p := range x.pages {
			for _, n := range p {
				if n != nil && !yield(n) {
					return
				}
			}
		}
	}
}
