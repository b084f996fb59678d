package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A tree with everything in it comes back with the recovery words alone, on a
// machine that has nothing but the store.
func TestWordsAloneBringEverythingBack(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	oddTree(t, m.mnt)
	want := manifest(t, m.mnt)
	sparse := blocks(t, m.in("sparse"))
	d.umount()

	n := newMachine(t)
	n.store = m.store
	must(t, os.WriteFile(n.words, read(t, m.words), 0o600))
	must(t, os.Remove(n.pass))
	e := n.start(nil, "mount", "--recovery-file", n.words, n.store, n.mnt)
	e.awaitMounted()
	sameManifest(t, "after the words", want, manifest(t, n.mnt))
	checkSparse(t, n.in("sparse"))
	if got := blocks(t, n.in("sparse")); got > sparse {
		t.Errorf("the sparse file takes %d blocks, it took %d", got, sparse)
	}
	e.umount()
}

// What a mount shows at once is what a new machine shows later; between the two
// lies the kernel's cache.
func TestRemountOnTheSameMachineShowsTheSame(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	oddTree(t, m.mnt)
	want := manifest(t, m.mnt)
	for range 3 {
		d.umount()
		d = m.mount()
		sameManifest(t, "after a remount", want, manifest(t, m.mnt))
	}
	d.umount()
}

// sparseSize is that of the sparse file, which has data in its middle only.
const (
	sparseSize = 64 << 20
	sparseData = 20 << 20
	sparseLen  = 100_000
)

// oddTree fills dir with what trees have in them.
func oddTree(t *testing.T, dir string) {
	t.Helper()
	in := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }

	for _, size := range []int{0, 1, 4095, 4096, 65535, 65536, 65537, 131072, 1<<20 + 1, 4 << 20, 9<<20 + 7} {
		must(t, os.WriteFile(in(fmt.Sprint("size ", size)), pattern(uint64(size), 0, size), 0o644))
	}
	for _, mode := range []uint32{0, 0o400, 0o644, 0o755, 0o777, 0o2755, 0o4755, 0o6711, 0o1644} {
		name := in(fmt.Sprintf("mode %o", mode))
		must(t, os.WriteFile(name, nil, 0o600))
		must(t, unix.Chmod(name, mode))
	}
	for _, mode := range []uint32{0o700, 0o1777, 0o2770, 0o500} {
		name := in(fmt.Sprintf("folder %o", mode))
		must(t, os.Mkdir(name, 0o700))
		must(t, os.WriteFile(filepath.Join(name, "in it"), []byte("x"), 0o600))
		must(t, unix.Chmod(name, mode))
	}

	must(t, os.MkdirAll(in("deep", strings.Repeat("d/", 60)), 0o755))
	for _, name := range []string{
		strings.Repeat("n", 255), strings.Repeat("ä", 127), "\xff\xfe\x80", "\x01\x02\x7f", "a\nb\tc", " ", "-rf", "\\", "*?[", "'\"`$(x)", "…", ".hidden", "con", "e\u0301", "\u00e9",
	} {
		must(t, os.WriteFile(in(name), []byte(name), 0o644))
		must(t, os.WriteFile(in("deep", name), []byte(name), 0o644))
	}

	must(t, os.Symlink("size 1", in("link")))
	must(t, os.Symlink("nowhere/at all", in("dangling")))
	must(t, os.Symlink(strings.Repeat("t", 4095), in("longest link")))
	must(t, os.Symlink("\xff", in("odd link")))
	must(t, os.WriteFile(in("hard 1"), []byte("one"), 0o640))
	must(t, os.Link(in("hard 1"), in("hard 2")))
	must(t, os.Link(in("hard 1"), in("deep", "hard 3")))
	must(t, unix.Mkfifo(in("fifo"), 0o640))

	f, err := os.Create(in("sparse"))
	must(t, err)
	must(t, f.Truncate(sparseSize))
	_, err = f.WriteAt(pattern(7, 0, sparseLen), sparseData)
	must(t, err)
	must(t, f.Close())

	// Times last: of folders, links and files, before 1970 and after 2038.
	for name, at := range map[string]unix.Timespec{
		"size 1":       {Sec: 1, Nsec: 1},
		"size 4096":    {Sec: 1234567890, Nsec: 123456789},
		"hard 1":       {Sec: 4102444800, Nsec: 999999999},
		"link":         {Sec: 946684799, Nsec: 987654321},
		"size 65536":   {Sec: -86400, Nsec: 5},
		"folder 700":   {Sec: 1000000000, Nsec: 42},
		"deep/d/d/d/d": {Sec: 1500000000, Nsec: 7},
	} {
		mustf(t, unix.UtimesNanoAt(unix.AT_FDCWD, in(name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW), "set the times of %q", name)
	}
}

// checkSparse wants the holes of the sparse file to be holes, and its data.
func checkSparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	fd := int(f.Fd())
	data, err := unix.Seek(fd, 0, unix.SEEK_DATA)
	must(t, err)
	if data > sparseData || data < sparseData-128<<10 {
		t.Errorf("the first data is at %d, written at %d", data, sparseData)
	}
	hole, err := unix.Seek(fd, sparseData, unix.SEEK_HOLE)
	must(t, err)
	if hole < sparseData+sparseLen || hole > sparseData+sparseLen+128<<10 {
		t.Errorf("the second hole is at %d, the data ends at %d", hole, sparseData+sparseLen)
	}
	b := make([]byte, sparseLen)
	_, err = f.ReadAt(b, sparseData)
	must(t, err)
	if !bytes.Equal(b, pattern(7, 0, sparseLen)) {
		t.Error("the data in the middle of the holes differs")
	}
	if n := blocks(t, path); n*512 > 1<<20 {
		t.Errorf("%d bytes of data take %d bytes", sparseLen, n*512)
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Blocks
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

// pattern is what stands at off of a made-up file: n bytes that can be told from
// those of any other seed and offset.
func pattern(seed uint64, off int64, n int) []byte {
	b := make([]byte, 0, n+16)
	for at := off &^ 7; len(b) < n+8; at += 8 {
		x := (uint64(at)+seed*0x9e3779b97f4a7c15)*0xbf58476d1ce4e5b9 + 0x94d049bb133111eb
		x ^= x >> 29
		x *= 0xff51afd7ed558ccd
		x ^= x >> 32
		b = append(b, byte(x), byte(x>>8), byte(x>>16), byte(x>>24), byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56))
	}
	return b[off&7:][:n]
}
