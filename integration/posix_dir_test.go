package integration

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// envNames is how many names there are in the folder of TestDirectoryOfMany.
const envNames = "HUSHFS_NAMES"

// A large folder that several read while names come and go, one of them from what the
// kernel kept of an earlier reading: names that are there throughout come exactly
// once to each, and places that telldir gave one of them are good for all.
func TestDirectoryOfMany(t *testing.T) {
	t.Parallel()
	count := 12_000
	if s := os.Getenv(envNames); s != "" {
		var err error
		count, err = strconv.Atoi(s)
		must(t, err)
	}
	m := newDrive(t)
	d := m.mount()
	must(t, os.Mkdir(m.in("many"), 0o755))
	begin := time.Now()
	took := func(what string) {
		t.Logf("%d names: %s %v", count, what, time.Since(begin).Round(time.Millisecond))
		begin = time.Now()
	}
	stay := map[string]bool{}
	for i := range count {
		name := fmt.Sprintf("%06d", i)
		must(t, unix.Mknod(m.in("many", name), unix.S_IFREG|0o644, 0))
		stay[name] = true
	}
	took("made")
	readers := make([]*dirReader, 4)
	for i := range readers {
		readers[i] = newDirReader(t, m.in("many"))
	}
	// The first reads all of it, so that the kernel has it; and is asked where it was.
	first := readers[0]
	for first.next(32 << 10) {
	}
	first.want(stay)
	took("listed")
	for round := 0; ; round++ {
		going := false
		for i, r := range readers[1:] {
			// What was given goes, as rm -r does it, and new names come.
			if r.next(4 << 10 << i) {
				going = true
			}
			for _, name := range r.last {
				if stay[name] && (int(name[5])+round)%3 == 0 {
					delete(stay, name)
					must(t, os.Remove(m.in("many", name)))
				}
			}
			must(t, unix.Mknod(m.in("many", fmt.Sprintf("new %d %d", round, i)), unix.S_IFREG|0o644, 0))
		}
		if !going {
			break
		}
	}
	for _, r := range readers[1:] {
		r.want(stay)
	}
	took("read by three, with changes,")
	// Places of the first reader, in another descriptor.
	late := newDirReader(t, m.in("many"))
	for i := 0; i < len(first.places); i += 1 + len(first.places)/40 {
		_, err := unix.Seek(late.fd, first.places[i], 0)
		must(t, err)
		late.seen = map[string]int{}
		for late.next(32 << 10) {
		}
		rest := map[string]bool{}
		for _, name := range first.order[first.given[i]:] {
			rest[name] = stay[name]
		}
		late.want(rest)
		for _, name := range first.order[:first.given[i]] {
			if late.seen[name] > 0 {
				t.Fatalf("behind place %d comes %s, which is before it", i, name)
			}
		}
	}
	for _, r := range append(readers, late) {
		must(t, unix.Close(r.fd))
	}
	took("sought")
	m.tool("rm", "-r", m.in("many"))
	took("removed")
	d.umount()
}

// dirReader reads a directory with getdents.
type dirReader struct {
	t      testing.TB
	fd     int
	seen   map[string]int
	last   []string // what came last
	order  []string // all that came
	places []int64  // offsets of the descriptor, before each reading
	given  []int    // how many had come then
}

func newDirReader(t testing.TB, path string) *dirReader {
	return &dirReader{t: t, fd: mustOpen(t, path, unix.O_RDONLY|unix.O_DIRECTORY), seen: map[string]int{}}
}

// next reads so many bytes, and says whether there was anything.
func (r *dirReader) next(size int) bool {
	r.t.Helper()
	at, err := unix.Seek(r.fd, 0, 1)
	must(r.t, err)
	r.places, r.given = append(r.places, at), append(r.given, len(r.order))
	buf := make([]byte, size)
	n, err := unix.ReadDirent(r.fd, buf)
	must(r.t, err)
	_, _, r.last = unix.ParseDirent(buf[:n], -1, nil)
	r.order = append(r.order, r.last...)
	for _, name := range r.last {
		r.seen[name]++
	}
	return n > 0
}

// want says that each of names came once, and nothing twice.
func (r *dirReader) want(names map[string]bool) {
	r.t.Helper()
	for name, there := range names {
		if there && r.seen[name] != 1 {
			r.t.Fatalf("%s came %d times", name, r.seen[name])
		}
	}
	for name, n := range r.seen {
		if n > 1 {
			r.t.Fatalf("%s came %d times", name, n)
		}
	}
}
