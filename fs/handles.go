package fs

import (
	"slices"
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
	ref   meta.Ref // of a directory; what the volume calls a file that is open
	node  *node    // of a file: what it was opened through
	quiet bool     // O_NOATIME; not changed once the kernel has the handle

	// Its locks are those of all machines, and the kernel keeps nothing of what it holds;
	// not changed once the kernel has the handle.
	across bool
	unsure bool // it was not known whether they are

	mu   sync.Mutex // guards the fields below
	list *listing   // of a directory; nil until it is read
	made place      // of a file with locks of all machines: where it was made, until it was locked
}

func (h *handles) add(ref meta.Ref, n *node) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = map[uint64]*handle{}
	}
	h.next++
	h.m[h.next] = &handle{ref: ref, node: n}
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

// of lists the handles of what the volume calls one of as.
func (h *handles) of(as []meta.Ref) map[uint64]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := map[uint64]bool{}
	for fh, x := range h.m {
		if slices.Contains(as, x.ref) {
			l[fh] = true
		}
	}
	return l
}
