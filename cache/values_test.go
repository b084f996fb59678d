package cache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestValuesSurviveClose(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	c, err := Open(o)
	must(t, err)
	sizes := []int{0, 1, 4095, 4096, 65552, MaxValue}
	for i, n := range sizes {
		c.Put(key(i), value(i, n))
		if b, err := c.Get(key(i)); err != nil || !bytes.Equal(b, value(i, n)) {
			t.Fatalf("%d bytes, queued: %v", n, err)
		}
	}
	c.values.flush(false)
	c.Drop(key(1))
	c.Put(key(100), make([]byte, MaxValue+1))
	c.Put(make([]byte, MaxKey+1), nil)
	c.Put(make([]byte, MaxKey), value(7, 7))
	for range 2 {
		must(t, c.Close())
		must(t, c.Close())
		if _, err := c.Get(key(0)); !errors.Is(err, ErrAbsent) {
			t.Error("a closed cache answers")
		}
		c, err = Open(o)
		must(t, err)
		for i, n := range sizes {
			b, err := c.Get(key(i))
			if i == 1 {
				if !errors.Is(err, ErrAbsent) {
					t.Error("what was dropped is there")
				}
			} else if err != nil || !bytes.Equal(b, value(i, n)) {
				t.Errorf("%d bytes, opened again: %v", n, err)
			}
		}
		if _, err := c.Get(key(100)); !errors.Is(err, ErrAbsent) {
			t.Error("a value that is too long is there")
		}
		if b, err := c.Get(make([]byte, MaxKey)); err != nil || !bytes.Equal(b, value(7, 7)) {
			t.Error("the longest key is not there")
		}
		if u := c.Usage(); u.Rebuilt != 0 || u.Forged != 0 || u.Trouble != "" {
			t.Errorf("%+v", u)
		}
	}
	must(t, c.Close())
}

func TestAPutKeepsNothingOfTheCaller(t *testing.T) {
	t.Parallel()
	c := start(t, options(t.TempDir()))
	k, v := bytes.Clone(key(1)), value(1, 100)
	c.Put(k, v)
	clear(k)
	clear(v)
	b, err := c.Get(key(1))
	if err != nil || !bytes.Equal(b, value(1, 100)) {
		t.Fatalf("%v", err)
	}
	clear(b)
	if b, err := c.Get(key(1)); err != nil || !bytes.Equal(b, value(1, 100)) {
		t.Fatalf("what Get gave is shared: %v", err)
	}
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := start(t, options(dir))
	const n, size = 600, 65552 // 37 MiB in a share of 16
	for i := range n {
		fill(c, i, i+1, size)
		if _, err := c.Get(key(0)); err != nil {
			t.Fatalf("the one that is used all the time went after %d", i)
		}
		if m := c.Usage().Meta; m > testLimit/4 {
			t.Fatalf("values take %d bytes", m)
		}
	}
	if there := count(t, c, n-100, n, size); there != 100 {
		t.Errorf("%d of the last 100", there)
	}
	if there := count(t, c, 1, 200, size); there != 0 {
		t.Errorf("%d of the first 199", there)
	}
	c.Drop(key(n - 1)) // from the youngest
	c.Drop(key(n - 90))
	c.values.flush(false)
	if there := count(t, c, n-100, n, size); there != 98 {
		t.Errorf("%d after two were dropped", there)
	}
	c.values.gens[len(c.values.gens)-1].bad.Store(true) // a youngest that is lost
	c.values.flush(false)
	fill(c, n, n+1, size)
	if there := count(t, c, n, n+1, size); there != 1 {
		t.Error("a generation that is lost is not followed by another")
	}
	if got, u := du(t, dir), c.Usage(); got-u.Bytes > slack(testLimit) || u.Bytes > got {
		t.Errorf("du %d, Usage %+v", got, u)
	}
}

// forge changes the values in Badger as one could who knows its key.
type forger struct{ Sealer }

func (f forger) Seal(dst, plain, ad []byte) []byte {
	b := f.Sealer.Seal(dst, plain, ad)
	b[len(b)-1] ^= 1
	return b
}

func TestForgedValuesAreDropped(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	c := start(t, o)
	good := c.values.seal
	c.values.seal = forger{good}
	fill(c, 0, 3, 1000)
	makeTable(t, c)
	c.values.seal = good
	fill(c, 3, 4, 1000)
	makeTable(t, c)
	for range 2 {
		if there := count(t, c, 0, 4, 1000); there != 1 {
			t.Fatalf("%d values", there)
		}
	}
	if f := c.Usage().Forged; f != 3 {
		t.Errorf("%d forged", f)
	}
	c.values.flush(false)
	fill(c, 0, 3, 1000)
	if there := count(t, c, 0, 4, 1000); there != 4 {
		t.Errorf("put again: %d", there)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	c := start(t, options(t.TempDir()))
	c.values.writing.Lock()
	for i := range 1000 {
		c.Put(key(i), value(i, 65552))
	}
	c.values.queue.mu.Lock()
	bytes := c.values.queue.bytes
	c.values.queue.mu.Unlock()
	if bytes > c.values.queue.limit {
		t.Errorf("%d bytes wait", bytes)
	}
	c.Drop(key(999))
	if e, ok := c.values.queue.find("v" + string(key(999))); !ok || !e.dead {
		t.Error("no room to forget one")
	}
	c.values.writing.Unlock()
	c.values.flush(false)
	if there := count(t, c, 0, 1000, 65552); there < 20 || there > 60 {
		t.Errorf("%d values", there)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{0, 1, minLimit - 1, minLimit, 32 << 20, 64 << 20, 1 << 30, 10 << 30, 1 << 50} {
		g, ok := plan(limit)
		if ok != (limit >= minLimit) {
			t.Errorf("%d: %v", limit, ok)
		}
		if !ok {
			continue
		}
		if g.table < minTable || g.table > maxFresh || g.share > limit/4 || g.share > maxShare {
			t.Errorf("%d: %+v", limit, g)
		}
		// Two generations fit beside a log and its table, and a value in a batch.
		if 2*g.generation+g.table+g.spare > g.share+1<<20 || g.table < 2*MaxValue {
			t.Errorf("%d: %+v", limit, g)
		}
	}
}

func TestNothingIsInTheClear(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := options(dir)
	c, err := Open(o)
	must(t, err)
	secret := []byte("a name of a file that nobody should see")
	c.Put(secret, bytes.Repeat(secret, 100))
	must(t, c.Close())
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, secret[:16]) || bytes.Contains(b, []byte(o.Owner+"\x00")) || bytes.Contains(b, o.Key) {
			t.Errorf("%s tells", path)
		}
		return err
	}))
}

func TestMappedMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	var unmapped, high atomic.Int64
	sys := host()
	sys.unmap = func(dir string) {
		unmapped.Add(1)
		high.Store(0)
		unmap(dir)
	}
	sys.mapped = high.Load
	c := startOn(t, sys, options(t.TempDir()))
	fill(c, 0, 300, 20_000)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range 5 {
				high.Store(10 * maxMapped)
				count(t, c, 0, 300, 20_000)
				c.values.flush(false)
			}
		})
	}
	all.Wait()
	if there := count(t, c, 0, 300, 20_000); there != 300 || unmapped.Load() == 0 {
		t.Errorf("%d values, unmapped %d times", there, unmapped.Load())
	}
	// Memory that others have mapped is not given back, nor tried again and again.
	c.values.writing.Lock()
	c.values.sys.unmap = func(string) { unmapped.Add(1) }
	c.values.writing.Unlock()
	high.Store(10 * maxMapped)
	count(t, c, 0, 300, 20_000)
	c.values.flush(false)
	before := unmapped.Load()
	count(t, c, 0, 300, 20_000)
	c.values.flush(false)
	if unmapped.Load() != before {
		t.Error("tried again")
	}
}

func TestAKeyOfAnotherLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 16, 31, 33} {
		o := options(t.TempDir())
		o.Key = make([]byte, n)
		if _, err := Open(o); !errors.Is(err, ErrUnusable) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
