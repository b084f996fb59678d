package journal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// disk is a folder that knows what a power cut may leave: of what was not
// synced, any sectors and any names.
type disk struct {
	t       *testing.T
	mu      sync.Mutex
	names   map[string]*platter // as programs see it
	durable map[string]*platter // as a power cut leaves it
	changes []change            // names changed since the last Sync
	fail    func(op, name string) error
	salts   map[string]bool
	syncs   int
}

type change struct {
	set  string
	del  string
	file *platter
}

// platter is one file: what programs see, what is safe, and what is under way.
type platter struct {
	seen, safe []byte
	pending    []sector
}

type sector struct {
	off  int
	data []byte
}

const sectorSize = 512

func newDisk(t *testing.T) *disk {
	return &disk{t: t, names: map[string]*platter{}, durable: map[string]*platter{}, salts: map[string]bool{}}
}

func (d *disk) accident(op, name string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(op, name)
}

// crash gives the disk after a power cut.
func (d *disk) crash(rng *rand.Rand) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := newDisk(d.t)
	n.salts = d.salts
	names := maps.Clone(d.durable)
	for _, c := range d.changes {
		if rng.Intn(2) == 0 {
			c.apply(names)
		}
	}
	copies := map[*platter]*platter{}
	for name, p := range names {
		if copies[p] == nil {
			b := slices.Clone(p.safe)
			for _, s := range p.pending {
				if rng.Intn(2) == 0 {
					b = overwrite(b, s)
				}
			}
			copies[p] = &platter{seen: b, safe: slices.Clone(b)}
		}
		n.names[name] = copies[p]
		n.durable[name] = copies[p]
	}
	return n
}

// kill gives the disk after the end of the process: the next one sees all that
// was written, and no more of it is safe than before.
func (d *disk) kill() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := newDisk(d.t)
	n.salts = d.salts
	copies := map[*platter]*platter{nil: nil}
	twin := func(p *platter) *platter {
		if copies[p] == nil && p != nil {
			copies[p] = &platter{seen: slices.Clone(p.seen), safe: slices.Clone(p.safe), pending: slices.Clone(p.pending)}
		}
		return copies[p]
	}
	for name, p := range d.names {
		n.names[name] = twin(p)
	}
	for name, p := range d.durable {
		n.durable[name] = twin(p)
	}
	for _, c := range d.changes {
		n.changes = append(n.changes, change{set: c.set, del: c.del, file: twin(c.file)})
	}
	return n
}

func (c change) apply(m map[string]*platter) {
	if c.del != "" {
		delete(m, c.del)
	}
	if c.set != "" {
		m[c.set] = c.file
	}
}

func overwrite(b []byte, s sector) []byte {
	if need := s.off + len(s.data); need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[s.off:], s.data)
	return b
}

func (d *disk) change(c change) {
	c.apply(d.names)
	d.changes = append(d.changes, c)
}

func (d *disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

func (d *disk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.accident("create", name); err != nil {
		return nil, err
	}
	p := &platter{}
	d.change(change{set: name, file: p})
	return &handle{d: d, p: p, name: name, write: true}, nil
}

func (d *disk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.names[name]
	if p == nil {
		return nil, fs.ErrNotExist
	}
	return &handle{d: d, p: p, name: name}, nil
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.accident("rename", from); err != nil {
		return err
	}
	if d.names[to] != nil {
		d.t.Errorf("rename onto %s", to)
	}
	d.change(change{del: from, set: to, file: d.names[from]})
	return nil
}

func (d *disk) Link(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[to] != nil {
		return fs.ErrExist
	}
	d.change(change{set: to, file: d.names[from]})
	return nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.accident("remove", name); err != nil {
		return err
	}
	d.change(change{del: name})
	return nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.accident("sync", ""); err != nil {
		return err
	}
	d.durable, d.changes = maps.Clone(d.names), nil
	return nil
}

func (d *disk) Close() error { return nil }

type handle struct {
	d     *disk
	p     *platter
	name  string
	write bool
}

func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if off >= int64(len(h.p.seen)) {
		return 0, io.EOF
	}
	n := copy(b, h.p.seen[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if !h.write {
		h.d.t.Errorf("%s is written after it was opened for reading", h.name)
	}
	if off == 0 && h.name != markName {
		salt := string(b[32:headerClear])
		if h.d.salts[salt] {
			h.d.t.Errorf("%s has the salt of another file", h.name)
		}
		h.d.salts[salt] = true
	}
	op := "write"
	if off > 0 && int(off)+len(b) > len(h.p.seen) {
		op = "extend"
	}
	err := h.d.accident(op, h.name)
	if err != nil {
		b = b[:len(b)*2/3]
	}
	for at := 0; at < len(b); {
		n := min(len(b)-at, sectorSize-(int(off)+at)%sectorSize)
		s := sector{off: int(off) + at, data: slices.Clone(b[at : at+n])}
		h.p.pending = append(h.p.pending, s)
		h.p.seen = overwrite(h.p.seen, s)
		at += n
	}
	return len(b), err
}

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.p.seen)), nil
}

// Datasync does as Linux does when it fails: some of it is on the disk, and the
// next call finds nothing to do.
func (h *handle) Datasync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.d.syncs++
	err := h.d.accident("datasync", h.name)
	for i, s := range h.p.pending {
		if err == nil || i%2 == 1 {
			h.p.safe = overwrite(h.p.safe, s)
		}
	}
	h.p.pending = nil
	return err
}

func (h *handle) Settle() error {
	if err := h.Datasync(); err != nil {
		return err
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.p.seen = slices.Clone(h.p.safe)
	return nil
}

func (h *handle) Close() error { return nil }

var _ folder = (*disk)(nil)

var (
	errFull = syscall.ENOSPC
	errIO   = errors.Join(syscall.EIO)
)
