package table

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

// fuzzed sees that what decodes encodes to the same.
func fuzzed(t *testing.T, v vector) {
	if again, err := v.again(); err == nil && !bytes.Equal(again, v.hex) {
		t.Errorf("%x is not canonical: %x", v.hex, again)
	}
}

func FuzzDecodeBlock(f *testing.F) {
	for _, v := range vectors(f, "block") {
		f.Add(v.entries, v.low, v.high, v.hex)
	}
	f.Fuzz(func(t *testing.T, entries int, low, high, b []byte) {
		fuzzed(t, vector{kind: "block", entries: entries, low: low, high: high, hex: b})
		x, ok := decodeBlock(b, entries, low, nil)
		if !ok {
			return
		}
		var it blockIter
		n := 0
		for it.first(x); it.ok; it.next() {
			v, dead, ok := x.get(it.key)
			if !ok || dead != it.dead || !bytes.Equal(v, it.value) {
				t.Fatalf("%x is not found", it.key)
			}
			n++
		}
		if n != entries || !bytes.Equal(it.key, x.last()) {
			t.Errorf("%d of %d entries", n, entries)
		}
		if v, _, ok := x.get(low); ok {
			it.seek(low)
			if !it.ok || !bytes.Equal(it.value, v) {
				t.Error("get and seek differ")
			}
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	for _, v := range vectors(f, "index") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzed(t, vector{kind: "index", hex: b}) })
}

func FuzzDecodeRuns(f *testing.F) {
	for _, v := range vectors(f, "runs") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzed(t, vector{kind: "runs", hex: b}) })
}

// FuzzTable takes any content as a table, and any claims about it: by footer
// and index where they can be read. It must answer, and not panic.
func FuzzTable(f *testing.F) {
	for _, v := range vectors(f, "table") {
		runs, err := DecodeRuns(v.list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(v.hex, runs[0][0].Last, true)
		f.Add(v.hex, runs[0][0].Last, false)
	}
	f.Fuzz(func(t *testing.T, content, last []byte, fit bool) {
		if len(content) <= footerSize || len(content) > 1<<20 {
			return
		}
		table := Table{Length: int64(len(content)), Epoch: 1, First: []byte("a"), Last: last}
		b := content
		for crypt.Padme(table.Length) != table.Length { // zeros where there may be some
			b = append([]byte{0}, b...)
			table.Length = int64(len(b))
		}
		if x, err := parseFooter(b[len(b)-footerSize:]); err == nil {
			table.Index = x.filter + x.index + footerSize
			table.Entries, table.Dead, table.Plain = x.entries, x.dead, x.plain
			if end := len(b) - footerSize; fit && int(x.index) <= end {
				if i, err := parseIndex(b[end-int(x.index):end], x); err == nil {
					table.First = i.key(0)
				}
			}
		}
		good := Check(table, b)
		err := use(table, b)
		if good == nil && err != nil || err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("check: %v, use: %v", good, err)
		}
	})
}
