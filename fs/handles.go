package fs

import (
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
)

// handles are the open files and directories of the kernel, by number.
type handles struct {
	mu   sync.Mutex // guards the fields below; nothing is taken after it
	next uint64
	m    map[uint64]*handle
}

// handle is one open file or directory.
type handle struct {
	ref   meta.Ref
	quiet bool // O_NOATIME; not changed once the kernel has the handle

	mu   sync.Mutex // guards the field below
	list *listing   // of a directory; nil until it is read
}

func (h *handles) add(ref meta.Ref) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = map[uint64]*handle{}
	}
	h.next++
	h.m[h.next] = &handle{ref: ref}
	return h.next
}

func (h *handles) get(fh uint64) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m[fh]
}

// remove returns the handle that is gone.
func (h *handles) remove(fh uint64) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.m[fh]
	delete(h.m, fh)
	return x
}
