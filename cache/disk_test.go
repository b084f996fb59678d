package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// made is a system whose disk can be made to fail.
type made struct {
	writes atomic.Pointer[error]
	space  atomic.Int64
}

func (m *made) system() system {
	sys := host()
	m.space.Store(1 << 50)
	sys.write = func(f *os.File, b []byte, off int64) error {
		if err := m.writes.Load(); err != nil {
			return *err
		}
		return writeAt(f, b, off)
	}
	sys.free = func(string) int64 { return m.space.Load() }
	return sys
}

func (m *made) fail(err error) {
	err = &os.PathError{Op: "write", Path: "/secret", Err: err}
	m.writes.Store(&err)
}

func (m *made) mend() {
	m.writes.Store(nil)
}

func TestADiskThatRefuses(t *testing.T) {
	t.Parallel()
	for err, words := range map[error]string{
		syscall.ENOSPC: "the disk is full",
		syscall.EDQUOT: "the disk is full",
		syscall.EROFS:  "the disk is read-only",
		syscall.EIO:    "the disk fails: input/output error",
		syscall.EACCES: "the cache folder may not be written",
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			var m made
			o := options(t.TempDir())
			c, e := openOn(m.system(), o)
			must(t, e)
			fill(c, 0, 100, 20_000)
			c.WriteObject(objectName(1), 1<<20, 0, value(1, 1000))
			m.fail(err)
			fill(c, 100, 200, 20_000)
			c.WriteObject(objectName(2), 1<<20, 0, value(2, 1000))
			if got := c.Usage().Trouble; got != words {
				t.Errorf("trouble %q", got)
			}
			if there := count(t, c, 0, 200, 20_000); there != 100 {
				t.Errorf("%d values", there)
			}
			if _, err := c.ReadObject(objectName(1), 0, 1000); err != nil {
				t.Errorf("an object: %v", err)
			}
			if _, err := c.ReadObject(objectName(2), 0, 1000); !errors.Is(err, ErrAbsent) {
				t.Errorf("an object that was not written: %v", err)
			}
			m.mend()
			fill(c, 200, 210, 20_000)
			c.WriteObject(objectName(2), 1<<20, 0, value(2, 1000))
			if there := count(t, c, 200, 210, 20_000); there != 10 || c.Usage().Trouble != "" {
				t.Errorf("mended: %d values, %+v", there, c.Usage())
			}
			m.fail(err)
			fill(c, 300, 310, 20_000)
			must(t, c.Close())
			c = start(t, o)
			if there := count(t, c, 0, 310, 20_000); there != 110 {
				t.Errorf("opened again: %d values", there)
			}
		})
	}
}

func TestTheFloor(t *testing.T) {
	t.Parallel()
	var m made
	o := options(t.TempDir())
	o.Floor = 1 << 30
	c := startOn(t, m.system(), o)
	fill(c, 0, 300, 20_000)
	for i := range 4 {
		adopt(t, c, i, 4<<20)
	}
	before := c.Usage()
	c.Shrink()
	if c.Usage() != before {
		t.Error("something left while there was room")
	}
	m.space.Store(o.Floor - 5<<20)
	c.Shrink()
	if got := before.Bytes - c.Usage().Bytes; got < 5<<20 || got > 9<<20 {
		t.Errorf("5 MiB below: %d bytes given back", got)
	}
	m.space.Store(0)
	c.Shrink()
	if u := c.Usage(); u.Blocks != 0 || u.Meta > 64<<10 {
		t.Errorf("a full disk: %+v", u)
	}
	fill(c, 0, 10, 20_000)
	c.WriteObject(objectName(9), 1000, 0, value(9, 1000))
	adopt(t, c, 10, 1000)
	if there := count(t, c, 0, 300, 20_000); there != 0 || len(c.at) != 0 || c.Usage().Trouble != "the disk is full" {
		t.Errorf("%d values, %d objects on a full disk, %+v", there, len(c.at), c.Usage())
	}
	m.space.Store(o.Floor / 2)
	fill(c, 0, 10, 20_000)
	c.WriteObject(objectName(9), 1000, 0, value(9, 1000))
	if got, want := c.Usage().Trouble, "the disk has less than 1 GiB free, which the cache leaves to other programs"; got != want {
		t.Errorf("half of the floor is free: %q, want %q", got, want)
	}
	m.space.Store(1 << 40)
	fill(c, 0, 10, 20_000)
	adopt(t, c, 9, 1000)
	c.WriteObject(objectName(10), 1000, 0, value(10, 1000))
	if there := count(t, c, 0, 10, 20_000); there != 10 || !c.Whole(objectName(9)) || !c.Whole(objectName(10)) || c.Usage().Trouble != "" {
		t.Errorf("room again: %d values, %+v", there, c.Usage())
	}
}

func TestOthersTakeTheLimit(t *testing.T) {
	t.Parallel()
	var others atomic.Int64
	o := options(t.TempDir())
	o.Others = others.Load
	c := start(t, o)
	fill(c, 0, 300, 20_000)
	for i := range 6 {
		adopt(t, c, i, 4<<20)
	}
	others.Store(50 << 20)
	c.Shrink()
	if got := du(t, o.Dir) + others.Load(); got > o.Limit {
		t.Errorf("%d bytes", got)
	}
	others.Store(o.Limit)
	c.Shrink()
	if u := c.Usage(); u.Blocks != 0 || u.Meta > 64<<10 {
		t.Errorf("nothing left for the cache: %+v", u)
	}
	others.Store(0)
	fill(c, 0, 10, 20_000)
	if there := count(t, c, 0, 10, 20_000); there != 10 {
		t.Errorf("room again: %d values", there)
	}
}

// The limit holds at every moment, as du sees it, whatever is done. A walk sees
// one moment only while nothing is made or removed meanwhile, so it is done from
// within writes, with the locks that keep all else still.
func TestTheLimitHolds(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1 << 20, minLimit, 24 << 20, 64 << 20} {
		t.Run(fmt.Sprint(limit>>20, " MiB"), func(t *testing.T) {
			t.Parallel()
			var others, used, turn, writes, most atomic.Int64
			o := options(t.TempDir())
			o.Limit, o.Others = limit, others.Load
			var c *Cache
			look := func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				before, n := turn.Load(), du(t, o.Dir)
				if before%2 == 0 && before == turn.Load() {
					n += used.Load()
				}
				most.Store(max(most.Load(), n))
				if n > limit {
					t.Errorf("%d bytes", n)
				}
			}
			sys := host()
			sys.write = func(f *os.File, b []byte, off int64) error {
				err := writeAt(f, b, off)
				ofValues := strings.Contains(f.Name(), "/"+valuesDir+"/")
				switch {
				case ofValues || c.values == nil:
					look()
				case writes.Add(1)%8 == 0 && c.values.writing.TryLock():
					look()
					c.values.writing.Unlock()
				}
				return err
			}
			c = startOn(t, sys, o)
			outside := t.TempDir()
			began := time.Now()
			// Where others keep the machine busy it goes on until it has tried something.
			going := func() bool {
				d := time.Since(began)
				return d < 1500*time.Millisecond || most.Load() < limit/2 && d < time.Minute
			}
			var all sync.WaitGroup
			for g := range 4 {
				rng := rand.New(rand.NewPCG(uint64(g), 7))
				all.Go(func() {
					for going() {
						stress(c, rng, outside, g)
					}
				})
			}
			all.Go(func() {
				rng := rand.New(rand.NewPCG(9, 9))
				for going() {
					n := rng.Int64N(limit / 3)
					turn.Add(1)
					used.Store(min(n, used.Load()))
					others.Store(n)
					c.Shrink()
					used.Store(n) // the others asked first, then took it
					turn.Add(1)
					for range rng.IntN(200) {
						c.Usage()
					}
				}
			})
			all.Wait()
			if c.values != nil {
				c.values.flush(true)
			}
			if got, u := du(t, o.Dir), c.Usage(); got-u.Bytes > slack(limit) || u.Bytes-got > slack(limit) {
				t.Errorf("du %d, Usage %+v", got, u)
			}
			if most.Load() < limit/2 {
				t.Errorf("at most %d bytes: nothing was tried", most.Load())
			}
			t.Logf("at most %d of %d bytes, %+v", most.Load(), limit, c.Usage())
		})
	}
}

// stress does one thing.
func stress(c *Cache, rng *rand.Rand, outside string, g int) {
	const segment = 65552
	i := int(rng.ExpFloat64() * 200)
	switch n := rng.IntN(20); {
	case n < 6:
		c.Put(key(i), value(i, 1+i%100*600))
	case n < 10:
		if b, err := c.Get(key(i)); err == nil && len(b) != 1+i%100*600 {
			panic("another value")
		}
	case n < 16:
		off := rng.Int64N(64) * segment
		b := value(i%50, segment)
		c.WriteObject(objectName(i%50), 64*segment, off, b)
		if got, err := c.ReadObject(objectName(i%50), off, segment); err == nil && i%50 < 40 && string(got) != string(b) {
			panic("other bytes")
		}
	case n < 18:
		_, _ = c.ReadObject(objectName(i%50), rng.Int64N(64*segment), 100)
	case n < 19:
		path := filepath.Join(outside, fmt.Sprint(g))
		if err := os.WriteFile(path, make([]byte, rng.IntN(4<<20)), 0o600); err != nil {
			panic(err)
		}
		if err := c.Adopt(objectName(1000+i), path); err != nil {
			panic(err)
		}
	default:
		c.DropObject(objectName(i % 50))
		c.Drop(key(i))
	}
}

func TestAFolderThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	file := newFile(t, nil)
	for name, dir := range map[string]string{
		"a file":         file,
		"below a file":   filepath.Join(file, "x"),
		"not to be made": "/proc/nowhere/cache",
	} {
		if _, err := Open(options(dir)); !errors.Is(err, ErrUnusable) || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, objectsDir), nil, 0o600))
	if c, err := Open(options(dir)); err == nil {
		must(t, c.Close())
	} else if !errors.Is(err, ErrUnusable) {
		t.Errorf("a file where objects should be: %v", err)
	}
}

func TestOff(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Limit = 0
	none, err := Open(o)
	must(t, err)
	for _, c := range []*Cache{Off(), none} {
		c.Put(key(1), value(1, 10))
		c.Drop(key(1))
		c.WriteObject("abc", 10, 0, value(1, 10))
		c.DropObject("abc")
		c.Shrink()
		if _, err := c.Get(key(1)); !errors.Is(err, ErrAbsent) {
			t.Errorf("%v", err)
		}
		if _, err := c.ReadObject("abc", 0, 1); !errors.Is(err, ErrAbsent) || c.Whole("abc") {
			t.Errorf("%v", err)
		}
		if u := c.Usage(); u != (Usage{}) {
			t.Errorf("%+v", u)
		}
		must(t, c.Close())
	}
}

// A small disk that really fills up, mounted in a child with a namespace of its
// own. Where that may not be had, TestADiskThatRefuses has to do.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	cmd := child(t, childFull, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() == exitNoMount) {
		t.Logf("no small disk: %v %s", err, out)
		return
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

const (
	childFull   = "HUSHFS_TEST_CACHE_FULL"
	exitNoMount = 9
)

func fullDisk(dir string) {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fmt.Println(err)
		os.Exit(exitNoMount)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		fmt.Println(err)
		os.Exit(exitNoMount)
	}
	expect := func(ok bool, what string, more ...any) {
		if !ok {
			fmt.Println(append([]any{what}, more...)...)
			os.Exit(1)
		}
	}
	there := func(c *Cache, from, to int) (n int) {
		for i := from; i < to; i++ {
			b, err := c.Get(key(i))
			expect(err != nil || string(b) == string(value(i, 20_000)), "another value")
			if err == nil {
				n++
			}
		}
		return n
	}
	o := options(filepath.Join(dir, "cache"))
	ballast := filepath.Join(dir, "ballast")
	c, err := Open(o)
	expect(err == nil, "open", err)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 3000 { // far more than the disk holds
		c.Put(key(i%1000), value(i%1000, 20_000))
		c.WriteObject(objectName(i%200), 1<<20, rng.Int64N(900_000), value(i, 60_000))
	}
	c.values.flush(true)
	fmt.Println("alone:", there(c, 0, 1000), "values,", len(c.at), "objects,", c.Usage())
	// Another program takes all that is left, in steps, while the cache works.
	f, err := os.Create(ballast)
	expect(err == nil, "ballast", err)
	for err = nil; err == nil; _, err = f.Write(make([]byte, 10_000)) {
		i := rng.IntN(3000)
		c.Put(key(i), value(i, 20_000))
	}
	expect(errors.Is(err, syscall.ENOSPC), "ballast", err)
	for i := range 1000 {
		c.Put(key(i), value(i, 20_000))
		c.WriteObject(objectName(i%200), 1<<20, rng.Int64N(900_000), value(i, 60_000))
		_, _ = f.Write(make([]byte, 4096))
	}
	c.values.flush(true)
	fmt.Println("full:", there(c, 0, 1000), "values,", len(c.at), "objects,", c.Usage())
	_ = c.Close()
	if c, err = Open(o); err == nil {
		there(c, 0, 1000)
		fmt.Println("opened on a full disk:", c.Usage())
		expect(c.Close() == nil, "close")
	}
	expect(err == nil || errors.Is(err, ErrUnusable), "open", err)
	fmt.Println("opened on a full disk:", err)
	expect(f.Close() == nil && os.Remove(ballast) == nil, "remove")
	c, err = Open(o)
	expect(err == nil, "open again", err)
	fill(c, 0, 50, 20_000)
	expect(there(c, 0, 50) == 50 && c.Usage().Trouble == "", "room again", there(c, 0, 50), c.Usage())
	expect(c.Close() == nil, "close")
	expect(syscall.Mount(dir, dir, "", syscall.MS_BIND, "") == nil, "bind")
	expect(syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "") == nil, "remount")
	_, err = Open(o)
	expect(errors.Is(err, ErrUnusable), "read-only", err)
	fmt.Println(err)
	os.Exit(0)
}
