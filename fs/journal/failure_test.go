package journal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// TestFailedSync: what a failed sync may have destroyed is in the next file,
// whole blocks of records that had been confirmed included.
func TestFailedSync(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	for no := meta.OpNo(1); no <= 30; no++ {
		mustAppend(t, j, op(no, strings.Repeat("z", 300)))
	}
	j.mu.Lock()
	name, from := opsName(j.cur.key.number), int(j.cur.off/block*block)
	j.mu.Unlock()
	d.fail = func(op, n string) error {
		if op == "datasync" && n == name || op == "datasync" && strings.HasSuffix(name, n[4:]) {
			p := d.names[name]
			p.pending = append(p.pending[:0], sector{off: from, data: bytes.Repeat([]byte{0xee}, block)}, sector{off: from, data: bytes.Repeat([]byte{0xee}, block)})
			return errIO
		}
		return nil
	}
	mustAppend(t, j, op(31, "the block of this one is lost"))
	d.fail = nil
	mustAppend(t, j, op(32, "after"))
	_, recs, report := openOn(t, d.kill(), nil)
	if nos := opNumbers(recs); len(nos) != 32 || nos[31] != 32 || len(report.Damaged) > 0 {
		t.Errorf("%d operations, %+v", len(nos), report)
	}

	d.fail = func(op, n string) error {
		if op == "datasync" {
			return errIO
		}
		return nil
	}
	pos, err := j.Append(op(33, "nowhere to go"))
	must(t, err)
	for range 2 {
		if err := j.Sync(pos); err == nil {
			t.Error("Sync succeeds on a disk that fails")
		}
	}
	d.fail = nil
	must(t, j.Sync(pos))
	must(t, j.Close())
	_, recs, _ = openOn(t, d, nil)
	if nos := opNumbers(recs); len(nos) != 33 {
		t.Errorf("%d operations after the disk came back", len(nos))
	}
}

// TestFull: a full disk refuses operations, not what frees space.
func TestFull(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	no := meta.OpNo(0)
	for range 200 {
		no++
		mustAppend(t, j, op(no, strings.Repeat("q", 500)))
	}
	files, _ := j.Size()
	d.fail = func(op, n string) error {
		if op == "create" || op == "extend" {
			return errFull
		}
		return nil
	}
	for {
		if _, err := j.Append(op(no+1, strings.Repeat("q", 500))); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
		no++
	}
	must(t, j.Sync(1<<62))
	must(t, j.Settle(SettledRecord{Slot: 1, Last: no - 1}))
	if now, _ := j.Size(); now >= files {
		t.Errorf("%d files before, %d after Settle", files, now)
	}
	_, recs, _ := openOn(t, d.kill(), nil)
	if nos := opNumbers(recs); len(nos) != 1 || nos[0] != no {
		t.Errorf("operations %v", nos)
	}
	d.fail = nil
	mustAppend(t, j, op(no+1, "again"))

	d.fail = func(op, n string) error {
		if op == "create" || op == "write" {
			return errFull
		}
		return nil
	}
	if _, err := j.Append(op(no+2, "x")); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	d.fail = nil
	mustAppend(t, j, op(no+2, "other"))
	_, recs, report := openOn(t, d.kill(), nil)
	if n := len(recs); n != 3 || string(recs[2].Op.Op) != "other" || len(report.Damaged) > 0 {
		t.Errorf("%d records, %+v", n, report)
	}
}
