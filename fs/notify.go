package fs

import (
	"context"
	"log/slog"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// notifier tells the kernel what other machines changed. A notification can wait
// for pages that only an answer of ours unlocks, so it is sent from one goroutine
// of its own that holds no lock, and nothing waits for it but who asked to (through).
//
// What is to be sent is kept as sets: of what changes again and again the kernel is told
// once, and there is never more than what it knows, and the names that it asked for.
type notifier struct {
	srv     kernel
	nodes   *nodes
	handles *handles
	locks   *locks
	log     *slog.Logger

	mu      sync.Mutex // guards the fields below; nothing is taken after it
	next    messages
	waiting []chan struct{} // closed when what was queued before them is sent
	closed  bool
	wake    chan struct{} // of capacity 1
}

// kernel is what the notifier needs of a fuse.Server.
type kernel interface {
	InodeNotify(node uint64, off, length int64) fuse.Status
	EntryNotify(parent uint64, name string) fuse.Status
}

// messages are what the kernel is to be told.
type messages struct {
	attrs map[uint64]bool // nodes of which it drops attributes; of directories, with true, what it read too
	names map[name]bool   // dentries that it drops
}

type name struct {
	dir  meta.Ino
	name string
}

func newNotifier(srv kernel, s *Server) *notifier {
	return &notifier{srv: srv, nodes: s.nodes, handles: &s.handles, locks: &s.locks, log: s.log, wake: make(chan struct{}, 1)}
}

var _ volume.Watcher = (*notifier)(nil)

// Knows returns an inode that the kernel knows.
func (n *notifier) Knows(ino meta.Ino) (meta.Ref, bool) {
	_, ref, _, ok := n.nodes.current(ino)
	return ref, ok
}

// Changed gives files that hold something else new node ids, before anybody can find them
// by the old, and queues what the kernel is to be told.
func (n *notifier) Changed(c volume.Change) {
	for _, m := range c.Merged {
		n.nodes.merged(m.From, m.To)
	}
	var m messages
	if c.All {
		for _, ino := range n.nodes.all() {
			n.anew(&m, ino)
		}
	}
	for _, a := range c.Gone {
		n.nodes.left(a)
		n.renew(&m, a.Ref.Ino)
	}
	for _, ref := range c.Renewed {
		n.renew(&m, ref.Ino)
	}
	for _, ref := range c.Amended {
		id, _, dir, ok := n.nodes.current(ref.Ino)
		switch {
		case !ok:
		case n.nodes.amend(ref.Ino):
			m.attr(id, dir)
		default:
			n.renew(&m, ref.Ino)
		}
	}
	for _, x := range c.Names {
		if _, _, _, ok := n.nodes.current(x.Parent); ok {
			m.name(name{x.Parent, string(x.Name)})
		}
	}
	n.queue(m)
}

// renew has the kernel look an inode up again.
func (n *notifier) renew(m *messages, ino meta.Ino) {
	id, at, ok := n.nodes.renew(ino)
	if !ok {
		return
	}
	m.attr(id, false)
	for _, p := range at {
		m.name(name{p.dir.Ino, p.name})
	}
}

// anew has the kernel ask for all that it has of an inode. A file that is open keeps its
// node: of those the volume names each that holds something else.
func (n *notifier) anew(m *messages, ino meta.Ino) {
	id, _, dir, ok := n.nodes.current(ino)
	if !ok || !n.nodes.amend(ino) {
		n.renew(m, ino)
		return
	}
	m.attr(id, dir)
	for _, p := range n.nodes.names(ino) {
		m.name(name{p.dir.Ino, p.name})
	}
}

// Became gives a node to the inode that it stands for now, with the locks of those who
// have it open.
func (n *notifier) Became(as []meta.Ref, was, is meta.Ref) {
	ids, at := n.nodes.became(as, was, is)
	if len(as) > 0 {
		n.locks.move(n.handles.of(as), was.Ino, is.Ino)
	}
	var m messages
	for _, id := range ids {
		m.attr(id, false)
	}
	for _, p := range at {
		m.name(name{p.dir.Ino, p.name})
	}
	n.queue(m)
}

func (m *messages) attr(id uint64, list bool) {
	if m.attrs == nil {
		m.attrs = map[uint64]bool{}
	}
	m.attrs[id] = m.attrs[id] || list
}

func (m *messages) name(at name) {
	if m.names == nil {
		m.names = map[name]bool{}
	}
	m.names[at] = true
}

// queue adds messages to those that wait; it does not block.
func (n *notifier) queue(m messages) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	for id, list := range m.attrs {
		n.next.attr(id, list)
	}
	for at := range m.names {
		n.next.name(at)
	}
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
	n.closed, n.next = true, messages{}
	release(n.waiting)
	n.waiting = nil
	n.poke()
}

// through returns when the kernel was told of all that was queued before, or is there
// no more, or ctx has ended. No request of the kernel and no lock may wait for it.
func (n *notifier) through(ctx context.Context) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	n.waiting = append(n.waiting, done)
	n.poke()
	n.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func release(waiting []chan struct{}) {
	for _, done := range waiting {
		close(done)
	}
}

// run sends what is queued until close.
func (n *notifier) run() {
	for range n.wake {
		n.mu.Lock()
		m, waiting, closed := n.next, n.waiting, n.closed
		n.next, n.waiting = messages{}, nil
		n.mu.Unlock()
		if closed {
			return
		}
		n.send(m)
		release(waiting)
	}
}

// send has the kernel drop what it keeps. Of files only attributes: their pages are those
// of the version that the node stands for.
func (n *notifier) send(m messages) {
	for id, list := range m.attrs {
		off := int64(-1) // no pages
		if list {
			off = 0 // and all that follow
		}
		n.check("inode", n.srv.InodeNotify(id, off, 0))
	}
	for at := range m.names {
		if dir, _, _, ok := n.nodes.current(at.dir); ok {
			n.check("name", n.srv.EntryNotify(dir, at.name))
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
