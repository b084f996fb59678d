package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRangesOfAnObject(t *testing.T) {
	t.Parallel()
	const size = 1_000_003
	whole := value(1, size)
	o := options(t.TempDir())
	c, err := Open(o)
	must(t, err)
	name := objectName(1)
	write := func(off, end int64) { c.WriteObject(name, size, off, whole[off:end]) }
	check := func(what string, off, n int64, want bool) {
		t.Helper()
		b, err := c.ReadObject(name, off, n)
		if (err == nil) != want || err != nil && !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: [%d, +%d): %v", what, off, n, err)
		}
		if err == nil && !bytes.Equal(b, whole[min(off, size):min(off+min(n, size), size)]) {
			t.Errorf("%s: [%d, +%d): other bytes", what, off, n)
		}
	}
	check("nothing", 0, 1, false)
	write(0, 65552)
	write(65552*3, 65552*4)
	for range 2 {
		check("first", 0, 65552, true)
		check("inside", 100, 10, true)
		check("one more", 0, 65553, false)
		check("hole", 65552, 10, false)
		check("over a hole", 65551, 65552*3, false)
		check("third", 65552*3, 65552, true)
		check("one before", 65552*3-1, 2, false)
		check("negative", -1, 2, false)
		check("negative length", 0, -1, false)
		if c.Whole(name) {
			t.Error("whole")
		}
		must(t, c.Close())
		c, err = Open(o)
		must(t, err)
	}
	write(size-10, size)
	check("end", size-10, 10, true)
	check("cut at the end", size-10, math.MaxInt64, true)
	check("behind the end", size, 10, true)
	write(60000, 65552*3+5) // overlaps on both sides
	check("joined", 0, 65552*4, true)
	write(65552*4, size-10)
	if !c.Whole(name) {
		t.Error("not whole")
	}
	check("all", 0, size, true)
	for _, bad := range [][3]int64{{size, -1, 10}, {size, size, 1}, {size, size - 9, 10}, {0, 0, 1}, {9, 0, 10}} {
		c.WriteObject(objectName(2), bad[0], bad[1], make([]byte, bad[2]))
		if c.at[objectName(2)] != nil {
			t.Errorf("%v is there", bad)
		}
	}
	c.DropObject(name)
	c.DropObject(name)
	check("dropped", 0, 1, false)
	if u := c.Usage(); u.Blocks != 0 {
		t.Errorf("%d bytes", u.Blocks)
	}
	must(t, c.Close())
}

func TestAnotherSizeIsAnotherObject(t *testing.T) {
	t.Parallel()
	c := start(t, options(t.TempDir()))
	c.WriteObject(objectName(1), 100_000, 0, value(1, 50_000))
	c.WriteObject(objectName(1), 200_000, 100_000, value(2, 50_000))
	if _, err := c.ReadObject(objectName(1), 0, 10); !errors.Is(err, ErrAbsent) {
		t.Error("bytes of the old one")
	}
	if b, err := c.ReadObject(objectName(1), 100_000, 50_000); err != nil || !bytes.Equal(b, value(2, 50_000)) {
		t.Errorf("%v", err)
	}
}

// adopt gives the cache a whole object of so many bytes.
func adopt(t testing.TB, c *Cache, i, size int) {
	t.Helper()
	path := newFile(t, value(i, size))
	must(t, c.Adopt(objectName(i), path))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file is still where it was")
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	c, err := Open(o)
	must(t, err)
	c.WriteObject(objectName(1), 300_000, 7, value(7, 70_000)) // in part, and wrong
	adopt(t, c, 1, 300_000)
	adopt(t, c, 2, 1)
	adopt(t, c, 2, 1)
	// A lost index takes what is there in part, not what is whole.
	c.WriteObject(objectName(3), 300_000, 7, value(7, 70_000))
	must(t, c.Close())
	must(t, os.RemoveAll(filepath.Join(o.Dir, valuesDir)))
	c = start(t, o)
	for i, size := range map[int]int{1: 300_000, 2: 1} {
		b, err := c.ReadObject(objectName(i), 0, int64(size))
		if err != nil || !bytes.Equal(b, value(i, size)) || !c.Whole(objectName(i)) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, err := c.ReadObject(objectName(3), 7, 10); !errors.Is(err, ErrAbsent) || len(c.at) != 2 {
		t.Errorf("in part: %v", err)
	}
	for _, name := range []string{"", "a", "ab", ".ab", "..", "../x", "..x", "a/b", "ab/c", "a\x00b", "/etc"} {
		if err := c.Adopt(name, newFile(t, nil)); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
		c.WriteObject(name, 10, 0, make([]byte, 10))
		if _, err := c.ReadObject(name, 0, 1); !errors.Is(err, ErrAbsent) {
			t.Errorf("%q is there", name)
		}
		c.DropObject(name)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if err := c.Adopt("abc", missing); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "missing") {
		t.Errorf("no file: %v", err)
	}
	if err := c.Adopt("abc", t.TempDir()); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a folder: %v", err)
	}
}

func TestAdoptWhereItCannot(t *testing.T) {
	t.Parallel()
	for why, fails := range map[error]bool{syscall.EXDEV: false, syscall.EACCES: true} {
		sys := host()
		sys.rename = func(from, to string) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: why} }
		c := startOn(t, sys, options(t.TempDir()))
		path := newFile(t, make([]byte, 10))
		if err := c.Adopt("bbb", path); (err != nil) != fails || err != nil && strings.Contains(err.Error(), path) {
			t.Errorf("%v: %v", why, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || c.Whole("bbb") {
			t.Errorf("%v: the file is still there", why)
		}
	}
	off := Off()
	path := newFile(t, make([]byte, 10))
	must(t, off.Adopt("bbb", path))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("off: the file is still there")
	}
}

func TestTheLeastRecentlyUsedObjectGoes(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Limit = 40 << 20
	c, err := Open(o)
	must(t, err)
	const size = 8 << 20
	for i := range 3 {
		adopt(t, c, i, size)
	}
	_, err = c.ReadObject(objectName(0), 0, 1)
	must(t, err)
	adopt(t, c, 3, size) // 4*8 and the share of values are less than 40
	adopt(t, c, 4, size)
	if !c.Whole(objectName(0)) || c.Whole(objectName(1)) {
		t.Error("not the least recently used one went")
	}
	path := newFile(t, nil)
	must(t, os.Truncate(path, 0))
	adopt(t, c, 5, 41<<20) // larger than all
	if c.Whole(objectName(5)) || !c.Whole(objectName(0)) {
		t.Error("one that does not fit pushed others out")
	}
	// The order is that of the files.
	for i, n := range []int{4, 0, 2, 3} {
		if c.Whole(objectName(n)) {
			when := time.Unix(int64(1000+i), 0)
			must(t, os.Chtimes(c.path(objectName(n), true), when, when))
		}
	}
	must(t, c.Close())
	c = start(t, o)
	adopt(t, c, 6, 2*size)
	if c.Whole(objectName(4)) || !c.Whole(objectName(3)) {
		t.Error("opened again, not the oldest went")
	}
	if got := du(t, o.Dir); got > o.Limit {
		t.Errorf("%d bytes", got)
	}
}

func TestStraysAreLeftAlone(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	c, err := Open(o)
	must(t, err)
	adopt(t, c, 1, 10)
	root, folder := c.root, filepath.Dir(c.path(objectName(1), true))
	must(t, c.Close())
	strays := []string{filepath.Join(o.Dir, "note"), filepath.Join(root, "note"), filepath.Join(folder, "zz0"), filepath.Join(folder, ".x")}
	for _, s := range strays {
		must(t, os.WriteFile(s, make([]byte, 500), 0o600))
	}
	link := filepath.Join(folder, filepath.Base(folder)+"link")
	must(t, os.Symlink("/etc/passwd", link))
	c = start(t, o)
	if len(c.at) != 1 {
		t.Errorf("%d objects", len(c.at))
	}
	o.Owner = "other"
	for _, s := range strays {
		if _, err := os.Lstat(s); err != nil {
			t.Errorf("a stray file: %v", err)
		}
	}
}

func TestObjectFilesThatGo(t *testing.T) {
	t.Parallel()
	c := start(t, options(t.TempDir()))
	adopt(t, c, 1, 1000)
	adopt(t, c, 2, 1000)
	must(t, os.Remove(c.path(objectName(1), true)))
	must(t, os.Truncate(c.path(objectName(2), true), 10))
	for i := 1; i < 3; i++ {
		if _, err := c.ReadObject(objectName(i), 0, 1000); !errors.Is(err, ErrAbsent) || c.Whole(objectName(i)) {
			t.Errorf("%d: %v", i, err)
		}
	}
	c.WriteObject(objectName(3), 5000, 0, value(3, 1000))
	must(t, os.RemoveAll(c.root))
	c.WriteObject(objectName(3), 5000, 1000, value(3, 1000))
	c.WriteObject(objectName(3), 5000, 0, value(3, 1000))
	if b, err := c.ReadObject(objectName(3), 0, 1000); err != nil || !bytes.Equal(b, value(3, 1000)) {
		t.Errorf("the folder is not made again: %v", err)
	}
	adopt(t, c, 4, 10)
	must(t, os.RemoveAll(c.root))
	adopt(t, c, 4, 10)
	if u := c.Usage(); !c.Whole(objectName(4)) || u.Trouble != "" {
		t.Errorf("%+v", u)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var r ranges
		var model [64]bool
		for range 20 {
			off := rng.Int64N(64)
			end := off + 1 + rng.Int64N(64-off)
			if rng.IntN(2) == 0 {
				r = r.add(off, end)
				for i := off; i < end; i++ {
					model[i] = true
				}
			}
			want := true
			for i := off; i < end; i++ {
				want = want && model[i]
			}
			if r.covers(off, end) != want {
				t.Fatalf("%v covers [%d, %d): %v", r, off, end, !want)
			}
			if len(r) > 0 {
				rec := record{64, r}
				if got, err := decodeRecord(rec.encode()); err != nil || !bytes.Equal(got.encode(), rec.encode()) {
					t.Fatalf("%v: %v", r, err)
				}
			}
		}
	}
	var r ranges
	for i := range int64(2 * maxSpans) {
		r = r.add(2*i, 2*i+1)
	}
	if len(r) != maxSpans || len(record{1 << 40, r}.encode()) > MaxValue {
		t.Errorf("%d spans", len(r))
	}
	if r = r.add(0, 1<<20); len(r) != 1 {
		t.Errorf("%d spans joined", len(r))
	}
}
