package cache

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

// codec reads one of the small formats and writes it again.
type codec func(b []byte) (again []byte, err error)

func codecs() map[string]codec {
	return map[string]codec{
		"marker": func(b []byte) ([]byte, error) {
			m, err := decodeMarker(b)
			return m.encode(), err
		},
		"record": func(b []byte) ([]byte, error) {
			r, err := decodeRecord(b)
			return r.encode(), err
		},
		"sums": func(b []byte) ([]byte, error) {
			s, err := decodeSums(b)
			return s.encode(), err
		},
		"batch": func(b []byte) ([]byte, error) {
			var again []byte
			if !decodeBatch(b, func(key string, e entry) { again = append(again, encodeBatch(map[string]entry{key: e})...) }) {
				return nil, errFormat
			}
			return again, nil
		},
	}
}

var outcomes = map[string]error{"ok": nil, "format": errFormat}

func TestVectors(t *testing.T) {
	made := makeVectors()
	for kind, c := range codecs() {
		vectortest.Keep(t, kind, made[kind])
		for _, v := range vectortest.Read(t, kind) {
			b := v.Bytes(t, "hex")
			again, err := c(b)
			v.Check(t, outcomes, err)
			if err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s: again %x", v.Name, again)
			}
		}
	}
}

// makeVectors is the vectors of each kind.
func makeVectors() map[string][]vectortest.Vector {
	made := map[string][]vectortest.Vector{}
	add := func(kind, name, expect, comment string, b []byte) {
		made[kind] = append(made[kind], vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	// with changes one byte and makes the CRC fit again.
	with := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b[:len(b)-4])
		b[at] = to
		return appendSum(b)
	}
	m := newMarker("owner", parseBoot("01234567-89ab-cdef-0123-456789abcdef\n"))
	copy(m.id[:], value(1, 16))
	m.phase = phaseClean
	clean := m.encode()
	add("marker", "clean", "ok", "closed as it should be", clean)
	m.phase, m.boot = phaseOpening, [16]byte{}
	add("marker", "opening", "ok", "being opened, on a machine that does not tell its runs apart", m.encode())
	add("marker", "phase0", "format", "no phase", with(clean, 9, 0))
	add("marker", "phase4", "format", "an unknown phase", with(clean, 9, 4))
	add("marker", "version2", "format", "another version", with(clean, 8, 2))
	add("marker", "magic", "format", "another file", with(clean, 0, 'H'))
	add("marker", "short", "format", "a byte is missing", clean[:len(clean)-1])
	flipped := bytes.Clone(clean)
	flipped[20] ^= 1
	add("marker", "crc", "format", "a bit is wrong", flipped)
	add("marker", "empty", "format", "no bytes", nil)

	rec := record{size: 4 << 20, have: ranges{{0, 65552}, {131104, 196656}, {4<<20 - 10, 4 << 20}}}.encode()
	add("record", "three", "ok", "three ranges, the last to the end", rec)
	add("record", "none", "ok", "no range", record{size: 1}.encode())
	add("record", "touching", "format", "two ranges that are one", record{size: 100, have: ranges{{0, 10}, {10, 20}}}.encode())
	add("record", "order", "format", "descending", record{size: 100, have: ranges{{50, 60}, {10, 20}}}.encode())
	add("record", "blank", "format", "an empty range", record{size: 100, have: ranges{{10, 10}}}.encode())
	add("record", "behind", "format", "a range behind the end", record{size: 100, have: ranges{{10, 101}}}.encode())
	add("record", "negative", "format", "a range before the beginning", record{size: 100, have: ranges{{-1, 10}}}.encode())
	add("record", "size0", "format", "an object of no bytes", record{size: 0}.encode())
	add("record", "cut", "format", "half a range", rec[:len(rec)-8])
	add("record", "version2", "format", "another version", append([]byte{2}, rec[1:]...))

	s := sums{{1, 8 << 20, 170_000, 0x01020304}, {2, 1000, 1000, 0xffffffff}}.encode()
	add("sums", "two", "ok", "two tables, the second all tail", s)
	add("sums", "none", "ok", "no table", sums{}.encode())
	add("sums", "order", "format", "descending", sums{{2, 10, 10, 0}, {1, 10, 10, 0}}.encode())
	add("sums", "tail", "format", "a tail longer than the table", sums{{1, 10, 11, 0}}.encode())
	add("sums", "version2", "format", "another version", with(s, 8, 2))
	add("sums", "crc", "format", "a bit is wrong", append(bytes.Clone(s[:len(s)-1]), s[len(s)-1]^1))
	add("sums", "cut", "format", "half a table", appendSum(s[:len(s)-14]))

	batch := append(encodeBatch(map[string]entry{"vkey": {value: []byte("value")}}), encodeBatch(map[string]entry{"vgone": {dead: true}})...)
	add("batch", "two", "ok", "a value, and that there is none", batch)
	add("batch", "none", "ok", "no entry", nil)
	add("batch", "empty", "ok", "a value of no bytes", encodeBatch(map[string]entry{"v": {}}))
	add("batch", "cut", "format", "an entry without its end", batch[:len(batch)-1])
	add("batch", "kind2", "format", "an unknown kind", append([]byte{2}, batch[1:]...))
	add("batch", "dead", "format", "no value, with a value", append([]byte{1}, batch[1:]...))
	add("batch", "long", "format", "a value longer than one may be", append([]byte{0, 0, 1, 0, 2, 0, 1, 'v'}, make([]byte, 0x20001)...)[:64])
	return made
}

func fuzzCodec(f *testing.F, kind string) {
	for _, v := range vectortest.Read(f, kind) {
		f.Add(v.Bytes(f, "hex"))
	}
	c := codecs()[kind]
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := c(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is not canonical", b)
		}
		if err != nil && !errors.Is(err, errFormat) {
			t.Errorf("%x: %v", b, err)
		}
	})
}

func FuzzMarker(f *testing.F) { fuzzCodec(f, "marker") }
func FuzzRecord(f *testing.F) { fuzzCodec(f, "record") }
func FuzzSums(f *testing.F)   { fuzzCodec(f, "sums") }
func FuzzBatch(f *testing.F)  { fuzzCodec(f, "batch") }

// A log that is cut or changed anywhere gives a prefix of what was written.
func FuzzLog(f *testing.F) {
	var id [16]byte
	seal := sealer(id)
	const batches = 5
	l, err := createLog(f.TempDir(), 7)
	must(f, err)
	for i := range batches {
		must(f, l.append(host(), id, seal, map[string]entry{string(key(i)): {value: value(i, 100)}}))
	}
	whole, err := os.ReadFile(l.f.Name())
	must(f, err)
	must(f, l.remove())
	f.Add(uint16(0), byte(0), uint16(len(whole)))
	f.Add(uint16(0), byte(1), uint16(len(whole)))
	f.Add(uint16(200), byte(1), uint16(len(whole)))
	f.Add(uint16(0), byte(0), uint16(300))
	f.Fuzz(func(t *testing.T, at uint16, flip byte, end uint16) {
		b := bytes.Clone(whole[:min(int(end), len(whole))])
		if int(at) < len(b) {
			b[at] ^= flip
		}
		dir := t.TempDir()
		must(t, os.WriteFile(logPath(dir, 7), b, 0o600))
		got := 0
		l, err := openLog(dir, 7, id, seal, 1<<20, func(k string, e entry) {
			if k != string(key(got)) || !bytes.Equal(e.value, value(got, 100)) {
				t.Errorf("entry %d is another", got)
			}
			got++
		})
		must(t, err)
		defer l.f.Close()
		must(t, l.append(host(), id, seal, map[string]entry{string(key(got)): {value: value(got, 100)}}))
		again := 0
		l2, err := openLog(dir, 7, id, seal, 1<<20, func(string, entry) { again++ })
		must(t, err)
		must(t, l2.f.Close())
		if again != got+1 {
			t.Errorf("%d entries, then %d with one more", got, again)
		}
	})
}
