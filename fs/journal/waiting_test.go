package journal

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// heap is what is alive in memory, in bytes.
func heap() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A journal that holds far more bytes of files than there may be memory is opened and
// read in a few MiB. HUSHFS_MANY is the number of operations.
func TestOpenHoldsNoFileBytes(t *testing.T) {
	n, each := 5_000, 7_500
	if s := os.Getenv("HUSHFS_MANY"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		must(t, err)
	}
	dir, o := filepath.Join(t.TempDir(), "journal"), Options{Key: testKey(t, 1), ID: testID}
	j, _, _, err := Open(dir, o)
	must(t, err)
	data := make([]byte, each)
	for no := 1; no <= n; {
		var recs []Record
		for ; len(recs) < 100 && no <= n; no++ {
			data := slices.Clone(data)
			data[0], data[1], data[2] = byte(no), byte(no>>8), byte(no>>16)
			recs = append(recs, Operation(OpRecord{No: meta.OpNo(no), Op: make([]byte, 60), Inline: []Inline{{Data: data}}}))
		}
		mustAppend(t, j, recs...)
	}
	must(t, j.Close())
	j = nil

	empty := heap()
	k, w, _, err := Open(dir, o)
	must(t, err)
	opened := heap() - empty
	if limit := int64(1<<20 + 48*n); opened > limit {
		t.Errorf("%d KiB after opening a journal of %d operations, at most %d", opened>>10, n, limit>>10)
	}
	if w.Last() != meta.OpNo(n) || w.Count(0) != n || w.Count(meta.OpNo(n-3)) != 3 {
		t.Errorf("last %d, %d operations", w.Last(), w.Count(0))
	}
	var most int64
	no := meta.OpNo(0)
	for r, err := range w.Ops(0) {
		must(t, err)
		if no++; r.No != no || len(r.Inline) != 1 || len(r.Inline[0].Data) != each || r.Inline[0].Data[0] != byte(no) || r.Inline[0].Data[1] != byte(no>>8) {
			t.Fatalf("operation %d is not what was appended", r.No)
		}
		if int(no)%(n/10) == 0 {
			most = max(most, heap()-empty)
		}
	}
	if int(no) != n {
		t.Errorf("%d operations", no)
	}
	if limit := int64(3<<20 + 48*n); most > limit {
		t.Errorf("%d KiB while reading %d operations, at most %d", most>>10, n, limit>>10)
	}
	t.Logf("%d MiB of file bytes: %d KiB when it is open, %d KiB while it is read", n*each>>20, opened>>10, most>>10)
	must(t, k.Close())
}

// What operations are asked for is read, whatever becomes of the files of earlier ones.
func TestOpsAfterSettle(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	for no := range meta.OpNo(600) {
		mustAppend(t, j, op(no+1, "an operation that fills some of a file, which is small here"))
	}
	must(t, j.Close())
	j, w, _, err := Open("", Options{Key: testKey(t, 7), ID: testID, folder: d.kill(), geo: small})
	must(t, err)
	before, _ := j.Size()
	must(t, j.Settle(SettledRecord{Slot: 3, Last: 590}))
	if after, _ := j.Size(); after >= before {
		t.Fatalf("%d files, %d before: none is gone", after, before)
	}
	var got []meta.OpNo
	for r, err := range w.Ops(590) {
		must(t, err)
		got = append(got, r.No)
	}
	if len(got) != 10 || got[0] != 591 || got[9] != 600 {
		t.Errorf("read %v", got)
	}
	for _, err := range w.Ops(0) {
		if err == nil {
			t.Error("an operation whose file is gone")
		}
	}
	must(t, j.Close())
}

// What is damaged after the journal was opened, and before it is read, is an error and no
// operation; nothing is taken away for it, and the next Open tells of the damage.
func TestDamagedAfterOpen(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), Options{Key: testKey(t, 1), ID: testID}
	j, _, _, err := Open(dir, o)
	must(t, err)
	const n = 20
	for no := meta.OpNo(1); no <= n; no++ {
		mustAppend(t, j, Operation(OpRecord{No: no, Op: make([]byte, 60), Inline: []Inline{{Data: make([]byte, 2000)}}}))
	}
	must(t, j.Close())
	k, w, _, err := Open(dir, o)
	must(t, err)
	at := w.files[0].refs[n/2].at
	f, err := os.OpenFile(filepath.Join(dir, opsName(w.files[0].number)), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("damage"), int64(at)+1000)
	must(t, err)
	must(t, f.Close())

	read, failed := 0, 0
	for r, err := range w.Ops(0) {
		if err != nil {
			failed++
			continue
		}
		if read++; r.No != meta.OpNo(read) {
			t.Errorf("operation %d after %d", r.No, read-1)
		}
	}
	if read != n/2 || failed != 1 {
		t.Errorf("%d operations and %d errors, want %d and 1", read, failed, n/2)
	}
	must(t, k.Close())
	k, w, report, err := Open(dir, o)
	must(t, err)
	defer k.Close()
	if len(report.Damaged) != 1 || w.Count(0) != n-1 {
		t.Errorf("afterwards: %v, and %d operations", report.Damaged, w.Count(0))
	}
}
