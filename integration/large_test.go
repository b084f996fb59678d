package integration

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A file of 2 GiB, read at random offsets on a new machine. What must stand at
// an offset follows from the offset, so no second copy is needed.
func TestTwoGiBReadAtRandom(t *testing.T) {
	const size, step = 2 << 30, 4 << 20
	m := newDrive(t)
	d := m.mount()
	f, err := os.Create(m.in("large"))
	must(t, err)
	for off := int64(0); off < size; off += step {
		_, err := f.Write(pattern(1, off, step))
		must(t, err)
	}
	must(t, f.Sync())
	must(t, f.Close())
	d = d.remount("--cache-size", "256MiB")

	f, err = os.Open(d.m.in("large"))
	must(t, err)
	defer f.Close()
	if i, err := f.Stat(); err != nil || i.Size() != size {
		t.Fatalf("size %d, %v", i.Size(), err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	at := func(off int64, n int) {
		t.Helper()
		b := make([]byte, n)
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatalf("read %d bytes at %d: %v", n, off, err)
		}
		if !bytes.Equal(b, pattern(1, off, n)) {
			t.Fatalf("wrong bytes among %d at %d", n, off)
		}
	}
	at(0, 1)
	at(size-1, 1)
	at(size-3<<20, 3<<20)
	for range 400 {
		n := 1 + r.IntN([]int{16, 4096, 70_000, 300_000}[r.IntN(4)])
		at(r.Int64N(size-int64(n)), n)
	}
	must(t, f.Close())
	d.umount()
}

// 20,000 files in one folder: listed whole, each found by name, all gone again.
func TestManyFilesInOneFolder(t *testing.T) {
	t.Parallel()
	const n = 20_000
	m := newDrive(t)
	d := m.mount()
	must(t, os.Mkdir(m.in("many"), 0o755))
	for i := range n {
		must(t, os.WriteFile(m.in("many", fmt.Sprintf("file-%05d", i)), []byte(itoa(i)), 0o644))
	}
	d = d.remount()
	entries, err := os.ReadDir(d.m.in("many"))
	must(t, err)
	if len(entries) != n {
		t.Fatalf("%d entries, want %d", len(entries), n)
	}
	for i, e := range entries { // sorted by name
		if want := fmt.Sprintf("file-%05d", i); e.Name() != want {
			t.Fatalf("entry %d is %q", i, e.Name())
		}
		if b, err := os.ReadFile(d.m.in("many", e.Name())); err != nil || string(b) != itoa(i) {
			t.Fatalf("%s holds %q, %v", e.Name(), b, err)
		}
	}
	must(t, os.RemoveAll(d.m.in("many")))
	d = d.remount()
	if left := manifest(t, d.m.mnt); len(left) != 1 {
		t.Errorf("%d things are left", len(left)-1)
	}
	d.umount()
}

// 10,000 small files cost few objects: they share packs and commits.
func TestSmallFilesShareObjects(t *testing.T) {
	t.Parallel()
	const most = 50
	m := newDrive(t)
	d := m.mount()
	for i := range 10_000 {
		if i%100 == 0 {
			must(t, os.Mkdir(m.in(fmt.Sprint("d", i/100)), 0o755))
		}
		must(t, os.WriteFile(m.in(fmt.Sprint("d", i/100), fmt.Sprint("f", i)), pattern(uint64(i), 0, 500+i%3000), 0o644))
	}
	d.umount()
	all := objects(t, m.store)
	if len(all) > most {
		t.Errorf("%d objects, want at most %d: %v", len(all), most, byKind(all))
	}
	t.Logf("%d objects: %v", len(all), byKind(all))
}

// objects lists the names in a directory store, sorted.
func objects(t testing.TB, store string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(store, path)
		if err == nil && !strings.HasPrefix(name, ".tmp/") {
			all = append(all, name)
		}
		return err
	}))
	slices.Sort(all)
	return all
}

// kinds of objects, by their place in a name.
var kinds = map[string]string{"h": "header", "l": "commit", "k": "hint", "a": "ledger", "p": "pack", "t": "table"}

// kindOf the object name: v0/h/… or v0/s/<volume>/<letter>/…
func kindOf(name string) string {
	part := strings.Split(name, "/")
	if len(part) > 3 && part[1] == "s" {
		return kinds[part[3]]
	}
	if len(part) > 1 {
		return kinds[part[1]]
	}
	return ""
}

func byKind(names []string) map[string]int {
	n := map[string]int{}
	for _, name := range names {
		n[kindOf(name)]++
	}
	return n
}

// ofKind are the names of a kind, in the store's order: newest first where they
// are counted.
func ofKind(t testing.TB, store, kind string) []string {
	t.Helper()
	return slices.DeleteFunc(objects(t, store), func(name string) bool { return kindOf(name) != kind })
}
