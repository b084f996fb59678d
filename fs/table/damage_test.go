package table

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// small is a table of a few blocks, one of them stored raw, with tombstones.
func small(t testing.TB) (*bucket, Table) {
	b := newBucket()
	older := b.fold(t, nil, puts("old", "a", "zz"), b.options())
	d := append(puts("new", "b", "c", "d"), filled("x", 0, 34)...)
	for i := range 40 {
		d = append(d, Entry{Key: fmt.Appendf(nil, "l%03d", i), Dead: true})
	}
	runs := b.fold(t, older, d, b.options())
	if len(runs) != 2 || len(runs[0]) != 1 || runs[0][0].Dead != 40 {
		t.Fatal("not the table that was wanted")
	}
	return b, runs[0][0]
}

// use looks at all of a table that may be anything. It answers the first error.
func use(table Table, content []byte) error {
	b := newBucket()
	b.objects[table.Name] = content
	s := NewSet([]Run{{table}}, b, NewMemory(1<<20))
	_, first := s.Get(table.First)
	if _, err := s.Get(table.Last); first == nil {
		first = err
	}
	if errors.Is(first, meta.ErrAbsent) {
		first = nil
	}
	n := 0
	if err := s.Scan([]byte{0}, bytes.Repeat([]byte{0xff}, MaxKey+1), func(k, v []byte) bool {
		if n++; len(k) == 0 || len(k) > MaxKey || len(v) > MaxValue || uint64(n) > table.Entries {
			panic("more, or larger, than there can be")
		}
		return true
	}); first == nil {
		first = err
	}
	return first
}

// TestEachByteCounts changes every byte of a table.
func TestEachByteCounts(t *testing.T) {
	b, table := small(t)
	content := bytes.Clone(b.objects[table.Name])
	if err := use(table, content); err != nil {
		t.Fatal(err)
	}
	silent, tried := 0, 0
	for i := range content {
		if end := int(table.Index) + 2048; i < len(content)-end && i%29 != 0 {
			continue // much of it is values
		}
		for _, flip := range []byte{0x01, 0x80} {
			content[i] ^= flip
			tried++
			err := Check(table, content)
			if err == nil {
				silent++
			} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Fatalf("byte %d: %v", i, err)
			}
			if err := use(table, content); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Fatalf("byte %d: %v", i, err)
			}
			content[i] ^= flip
		}
	}
	// Values are what they are: no other byte tells whether they are right.
	// Their integrity is the envelope's. All else must be noticed.
	end := int(table.Index)
	for i := len(content) - end; i < len(content); i++ {
		content[i] ^= 0x10
		if err := Check(table, content); err == nil {
			t.Errorf("byte %d of filter, index and footer went unnoticed", i)
		}
		content[i] ^= 0x10
	}
	t.Logf("%d of %d changes unnoticed", silent, tried)
	if err := Check(table, content); err != nil {
		t.Error(err)
	}
}

func TestWrongClaims(t *testing.T) {
	b, table := small(t)
	content := b.objects[table.Name]
	for name, lie := range map[string]func(t *Table){
		"entries":            func(t *Table) { t.Entries++ },
		"dead":               func(t *Table) { t.Dead-- },
		"plain":              func(t *Table) { t.Plain++ },
		"index longer":       func(t *Table) { t.Index++ },
		"index shorter":      func(t *Table) { t.Index-- },
		"index of nothing":   func(t *Table) { t.Index = 0 },
		"index of all":       func(t *Table) { t.Index = uint32(t.Length) },
		"index beyond":       func(t *Table) { t.Index = MaxIndex + 1 },
		"first lower":        func(t *Table) { t.First = []byte("a") },
		"first higher":       func(t *Table) { t.First = []byte("bb") },
		"first a beginning":  func(t *Table) { t.First = t.First[:0] },
		"last lower":         func(t *Table) { t.Last = t.Last[:1] },
		"last higher":        func(t *Table) { t.Last = append(bytes.Clone(t.Last), 0) },
		"length, too short":  func(t *Table) { t.Length = 4096 },
		"length of one byte": func(t *Table) { t.Length = 1 },
	} {
		lied := table
		lie(&lied)
		if err := Check(lied, content); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: check: %v", name, err)
		}
		bucket := newBucket()
		bucket.objects[table.Name] = content[:min(len(content), int(lied.Length))]
		s := NewSet([]Run{{lied}}, bucket, NewMemory(1<<20))
		err := s.Scan([]byte{0}, []byte{0xff}, func(k, v []byte) bool { return true })
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: scan: %v", name, err)
		}
		// Who has the true one in memory is not led astray either.
		mem := NewMemory(1 << 20)
		if _, err := NewSet([]Run{{table}}, bucket, mem).Get(table.First); int64(len(content)) == lied.Length && err != nil {
			t.Error(err)
		}
		// (Where a table ends is looked at when its last block is decoded.)
		if err := NewSet([]Run{{lied}}, bucket, mem).Scan([]byte{0}, []byte{0xff}, func(k, v []byte) bool { return true }); !errors.Is(err, ErrDamaged) && name != "last higher" && name != "last lower" {
			t.Errorf("%s: scan with the other in memory: %v", name, err)
		}
	}
}

// TestBomb expands frames that claim, and hold, more than they may.
func TestBomb(t *testing.T) {
	dec := newExpander()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	huge := enc.EncodeAll(make([]byte, 256<<20), nil)
	var stream bytes.Buffer // of unknown length
	w, err := zstd.NewWriter(&stream, zstd.WithWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	for range 256 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	frames := bytes.Repeat(enc.EncodeAll(make([]byte, 60000), nil), 2000)
	for name, stored := range map[string][]byte{"with a length": huge, "without a length": stream.Bytes(), "many frames": frames} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, ok := expand(dec, nil, stored, maxEntry)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; ok || spent > 2<<20 {
			t.Errorf("%s: %v, %d bytes allocated", name, ok, spent)
		}
	}
	if _, ok := expand(dec, nil, enc.EncodeAll(make([]byte, 999), nil), 1000); ok {
		t.Error("a byte too few passes")
	}
	if _, ok := expand(dec, nil, enc.EncodeAll(make([]byte, 1001), nil), 1000); ok {
		t.Error("a byte too many passes")
	}
}

// TestManyReaders uses one set, and its small memory, from many goroutines.
func TestManyReaders(t *testing.T) {
	l, every := drive(t, 4000, 3)
	s := NewSet(l.runs, l.b, NewMemory(200<<10))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				e := every[(i*31+g*1009)%len(every)]
				v, _, err := get(t, s, e.Key)
				if err != nil || !bytes.Equal(v, e.Value) {
					t.Errorf("get %x: %v", e.Key, err)
					return
				}
			}
			dir := meta.DirentRange(meta.MakeIno(1, uint64(g*101+1)))
			if keys, _, _, err := scan(t, s, dir.From, dir.To); err != nil || len(keys) != 100 {
				t.Errorf("%d names, %v", len(keys), err)
			}
		})
	}
	wg.Wait()
}

// TestBlockGet looks up all keys of up to five of three letters in blocks of
// some of them.
func TestBlockGet(t *testing.T) {
	r := random(t)
	every := []string{""}
	for i := 0; len(every[i]) < 5; i++ {
		for _, c := range "abc" {
			every = append(every, every[i]+string(c))
		}
	}
	every = every[1:]
	slices.Sort(every)
	for range 60 {
		in := map[string]bool{}
		var d []Entry
		share := 1 + r.IntN(12)
		for _, k := range every {
			if r.IntN(12) < share {
				in[k] = true
				d = append(d, Entry{Key: []byte(k), Value: []byte("v" + k)})
			}
		}
		b, ok := decodeBlock(plainBlock(d...), len(d), nil, nil)
		if !ok {
			t.Fatal("a good block is refused")
		}
		for _, k := range every {
			if v, dead, ok := b.get([]byte(k)); ok != in[k] || dead || ok && string(v) != "v"+k {
				t.Fatalf("%s of %d keys: %q, %v, want %v", k, len(d), v, ok, in[k])
			}
		}
	}
}

func TestLargestBlocks(t *testing.T) {
	value := func(n int) []byte { return make([]byte, n) }
	pair := func(n int) []byte { // of n bytes in all
		return plainBlock(Entry{Key: []byte("a"), Value: value(16000)}, Entry{Key: []byte("b"), Value: value(n - 16000 - 11)})
	}
	for _, c := range []struct {
		name    string
		plain   []byte
		entries int
		want    bool
	}{
		{"an entry of the largest key and value", plainBlock(Entry{Key: bytes.Repeat([]byte("k"), MaxKey), Value: value(MaxValue)}), 1, true},
		{"a value a byte too long", plainBlock(Entry{Key: []byte("k"), Value: value(MaxValue + 1)}), 1, false},
		{"two entries in 32 KiB", pair(blockSize), 2, true},
		{"two entries in 32 KiB and a byte", pair(blockSize + 1), 2, false},
	} {
		if _, ok := decodeBlock(c.plain, c.entries, nil, nil); ok != c.want {
			t.Errorf("%s, %d bytes: %v", c.name, len(c.plain), ok)
		}
	}
	if n := len(pair(blockSize)); n != blockSize {
		t.Errorf("a pair of %d bytes", n)
	}
}

func TestFilter(t *testing.T) {
	const n = 20_000
	var hashes []hash
	for i := range n {
		hashes = append(hashes, hashOf(fmt.Appendf(nil, "in %d", i)))
	}
	f := appendFilter([]byte("before"), hashes)[len("before"):]
	if len(f) != n*filterBits/8 {
		t.Errorf("%d bytes", len(f))
	}
	wrong := 0
	for i := range n {
		if in := hashOf(fmt.Appendf(nil, "in %d", i)); !in.mayHold(f) {
			t.Fatal("the filter denies what is in it")
		}
		if out := hashOf(fmt.Appendf(nil, "out %d", i)); out.mayHold(f) {
			wrong++
		}
	}
	if wrong > n/80 {
		t.Errorf("%d of %d wrong", wrong, n)
	}
}

func TestHeadOf(t *testing.T) {
	dir := meta.DirentRange(7)
	last := bytes.Repeat([]byte{0xff}, 8)
	for _, c := range []struct {
		name     string
		from, to []byte
		want     []byte
	}{
		{"a folder", dir.From, dir.To, dir.From},
		{"a part of one", meta.DirentKey(7, []byte("a")), meta.DirentKey(7, []byte("b")), dir.From},
		{"from a name to the end", meta.DirentKey(7, []byte("a")), dir.To, dir.From},
		{"one byte into the next", dir.From, append(bytes.Clone(dir.To), 0), nil},
		{"two folders", dir.From, meta.DirentKey(9, nil), nil},
		{"extents", meta.ExtentKey(7, 1), meta.ExtentKey(7, 1<<30), meta.ExtentKey(7, 1)[:9]},
		{"all of a kind", []byte("d"), []byte("e"), nil},
		{"the last number", append([]byte("d"), last...), []byte("e"), nil},
		{"the last number and the next kind", append([]byte("d"), last...), append([]byte("e"), make([]byte, 8)...), nil},
		{"other kinds", meta.DirentKey(7, nil), append([]byte("e"), meta.DirentKey(8, nil)[1:]...), nil},
	} {
		if got := headOf(c.from, c.to); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, want %x", c.name, got, c.want)
		}
	}
}

func TestMemory(t *testing.T) {
	m := NewMemory(10 * (100 + keptCost))
	at := func(i int) place { return place{crypt.Name{1}, uint32(i)} }
	for i := range 10 {
		m.put(at(i), []byte{byte(i)}, 100)
	}
	if m.get(at(0)) == nil {
		t.Error("what fits is not kept")
	}
	m.put(at(10), []byte{10}, 100)
	if m.get(at(1)) != nil || m.get(at(0)) == nil || m.get(at(10)) == nil {
		t.Error("what was used last goes first")
	}
	m.put(at(10), []byte{11}, 200)
	if got, ok := m.get(at(10)).([]byte); !ok || got[0] != 11 || m.Used() > m.limit {
		t.Errorf("kept %v, %d bytes", got, m.Used())
	}
	m.put(at(11), []byte{1}, m.limit/4)
	if m.get(at(11)) != nil {
		t.Error("a thing too large is kept")
	}
	if (NewMemory(0).get(at(0))) != nil {
		t.Error("nothing keeps something")
	}
}
