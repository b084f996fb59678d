package journal

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// TestDamage changes and cuts every part of a journal of three files: what is whole is
// returned, in order, before the damage and behind it; and what had been followed by
// a synced record is missed.
func TestDamage(t *testing.T) {
	d := newDisk(t)
	const each = 5 // records in a file
	var want []Record
	j, _, _ := openOn(t, d, nil)
	no := meta.OpNo(0)
	for range 3 {
		for range each {
			no++
			r := op(no, fmt.Sprint("operation ", no))
			want = append(want, r)
			mustAppend(t, j, r)
		}
		must(t, j.Close())
		d = d.kill()
		j, _, _ = openOn(t, d, nil)
	}
	names, _ := d.List()
	names = slices.DeleteFunc(names, func(name string) bool { return name == markName })
	used := func(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }
	open := func(e *disk, what string) ([]Record, *Report) {
		t.Helper()
		j, recs, report, err := openAll("", Options{Key: testKey(t, 7), ID: testID, folder: e, geo: small})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		at := 0
		for _, r := range recs {
			for at < len(want) && !reflect.DeepEqual(r, want[at]) {
				at++
			}
			if at++; at > len(want) {
				t.Fatalf("%s: records that nobody wrote so", what)
			}
		}
		// Whatever was found, the journal goes on, and next time finds the same.
		mustAppend(t, j, op(1000, "later"))
		must(t, j.Close())
		_, again, second := openOn(t, e.kill(), nil)
		if len(again) != len(recs)+1 || second.Torn || len(again) > 0 && len(recs) > 0 && !reflect.DeepEqual(again[:len(recs)], recs) {
			t.Fatalf("%s: %d records, then %d, %+v", what, len(recs), len(again), second)
		}
		return recs, report
	}
	lost := func(r *Report) (n int) {
		for _, l := range r.Damaged {
			n += l.Lost
		}
		return n
	}
	for f, name := range names {
		all := d.names[name].seen
		end := used(all)
		for at := 0; at < end; at++ {
			if at >= headerSize && at < headerEnd && at%headerBlock > 8 {
				continue
			}
			e := d.kill()
			e.names[name].seen[at] ^= 1 << (at % 8)
			e.names[name].pending = []sector{{off: 0, data: slices.Clone(e.names[name].seen)}}
			recs, report := open(e, fmt.Sprintf("flip in file %d at %d", f, at))
			switch header := at < headerEnd; {
			case header && (len(recs) != 3*each || report.Torn || report.Damaged != nil):
				t.Fatalf("file %d byte %d: a header has a copy: %d records, %+v", f, at, len(recs), report)
			case !header && (len(recs) != 3*each-1 || lost(report) != 1 || len(report.Damaged) != 1 || len(report.Aside) != 1):
				t.Fatalf("file %d byte %d: %d records, %+v", f, at, len(recs), report)
			}
		}
		for at := headerEnd; at < end; at++ {
			e := d.kill()
			p := e.names[name]
			p.seen = p.seen[:at]
			p.safe, p.pending = slices.Clone(p.seen), nil
			recs, report := open(e, fmt.Sprintf("file %d cut at %d", f, at))
			whole := (at - headerEnd) / ((end - headerEnd) / each)
			if len(recs) < 2*each+whole-1 || len(recs)+lost(report) != 3*each {
				t.Fatalf("file %d cut at %d: %d records, %+v", f, at, len(recs), report)
			}
		}
		// A page that was never written, or that another file has now.
		for at := headerEnd; at+64 < end; at += 100 {
			e := d.kill()
			p := e.names[name]
			n := copy(p.seen[at:end], bytes.Repeat([]byte{byte(at)}, 200))
			p.safe, p.pending = slices.Clone(p.seen), nil
			recs, report := open(e, fmt.Sprintf("file %d torn at %d", f, at))
			if f < 2 && (len(recs)+lost(report) != 3*each || len(recs) < 3*each-1-n/64) {
				t.Fatalf("file %d torn at %d: %d records, %+v", f, at, len(recs), report)
			}
		}
	}
	t.Run("a file is missing", func(t *testing.T) {
		e := d.kill()
		must(t, e.Remove(names[1]))
		recs, report := open(e, "middle missing")
		if len(recs) != 2*each || len(report.Damaged) != 1 || report.Damaged[0].Lost != each {
			t.Errorf("%d records, %v", len(recs), report.Damaged)
		}
	})
	t.Run("both headers of a file are gone", func(t *testing.T) {
		e := d.kill()
		p := e.names[names[1]]
		clear(p.seen[:headerEnd])
		p.safe, p.pending = slices.Clone(p.seen), nil
		recs, report := open(e, "header gone")
		if len(recs) != 2*each || len(report.Damaged) != 1 || report.Damaged[0].Lost != each || len(report.Aside) != 1 {
			t.Errorf("%d records, %+v", len(recs), report)
		}
	})
	t.Run("files are swapped", func(t *testing.T) {
		e := d.kill()
		e.names[names[0]], e.names[names[1]] = e.names[names[1]], e.names[names[0]]
		recs, report := open(e, "swapped")
		if len(recs) != each || len(report.Damaged) != 2 || report.Damaged[1].Lost != each || len(report.Aside) != 2 {
			t.Errorf("%d records, %+v", len(recs), report)
		}
	})
	t.Run("an older state of a file is put back", func(t *testing.T) {
		e := d.kill()
		p := e.names[names[1]]
		clear(p.seen[used(p.seen)/each*3:])
		p.safe, p.pending = slices.Clone(p.seen), nil
		recs, report := open(e, "older file")
		if n := lost(report); n == 0 || len(recs) != 3*each-n || len(report.Damaged) != 1 {
			t.Errorf("%d records, %+v", len(recs), report)
		}
	})
	t.Run("a file of another journal is put in place of one", func(t *testing.T) {
		other := newDisk(t)
		k, _, _, err := openAll("", Options{Key: testKey(t, 8), ID: [16]byte{9}, folder: other, geo: small})
		must(t, err)
		mustAppend(t, k, op(1, "theirs"))
		must(t, k.Close())
		e := d.kill()
		e.names[names[1]] = other.kill().names[opsName(1)]
		recs, report := open(e, "foreign file")
		if len(recs) != 2*each || len(report.Damaged) != 1 || report.Damaged[0].Lost != each {
			t.Errorf("%d records, %+v", len(recs), report)
		}
	})
}

// The newest file is gone, or all of them: the mark tells. Without it nobody can, and
// nothing is made up.
func TestNewestFileIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		gone func(e *disk)
		lost bool
	}{
		"the newest":                {func(e *disk) { delete(e.names, opsName(2)) }, true},
		"all":                       {func(e *disk) { delete(e.names, opsName(1)); delete(e.names, opsName(2)) }, true},
		"the newest, with the mark": {func(e *disk) { delete(e.names, opsName(2)); delete(e.names, markName) }, false},
		"a torn mark":               {func(e *disk) { e.names[markName].seen = e.names[markName].seen[:20] }, false},
		"none":                      {func(*disk) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			for no := range meta.OpNo(2) {
				j, _, _ := openOn(t, d, nil)
				mustAppend(t, j, op(no+1, "operation"))
				must(t, j.Close())
				d = d.kill()
			}
			c.gone(d)
			j, _, report, err := openAll("", Options{Key: testKey(t, 7), ID: testID, folder: d, geo: small})
			must(t, err)
			if (len(report.Damaged) > 0) != c.lost {
				t.Errorf("%+v", report)
			}
			// What comes next takes no number of what was lost.
			mustAppend(t, j, op(9, "later"))
			must(t, j.Close())
			if _, there := d.kill().names[opsName(3)]; c.lost && !there {
				t.Error("the next file is not number 3")
			}
		})
	}
}

// What is needed no more goes with its mark, whoever removes it: it is not missed then, however
// often the process is killed.
func TestNothingIsMissed(t *testing.T) {
	settled := SettledRecord{Slot: 1, Last: 1}
	for name, before := range map[string]func(t *testing.T, d *disk) *disk{
		"when it is opened": func(t *testing.T, d *disk) *disk {
			j, _, _ := openOn(t, d, nil)
			mustAppend(t, j, op(1, "operation"))
			must(t, j.Settle(settled))
			return d.kill()
		},
		"when it is settled": func(t *testing.T, d *disk) *disk {
			j, _, _ := openOn(t, d, nil)
			mustAppend(t, j, op(1, "operation"), pack(1))
			must(t, j.Settle(settled))
			d = d.kill()
			j, _, _ = openOn(t, d, nil)
			must(t, j.DropPacks(1))
			return d.kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := before(t, newDisk(t))
			for range 3 {
				_, recs, report := openOn(t, d, nil)
				if len(recs) > 0 || len(report.Damaged) > 0 || report.Torn {
					t.Fatalf("%d records, %+v", len(recs), report)
				}
				if names, _ := d.List(); len(names) > 0 {
					t.Errorf("left: %q", names)
				}
				d = d.kill()
			}
		})
	}
}

// The index says of which inodes the operations were that a torn page took.
func TestLostOperationsAreNamed(t *testing.T) {
	d := newDisk(t)
	j, _, _ := openOn(t, d, nil)
	const n = 100
	for no := meta.OpNo(1); no <= n; no++ {
		r := op(no, "operation")
		r.Op.Inode = 1000 + uint64(no)
		mustAppend(t, j, r)
	}
	must(t, j.Close())
	d = d.kill()
	p := d.names[opsName(1)]
	clear(p.seen[headerEnd+4096 : headerEnd+2*4096])
	p.safe, p.pending = slices.Clone(p.seen), nil
	_, recs, report := openOn(t, d, nil)
	there := map[meta.OpNo]bool{}
	for _, no := range opNumbers(recs) {
		there[no] = true
	}
	lost := 0
	for no := meta.OpNo(1); no <= n; no++ {
		if there[no] {
			continue
		}
		lost++
		if report.Inodes[no] != 1000+uint64(no) {
			t.Errorf("operation %d is of inode %d", no, report.Inodes[no])
		}
	}
	if lost < 10 || len(report.Damaged) != 1 || report.Damaged[0].Lost < lost {
		t.Errorf("%d are lost, %+v", lost, report.Damaged)
	}
}
