package volume

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk makes a file system of its own, in memory.
func smallDisk(t *testing.T, bytes string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this needs root (a file system of its own): run make test as root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size="+bytes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// brimful fills a disk to its last block and returns what did it.
func brimful(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := 1 << 20; n > 0; {
		if _, err := f.Write(make([]byte, n)); errors.Is(err, unix.ENOSPC) {
			n /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return ballast
}

func TestSpareGoesAndComesBack(t *testing.T) {
	dir := smallDisk(t, "128m")
	s := newSpare(dir, 10<<30)
	if s.size != 8<<20 {
		t.Errorf("of a disk of 128 MiB %d bytes are kept", s.size)
	}
	before, _ := s.disk()
	if err := s.keep(false); err != nil || s.bytes() != s.size {
		t.Fatal(s.bytes(), err)
	}
	if after, _ := s.disk(); after != before {
		t.Errorf("writers may have %d bytes before and %d after it was made", before, after)
	}
	if held := newSpare(dir, 10<<30); held.bytes() != s.size {
		t.Error("the next mount does not find it")
	}
	ballast := brimful(t, dir)
	if free, _ := s.disk(); free > 0 {
		t.Errorf("of a full disk writers may have %d", free)
	}
	if err := s.keep(false); err != nil || s.bytes() != 0 {
		t.Fatal(s.bytes(), err)
	}
	if free, _ := statfs(dir); free < 8<<20 {
		t.Errorf("%d bytes are free after it was given away", free)
	}
	if free, _ := s.disk(); free > 0 {
		t.Errorf("writers may have %d of it", free)
	}
	if err := s.keep(false); err != nil || s.bytes() != 0 {
		t.Errorf("taken back from a full disk: %d %v", s.bytes(), err)
	}
	if s.give() {
		t.Error("given away twice")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.keep(true); err != nil || s.bytes() != 0 {
		t.Errorf("taken back while the disk refuses: %d %v", s.bytes(), err)
	}
	if err := s.keep(false); err != nil || s.bytes() != s.size {
		t.Errorf("not taken back: %d %v", s.bytes(), err)
	}
}

// Another cap at the next mount leaves no file of another size.
func TestSpareOfAnotherCap(t *testing.T) {
	dir := t.TempDir()
	for _, limit := range []int64{10 << 30, 64 << 20, 160 << 20, 64 << 20} {
		s := newSpare(dir, limit)
		if err := s.keep(false); err != nil {
			t.Fatal(err)
		}
		i, err := os.Stat(filepath.Join(dir, spareName))
		if err != nil || i.Size() != s.size || s.bytes() != s.size {
			t.Errorf("cap %d: %v %v, want %d bytes", limit, i, err, s.size)
		}
	}
}

func TestSpareOfSmallAndLargeDisks(t *testing.T) {
	for limit, want := range map[int64]int64{0: spareLess, 64 << 20: 4 << 20, 160 << 20: 10 << 20, 10 << 30: spareMost} {
		if s := newSpare(t.TempDir(), limit); s.size != want {
			t.Errorf("cap %d: %d bytes, want %d", limit, s.size, want)
		}
	}
}

// A disk that another program fills to the last block holds nothing up: what waits
// is sent, and the disk frees itself of it.
func TestFullDiskIsSent(t *testing.T) {
	w := newWorld(t)
	state := smallDisk(t, "96m")
	d := w.machine("desktop")
	d.dir = state
	d.mustOpen()
	as(d, write("first", "1"))
	big := string(make([]byte, 3<<20))
	for _, name := range []string{"a", "b", "c"} {
		as(d, write(name, big))
	}
	if err := d.v.persist(); err != nil {
		t.Fatal(err)
	}
	as(d, write("d", big)) // is in memory
	brimful(t, state)
	if s := d.v.Status(); s.Slowed == "" {
		t.Errorf("the disk is full: %+v", s)
	}
	d.run()
	if err := d.v.WaitStored(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := d.v.Status(); !s.Stored {
		t.Errorf("%+v", s)
	}
	// Full again by another program, with nothing left whose sending would make room.
	brimful(t, state)
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		s := d.v.Status()
		if s.Refused && s.Slowed != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not refused: %+v", s)
		}
	}
	as(w.machine("another"), read("a", big), read("d", big))
}
