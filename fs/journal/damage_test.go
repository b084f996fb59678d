package journal

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// TestDamage changes and cuts every part of a journal of three files: what is
// returned is a prefix, and what had been followed by a synced record is missed.
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
	used := func(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }
	open := func(e *disk, what string) ([]Record, *Report) {
		t.Helper()
		j, recs, report, err := Open("", Options{Key: testKey(t, 7), ID: testID, folder: e, geo: small})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(recs) > len(want) || len(recs) > 0 && !reflect.DeepEqual(recs, want[:len(recs)]) {
			t.Fatalf("%s: records that nobody wrote so", what)
		}
		// Whatever was found, the journal goes on, and next time all is well.
		mustAppend(t, j, op(1000, "later"))
		must(t, j.Close())
		_, again, second := openOn(t, e.kill(), nil)
		if len(again) != len(recs)+1 || len(second.Damaged) > 0 || second.Torn {
			t.Fatalf("%s: %d records, then %d, %+v", what, len(recs), len(again), second)
		}
		return recs, report
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
			last := f == 2 && at >= end-(end-headerEnd)/each
			switch header := at < headerEnd; {
			case header && (len(recs) != 3*each || report.Torn || report.Damaged != nil):
				t.Fatalf("file %d byte %d: a header has a copy: %d records, %+v", f, at, len(recs), report)
			case !header && !last && (len(report.Damaged) == 0 || len(report.Aside) != 3-f):
				t.Fatalf("file %d byte %d: %d records, %+v", f, at, len(recs), report)
			case last && !report.Torn:
				t.Fatalf("file %d byte %d: %d records, %+v", f, at, len(recs), report)
			}
			if lost := report.Damaged; lost != nil {
				n := 0
				for _, l := range lost {
					n += l.Lost
				}
				if n+len(recs) > 3*each || n+len(recs) < 3*each-1 {
					t.Fatalf("file %d byte %d: %d kept, %v", f, at, len(recs), lost)
				}
			}
		}
		for at := headerEnd; at < end; at++ {
			e := d.kill()
			p := e.names[name]
			p.seen = p.seen[:at]
			p.safe, p.pending = slices.Clone(p.seen), nil
			recs, report := open(e, fmt.Sprintf("file %d cut at %d", f, at))
			if whole := (at - headerEnd) / ((end - headerEnd) / each); f == 2 && len(recs) < 2*each+whole-1 || f < 2 && report.Damaged == nil {
				t.Fatalf("file %d cut at %d: %d records, %+v", f, at, len(recs), report)
			}
		}
	}
	t.Run("a file is missing", func(t *testing.T) {
		e := d.kill()
		must(t, e.Remove(names[1]))
		recs, report := open(e, "middle missing")
		if len(recs) != each || len(report.Damaged) != 1 || report.Damaged[0].Lost != each {
			t.Errorf("%d records, %v", len(recs), report.Damaged)
		}
	})
	t.Run("both headers of a file are gone", func(t *testing.T) {
		e := d.kill()
		p := e.names[names[1]]
		clear(p.seen[:headerEnd])
		p.safe, p.pending = slices.Clone(p.seen), nil
		recs, report := open(e, "header gone")
		if len(recs) != each || len(report.Damaged) != 2 || len(report.Aside) != 2 {
			t.Errorf("%d records, %+v", len(recs), report)
		}
	})
	t.Run("files are swapped", func(t *testing.T) {
		e := d.kill()
		e.names[names[0]], e.names[names[1]] = e.names[names[1]], e.names[names[0]]
		recs, report := open(e, "swapped")
		if len(recs) != 0 || len(report.Damaged) != 3 {
			t.Errorf("%d records, %+v", len(recs), report)
		}
	})
}
