package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

func op(no meta.OpNo, text string) Record {
	return Operation(OpRecord{No: no, Time: meta.Time{Sec: 1, Nsec: 2}, Op: []byte(text)})
}

func pack(no meta.PackNo) Record {
	return Packed(PackRecord{No: no, Name: crypt.Name{byte(no)}, Length: 5, Epoch: 1, Size: 100})
}

// openAll opens a journal and reads all that is still needed.
func openAll(dir string, o Options) (*Journal, []Record, *Report, error) {
	j, w, report, err := Open(dir, o)
	if err != nil {
		return nil, nil, nil, err
	}
	var recs []Record
	for r, err := range w.packsFirst(func(ref) bool { return true }) {
		if err != nil {
			return nil, nil, nil, errors.Join(err, j.Close())
		}
		recs = append(recs, r)
	}
	return j, recs, report, nil
}

func mustAppend(t testing.TB, j *Journal, recs ...Record) {
	t.Helper()
	pos, err := j.Append(recs...)
	if err == nil {
		err = j.Sync(pos)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opNumbers(recs []Record) (nos []meta.OpNo) {
	for _, r := range recs {
		if r.Kind == KindOp {
			nos = append(nos, r.Op.No)
		}
	}
	return nos
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	o := Options{Key: testKey(t, 1), ID: testID}
	open := func() (*Journal, []Record) {
		t.Helper()
		j, recs, report, err := openAll(dir, o)
		if err != nil || report.Torn || len(report.Damaged) > 0 {
			t.Fatal(err, report)
		}
		return j, recs
	}
	j, recs := open()
	if files, _ := j.Size(); len(recs) != 0 || files != 0 {
		t.Fatalf("a new journal has %d records, %d files", len(recs), files)
	}
	if _, _, _, err := openAll(dir, o); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	canary := "a canary in a file name, long enough to be found"
	want := []Record{
		pack(1),
		Operation(OpRecord{No: 4, Time: meta.Time{Sec: -5, Nsec: 999999999}, Op: []byte(canary), Inline: []Inline{{Off: 1 << 40, Data: []byte(canary)}}}),
		Attempted(AttemptRecord{Slot: 9, ID: [32]byte{9}, First: 4, Last: 4, Object: []byte(canary)}),
	}
	mustAppend(t, j, want...)
	big := Operation(OpRecord{No: 5, Op: bytes.Repeat([]byte{1}, 1<<20), Inline: []Inline{{Data: make([]byte, 900<<10)}}})
	mustAppend(t, j, big)
	must(t, j.Close())
	if _, err := j.Append(op(6, "x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
	names, _ := os.ReadDir(dir)
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		must(t, err)
		if bytes.Contains(b, []byte(canary[:10])) {
			t.Errorf("%s shows what it holds", n.Name())
		}
		if st, _ := n.Info(); st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", n.Name(), st.Mode())
		}
	}

	j, recs = open()
	if !reflect.DeepEqual(recs, append(slices.Clone(want), big)) {
		t.Errorf("read %d other records", len(recs))
	}
	must(t, j.Settle(SettledRecord{Slot: 9, ID: [32]byte{9}, Last: 4, Packs: []meta.PackNo{1}}))
	must(t, j.Close())
	j, recs = open()
	if !reflect.DeepEqual(opNumbers(recs), []meta.OpNo{5}) || len(recs) != 1 {
		t.Errorf("after Settle: %d records", len(recs))
	}
	must(t, j.Settle(SettledRecord{Slot: 10, Last: 5}))
	must(t, j.Close())
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("%d files of a journal that nobody needs", len(names))
	}
}

func TestAppendRefuses(t *testing.T) {
	j, _, _ := openOn(t, newDisk(t), nil)
	j.geo = standard
	mustAppend(t, j, op(5, "a"))
	for name, c := range map[string]struct {
		recs []Record
		want error
	}{
		"the same number":         {[]Record{op(5, "b")}, ErrOrder},
		"a lower number":          {[]Record{op(4, "b")}, ErrOrder},
		"falling numbers":         {[]Record{op(8, "b"), op(7, "b")}, ErrOrder},
		"no kind":                 {[]Record{{}}, ErrMalformed},
		"nanoseconds of a second": {[]Record{Operation(OpRecord{No: 9, Time: meta.Time{Nsec: 1e9}})}, ErrMalformed},
		"negative size":           {[]Record{Packed(PackRecord{Size: -1})}, ErrMalformed},
		"record too large":        {[]Record{Attempted(AttemptRecord{Object: make([]byte, MaxRecord)})}, ErrTooLarge},
		"call too large":          {slices.Repeat([]Record{Attempted(AttemptRecord{Object: make([]byte, MaxRecord-100)})}, 3), ErrTooLarge},
	} {
		if _, err := j.Append(c.recs...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, j.Settle(SettledRecord{Last: 20}))
	if _, err := j.Append(op(20, "x")); !errors.Is(err, ErrOrder) {
		t.Errorf("a settled number: %v", err)
	}
	mustAppend(t, j, Attempted(AttemptRecord{Slot: 1, Object: make([]byte, MaxRecord-60)}), op(21, "y"))
	must(t, j.Close())
}

func TestForeign(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	mustAppend(t, j, op(1, "a"))
	must(t, j.Close())
	before, _ := d.List()
	for name, c := range map[string]struct {
		key  byte
		id   byte
		edit func(b []byte)
		want error
	}{
		"another key":     {8, 1, nil, ErrForeign},
		"another journal": {7, 2, nil, ErrForeign},
		"newer format":    {7, 1, func(b []byte) { b[7], b[headerBlock+7] = '1', '1' }, ErrNewer},
	} {
		e := d.kill()
		for name, p := range e.names {
			if c.edit != nil && name != markName {
				c.edit(p.seen)
			}
		}
		_, _, _, err := openAll("", Options{Key: testKey(t, c.key), ID: [16]byte{c.id, 2, 3}, folder: e})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := e.List(); !slices.Equal(before, after) {
			t.Errorf("%s: folder holds %v", name, after)
		}
	}
}

// TestRotation: files go from the front as soon as nothing in them is needed,
// and a pack that stays does not keep them.
func TestRotation(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	mustAppend(t, j, pack(1))
	for no := meta.OpNo(1); no <= 2000; no++ {
		mustAppend(t, j, op(no, strings.Repeat("x", 500)))
		if no%50 == 0 {
			must(t, j.Settle(SettledRecord{Slot: uint64(no), Last: no - 5}))
		}
	}
	if files, size := j.Size(); files > carryAbove+1 || size > (carryAbove+1)*small.file {
		t.Errorf("%d files, %d bytes", files, size)
	}
	must(t, j.Close())
	j, recs, report := openOn(t, d, nil)
	if len(recs) != 6 || recs[0].Pack != pack(1).Pack || recs[1].Op.No != 1996 || report.Torn {
		t.Errorf("read %d records, %+v", len(recs), report)
	}
	must(t, j.DropPacks(1))
	must(t, j.Settle(SettledRecord{Slot: 2001, Last: 2000}))
	must(t, j.Close())
	if names, _ := d.List(); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// TestGroupCommit: whoever comes while the disk works shares the next sync.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		gate := make(chan struct{})
		blocked := false
		j, _, _ := openOn(t, d, func(name string) {
			if name == stepSync && !blocked {
				blocked = true
				<-gate
			}
		})
		_, err := j.Append(op(1, "first"))
		must(t, err)
		before := d.syncs
		var all sync.WaitGroup
		all.Go(func() { must(t, j.Sync(1)) })
		synctest.Wait()
		for no := meta.OpNo(2); no <= 17; no++ {
			pos, err := j.Append(op(no, "more"))
			must(t, err)
			all.Go(func() { must(t, j.Sync(pos)) })
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		if n := d.syncs - before; n != 2 {
			t.Errorf("17 callers took %d syncs", n)
		}
		must(t, j.Close())
	})
}

// TestConcurrent lets many append, sync and settle at once; run with -race.
func TestConcurrent(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	var mu sync.Mutex
	no := meta.OpNo(0)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 100 {
				mu.Lock()
				no++
				pos, err := j.Append(op(no, strings.Repeat("y", 300)))
				last := no
				mu.Unlock()
				must(t, err)
				if i%3 == 0 {
					must(t, j.Sync(pos))
				}
				if g == 0 && i%10 == 0 {
					must(t, j.Settle(SettledRecord{Last: min(last-1, 700)}))
				}
				j.Size()
			}
		})
	}
	all.Wait()
	must(t, j.Settle(SettledRecord{Last: 700}))
	must(t, j.Close())
	_, recs, _ := openOn(t, d.kill(), nil)
	if nos := opNumbers(recs); len(nos) != 100 || nos[0] != 701 {
		t.Errorf("%d operations", len(nos))
	}
}

func TestErrorsNameNoPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a-telling-name", "journal")
	_, _, _, err := openAll(dir, Options{Key: testKey(t, 1)})
	if !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "telling") {
		t.Errorf("%v", err)
	}
}
