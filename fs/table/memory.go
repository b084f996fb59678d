package table

import (
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/hushfs/hushfs/crypt"
)

// Memory keeps decoded indexes, filters and blocks: those used last, up to a
// number of bytes. Successive sets share it. It is safe for concurrent use.
type Memory struct {
	limit    int64
	expander *zstd.Decoder // safe for concurrent use

	mu    sync.Mutex // guards the fields below
	used  int64
	kept  map[place]*kept
	queue kept // a ring: next is what was used last, prev what goes first
}

// place is which part of which table something is.
type place struct {
	name crypt.Name
	part uint32 // number of a block, or one of those below
}

const (
	partIndex   = 1 << 31 // the index
	partFilters = 1 << 30 // and the number of a group of filters
)

// kept is one decoded thing: a *index, a []byte of filters or a *block.
type kept struct {
	at         place
	what       any
	size       int64
	prev, next *kept
}

// keptCost is what keeping a thing takes beside its own size, in bytes.
const keptCost = 200

// NewMemory returns an empty memory of that many bytes. With 0 it keeps
// nothing, and everything is decoded again each time.
func NewMemory(bytes int64) *Memory {
	m := &Memory{limit: bytes, expander: newExpander(), kept: make(map[place]*kept)}
	m.queue.prev, m.queue.next = &m.queue, &m.queue
	return m
}

// Used tells how many bytes are kept.
func (m *Memory) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func (m *Memory) get(at place) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.kept[at]
	if k == nil {
		return nil
	}
	if m.queue.next != k {
		m.unlink(k)
		m.link(k)
	}
	return k.what
}

// put keeps a thing that is not changed any more, and lets others go for it.
// One that is larger than a quarter of the whole is not kept, for it would
// drive out too much.
func (m *Memory) put(at place, what any, size int64) {
	if size += keptCost; size > m.limit/4 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.kept[at]; k != nil {
		m.drop(k)
	}
	for m.used+size > m.limit {
		m.drop(m.queue.prev)
	}
	k := &kept{at: at, what: what, size: size}
	m.kept[at] = k
	m.used += size
	m.link(k)
}

func (m *Memory) drop(k *kept) {
	m.unlink(k)
	delete(m.kept, k.at)
	m.used -= k.size
}

func (m *Memory) unlink(k *kept) { k.prev.next, k.next.prev = k.next, k.prev }

func (m *Memory) link(k *kept) {
	k.prev, k.next = &m.queue, m.queue.next
	k.prev.next, k.next.prev = k, k
}
