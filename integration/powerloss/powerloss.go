// Package powerloss makes what a loss of power leaves of folders.
//
// A recorder is a file system over a folder that notes every change, in order,
// and every sync. A disk follows such a history and knows at each point what was
// synced, and so is there for good, and what was not. From that it draws images:
// all that was synced, and any part of the rest. Names and data are lost
// independently, as the rules of POSIX have it and no single file system does: a
// file may have its name and not its bytes, its size and not its bytes, pages of
// one write and not of another, sectors of a page; a rename is there or not, but
// never half; what was never written may hold zeros or anything.
package powerloss

import "sync"

// kind of an event.
type kind uint8

const (
	made    kind = iota + 1 // file stands for something new, under a name
	linked                  // … for what was there already
	removed                 // a name
	renamed                 // name in dir becomes toName in toDir
	swapped                 // and the other way round
	written                 // data at off
	resized                 // to size
	punched                 // size bytes from off on are zeros
	synced                  // file's data and size
	settled                 // dir's names
)

// Event is one change or sync.
type Event struct {
	kind   kind
	file   int // numbers are given in the order in which files are met; 0 is the root
	folder bool
	target string // of a symbolic link
	dir    int
	name   string
	toDir  int
	toName string
	off    int64
	size   int64
	data   []byte
}

// Syncs says whether it is a sync: what follows it can rely on it.
func (e *Event) Syncs() bool { return e.kind == synced || e.kind == settled }

// History is what a recorder has seen. What it began with counts as synced.
type History struct {
	mu     sync.Mutex // guards the fields below
	start  []Event
	events []Event
}

func (h *History) add(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Len is how many events there are.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.events)
}

// Events are those of the history, which must have ended.
func (h *History) Events() []Event { return h.events }
