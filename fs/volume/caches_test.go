package volume

import (
	"context"
	"errors"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// caches are what a kernel has of a machine's files: for each that it knows a node, with a cache
// of its own. What it has it never asks for again, so a node stands for one content, that only
// who has it open through that node changes: see package fs, nodes. It is the machine's Watcher.
type caches struct {
	m    *machine
	of   map[meta.Ino]*cached // the current node of an inode
	open []*cached            // a node for each handle

	jumps, became int // so often everything may have changed, and what is open became another inode
}

var _ Watcher = (*caches)(nil)

// cached is a node.
type cached struct {
	ref     meta.Ref
	held    meta.Ref // what those call the file who have it open through this node
	handles int
	read    bool   // the kernel has what it holds
	bytes   []byte // which is that
	amended bool
}

// caching has a machine's files be read through caches.
func caching(m *machine) *caches {
	m.mustOpen()
	k := &caches{m: m, of: map[meta.Ino]*cached{}}
	m.v.Watch(k)
	return k
}

func (k *caches) Knows(ino meta.Ino) (meta.Ref, bool) {
	n := k.of[ino]
	if n == nil {
		return meta.Ref{}, false
	}
	return n.ref, true
}

func (k *caches) Changed(c Change) {
	for _, m := range c.Merged {
		for _, n := range append(k.current(), k.open...) {
			if n.ref.Home == m.From.Ino {
				n.ref.Home = m.To.Ino
			}
		}
	}
	amend := func(ino meta.Ino) {
		if n := k.of[ino]; n == nil || n.handles == 0 {
			delete(k.of, ino)
		} else {
			n.amended = true
		}
	}
	if c.All {
		k.jumps++
		for _, n := range k.current() {
			amend(n.ref.Ino)
		}
	}
	for _, a := range c.Gone {
		delete(k.of, a.Ref.Ino)
	}
	for _, ref := range c.Renewed {
		delete(k.of, ref.Ino)
	}
	for _, ref := range c.Amended {
		amend(ref.Ino)
	}
}

func (k *caches) Became(as []meta.Ref, was, is meta.Ref) {
	change := func(n *cached) {
		if k.of[n.ref.Ino] == n {
			delete(k.of, n.ref.Ino)
		}
		if other := k.of[is.Ino]; other == nil || other.handles == 0 {
			n.ref, k.of[is.Ino] = is, n
		}
	}
	done := map[*cached]bool{}
	for _, n := range k.open {
		if slices.Contains(as, n.held) && !done[n] {
			done[n] = true
			k.became++
			change(n)
		}
	}
	if n := k.of[was.Ino]; len(done) == 0 && n != nil && n.handles == 0 {
		change(n)
	}
}

func (k *caches) current() (l []*cached) {
	for _, n := range k.of {
		l = append(l, n)
	}
	return l
}

// find looks a path up; nil: there is no file.
func (k *caches) find(path string) *cached {
	_, _, a, err := k.m.find(path)
	if err != nil || a.Inode.Kind != meta.File {
		return nil
	}
	n := k.of[a.Ref.Ino]
	if n == nil {
		n = &cached{ref: a.Ref}
		k.of[a.Ref.Ino] = n
	}
	return n
}

// holds is what the volume says that a node holds.
func (k *caches) holds(n *cached) []byte {
	k.m.t.Helper()
	ref := n.ref
	if n.handles > 0 {
		ref = n.held
	}
	a, err := k.m.v.Attr(context.Background(), ref)
	if err == nil {
		var b []byte
		a.Ref = ref
		if b, err = k.m.content(a); err == nil {
			return b
		}
	}
	k.m.t.Fatalf("%s: what is open cannot be read: %v", k.m.name, err)
	return nil
}

// opens opens a file; nil: there is none.
func (k *caches) opens(path string) *cached {
	n := k.find(path)
	if n == nil {
		return nil
	}
	ref := n.ref
	if n.handles > 0 {
		ref = n.held
	}
	as, err := k.m.v.Open(context.Background(), ref, true)
	if err != nil {
		k.m.t.Fatalf("%s: open %s: %v", k.m.name, path, err)
	}
	if n.handles > 0 && n.held != as {
		k.m.t.Fatalf("%s: who opens %s through a node that is open has another file", k.m.name, path)
	}
	n.held, n.handles = as, n.handles+1
	k.open = append(k.open, n)
	k.reads(n)
	return n
}

func (k *caches) reads(n *cached) {
	if !n.read {
		n.bytes, n.read = k.holds(n), true
	}
}

// writes has a program replace all that it has open.
func (k *caches) writes(n *cached, content string) error {
	ctx, v := context.Background(), k.m.v
	err := errors.Join(v.Truncate(ctx, n.held, 0, nil), v.Write(ctx, n.held, 0, []byte(content)))
	if err == nil {
		n.bytes = []byte(content)
	}
	return err
}

// closes closes a handle.
func (k *caches) closes(i int) {
	n := k.open[i]
	k.open = slices.Delete(k.open, i, i+1)
	_ = k.m.v.Flush(context.Background(), n.held)
	n.handles--
	if n.handles == 0 && n.amended && k.of[n.ref.Ino] == n {
		delete(k.of, n.ref.Ino)
	}
	n.amended = n.amended && n.handles > 0
	k.m.v.Release(n.held)
}

// right wants the kernel to have what the volume has: of all that is open, and of all that has a
// name. Of a file that is open through two nodes one would have something else.
func (k *caches) right() {
	k.m.t.Helper()
	for _, n := range k.open {
		if got := k.holds(n); string(got) != string(n.bytes) {
			k.m.t.Fatalf("%s: the kernel has %q of what is open, which holds %q", k.m.name, n.bytes, got)
		}
	}
	for _, f := range k.m.files(map[uint64]string{}) {
		n := k.find(f.path)
		if n == nil {
			k.m.t.Fatalf("%s: %s is listed, and not there", k.m.name, f.path)
		}
		if k.reads(n); string(n.bytes) != f.content {
			k.m.t.Fatalf("%s: the kernel has %q of %s, which holds %q", k.m.name, n.bytes, f.path, f.content)
		}
	}
	for _, o := range k.m.v.open {
		if len(o.as) > 1 {
			k.m.t.Fatalf("%s: a file is open through %d nodes", k.m.name, len(o.as))
		}
	}
}
