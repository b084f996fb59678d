package crashwork

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// node is an inode as a worker knows it. It is never changed: what changes an
// attribute puts another one in its place.
type node struct {
	file  uint64
	kind  byte   // 'f' file, 'd' directory, 'l' symbolic link
	ino   uint64 // 0: the worker was not told
	mode  uint32
	to    string // of a symbolic link
	attrs map[string]string
	data  *data // of a file
}

// tree is the names of a worker.
type tree map[string]*node

// state is the names after a step.
type state struct {
	step  int
	names tree
}

// model is what a worker has done.
type model struct {
	id     int
	names  tree
	step   int     // number of the note that is executed
	firm   int     // no state before this step may be left
	from   int     // states are kept from here on
	states []state // one for each step that is in the order of names
	logged []uint32
	logAck int            // so many of logged are acknowledged
	touch  map[*data]int  // step in the order of names that a file had last
	within map[string]int // … that a directory had last
}

// newModel starts from names that are there for good.
func newModel(id int, names tree, from int) *model {
	m := &model{id: id, names: maps.Clone(names), firm: -1, from: from, touch: map[*data]int{}, within: map[string]int{}}
	m.states = []state{{-1, maps.Clone(names)}}
	return m
}

// play executes notes.
func (m *model) play(notes []Note) {
	for i := range notes {
		m.step = i
		m.do(&notes[i])
	}
}

// do executes one note. One that was not acknowledged is executed, too: it is the
// last, and may have been done.
func (m *model) do(n *Note) {
	if m.sync(n) || m.write(n) {
		return
	}
	m.change(n)
	m.ordered()
	switch n.Op {
	case "chmod", "setattr", "rmattr":
		if m.names[n.A].kind == 'd' {
			m.within[n.A] = m.step
		}
		return
	case "link", "rename":
		m.within[path.Dir(n.B)] = m.step
	}
	m.within[path.Dir(n.A)] = m.step
}

// ordered keeps the state after a step in the order of names.
func (m *model) ordered() {
	if m.step >= m.from {
		m.states = append(m.states, state{m.step, maps.Clone(m.names)})
	} else {
		m.states = append(m.states[:0], state{m.step, nil})
	}
}

// at is the stamp of something that is handed over when its file is closed, at
// the end of the step.
func (m *model) at() stamp { return stamp{step: m.step, shut: m.step} }

// told is the stamp of what the drive is told at once, in order.
func (m *model) told() stamp { return stamp{step: m.step, shut: m.step, ordered: true} }

// sync executes what acknowledges.
func (m *model) sync(n *Note) bool {
	switch n.Op {
	case "fsync", "fdatasync":
		if n.Done {
			d := m.names[n.A].data
			d.ack()
			if step, ok := m.touch[d]; ok && n.Op == "fsync" {
				m.need(step)
			}
		}
	case "fsyncdir":
		if step, ok := m.within[n.A]; ok && n.Done {
			m.need(step)
		}
	case "log":
		m.logged = append(m.logged, n.Ver)
		if n.Done && n.Flag != "" {
			m.logAck = len(m.logged)
		}
	case "read", "orphan":
	default:
		return false
	}
	return true
}

// need: the names after a step are acknowledged.
func (m *model) need(step int) { m.firm = max(m.firm, step) }

// write executes what changes a file's content.
func (m *model) write(n *Note) bool {
	f := m.names[n.A]
	switch n.Op {
	case "write":
		m.fill(f.data, n, m.at(), false)
		if n.Done && (n.Flag == "sync" || n.Flag == "dsync") {
			f.data.ackBlocks(n.At, n.N)
			f.data.ackSize()
		}
	case "map":
		at := m.at()
		m.fill(f.data, n, at, true)
		if n.Done && n.Flag == "sync" {
			f.data.ackBlocks(n.At, n.N)
		}
	case "copy":
		from := m.names[n.B].data
		for i := range n.N {
			f.data.put(m.at(), n.At+i, from.now(n.From+i), false)
		}
		f.data.grow(m.at(), int64(n.At+n.N)*blockSize)
	case "trunc":
		f.data.cut(m.told(), n.Size)
		m.touched(f)
	case "punch", "zero":
		for i := range n.N {
			f.data.put(m.told(), n.At+i, Val{}, false)
		}
		if n.Op == "zero" {
			f.data.grow(m.told(), int64(n.At+n.N)*blockSize)
		}
		m.touched(f)
	case "alloc":
		f.data.grow(m.told(), n.Size)
		m.touched(f)
	default:
		return false
	}
	return true
}

// fill writes blocks of a version; the last has Len bytes.
func (m *model) fill(d *data, n *Note, at stamp, torn bool) {
	for i := range n.N {
		length := blockSize
		if i == n.N-1 {
			length = n.Len
		}
		d.put(at, n.At+i, Val{File: n.File, Block: n.At + i, Ver: n.Ver, Len: length}, torn)
	}
	d.grow(at, int64(n.At+n.N-1)*blockSize+int64(n.Len))
}

// touched: the step changed the inode in the order of names.
func (m *model) touched(f *node) {
	m.ordered()
	m.touch[f.data] = m.step
}

// change executes what changes names and attributes.
func (m *model) change(n *Note) {
	switch n.Op {
	case "create", "tmpfile":
		f := &node{file: n.File, kind: 'f', ino: n.Ino, mode: n.Mode, data: newData()}
		if n.Op == "tmpfile" {
			m.fill(f.data, n, m.at(), false) // the kernel hands it over at the close, after the name
		}
		m.names[n.A] = f
		m.touch[f.data] = m.step
	case "mkdir":
		m.names[n.A] = &node{file: n.File, kind: 'd', ino: n.Ino, mode: n.Mode}
		m.within[n.A] = m.step
	case "symlink":
		m.names[n.A] = &node{file: n.File, kind: 'l', ino: n.Ino, to: n.B}
	case "unlink", "rmdir":
		delete(m.names, n.A)
	case "link":
		f := m.names[n.A]
		m.names[n.B] = f
		m.moved(f)
	case "rename":
		m.rename(n)
	case "chmod":
		m.replace(n.A, func(f *node) { f.mode = n.Mode })
	case "setattr":
		m.replace(n.A, func(f *node) {
			f.attrs = maps.Clone(f.attrs)
			if f.attrs == nil {
				f.attrs = map[string]string{}
			}
			f.attrs[n.B] = n.Flag
		})
	case "rmattr":
		m.replace(n.A, func(f *node) {
			f.attrs = maps.Clone(f.attrs)
			delete(f.attrs, n.B)
		})
	default:
		panic("no such thing as " + n.Op)
	}
}

// moved: a new name of a file needs what it holds.
func (m *model) moved(f *node) {
	if f.kind == 'f' {
		f.data.pinned(m.step)
		m.touch[f.data] = m.step
	}
}

func (m *model) rename(n *Note) {
	a, b := m.names[n.A], m.names[n.B]
	if a == b {
		return // two names of one inode: nothing happens
	}
	delete(m.names, n.A)
	m.names[n.B] = a
	m.moved(a)
	if n.Flag == "exchange" {
		m.names[n.A] = b
		m.moved(b)
		return
	}
	for _, p := range slices.Collect(maps.Keys(m.names)) {
		if rest, ok := strings.CutPrefix(p, n.A+"/"); ok {
			m.names[n.B+"/"+rest] = m.names[p]
			delete(m.names, p)
		}
	}
	if a.kind == 'd' {
		m.within[n.B] = m.step
	}
}

// replace changes attributes of the inode at a path, under all of its names.
func (m *model) replace(p string, how func(*node)) {
	was := m.names[p]
	now := *was
	how(&now)
	for q, f := range m.names {
		if f == was {
			m.names[q] = &now
		}
	}
	if now.kind == 'f' {
		m.touch[now.data] = m.step
	}
}
