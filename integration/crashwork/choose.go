package crashwork

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// maxFiles and maxDirs bound what a worker has.
const (
	maxFiles = 30
	maxDirs  = 6
)

func itoa(n int) string { return strconv.Itoa(n) }

// free is a path in one of the worker's folders that stands for nothing yet;
// empty when it is hard to find one.
func (w *worker) free(prefix string, few int, not string) string {
	for range 20 {
		d := w.pick(w.dirs())
		if not != "" && (d == not || strings.HasPrefix(d, not+"/")) {
			continue // a folder does not go into itself
		}
		name := prefix + itoa(w.r.IntN(few))
		if d == Shared {
			name = Own(w.id) + "-" + name
		}
		if p := path.Join(d, name); w.m.names[p] == nil && strings.Count(p, "/") < 6 {
			return p
		}
	}
	return ""
}

// next does one thing, or a few that belong together.
func (w *worker) next() error {
	if w.m.names[Own(w.id)] == nil {
		if err := w.act(Note{Op: "mkdir", A: Own(w.id), Mode: 0o755}); err != nil {
			return err
		}
		return w.act(Note{Op: "fsyncdir", A: "."})
	}
	file := w.pick(w.paths("f", nil))
	if file == "" {
		return w.create()
	}
	switch k := w.r.IntN(100); {
	case k < 8:
		return w.create()
	case k < 14:
		return w.save()
	case k < 36:
		return w.writeTo(file)
	case k < 40:
		return w.mapIn(file)
	case k < 44:
		return w.copyTo(file)
	case k < 49:
		return w.resize(file)
	case k < 63 && !w.syncs():
		return w.writeTo(file)
	case k < 55:
		return w.act(Note{Op: "fsync", A: file})
	case k < 59:
		return w.act(Note{Op: "fdatasync", A: file})
	case k < 63:
		return w.act(Note{Op: "fsyncdir", A: w.pick(w.dirs())})
	case k < 70:
		return w.move()
	case k < 74:
		return w.link(file)
	case k < 80:
		return w.remove()
	case k < 87:
		return w.attribute()
	case k < 90:
		return w.folder()
	case k < 92:
		return w.tmpfile()
	case k < 94:
		return w.act(Note{Op: "orphan"})
	case k < 96:
		return w.log()
	default:
		return w.act(Note{Op: "read", A: file})
	}
}

func (w *worker) create() error {
	p := w.free("f", 12, "")
	if p == "" || len(w.paths("fl", nil)) >= maxFiles {
		return w.remove()
	}
	if w.r.IntN(6) == 0 {
		return w.act(Note{Op: "symlink", A: p, B: fmt.Sprint("to/", w.fresh()), File: w.last})
	}
	if err := w.act(Note{Op: "create", A: p, File: w.fresh(), Mode: 0o644}); err != nil {
		return err
	}
	return w.writeTo(p)
}

// save is what editors do.
func (w *worker) save() error {
	over := w.pick(w.paths("f", nil))
	temp := over + "~"
	if w.m.names[temp] != nil || strings.HasSuffix(over, "~") {
		return w.act(Note{Op: "unlink", A: over})
	}
	if err := w.act(Note{Op: "create", A: temp, File: w.fresh(), Mode: 0o600}); err != nil {
		return err
	}
	if err := w.writeTo(temp); err != nil {
		return err
	}
	if w.r.IntN(3) > 0 && w.syncs() { // others forget it
		if err := w.act(Note{Op: "fsync", A: temp}); err != nil {
			return err
		}
	}
	if err := w.act(Note{Op: "rename", A: temp, B: over}); err != nil || w.r.IntN(2) == 0 || !w.syncs() {
		return err
	}
	return w.act(Note{Op: "fsyncdir", A: path.Dir(over)})
}

// span is where in a file of some size something is written: mostly a few blocks
// within it or at its end, at times many.
func (w *worker) span(size int64) (at, n int) {
	n = 1 + w.r.IntN(4)
	switch w.r.IntN(40) {
	case 0:
		n = 200 + w.r.IntN(1100) // fills a pack
	case 1, 2, 3, 4:
		n = 20 + w.r.IntN(100) // too much to go into the journal by itself
	}
	return w.r.IntN(min(blocksOf(size), 60) + 2), n
}

// tail is how much of the last of n blocks from at on is written: it covers what
// is there of it.
func (w *worker) tail(size int64, at, n int) int {
	there := size - int64(at+n-1)*blockSize
	if there >= blockSize || w.r.IntN(3) > 0 {
		return blockSize
	}
	least := max(int(there), 1)
	return least + w.r.IntN(blockSize-least+1)
}

func (w *worker) writeTo(p string) error {
	f := w.m.names[p]
	n := Note{Op: "write", A: p, File: f.file, Ver: uint32(w.fresh())}
	n.At, n.N = w.span(f.data.length())
	n.Len = w.tail(f.data.length(), n.At, n.N)
	switch k := w.r.IntN(12); {
	case k < 2 && !w.syncs():
	case k == 0:
		n.Flag = "sync"
	case k == 1:
		n.Flag = "dsync"
	case k == 2:
		n.Flag, n.Len = "direct", blockSize
	}
	return w.act(n)
}

func (w *worker) mapIn(p string) error {
	f := w.m.names[p]
	whole := int(f.data.length() / blockSize)
	if whole == 0 {
		return w.writeTo(p)
	}
	n := Note{Op: "map", A: p, File: f.file, Ver: uint32(w.fresh()), At: w.r.IntN(whole), Len: blockSize}
	n.N = 1 + w.r.IntN(min(whole-n.At, 8))
	if w.r.IntN(2) == 0 && w.syncs() {
		n.Flag = "sync"
	}
	return w.act(n)
}

func (w *worker) copyTo(p string) error {
	from := w.pick(w.paths("f", func(q string, f *node) bool {
		return f != w.m.names[p] && f.data.length() >= blockSize
	}))
	if from == "" {
		return w.writeTo(p)
	}
	whole := int(w.m.names[from].data.length() / blockSize)
	n := Note{Op: "copy", A: p, B: from, From: w.r.IntN(whole), At: w.r.IntN(min(blocksOf(w.m.names[p].data.length()), 60) + 1)}
	n.N = 1 + w.r.IntN(min(whole-n.From, 100))
	return w.act(n)
}

// resize changes a file's size, or makes holes.
func (w *worker) resize(p string) error {
	size := w.m.names[p].data.length()
	switch w.r.IntN(5) {
	case 0:
		return w.act(Note{Op: "trunc", A: p, Size: 0})
	case 1:
		return w.act(Note{Op: "trunc", A: p, Size: w.r.Int64N(size + 10_000)})
	case 2:
		return w.act(Note{Op: "alloc", A: p, Size: 1 + w.r.Int64N(size+100_000)})
	case 3:
		return w.act(Note{Op: "zero", A: p, At: w.r.IntN(blocksOf(size) + 1), N: 1 + w.r.IntN(6)})
	}
	// Only whole blocks: of one that is not there nothing is punched.
	if size < blockSize {
		return w.writeTo(p)
	}
	n := Note{Op: "punch", A: p, At: w.r.IntN(int(size / blockSize))}
	n.N = 1 + w.r.IntN(min(int(size/blockSize)-n.At, 6))
	return w.act(n)
}

// move renames: to a new name, over another, or two for each other.
func (w *worker) move() error {
	a := w.pick(w.paths("fld", func(p string, _ *node) bool { return p != Own(w.id) }))
	if a == "" {
		return w.create()
	}
	n := Note{Op: "rename", A: a}
	f := w.m.names[a]
	if f.kind != 'd' && w.r.IntN(2) == 0 {
		n.B = w.pick(w.paths("fl", func(p string, g *node) bool { return g != f }))
		if n.B != "" {
			if w.r.IntN(3) == 0 {
				n.Flag = "exchange"
			}
			return w.act(n)
		}
	}
	if f.kind == 'd' {
		n.B = w.free("d", 6, a)
	} else {
		n.B = w.free("f", 12, "")
	}
	if n.B == "" {
		return w.create()
	}
	if w.r.IntN(4) == 0 {
		n.Flag = "noreplace"
	}
	return w.act(n)
}

func (w *worker) link(p string) error {
	b := w.free("f", 12, "")
	if b == "" || len(w.paths("fl", nil)) >= maxFiles {
		return w.remove()
	}
	return w.act(Note{Op: "link", A: p, B: b})
}

func (w *worker) remove() error {
	return w.act(Note{Op: "unlink", A: w.pick(w.paths("fl", nil))})
}

func (w *worker) attribute() error {
	p := w.pick(w.paths("fd", func(p string, _ *node) bool { return p != Own(w.id) }))
	if p == "" {
		return w.create()
	}
	there := w.attributes(p)
	switch {
	case w.r.IntN(2) == 0:
		return w.act(Note{Op: "chmod", A: p, Mode: 0o700 | uint32(w.r.IntN(64))})
	case len(there) > 0 && w.r.IntN(3) == 0:
		return w.act(Note{Op: "rmattr", A: p, B: w.pick(there)})
	}
	return w.act(Note{Op: "setattr", A: p, B: "user.a" + itoa(w.r.IntN(3)), Flag: strings.Repeat(fmt.Sprint(w.fresh()), 1+w.r.IntN(60))})
}

// folder makes one, or removes an empty one.
func (w *worker) folder() error {
	all := w.paths("d", func(p string, _ *node) bool { return p != Own(w.id) })
	if len(all) < maxDirs && w.r.IntN(2) == 0 {
		if p := w.free("d", 6, ""); p != "" {
			return w.act(Note{Op: "mkdir", A: p, File: w.fresh(), Mode: 0o755})
		}
	}
	p := w.pick(w.paths("d", func(p string, _ *node) bool { return p != Own(w.id) && w.empty(p) }))
	if p == "" {
		return w.create()
	}
	return w.act(Note{Op: "rmdir", A: p})
}

func (w *worker) empty(dir string) bool {
	for p := range w.m.names {
		if strings.HasPrefix(p, dir+"/") {
			return false
		}
	}
	return true
}

func (w *worker) tmpfile() error {
	p := w.free("f", 12, "")
	if p == "" || len(w.paths("fl", nil)) >= maxFiles {
		return w.remove()
	}
	n := Note{Op: "tmpfile", A: p, File: w.fresh(), Mode: 0o640, N: 1 + w.r.IntN(10), Len: 1 + w.r.IntN(blockSize)}
	n.Ver = uint32(w.last)
	return w.act(n)
}

// log appends a block to the file of all.
func (w *worker) log() error {
	n := Note{Op: "log", Ver: uint32(w.fresh())}
	if w.r.IntN(2) == 0 && w.syncs() {
		n.Flag = "sync"
	}
	return w.act(n)
}
