package adversary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
)

const (
	// patience is for how long a program waits for an answer here, and hangs is when one
	// that has stopped waiting must have come back.
	patience = 2 * time.Second
	hangs    = 60 * time.Second
)

// errBroken is what no machine may do, whatever its store does.
var errBroken = errors.New("a rule is broken")

func broken(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errBroken, fmt.Sprintf(format, a...))
}

// machine is an honest computer with folders of its own.
type machine struct {
	name   string
	dir    string
	bucket store.Bucket
	unlock []byte
	truth  *ledger
	log    *lines // what it logged, from WARN on, and why it did not open
	shown  *lines // what its status said that it had not said just before, and why it did not open
	calm   bool   // the store is honest yet: only the computer is slow

	last  map[string]bool // what the status said when it was looked at last
	told  func() int      // how often it was told something untrue so far
	begun int             // told, when it was mounted last
	fell  int             // told, when that mount came to its end; below 0: it did not yet
	v     *volume.Volume  // nil while locked
	stop  context.CancelFunc
	ended chan struct{}
}

// within does something that must come back: the context ends after patience, and the
// call soon after it.
func within(what string, fn func(ctx context.Context) error) error {
	return withinOf(what, patience, fn)
}

func withinOf(what string, d time.Duration, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	t := time.NewTimer(d + hangs)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		stacks := make([]byte, 1<<20)
		return broken("%s hangs\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// open mounts. An error that says no is said, as what is logged is.
func (m *machine) open() error {
	if m.v != nil {
		return nil
	}
	u, err := drive.FromHandover(m.unlock)
	if err != nil {
		return broken("unlock: %v", err)
	}
	m.rises()
	err = withinOf(m.name+" opens", 10*time.Second, func(ctx context.Context) (err error) {
		m.v, err = volume.Open(ctx, volume.Options{
			Bucket: m.bucket, Drive: u, State: filepath.Join(m.dir, "state"), Cache: filepath.Join(m.dir, "cache"), CacheSize: -1,
			DeviceName: m.name, UID: 1000, GID: 1000, Patience: time.Second, FoldCommits: 6,
			Log: slog.New(slog.NewTextHandler(m.log, nil)),
		})
		return err
	})
	if err != nil {
		m.v = nil
		m.refuses(err)
		u.Wipe()
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop, m.ended = stop, make(chan struct{})
	v, ended := m.v, m.ended
	go func() {
		defer close(ended)
		_ = v.Run(ctx) // why it stopped its status says
	}()
	return nil
}

// rises and falls note what was told to a machine when it is mounted, and unmounted.
func (m *machine) rises() { m.begun, m.fell = m.told(), -1 }

func (m *machine) falls() { m.fell = m.told() }

// toldMounted is how much of what was told since from its last mount was told, as far as a
// status can say: there is none any more when it sends the last.
func (m *machine) toldMounted(from int) int {
	until := m.told()
	if m.fell >= 0 {
		until = m.fell
	}
	return until - max(from, m.begun)
}

// shut locks, and sends for so long; 0 is a power cut, as near as it comes to one.
func (m *machine) shut(d time.Duration) error {
	if m.v == nil {
		return nil
	}
	m.watch()
	m.falls()
	v := m.v
	m.v = nil
	err := withinOf(m.name+" locks", d, v.Shutdown)
	m.stop()
	if werr := withinOf(m.name+" ends its work", 0, func(context.Context) error { <-m.ended; return nil }); errors.Is(werr, errBroken) {
		return werr
	}
	return err
}

// create makes a file and, with promise, brings it to the journal.
func (m *machine) create(size int, promise bool) error {
	f, content := m.truth.create(m.name, "", size)
	return m.put(f, f.name, content, promise)
}

// put writes a content under a name that is free.
func (m *machine) put(f *file, name string, content []byte, promise bool) error {
	no := f.newest
	wait := patience
	if m.calm {
		wait = 20 * time.Second
	}
	return withinOf(m.name+" writes", wait, func(ctx context.Context) error {
		a, err := m.v.Make(ctx, meta.RootRef, []byte(name), volume.Node{Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000}, false)
		if err != nil {
			return err
		}
		if err := m.v.Write(ctx, a.Ref, 0, content); err != nil {
			return err
		}
		if err := m.v.Flush(ctx, a.Ref); err != nil || !promise {
			return err
		}
		if err := m.v.Fsync(ctx, a.Ref); err != nil {
			return err
		}
		if name == f.name {
			m.truth.promise(f, no)
		}
		return nil
	})
}

// replace gives a file a new content as editors do: by a new file and a rename.
func (m *machine) replace(f *file, size int) error {
	content := m.truth.rewrite(f, size)
	no := f.newest
	tmp := fmt.Sprintf("%s.%d", f.name, no)
	m.truth.name(tmp, f, false)
	if err := m.put(f, tmp, content, true); err != nil {
		return err
	}
	return within(m.name+" replaces", func(ctx context.Context) error {
		if err := m.v.Rename(ctx, meta.RootRef, []byte(tmp), meta.RootRef, []byte(f.name), 0); err != nil {
			return err
		}
		if err := m.v.SyncTree(); err != nil {
			return err
		}
		m.truth.promise(f, no)
		return nil
	})
}

// edit writes over a shared file what it has not held yet, through one handle by which it
// has read what it replaces, whatever other machines do meanwhile.
func (m *machine) edit(f *file) error {
	return within(m.name+" edits", func(ctx context.Context) error {
		a, err := m.v.Lookup(ctx, meta.RootRef, []byte(f.name))
		if err != nil {
			return err
		}
		at, err := m.v.Open(ctx, a.Ref, true)
		if err != nil {
			return err
		}
		defer m.v.Release(at)
		before, err := m.content(ctx, at)
		if err != nil {
			return err
		}
		read, err := m.truth.shows(m.name, f.name, before)
		if err != nil {
			return err
		}
		content, no := m.truth.instead(f, read)
		if err := m.v.Write(ctx, at, 0, content); err != nil {
			return err
		}
		if err := m.v.Flush(ctx, at); err != nil {
			return err
		}
		if err := m.v.Fsync(ctx, at); err != nil {
			return err
		}
		m.truth.owe(f, no, m.name)
		return nil
	})
}

// rename gives a file another name.
func (m *machine) rename(f *file, to string) error {
	m.truth.name(to, f, true)
	return within(m.name+" renames", func(ctx context.Context) error {
		if err := m.v.Rename(ctx, meta.RootRef, []byte(f.name), meta.RootRef, []byte(to), 0); err != nil {
			return err
		}
		f.name = to
		return nil
	})
}

func (m *machine) unlink(f *file) error {
	m.truth.forget(f)
	return within(m.name+" deletes", func(ctx context.Context) error {
		return m.v.Unlink(ctx, meta.RootRef, []byte(f.name))
	})
}

// drain waits until all is in the store.
func (m *machine) drain(d time.Duration) error {
	return withinOf(m.name+" sends", d, m.v.WaitStored)
}

// look reads all that there is. What is refused is counted, and an error when nothing may
// be; what is shown must be true.
func (m *machine) look(all bool) (found map[version]bool, tree []string, err error) {
	found = map[version]bool{}
	err = withinOf(m.name+" reads", 5*patience, func(ctx context.Context) error {
		list, err := m.v.List(ctx, meta.RootRef)
		if err != nil {
			if all {
				return fmt.Errorf("list the root: %w", err)
			}
			return nil
		}
		for _, e := range list {
			name := string(e.Name)
			if !m.truth.knownName(name) {
				return broken("%s shows the name %q, which nobody gave", m.name, name)
			}
			content, err := m.content(ctx, e.Ref)
			if err != nil {
				if all && !errors.Is(err, meta.ErrNotExist) {
					return fmt.Errorf("read %q: %w", name, err)
				}
				continue
			}
			v, err := m.truth.shows(m.name, name, content)
			if err != nil {
				return err
			}
			found[v] = true
			tree = append(tree, fmt.Sprintf("%s = %d.%d", name, v.file, v.no))
		}
		return nil
	})
	slices.Sort(tree)
	return found, tree, err
}

func (m *machine) content(ctx context.Context, ref meta.Ref) ([]byte, error) {
	a, err := m.v.Attr(ctx, ref)
	if err != nil {
		return nil, err
	}
	if a.Inode.Size > 64<<20 {
		return nil, broken("a file of %d bytes", a.Inode.Size)
	}
	b := make([]byte, a.Inode.Size)
	n, err := m.v.Read(ctx, ref, 0, b)
	return b[:n], err
}

// removeAll takes the machine's folders away.
func (m *machine) removeAll() { _ = os.RemoveAll(m.dir) }
