package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// told is a kernel that notes what it is told, and may be slow.
type told struct {
	slow chan struct{} // nil: it is not

	mu    sync.Mutex // guards notes
	notes []string
}

func (k *told) note(s string) fuse.Status {
	if k.slow != nil {
		<-k.slow
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notes = append(k.notes, s)
	return fuse.OK
}

func (k *told) InodeNotify(node uint64, off, _ int64) fuse.Status {
	return k.note(fmt.Sprintf("inode %d %d", node, off))
}

func (k *told) EntryNotify(parent uint64, name string) fuse.Status {
	return k.note(fmt.Sprintf("name %d %s", parent, name))
}

// taken returns what was told since, sorted.
func (k *told) taken() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.notes
	k.notes = nil
	slices.Sort(l)
	return l
}

func notifying(t *testing.T, k *told) (*notifier, *Server) {
	s := &Server{nodes: newNodes(), log: slog.New(slog.DiscardHandler)}
	n := newNotifier(k, s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.run()
	}()
	t.Cleanup(func() {
		n.close()
		<-ended
	})
	return n, s
}

// Who has got a lock has it when the kernel keeps nothing old, or not at all.
func TestNoLockWhileTheKernelKeepsOldNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &told{slow: make(chan struct{})}
		n, s := notifying(t, k)
		s.notify = n
		if err := s.shown(t.Context()); err != nil {
			t.Errorf("with nothing to be told: %v", err)
		}
		n.Changed(volume.Change{Names: []volume.Name{{Parent: meta.Root, Name: []byte("x")}}})
		began := time.Now()
		if st := errno(s.log, "lock", s.shown(t.Context())); st != fuse.Status(syscall.ENOLCK) || time.Since(began) != shownPatience {
			t.Errorf("%v after %v, while the kernel keeps an old name", st, time.Since(began))
		}
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, interrupt)
		if st := errno(s.log, "lock", s.shown(ctx)); st != fuse.EINTR {
			t.Errorf("interrupted: %v", st)
		}
		time.AfterFunc(5*time.Second, func() { close(k.slow) })
		if err := s.shown(t.Context()); err != nil {
			t.Errorf("when the kernel had dropped it: %v", err)
		}
		if got := k.taken(); !slices.Equal(got, []string{"name 1 x"}) {
			t.Errorf("told %q", got)
		}
	})
}

func TestTheKernelIsToldWhatItKnows(t *testing.T) {
	k := &told{}
	n, s := notifying(t, k)
	root := meta.RootRef
	file, dir, strange := meta.Ref{Home: 1, Ino: 7}, meta.Ref{Home: 1, Ino: 8}, meta.Ref{Home: 1, Ino: 9}
	f, _ := s.nodes.lookup(file, false, place{root, "f"}, s.nodes.now())
	s.nodes.lookup(file, false, place{root, "g"}, s.nodes.now())
	d, _ := s.nodes.lookup(dir, true, place{root, "d"}, s.nodes.now())
	for _, c := range []struct {
		name   string
		change volume.Change
		want   []string
	}{
		{"a directory", volume.Change{Amended: []meta.Ref{dir, strange}}, []string{fmt.Sprintf("inode %d 0", d)}},
		{"names", volume.Change{Names: []volume.Name{{Parent: 8, Name: []byte("x")}, {Parent: 9, Name: []byte("y")}}}, []string{fmt.Sprintf("name %d x", d)}},
		{"content", volume.Change{Renewed: []meta.Ref{file, strange}}, []string{fmt.Sprintf("inode %d -1", f), "name 1 f", "name 1 g"}},
		{"content again", volume.Change{Renewed: []meta.Ref{file}}, nil},
		{"all", volume.Change{All: true}, []string{"inode 1 0", fmt.Sprintf("inode %d 0", d), "name 1 d"}},
	} {
		n.Changed(c.change)
		if err := n.through(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := k.taken()
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: told %q, want %q", c.name, got, c.want)
		}
	}
	if _, ref, _, ok := s.nodes.current(8); !ok || ref != dir {
		t.Error("a directory got another node")
	}
}

// While the kernel is slow what changes again is kept once, and nobody waits but who
// asked to; and not for what comes after.
func TestSlowKernelIsToldOnce(t *testing.T) {
	k := &told{slow: make(chan struct{})}
	n, s := notifying(t, k)
	dir := meta.Ref{Home: 1, Ino: 8}
	s.nodes.lookup(dir, true, place{meta.RootRef, "d"}, s.nodes.now())
	change := func(name string) {
		n.Changed(volume.Change{Amended: []meta.Ref{dir}, Names: []volume.Name{{Parent: 8, Name: []byte(name)}}})
	}
	change("first")
	k.slow <- struct{}{} // it is being told
	for i := range 10_000 {
		change(fmt.Sprint(i % 10))
	}
	n.mu.Lock()
	size := len(n.next.attrs) + len(n.next.names)
	n.mu.Unlock()
	if size > 12 {
		t.Errorf("%d messages wait", size)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := n.through(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was told: %v", err)
	}
	close(k.slow)
	if err := n.through(t.Context()); err != nil {
		t.Error(err)
	}
	if got := k.taken(); len(got) > 14 {
		t.Errorf("told %d times", len(got))
	}
	n.close()
	if err := n.through(t.Context()); err != nil {
		t.Errorf("when the mount was gone: %v", err)
	}
	change("late") // nobody listens
}
