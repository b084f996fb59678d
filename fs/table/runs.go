package table

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/hushfs/hushfs/crypt"
)

// MaxRunsSize is the longest list of runs, in bytes, that a fold makes and
// DecodeRuns accepts: it stands in a commit, which has at most 1 MiB.
const MaxRunsSize = 960 << 10

// minListed is the length of the shortest entry of a list.
const minListed = len(crypt.Name{}) + 6 + 3 + 2

// AppendRuns appends the encoding of a good list of runs, newest first:
//
//	number of runs varint, each:
//	  number of tables varint, from 1, each:
//	    name 32
//	    length, epoch, index, entries, tombstones, plain    varints
//	    first key: shared varint ‖ rest string, after the last key of the table before in its run
//	    last key:  shared varint ‖ rest string, after the first
//
// A table takes some 80 to 120 bytes.
func AppendRuns(dst []byte, runs []Run) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(runs)))
	for _, run := range runs {
		dst = binary.AppendUvarint(dst, uint64(len(run)))
		var before []byte
		for i := range run {
			t := &run[i]
			dst = append(dst, t.Name[:]...)
			for _, v := range [...]uint64{uint64(t.Length), uint64(t.Epoch), uint64(t.Index), t.Entries, t.Dead, t.Plain} {
				dst = binary.AppendUvarint(dst, v)
			}
			dst = appendKey(dst, before, t.First)
			dst = appendKey(dst, t.First, t.Last)
			before = t.Last
		}
	}
	return dst
}

// DecodeRuns reads what AppendRuns wrote, or answers ErrMalformed: also for
// more than MaxRuns runs, MaxTables tables or MaxRunsSize bytes, for an empty
// run, for tables out of order, and for one that stands there twice. It does
// not keep b.
func DecodeRuns(b []byte) ([]Run, error) {
	if len(b) > MaxRunsSize {
		return nil, ErrMalformed
	}
	d := decoder{b: b}
	runs := make([]Run, d.between(0, MaxRuns))
	left := uint64(MaxTables)
	names := make(map[crypt.Name]bool)
	for i := range runs {
		n := d.between(1, min(left, uint64(len(d.b)/minListed)))
		left -= n
		runs[i] = make(Run, n)
		var before []byte
		for j := range runs[i] {
			t := &runs[i][j]
			t.decode(&d, before)
			if d.bad || names[t.Name] {
				return nil, ErrMalformed
			}
			names[t.Name], before = true, t.Last
		}
	}
	if d.bad || len(d.b) != 0 {
		return nil, ErrMalformed
	}
	return runs, nil
}

// decode takes a table off d that comes after one with the last key before.
func (t *Table) decode(d *decoder, before []byte) {
	copy(t.Name[:], d.take(uint64(len(t.Name))))
	t.Length = int64(d.between(footerSize+1, crypt.MaxContent))
	t.Epoch = crypt.Epoch(d.between(1, 1<<32-1))
	t.Index = uint32(d.between(footerSize+1, MaxIndex))
	t.Entries = d.between(1, maxEntries)
	t.Dead = d.between(0, t.Entries)
	t.Plain = d.between(t.Entries, maxPlain)
	t.First = slices.Clip(d.key(nil, before))
	t.Last = slices.Clip(d.key(nil, t.First))
	d.must(crypt.Padme(t.Length) == t.Length && int64(t.Index) < t.Length)
	d.must(len(t.First) > 0 && bytes.Compare(before, t.First) < 0)
	d.must((t.Entries == 1) == bytes.Equal(t.First, t.Last) && bytes.Compare(t.First, t.Last) <= 0)
}

// fits tells whether the list can be encoded and decoded.
func fits(runs []Run) bool {
	tables := 0
	for _, r := range runs {
		tables += len(r)
	}
	return len(runs) <= MaxRuns && tables <= MaxTables && len(AppendRuns(nil, runs)) <= MaxRunsSize
}
