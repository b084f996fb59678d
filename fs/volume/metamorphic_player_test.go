package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store/mem"
)

// course is how a history is run: on what machine, and with what in between.
type course struct {
	Near  int64 // see Options.CacheSize
	Fold  int   // see Options.FoldCommits
	Flush bool  // each write becomes an operation at once, so that states follow each other in order
	Run   bool  // with the work in the background
}

// player lives one history, with its events, on a volume and on the model, and
// compares them.
type player struct {
	t      *testing.T
	dir    string // below which its machines live
	origin *origin
	c      course
	deeds  []deed
	past   []bool // events of deeds that have happened: a machine that falls back lives its deeds again, not its fate

	at      int
	m       *machine
	bucket  *mem.Bucket
	made    int // machines so far
	model   *plain
	base    *plain // what was acknowledged: the model before deeds[baseAt]
	baseAt  int
	refs    [heldMax]meta.Ref
	gone    [heldMax]bool // the handle was lost with its process
	renewed bool          // by copy; then what a slot says of older devices stays

	lived atomic.Int64 // deeds and events so far

	mu    sync.Mutex // guards the fields below
	step  string     // at which the process dies
	nth   uint64
	saved *saved
}

// saved is what a process that dies leaves.
type saved struct {
	state  string
	bucket *mem.Bucket
}

// origin is a drive of which each history gets a copy.
type origin struct {
	bucket *mem.Bucket
	unlock []byte
}

// playLimit is far more than a deed takes, in steps, so that a machine that stood still
// meanwhile counts as one.
const (
	playLimit = 24
	playStep  = 5 * time.Second
)

// play runs deeds and returns what went wrong.
func play(t *testing.T, o *origin, c course, deeds []deed) error {
	dir, err := os.MkdirTemp(ramDir(), "hushfs-play")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p := &player{t: t, dir: dir, origin: o, c: c, deeds: deeds, past: make([]bool, len(deeds)), bucket: o.bucket.Clone(), model: newPlain()}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("panic at deed %d: %v\n%s", p.at, r, debug.Stack())
			}
		}()
		done <- p.play()
	}()
	for still, was := 0, int64(0); still < playLimit; still++ {
		select {
		case err := <-done:
			return err
		case <-time.After(playStep):
		}
		if now := p.lived.Load(); now != was {
			still, was = 0, now
		}
	}
	b := make([]byte, 1<<20)
	return fmt.Errorf("the deed after %d others hangs\n%s", p.lived.Load(), b[:runtime.Stack(b, true)])
}

// ramDir is a folder in memory where there is one, for speed.
func ramDir() string {
	if i, err := os.Stat("/dev/shm"); err == nil && i.IsDir() && os.Getenv("TMPDIR") == "" {
		return "/dev/shm"
	}
	return ""
}

func (p *player) play() error {
	p.m, p.at = p.machine("first"), -1
	p.acknowledged()
	defer func() { p.m.crash() }()
	if err := p.open(); err != nil {
		return err
	}
	for p.at = 0; p.at < len(p.deeds); p.at++ {
		p.lived.Add(1)
		d := p.deeds[p.at]
		var err error
		switch {
		case !isEvent(d.Do):
			err = p.do(d)
		case !p.past[p.at]:
			p.past[p.at] = true
			err = p.happen(d)
		}
		if err == nil {
			err = p.fallBack()
		}
		if err != nil {
			return fmt.Errorf("deed %d, %#v: %w", p.at, d, err)
		}
	}
	if err := p.finish(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}

func (p *player) machine(name string) *machine {
	p.made++
	m := &machine{t: p.t, name: name, bucket: p.bucket, unlock: p.origin.unlock, dir: filepath.Join(p.dir, fmt.Sprint(p.made)), log: &lines{}, near: p.c.Near, fold: p.c.Fold}
	m.step = p.stepped
	return m
}

func (p *player) open() error {
	p.m.bucket = p.bucket
	if err := p.m.open(); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if p.c.Run {
		p.m.run()
	}
	return nil
}

// again mounts after the process has ended: what was open is so no longer.
func (p *player) again() error {
	for i := range p.gone {
		p.gone[i] = true
	}
	return p.open()
}

// acknowledged notes that what was done so far survives. What a process says that
// has met its step does not count.
func (p *player) acknowledged() {
	if !p.dead() {
		p.base, p.baseAt = p.model.clone(), p.at+1
	}
}

func (p *player) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.saved != nil
}

// synced does so when no written bytes float.
func (p *player) synced() {
	if p.c.Flush {
		p.acknowledged()
	}
}

// stepped is called at each step of the volume, and lets the process die at one: what
// the machine and the store hold at that moment is what the next process finds.
func (p *player) stepped(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.step == "" || p.step != name || p.saved != nil {
		return
	}
	if p.nth--; p.nth > 0 {
		return
	}
	p.step = ""
	s := &saved{state: filepath.Join(p.dir, "saved")}
	err := os.RemoveAll(s.state)
	if err == nil {
		err = copyState(p.m.state(), s.state)
	}
	if err != nil {
		panic(err)
	}
	s.bucket = p.bucket.Clone()
	p.saved = s
}

// copyState copies a state folder. The spare file holds nothing.
func copyState(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		name, _ := filepath.Rel(from, path)
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		if name == spareName {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
}

// fallBack is the death of a process that met its step: the next one finds what that
// left.
func (p *player) fallBack() error {
	p.mu.Lock()
	s := p.saved
	p.saved = nil
	p.mu.Unlock()
	if s == nil {
		return nil
	}
	p.m.crash() // whatever it did since
	// In place, lest the state be taken for a copy.
	entries, err := os.ReadDir(p.m.state())
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(p.m.state(), e.Name())))
	}
	if err = errors.Join(err, copyState(s.state, p.m.state())); err != nil {
		return err
	}
	p.bucket = s.bucket
	return p.rewind()
}

// rewind mounts what a process left that had not acknowledged everything, and goes on
// from the state that the tree is in: one of those that it was in since.
func (p *player) rewind() error {
	if err := p.again(); err != nil {
		return err
	}
	seen, err := p.look()
	if err != nil {
		return err
	}
	m := p.base.clone()
	states := []*plain{m.clone()}
	for i := p.baseAt; i <= p.at; i++ {
		if !isEvent(p.deeds[i].Do) {
			_ = m.do(p.deeds[i])
		}
		states = append(states, m.clone())
	}
	var differs []string
	for i, m := range slices.Backward(states) {
		d := m.differs(seen)
		if d == "" {
			p.model, p.at = m, p.baseAt+i-1
			p.acknowledged()
			return nil
		}
		differs = append(differs, d)
	}
	return fmt.Errorf("after the crash the tree is in none of the states since the last sync; from the newest to the oldest it differs: %s", strings.Join(slices.Compact(differs), "\n"))
}

// do does a deed on both, and compares whether it was refused.
func (p *player) do(d deed) error {
	want := p.model.do(d)
	err := p.deed(d)
	switch {
	case errors.Is(err, errWrong):
		return err
	case (err == nil) != (want == nil):
		return fmt.Errorf("the volume says %v, the model %v", err, want)
	}
	return nil
}

// errWrong: what was read is not what should be there.
var errWrong = errors.New("wrong bytes")

// deed does a deed on the volume.
func (p *player) deed(d deed) error {
	ctx, v := context.Background(), p.m.v
	switch d.Do {
	case "make", "tmplink", "rename", "unlink", "rmdir":
		return p.entry(d)
	case "close":
		if !p.gone[d.Hold] && p.refs[d.Hold] != (meta.Ref{}) {
			v.Release(p.refs[d.Hold])
		}
		p.refs[d.Hold] = meta.Ref{}
		return nil
	case "hwrite":
		return p.hwrite(d)
	}
	a, err := p.lookup(d.At)
	if err != nil {
		return err
	}
	switch d.Do {
	case "link":
		dir, name, err := p.place(d.To)
		if err == nil {
			_, err = v.Link(ctx, a.Ref, dir, name)
		}
		return err
	case "open":
		if a.Inode.Kind != meta.File {
			return errPlain
		}
		if !p.gone[d.Hold] && p.refs[d.Hold] != (meta.Ref{}) {
			v.Release(p.refs[d.Hold])
		}
		p.refs[d.Hold], p.gone[d.Hold] = a.Ref, false
		_, err = v.Open(ctx, a.Ref, true)
		return err
	case "write":
		return p.flushed(a.Ref, v.Write(ctx, a.Ref, uint64(d.Off), bytesOf(d)))
	case "truncate":
		var mtime *meta.Time
		if d.Num != 0 {
			mtime = &meta.Time{Sec: int64(d.Num), Nsec: 5}
		}
		return v.Truncate(ctx, a.Ref, uint64(d.Off), mtime)
	case "punch":
		return v.PunchHole(ctx, a.Ref, uint64(d.Off), uint64(d.Len))
	case "read":
		return p.read(a, d)
	case "chmod":
		return v.Setattr(ctx, a.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: uint16(d.Num)})
	case "chown":
		return v.Setattr(ctx, a.Ref, meta.Setattr{Valid: meta.SetUID | meta.SetGID, UID: uint32(d.Off), GID: uint32(d.Len)})
	case "demote":
		return v.Demote(ctx, a.Ref, true)
	case "times":
		nsec := uint32(d.Num % 1e9)
		set := meta.Setattr{Valid: meta.SetAtime | meta.SetMtime, Atime: meta.Time{Sec: d.Len, Nsec: nsec}, Mtime: meta.Time{Sec: d.Off, Nsec: nsec}}
		if d.Num%2 == 0 {
			set.Valid |= meta.SetCtime
			set.Ctime = meta.Time{Sec: 1_700_000_000}
		}
		return v.Setattr(ctx, a.Ref, set)
	case "setxattr":
		return v.SetXattr(ctx, a.Ref, []byte(d.To), bytesOf(d), meta.XattrFlags(d.Num>>32))
	case "rmxattr":
		return v.RemoveXattr(ctx, a.Ref, []byte(d.To))
	}
	return fmt.Errorf("no such deed: %q", d.Do)
}

// entry does what concerns names.
func (p *player) entry(d deed) error {
	ctx, v := context.Background(), p.m.v
	dir, name, err := p.place(d.At)
	if err != nil {
		return err
	}
	switch d.Do {
	case "make":
		n := Node{Kind: meta.Kind(d.Num & 0xff), Perm: uint16(d.Num >> 8 & 0o7777), UID: uint32(d.Off), GID: uint32(d.Len)}
		if n.Kind == meta.Char || n.Kind == meta.Block {
			n.Rdev = uint32(d.Num >> 32)
		}
		if d.To != "" {
			n.Target = []byte(d.To)
		}
		_, err := v.Make(ctx, dir, name, n, false)
		return err
	case "unlink":
		return v.Unlink(ctx, dir, name)
	case "rmdir":
		return v.Rmdir(ctx, dir, name)
	case "rename":
		to, toName, err := p.place(d.To)
		if err != nil {
			return err
		}
		return v.Rename(ctx, dir, name, to, toName, meta.RenameFlags(d.Num))
	}
	a, err := v.Tmpfile(ctx, dir, Node{Kind: meta.File, Perm: 0o640, UID: 1000, GID: 1000})
	if err != nil {
		return err
	}
	defer v.Release(a.Ref)
	err = v.Write(ctx, a.Ref, uint64(d.Off), bytesOf(d))
	if err == nil {
		err = v.SetXattr(ctx, a.Ref, []byte("user.tmp"), []byte("1"), 0)
	}
	if err == nil {
		_, err = v.Link(ctx, a.Ref, dir, name)
	}
	return err
}

// hwrite writes through a handle. When its process is gone, a file without a name is
// gone with it.
func (p *player) hwrite(d deed) error {
	t, ref := p.model.held[d.Hold], p.refs[d.Hold]
	if t == nil {
		return nil
	}
	if p.gone[d.Hold] {
		path, ok := p.model.pathOf(t)
		if !ok {
			return nil
		}
		a, err := p.lookup(path)
		if err != nil {
			return err
		}
		ref = a.Ref
	}
	return p.flushed(ref, p.m.v.Write(context.Background(), ref, uint64(d.Off), bytesOf(d)))
}

// pathOf is a name of a thing, if it has one.
func (p *plain) pathOf(t *thing) (best string, ok bool) {
	for path, o := range p.names {
		if o == t && (!ok || path < best) {
			best, ok = path, true
		}
	}
	return best, ok
}

// flushed ends a write: after it no bytes float, which a close alone does not promise
// of many.
func (p *player) flushed(ref meta.Ref, err error) error {
	if err == nil && p.c.Flush {
		v, ctx := p.m.v, context.Background()
		err = errors.Join(v.Flush(ctx, ref), v.locked(ctx, func() error { return v.pin(ref.Ino) }))
	}
	return err
}

func (p *player) read(a Attr, d deed) error {
	b := make([]byte, d.Len)
	n, err := p.m.v.Read(context.Background(), a.Ref, uint64(d.Off), b)
	t := p.model.names[d.At]
	if err != nil || t == nil || t.kind != meta.File {
		return err
	}
	if want := t.read(d.Off, d.Len); string(b[:n]) != string(want) {
		return fmt.Errorf("%w: %d where there should be %d", errWrong, n, len(want))
	}
	return nil
}

// lookup finds what a path stands for.
func (p *player) lookup(path string) (Attr, error) {
	if path == "" {
		return p.m.v.Attr(context.Background(), meta.RootRef)
	}
	_, _, a, err := p.m.find(path[1:])
	return a, err
}

// place finds the directory of a path.
func (p *player) place(path string) (meta.Ref, []byte, error) {
	if path == "" {
		return meta.Ref{}, nil, errPlain
	}
	dir, err := p.lookup(parentOf(path))
	return dir.Ref, []byte(path[len(parentOf(path))+1:]), err
}

// happen lets an event happen.
func (p *player) happen(d deed) error {
	ctx, v := context.Background(), p.m.v
	rng := rand.New(rand.NewPCG(d.Num, 3))
	switch d.Do {
	case "flush", "fsync":
		a, err := p.lookup(d.At)
		if err != nil {
			return nil
		}
		if d.Do == "flush" {
			return v.Flush(ctx, a.Ref)
		}
		if err := v.Fsync(ctx, a.Ref); err != nil {
			return err
		}
		p.synced()
		return nil
	case "persist":
		if err := v.persist(); err != nil {
			return err
		}
		p.synced()
		return nil
	case "publish":
		if err := drained(p.m); err != nil {
			return err
		}
		p.acknowledged()
		return nil
	case "leave":
		if err := drained(p.m); err != nil {
			return err
		}
		p.acknowledged()
		return v.sync.Leave(ctx)
	case "shift":
		a, err := v.Tmpfile(ctx, meta.RootRef, Node{Kind: meta.File, Perm: 0o600})
		if err == nil {
			err = v.Write(ctx, a.Ref, 0, bytesOf(d))
			v.Release(a.Ref)
		}
		return err
	case "die":
		p.mu.Lock()
		p.step, p.nth = d.To, d.Num
		p.mu.Unlock()
		return nil
	case "lose":
		p.m.crash()
		return p.rewind()
	case "lock", "move", "forget cache":
		if err := p.m.shut(time.Minute); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
	default:
		if err := errors.Join(v.pinOld(ctx, 0), v.persist()); err != nil {
			return err
		}
		p.m.crash()
	}
	if p.dead() {
		return nil // before it could be done with
	}
	p.acknowledged()
	if err := p.replaced(d, rng); err != nil {
		return err
	}
	if err := p.again(); err != nil {
		return err
	}
	return p.compare()
}

// replaced does what happens to a machine between two processes.
func (p *player) replaced(d deed, rng *rand.Rand) error {
	switch d.Do {
	case "forget cache":
		return os.RemoveAll(p.m.cache())
	case "spoil cache":
		return spoil(rng, p.m.cache())
	case "copy":
		old := p.m
		p.m, p.renewed = p.machine("copy"), true
		err := copyState(old.state(), p.m.state())
		return errors.Join(err, os.RemoveAll(old.dir))
	case "move":
		old := p.m
		p.m = p.machine("other")
		return os.RemoveAll(old.dir)
	}
	return nil
}

// spoil damages some of the files below a folder.
func spoil(rng *rand.Rand, dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // there is no cache
		}
		if err != nil || e.IsDir() || rng.IntN(2) == 0 {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		at := rng.IntN(len(b))
		switch rng.IntN(4) {
		case 0:
			return os.Remove(path)
		case 1:
			b = b[:at]
		case 2:
			clear(b[at:min(at+page, len(b))])
		default:
			b[at] ^= 1 << rng.IntN(8)
		}
		return os.WriteFile(path, b, 0o600)
	})
}

// finish compares here, after a lock, and on a machine that has the store alone.
func (p *player) finish() error {
	p.mu.Lock()
	p.step = ""
	p.mu.Unlock()
	if err := p.compare(); err != nil {
		return err
	}
	// Bytes that float are counted when they become an operation.
	if err := errors.Join(p.m.v.pinOld(context.Background(), 0), p.sound()); err != nil {
		return err
	}
	if err := p.m.shut(time.Minute); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if err := p.again(); err != nil {
		return err
	}
	here, err := p.look()
	if err != nil {
		return err
	}
	if differs := p.model.differs(here); differs != "" {
		return fmt.Errorf("after the lock: %s", differs)
	}
	p.m.crash()
	p.m = p.machine("far")
	p.m.ro = true
	if err := p.again(); err != nil {
		return err
	}
	there, err := p.look()
	if err != nil {
		return err
	}
	if differs := p.model.differs(there); differs != "" {
		return fmt.Errorf("on another machine: %s", differs)
	}
	for path, line := range here.exact {
		if there.exact[path] != line {
			return fmt.Errorf("two machines with one history differ: here %s, there %s", line, there.exact[path])
		}
	}
	return p.sound()
}

// sound looks at what the volume says of itself.
func (p *player) sound() error {
	s := p.m.v.Status()
	var files, bytes uint64
	seen := map[*thing]bool{}
	for _, t := range p.model.names {
		if !seen[t] {
			files++
			if seen[t] = true; t.kind == meta.File {
				bytes += uint64(t.size)
			}
		}
	}
	switch {
	case len(s.Damaged) > 0 || s.Stopped != "" || s.Refused:
		return fmt.Errorf("damaged %q, stopped %q, refused %v", s.Damaged, s.Stopped, s.Refused)
	// A cache may be too small for anything; no other warning is right.
	case slices.ContainsFunc(s.Warnings, func(w string) bool { return !strings.HasPrefix(w, "cache: it keeps less") }):
		return fmt.Errorf("warnings %q", s.Warnings)
	case strings.Contains(p.m.log.String(), "level=ERROR"):
		return fmt.Errorf("the log: %s", p.m.log.String())
	case s.Files != files || s.Bytes != bytes:
		return fmt.Errorf("it counts %d files of %d bytes, and there are %d of %d", s.Files, s.Bytes, files, bytes)
	}
	return nil
}

func (p *player) compare() error {
	seen, err := p.look()
	if err != nil {
		return err
	}
	if differs := p.model.differs(seen); differs != "" {
		return errors.New(differs)
	}
	return nil
}
