package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, root string, limit int64) *Files {
	t.Helper()
	c, err := OpenFiles(root, limit)
	must(t, err)
	return c
}

// put makes a file of so many bytes and gives it to the cache.
func put(t testing.TB, c *Files, name string, size int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new")
	must(t, os.WriteFile(path, bytes.Repeat([]byte{'x'}, size), 0o600))
	must(t, c.Adopt(name, path))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: the file is still where it was", name)
	}
}

func has(t testing.TB, c *Files, name string) bool {
	t.Helper()
	f, err := c.Open(name)
	if err != nil {
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: %v", name, err)
		}
		return false
	}
	must(t, f.Close())
	return true
}

// onDisk is the sum of the sizes of the files in a folder.
func onDisk(t testing.TB, root string) (sum int64) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		sum += i.Size()
		return err
	}))
	return sum
}

func TestTheLeastRecentlyUsedGoes(t *testing.T) {
	root := t.TempDir()
	c := open(t, root, 300)
	put(t, c, "aaa", 100)
	put(t, c, "bbb", 100)
	put(t, c, "ccc", 100)
	if !has(t, c, "aaa") || c.Bytes() != 300 {
		t.Fatalf("something left below the limit: %d bytes", c.Bytes())
	}
	put(t, c, "ddd", 1) // aaa was used after bbb
	for name, want := range map[string]bool{"aaa": true, "bbb": false, "ccc": true, "ddd": true} {
		if has(t, c, name) != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
	if c.Bytes() != 201 || onDisk(t, root) != 201 {
		t.Errorf("%d bytes, %d on disk", c.Bytes(), onDisk(t, root))
	}
	put(t, c, "aaa", 50) // in the place of itself
	if c.Bytes() != 151 || onDisk(t, root) != 151 {
		t.Errorf("after a second time: %d bytes, %d on disk", c.Bytes(), onDisk(t, root))
	}
	put(t, c, "eee", 301) // larger than the whole
	if has(t, c, "eee") || !has(t, c, "aaa") {
		t.Error("one that does not fit pushed others out")
	}
}

func TestLimits(t *testing.T) {
	for _, limit := range []int64{-1, 0} {
		root := t.TempDir()
		c := open(t, root, limit)
		put(t, c, "aaa", 1)
		if has(t, c, "aaa") || c.Bytes() != 0 {
			t.Errorf("limit %d: kept", limit)
		}
	}
	root := t.TempDir()
	c := open(t, root, 100)
	put(t, c, "aaa", 100)
	if !has(t, c, "aaa") {
		t.Error("what fits exactly is not kept")
	}
	c = open(t, root, 99)
	if has(t, c, "aaa") || onDisk(t, root) != 0 {
		t.Error("a smaller limit was not applied at open")
	}
}

func TestOpenAgain(t *testing.T) {
	root := t.TempDir()
	c := open(t, root, 1000)
	for i, name := range []string{"old", "mid", "new"} {
		put(t, c, name, 100)
		when := time.Unix(int64(1000+i), 0)
		must(t, os.Chtimes(c.path(name), when, when))
	}
	// What is not the cache's own is neither counted nor removed.
	strays := []string{filepath.Join(root, "note"), filepath.Join(root, "ne", "old"), filepath.Join(root, "ne", ".x")}
	for _, s := range strays {
		must(t, os.WriteFile(s, make([]byte, 500), 0o600))
	}
	must(t, os.Symlink("/etc/passwd", filepath.Join(root, "ne", "nextlink")))

	c = open(t, root, 1000)
	if c.Bytes() != 300 || !has(t, c, "new") {
		t.Fatalf("%d bytes", c.Bytes())
	}
	c = open(t, root, 200)
	if has(t, c, "old") || !has(t, c, "mid") || !has(t, c, "new") {
		t.Error("not the oldest went")
	}
	if has(t, c, "nextlink") {
		t.Error("a symbolic link was taken for a file")
	}
	for _, s := range strays {
		if _, err := os.Lstat(s); err != nil {
			t.Errorf("a stray file: %v", err)
		}
	}
}

func TestAdoptAcrossDevices(t *testing.T) {
	for name, why := range map[string]error{"another file system": syscall.EXDEV, "a folder that cannot be written": syscall.EACCES} {
		root := t.TempDir()
		c := open(t, root, 1000)
		put(t, c, "aaa", 10)
		c.rename = func(from, to string) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: why} }
		path := filepath.Join(t.TempDir(), "new")
		must(t, os.WriteFile(path, make([]byte, 10), 0o600))
		if err := c.Adopt("bbb", path); (err != nil) != (why != syscall.EXDEV) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is still where it was", name)
		}
		if has(t, c, "bbb") || !has(t, c, "aaa") || c.Bytes() != 10 {
			t.Errorf("%s: the cache changed", name)
		}
	}
}

func TestNames(t *testing.T) {
	c := open(t, t.TempDir(), 1000)
	for _, name := range []string{"", "a", "ab", ".ab", "..", "../x", "..x", "a/b", "ab/c", "a\x00b", "/etc"} {
		path := filepath.Join(t.TempDir(), "new")
		must(t, os.WriteFile(path, make([]byte, 10), 0o600))
		if err := c.Adopt(name, path); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
		if has(t, c, name) {
			t.Errorf("%q is there", name)
		}
		c.Drop(name)
	}
	if err := c.Adopt("abc", filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestDroppedFiles(t *testing.T) {
	root := t.TempDir()
	c := open(t, root, 1000)
	put(t, c, "aaa", 10)
	f, err := c.Open("aaa")
	must(t, err)
	defer f.Close()
	c.Drop("aaa")
	c.Drop("aaa")
	if has(t, c, "aaa") || c.Bytes() != 0 || onDisk(t, root) != 0 {
		t.Error("still there")
	}
	if b, err := io.ReadAll(f); err != nil || len(b) != 10 {
		t.Errorf("a file that was open: %d bytes, %v", len(b), err)
	}
	put(t, c, "bbb", 10)
	must(t, os.Remove(c.path("bbb"))) // somebody tidied up
	if has(t, c, "bbb") || c.Bytes() != 0 {
		t.Error("a file that is gone is still counted")
	}
}

func TestConcurrentUse(t *testing.T) {
	root := t.TempDir()
	c := open(t, root, 500)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 200 {
				name := fmt.Sprintf("name%d", rng.IntN(20))
				switch rng.IntN(4) {
				case 0:
					put(t, c, name, rng.IntN(100))
				case 1:
					c.Drop(name)
				default:
					has(t, c, name)
				}
			}
		})
	}
	all.Wait()
	if c.Bytes() > 500 || c.Bytes() != onDisk(t, root) {
		t.Errorf("%d bytes, %d on disk", c.Bytes(), onDisk(t, root))
	}
	again := open(t, root, 500)
	if again.Bytes() != c.Bytes() {
		t.Errorf("opened again: %d bytes, before %d", again.Bytes(), c.Bytes())
	}
}
