package volume

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
)

// plain is what a drive should be, in the plainest way: names with their paths, and
// behind each a thing. It shares no code with what it judges, and knows nothing of
// operations, packs or slots. "" is the root directory.
type plain struct {
	names map[string]*thing
	held  [heldMax]*thing // what is open
}

// heldMax is how many files a history holds open at a time.
const heldMax = 3

// thing is a file, a directory or whatever else a name can stand for.
type thing struct {
	kind     meta.Kind
	perm     uint16
	uid, gid uint32
	rdev     uint32
	target   string
	size     int64
	pages    map[int64]*[page]byte // what is not there is zeros; a page is never changed, but replaced
	xattrs   map[string]string
	atime    *meta.Time // nil: whatever the clock said
	mtime    *meta.Time
}

const page = 4096

// errPlain is any refusal of the model: which one, other tests say.
var errPlain = errors.New("the model refuses")

func newPlain() *plain {
	return &plain{names: map[string]*thing{"": {kind: meta.Dir, perm: 0o755, uid: 1000, gid: 1000}}}
}

// clone is a copy that shares nothing that changes.
func (p *plain) clone() *plain {
	c := &plain{names: map[string]*thing{}}
	copies := map[*thing]*thing{}
	of := func(t *thing) *thing {
		if t == nil {
			return nil
		}
		if copies[t] == nil {
			n := *t
			n.pages, n.xattrs = maps.Clone(t.pages), maps.Clone(t.xattrs)
			copies[t] = &n
		}
		return copies[t]
	}
	for path, t := range p.names {
		c.names[path] = of(t)
	}
	for i, t := range p.held {
		c.held[i] = of(t)
	}
	return c
}

func parentOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// dir finds the directory that holds path.
func (p *plain) dir(path string) (*thing, error) {
	d := p.names[parentOf(path)]
	if path == "" || d == nil || d.kind != meta.Dir {
		return nil, errPlain
	}
	return d, nil
}

// below lists the paths in and under a directory.
func (p *plain) below(dir string) (l []string) {
	for path := range p.names {
		if strings.HasPrefix(path, dir+"/") {
			l = append(l, path)
		}
	}
	return l
}

func (p *plain) nlink(t *thing) (n uint32) {
	for path, o := range p.names {
		if o == t {
			n++
			if t.kind == meta.Dir {
				n = 2
				for _, sub := range p.below(path) {
					if parentOf(sub) == path && p.names[sub].kind == meta.Dir {
						n++
					}
				}
			}
		}
	}
	return n
}

// do does one deed. What is no deed of a program does nothing.
func (p *plain) do(d deed) error {
	switch d.Do {
	case "make":
		return p.make(d)
	case "tmplink":
		if err := p.make(deed{At: d.At, Num: 0o640<<8 | uint64(meta.File), Off: 1000, Len: 1000}); err != nil {
			return err
		}
		t := p.names[d.At]
		t.write(d.Off, bytesOf(d))
		t.setXattr("user.tmp", "1")
		return nil
	case "unlink", "rmdir":
		return p.remove(d.At, d.Do == "rmdir")
	case "rename":
		return p.rename(d.At, d.To, meta.RenameFlags(d.Num))
	case "link":
		return p.link(d.At, d.To)
	case "open":
		t := p.names[d.At]
		if t == nil || t.kind != meta.File {
			return errPlain
		}
		p.held[d.Hold] = t
		return nil
	case "close":
		p.held[d.Hold] = nil
		return nil
	case "hwrite":
		if t := p.held[d.Hold]; t != nil {
			t.write(d.Off, bytesOf(d))
		}
		return nil
	}
	t := p.names[d.At]
	if t == nil {
		if isEvent(d.Do) {
			return nil
		}
		return errPlain
	}
	return t.do(d)
}

func (p *plain) make(d deed) error {
	dir, err := p.dir(d.At)
	if err != nil || p.names[d.At] != nil {
		return errPlain
	}
	t := &thing{kind: meta.Kind(d.Num & 0xff), perm: uint16(d.Num >> 8 & 0o7777), uid: uint32(d.Off), gid: uint32(d.Len), target: d.To}
	if t.kind == meta.Char || t.kind == meta.Block {
		t.rdev = uint32(d.Num >> 32)
	}
	t.size = int64(len(t.target))
	if dir.perm&0o2000 != 0 {
		t.gid = dir.gid
		if t.kind == meta.Dir {
			t.perm |= 0o2000
		}
	}
	p.names[d.At] = t
	dir.mtime = nil
	return nil
}

func (p *plain) remove(path string, isDir bool) error {
	t := p.names[path]
	if path == "" || t == nil || (t.kind == meta.Dir) != isDir || isDir && len(p.below(path)) > 0 {
		return errPlain
	}
	delete(p.names, path)
	p.names[parentOf(path)].mtime = nil
	return nil
}

func (p *plain) link(path, to string) error {
	t := p.names[path]
	dir, err := p.dir(to)
	if t == nil || t.kind == meta.Dir || err != nil || p.names[to] != nil {
		return errPlain
	}
	p.names[to] = t
	dir.mtime = nil
	return nil
}

func (p *plain) rename(from, to string, flags meta.RenameFlags) error {
	fromDir, err := p.dir(from)
	toDir, err2 := p.dir(to)
	t, over := p.names[from], p.names[to]
	exchange := flags == meta.Exchange
	switch {
	case err != nil || err2 != nil || t == nil,
		flags == meta.NoReplace && over != nil,
		exchange && over == nil:
		return errPlain
	case t == over:
		return nil
	case strings.HasPrefix(to, from+"/"), exchange && strings.HasPrefix(from, to+"/"):
		return errPlain
	case !exchange && over != nil && ((t.kind == meta.Dir) != (over.kind == meta.Dir) || len(p.below(to)) > 0):
		return errPlain
	}
	moved := map[string]*thing{}
	take := func(from, to string) {
		for _, path := range append(p.below(from), from) {
			moved[to+path[len(from):]] = p.names[path]
			delete(p.names, path)
		}
	}
	if exchange {
		take(to, from)
	}
	take(from, to)
	maps.Copy(p.names, moved)
	fromDir.mtime, toDir.mtime = nil, nil
	return nil
}

// do changes a thing itself.
func (t *thing) do(d deed) error {
	switch d.Do {
	case "write", "truncate", "punch":
		if t.kind != meta.File {
			return errPlain
		}
		t.mtime = nil
		switch d.Do {
		case "write":
			t.write(d.Off, bytesOf(d))
		case "truncate":
			t.truncate(d.Off)
			if d.Num != 0 {
				t.mtime = &meta.Time{Sec: int64(d.Num), Nsec: 5}
			}
		case "punch":
			if d.Off < t.size {
				t.fill(d.Off, make([]byte, min(d.Len, t.size-d.Off)))
			}
		}
	case "chmod":
		t.perm = uint16(d.Num)
	case "chown":
		t.uid, t.gid = uint32(d.Off), uint32(d.Len)
	case "demote":
		if t.kind == meta.Dir {
			break
		}
		t.perm &^= 0o4000
		if t.perm&0o010 != 0 {
			t.perm &^= 0o2000
		}
		delete(t.xattrs, capability)
	case "times":
		t.mtime = &meta.Time{Sec: d.Off, Nsec: uint32(d.Num % 1e9)}
		t.atime = &meta.Time{Sec: d.Len, Nsec: uint32(d.Num % 1e9)}
	case "setxattr":
		_, has := t.xattrs[d.To]
		if flags := meta.XattrFlags(d.Num >> 32); has && flags == meta.XattrCreate || !has && flags == meta.XattrReplace {
			return errPlain
		}
		t.setXattr(d.To, string(bytesOf(d)))
	case "rmxattr":
		if _, has := t.xattrs[d.To]; !has {
			return errPlain
		}
		delete(t.xattrs, d.To)
	}
	return nil
}

func (t *thing) setXattr(name, value string) {
	if t.xattrs == nil {
		t.xattrs = map[string]string{}
	}
	t.xattrs[name] = value
}

func (t *thing) write(off int64, b []byte) {
	if len(b) == 0 {
		return
	}
	t.mtime = nil
	t.size = max(t.size, off+int64(len(b)))
	t.fill(off, b)
}

// fill puts bytes within the size.
func (t *thing) fill(off int64, b []byte) {
	if t.pages == nil {
		t.pages = map[int64]*[page]byte{}
	}
	for len(b) > 0 {
		no, at := off/page, off%page
		p := new([page]byte)
		if old := t.pages[no]; old != nil {
			*p = *old
		}
		n := copy(p[at:], b)
		if *p == ([page]byte{}) {
			delete(t.pages, no)
		} else {
			t.pages[no] = p
		}
		off, b = off+int64(n), b[n:]
	}
}

func (t *thing) truncate(size int64) {
	for no := range t.pages {
		if no*page >= size {
			delete(t.pages, no)
		}
	}
	if size < t.size && size%page != 0 {
		t.fill(size, make([]byte, page-size%page))
	}
	t.size = size
}

// read returns the bytes of a range.
func (t *thing) read(off, n int64) []byte {
	b := make([]byte, max(0, min(n, t.size-off)))
	for at := off / page * page; at < off+int64(len(b)); at += page {
		p := t.pages[at/page]
		if p == nil {
			continue
		}
		if at < off {
			copy(b, p[off-at:])
		} else {
			copy(b[at-off:], p[:])
		}
	}
	return b
}

// sum is a digest of the bytes that are not zero, and of where they are.
func sumPages(pages map[int64]*[page]byte) [32]byte {
	h := sha256.New()
	for _, no := range slices.Sorted(maps.Keys(pages)) {
		if *pages[no] == ([page]byte{}) {
			continue
		}
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(no)))
		h.Write(pages[no][:])
	}
	return [32]byte(h.Sum(nil))
}

// bytesOf are those that a deed writes: a run of their own for each seed.
func bytesOf(d deed) []byte {
	b := make([]byte, d.Len)
	rng := rand.NewPCG(d.Num, 77)
	for i := 0; i < len(b); i += 8 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], rng.Uint64())
		copy(b[i:], w[:])
	}
	return b
}

// describe says what can be seen of all things, a line each, without times.
func (p *plain) describe() []string {
	var l []string
	for path, t := range p.names {
		l = append(l, t.line(path, p.nlink(t), sumPages(t.pages)))
	}
	slices.Sort(l)
	return l
}

func (t *thing) line(path string, nlink uint32, sum [32]byte) string {
	var x []string
	for n, v := range t.xattrs {
		x = append(x, fmt.Sprintf("%s=%x", n, sha256.Sum256([]byte(v)))[:len(n)+17])
	}
	slices.Sort(x)
	return fmt.Sprintf("%q kind %d perm %o owner %d:%d nlink %d rdev %d size %d to %q bytes %x xattrs %q",
		path, t.kind, t.perm, t.uid, t.gid, nlink, t.rdev, t.size, t.target, sum[:6], x)
}
