package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

func makeVectors(t testing.TB) []vector {
	return slices.Concat(blockVectors(), indexVectors(t), runsVectors(), tableVectors(t))
}

// plainBlock is a block of the entries.
func plainBlock(entries ...Entry) (out []byte) {
	var before []byte
	for i, e := range entries {
		out = appendEntry(out, before, i, e)
		before = e.Key
	}
	return out
}

// raw is an entry as it is said.
func raw(shared, rest, mark int, bytes string) []byte {
	return append([]byte{byte(shared), byte(rest), byte(mark)}, bytes...)
}

func blockVectors() []vector {
	put := func(k, v string) Entry { return Entry{Key: []byte(k), Value: []byte(v)} }
	three := []Entry{put("apple", "red"), {Key: []byte("apricot"), Dead: true}, put("banana", "")}
	var many []Entry
	for i := range 40 {
		many = append(many, put(fmt.Sprintf("key%02d", i), fmt.Sprint(i*i)))
	}
	ok := func(name, comment string, low, high string, n int, b []byte) vector {
		return vector{kind: "block", name: name, expect: "ok", comment: comment, entries: n, low: []byte(low), high: []byte(high), hex: b}
	}
	bad := func(name, comment string, low, high string, n int, b []byte) vector {
		v := ok("bad-"+name, comment, low, high, n, b)
		v.expect = "damaged"
		return v
	}
	good := plainBlock(three...)
	wide := func(i int, b []byte) []byte { // the one-byte varint at i in two bytes
		return slices.Concat(b[:i], []byte{b[i] | 0x80, 0}, b[i+1:])
	}
	return []vector{
		ok("three", "a value, a tombstone, an empty value", "ap", "c", 3, good),
		ok("last", "the last block of a table: nothing is above", "apple", "", 3, good),
		ok("starts", "40 entries: every 16th key is whole", "key", "l", 40, plainBlock(many...)),
		ok("tombstone", "nothing else", "a", "", 1, plainBlock(Entry{Key: []byte("a"), Dead: true})),
		ok("longest-key", "272 bytes", "k", "", 1, plainBlock(put(string(bytes.Repeat([]byte{'k'}, MaxKey)), "v"))),
		bad("empty", "no byte", "", "", 1, nil),
		bad("no-entries", "0 entries", "", "", 0, nil),
		bad("fewer", "the index says 2 entries", "ap", "c", 2, good),
		bad("more", "the index says 4 entries", "ap", "c", 4, good),
		bad("short", "a byte is missing", "ap", "c", 3, good[:len(good)-1]),
		bad("long", "a byte too many", "ap", "c", 3, append(slices.Clone(good), 0)),
		bad("low", "begins before the key of the index", "b", "c", 3, good),
		bad("high", "reaches the key of the next block", "ap", "banana", 3, good),
		bad("same-key", "a key twice", "a", "", 2, slices.Concat(raw(0, 1, 1, "a"), raw(1, 0, 1, ""))),
		bad("descending", "b, a", "b", "", 2, slices.Concat(raw(0, 1, 1, "b"), raw(0, 1, 1, "a"))),
		bad("shares-less", "ab, ac, with 0 bytes shared", "a", "", 2, slices.Concat(raw(0, 2, 1, "ab"), raw(0, 2, 1, "ac"))),
		bad("shares-more", "more bytes than the key before has", "a", "", 2, slices.Concat(raw(0, 1, 1, "a"), raw(2, 1, 1, "b"))),
		bad("start", "the first entry shares", "", "", 1, raw(1, 1, 1, "a")),
		bad("start-16", "the 17th entry shares", "a", "", 17, seventeen()),
		bad("no-rest", "a key that is the beginning of the one before", "ab", "", 2, slices.Concat(raw(0, 2, 1, "ab"), raw(1, 0, 1, ""))),
		bad("key-long", "273 bytes of key", "k", "", 1, slices.Concat([]byte{0, 0x91, 0x02, 1}, bytes.Repeat([]byte{'k'}, MaxKey+1))),
		bad("varint", "shared with a zero byte at its end", "ap", "c", 3, wide(0, good)),
		bad("value", "a value that ends behind the block", "a", "", 1, raw(0, 1, 9, "a1234567")),
	}
}

// seventeen is a block of 17 entries whose last one shares a byte.
func seventeen() (out []byte) {
	out = raw(0, 2, 1, "aa")
	for c := byte('b'); c < 'b'+15; c++ {
		out = append(out, raw(1, 1, 1, string(c))...)
	}
	return append(out, raw(1, 1, 1, "z")...)
}

func indexVectors(t testing.TB) []vector {
	var out []vector
	add := func(name, expect, comment string, b []byte) {
		if expect != "ok" {
			name = "bad-" + name
		}
		out = append(out, vector{kind: "index", name: name, expect: expect, comment: comment, hex: b})
	}
	indexed := func(f footer, blocks ...blockAt) []byte {
		keys := []string{"apple", "b", "bee", "c"}
		var b, before []byte
		for i, at := range blocks {
			b = appendIndexed(b, before, []byte(keys[i]), at)
			before = []byte(keys[i])
		}
		f.index = uint32(len(b))
		return f.append(b)
	}
	blocks := []blockAt{{stored: 9000, plain: 32000, entries: 400, heads: 3}, {stored: 70, plain: 70, entries: 1, heads: 0}, {stored: 200, plain: maxEntry, entries: 1, heads: 1}}
	f := footer{blocks: 3, filter: uint32(filterSize(403) + filterSize(1) + filterSize(2)), data: 9270, entries: 402, dead: 5, plain: 97000}
	good := indexed(f, blocks...)
	add("three-blocks", "ok", "one is stored as it is, one has one entry that is larger than a block", good)
	add("one", "ok", "the smallest table", indexed(footer{blocks: 1, filter: 2, data: 5, entries: 1, plain: 2}, blockAt{stored: 5, plain: 5, entries: 1}))
	end := len(good) - footerSize
	change := func(at int, to byte) []byte {
		b := slices.Clone(good)
		b[at] = to
		return b
	}
	add("empty", "damaged", "no byte", nil)
	add("footer-short", "damaged", "47 bytes", good[len(good)-47:])
	add("magic", "damaged", "another magic", change(end, 'h'))
	add("version", "newer", "version 1", change(end+4, 1))
	add("reserved", "damaged", "a byte that must be 0", change(end+7, 1))
	add("no-blocks", "damaged", "0 blocks", indexed(footer{filter: 0, data: 0, entries: 0}))
	add("two-blocks", "damaged", "the footer says 2 blocks", change(end+11, 2))
	add("four-blocks", "damaged", "the footer says 4 blocks", change(end+11, 4))
	add("many-blocks", "damaged", "the footer says more than 16,384 blocks", change(end+9, 1))
	add("index-long", "damaged", "more than 16 MiB of index", change(end+12, 1))
	add("index-length", "damaged", "an index a byte longer than there is", change(end+15, good[end+15]+1))
	add("filter", "damaged", "filters a byte longer than their blocks ask for", change(end+19, good[end+19]+1))
	add("data", "damaged", "blocks a byte longer than the index says", change(end+23, good[end+23]+1))
	add("entries", "damaged", "an entry more than the index says", change(end+31, good[end+31]+1))
	add("dead", "damaged", "more tombstones than entries", change(end+38, 2))
	add("plain", "damaged", "fewer bytes than entries", indexed(footer{blocks: 1, filter: 2, data: 5, entries: 1, plain: 0}, blockAt{stored: 5, plain: 5, entries: 1}))
	add("short", "damaged", "a byte is missing", slices.Concat(good[:end-1], good[end:]))
	add("long", "damaged", "a byte too many", slices.Concat(good[:end], []byte{0}, good[end:]))
	add("stored-longer", "damaged", "stored in more bytes than it has", indexed(footer{blocks: 1, filter: 2, data: 6, entries: 1, plain: 2}, blockAt{stored: 6, plain: 5, entries: 1}))
	add("stored-nothing", "damaged", "stored in no byte", indexed(footer{blocks: 1, filter: 2, data: 1, entries: 1, plain: 2}, blockAt{plain: 5, entries: 1}))
	add("no-entries", "damaged", "a block of no entries", indexed(footer{blocks: 1, filter: 0, data: 5, entries: 1, plain: 2}, blockAt{stored: 5, plain: 5}))
	add("many-entries", "damaged", "more entries than there can be in its bytes", indexed(footer{blocks: 1, filter: uint32(filterSize(2)), data: 7, entries: 2, plain: 2}, blockAt{stored: 7, plain: 7, entries: 2}))
	add("many-heads", "damaged", "more heads than entries", indexed(footer{blocks: 1, filter: uint32(filterSize(3)), data: 5, entries: 1, plain: 2}, blockAt{stored: 5, plain: 5, entries: 1, heads: 2}))
	add("large", "damaged", "a block of two entries that is larger than 32 KiB", indexed(footer{blocks: 1, filter: uint32(filterSize(2)), data: 5, entries: 2, plain: 2}, blockAt{stored: 5, plain: blockSize + 1, entries: 2}))
	add("larger", "damaged", "a block larger than the largest entry", indexed(footer{blocks: 1, filter: uint32(filterSize(1)), data: 5, entries: 1, plain: 2}, blockAt{stored: 5, plain: maxEntry + 1, entries: 1}))
	key := bytes.Index(good, []byte("ee"))
	add("descending", "damaged", "a key below the one before", change(bytes.Index(good, []byte("b")), 'a'))
	add("shares-less", "damaged", "shares fewer bytes than it could", slices.Concat(good[:key-2], []byte{0, 3, 'b'}, good[key:end], (&footer{blocks: 3, index: uint32(end + 1), filter: f.filter, data: f.data, entries: f.entries, dead: f.dead, plain: f.plain}).append(nil)))
	if len(out) < 20 {
		t.Fatal("vectors are missing")
	}
	return out
}

func runsVectors() []vector {
	table := func(no int, first, last string) Table {
		t := Table{Name: crypt.Name{byte(no), 31: 1}, Length: 4 << 20, Epoch: 1, Index: 200_000, First: []byte(first), Last: []byte(last), Entries: 100_000, Dead: 7, Plain: 9_000_000}
		if first == last {
			t.Entries, t.Dead = 1, 0
		}
		return t
	}
	with := func(change func(t *Table)) []byte {
		t := table(1, "d1", "i7")
		change(&t)
		return AppendRuns(nil, []Run{{t}})
	}
	ok := func(name, comment string, b []byte) vector {
		return vector{kind: "runs", name: name, expect: "ok", comment: comment, hex: b}
	}
	bad := func(name, comment string, b []byte) vector {
		return vector{kind: "runs", name: "bad-" + name, expect: "malformed", comment: comment, hex: b}
	}
	same := func(t *Table) {}
	good := with(same)
	long := string(bytes.Repeat([]byte{0xff}, MaxKey))
	folder := string(meta.DirentKey(7, []byte("letter")))
	return []vector{
		ok("none", "no runs", AppendRuns(nil, nil)),
		ok("one", "one table", good),
		ok("single", "of a single entry", AppendRuns(nil, []Run{{table(1, "a", "a")}})),
		ok("two-runs", "a newer one and an older one, of two tables", AppendRuns(nil, []Run{{table(1, folder, folder+"s")}, {table(2, "a", folder), table(3, folder+"a", long)}})),
		ok("highest", "the highest numbers", with(func(t *Table) {
			t.Length, t.Epoch, t.Index, t.Entries, t.Dead, t.Plain = 130023424, 1<<32-1, MaxIndex, maxEntries, maxEntries, maxPlain
		})),
		bad("empty", "no byte", nil),
		bad("short", "a byte is missing", good[:len(good)-1]),
		bad("long", "a byte too many", append(slices.Clone(good), 0)),
		bad("runs", "17 runs", append([]byte{17}, bytes.Repeat([]byte{1}, 17)...)),
		bad("run-empty", "a run of no tables", []byte{1, 0}),
		bad("tables", "more tables than fit into the bytes", append([]byte{1, 9}, good[2:]...)),
		bad("twice", "a table that stands there twice", AppendRuns(nil, []Run{{table(1, "a", "b")}, {table(1, "a", "b")}})),
		bad("meet", "two tables of a run with one key", AppendRuns(nil, []Run{{table(1, "a", "c"), table(2, "c", "d")}})),
		bad("descending", "two tables in the wrong order", AppendRuns(nil, []Run{{table(1, "c", "d"), table(2, "a", "b")}})),
		bad("last-below-first", "", AppendRuns(nil, []Run{{table(1, "c", "b")}})),
		bad("no-key", "", AppendRuns(nil, []Run{{table(1, "", "b")}})),
		bad("long-key", "273 bytes", AppendRuns(nil, []Run{{table(1, "a", long+"x")}})),
		bad("single", "one entry with two keys", with(func(t *Table) { t.Entries, t.Dead = 1, 0 })),
		bad("length", "no Padmé length", with(func(t *Table) { t.Length++ })),
		bad("length-long", "more than an envelope can hold", with(func(t *Table) { t.Length = 1 << 28 })),
		bad("epoch", "epochs count from 1", with(func(t *Table) { t.Epoch = 0 })),
		bad("index", "longer than the table", with(func(t *Table) { t.Length = 131072 })),
		bad("index-short", "shorter than a footer", with(func(t *Table) { t.Index = footerSize })),
		bad("index-long", "more than 16 MiB", with(func(t *Table) { t.Index, t.Length = MaxIndex+1, 1<<26 })),
		bad("entries", "none", with(func(t *Table) { t.Entries, t.Dead = 0, 0 })),
		bad("dead", "more tombstones than entries", with(func(t *Table) { t.Dead = t.Entries + 1 })),
		bad("plain", "fewer bytes than entries", with(func(t *Table) { t.Plain = t.Entries - 1 })),
		bad("shares-less", "the last key shares fewer bytes with the first than it could", unshare(good)),
		bad("varint", "the number of runs with a zero byte at its end", append([]byte{0x81, 0}, good[1:]...)),
	}
}

// unshare has ab and ac as first and last key, and says that they share nothing.
func unshare(good []byte) []byte {
	t, _ := DecodeRuns(good)
	t[0][0].First, t[0][0].Last = []byte("ab"), []byte("ac")
	b := AppendRuns(nil, t)
	return append(b[:len(b)-3], 0, 2, 'a', 'c')
}

func tableVectors(t testing.TB) []vector {
	b := newBucket()
	older := b.fold(t, nil, puts("old", "a", "zz"), b.options())
	made := func(name, comment string, d []Entry) vector {
		run := b.fold(t, older, d, b.options())[0]
		run[0].Name = crypt.Name{1: byte(len(d))}
		content := b.objects[crypt.Name(run[0].Name)]
		if content == nil { // under the name that it got
			for _, c := range b.objects {
				if int64(len(c)) == run[0].Length && Check(run[0], c) == nil {
					content = c
				}
			}
		}
		return vector{kind: "table", name: name, expect: "ok", comment: comment, list: AppendRuns(nil, []Run{run}), hex: content}
	}
	r := rand.New(rand.NewPCG(7, 7))
	one := made("one", "one entry, stored as it is", []Entry{{Key: meta.DirentKey(7, []byte("letter")), Value: []byte{1, 2, 3}}})
	dead := made("dead", "one tombstone", dead("m"))
	zstd := made("zstd-files", "60 files in a folder, a tombstone for each; one block for each kind of key", func() []Entry {
		d := files(r, 0, 60)
		for i := range 60 {
			d = append(d, Entry{Key: meta.XattrKey(meta.Ref{Home: 7, Ino: meta.MakeIno(1, uint64(i+1))}, []byte("user.x")), Dead: true})
		}
		slices.SortFunc(d, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
		return d
	}())
	two := made("zstd-large", "a value of 64 KiB, alone in its block", []Entry{{Key: []byte("b"), Value: []byte("1")}, {Key: []byte("c"), Value: make([]byte, MaxValue)}, {Key: []byte("d"), Value: []byte("2")}})
	out := []vector{one, dead, zstd, two}
	spoil := func(v vector, name, comment string, change func(b []byte) []byte) {
		v.name, v.comment, v.expect, v.hex = "bad-"+name, comment, "damaged", change(bytes.Clone(v.hex))
		out = append(out, v)
	}
	flip := func(at int) func(b []byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	spoil(one, "padding", "a byte between blocks and filter is not zero", func(b []byte) []byte {
		b[bytes.Index(b, make([]byte, 2))] = 1
		return b
	})
	spoil(one, "mark", "a value that is longer than the block", flip(2))
	spoil(one, "key", "a key that the index does not have", flip(3))
	spoil(one, "filter", "a bit of the filter", func(b []byte) []byte {
		runs, _ := DecodeRuns(one.list)
		b[len(b)-int(runs[0][0].Index)] ^= 0x80
		return b
	})
	spoil(one, "magic", "the footer's magic", flip(-footerSize))
	spoil(one, "short", "a byte is missing", func(b []byte) []byte { return b[1:] })
	spoil(dead, "dead", "a tombstone that the footer does not know of", flip(-9))
	spoil(zstd, "zstd-frame", "the magic of a frame", flip(0))
	return out
}
