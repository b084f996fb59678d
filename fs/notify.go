package fs

import (
	"log/slog"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/volume"
)

// notifier tells the kernel what other machines changed. A notification can wait
// for pages that only an answer of ours unlocks, so it is sent from one goroutine
// of its own that holds no lock, and nothing waits for it.
type notifier struct {
	srv   *fuse.Server
	nodes *nodes
	log   *slog.Logger

	mu     sync.Mutex // guards the fields below
	queue  []volume.Change
	closed bool
	wake   chan struct{} // of capacity 1
}

func newNotifier(srv *fuse.Server, n *nodes, log *slog.Logger) *notifier {
	return &notifier{srv: srv, nodes: n, log: log, wake: make(chan struct{}, 1)}
}

// changed queues a change; it does not block.
func (n *notifier) changed(c volume.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.queue = append(n.queue, c)
	n.poke()
}

// poke wakes run; n is locked.
func (n *notifier) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.poke()
}

// run sends what is queued until close.
func (n *notifier) run() {
	for range n.wake {
		n.mu.Lock()
		queue, closed := n.queue, n.closed
		n.queue = nil
		n.mu.Unlock()
		if closed {
			return
		}
		for _, c := range queue {
			n.send(c)
		}
	}
}

// send drops what the kernel keeps of the changed inodes and names. A changed
// inode gets a new node id, so a file that is open keeps the version it has.
func (n *notifier) send(c volume.Change) {
	for _, ref := range c.Inodes {
		old, ok := n.nodes.renew(ref.Ino)
		if !ok {
			continue
		}
		n.check("inode", n.srv.InodeNotify(old.id, -1, 0))
		if old.name != "" {
			n.check("name", n.srv.EntryNotify(old.parent, old.name))
		}
	}
	for _, name := range c.Names {
		if parent, ok := n.nodes.current(name.Parent); ok {
			n.check("name", n.srv.EntryNotify(parent, string(name.Name)))
		}
	}
}

// check logs a notification that the kernel refused. That it does not have what
// is dropped is no refusal.
func (n *notifier) check(what string, st fuse.Status) {
	if !st.Ok() && st != fuse.ENOENT {
		n.log.Warn("kernel not told of a change", "what", what, "errno", int(st))
	}
}
