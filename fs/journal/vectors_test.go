package journal

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
	"github.com/hushfs/hushfs/fs/meta"
)

var outcomes = map[string]error{"ok": nil, "malformed": ErrMalformed, "newer": ErrNewer, "foreign": ErrForeign, "chain": nil}

// payloads are the same on every run.
func payloads(t *testing.T) (all []vectortest.Vector) {
	add := func(name, expect, comment string, kind Kind, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("kind", []byte{byte(kind)}), vectortest.Line("hex", b)))
	}
	enc := func(r Record) []byte {
		b, err := appendPayload(nil, &r)
		must(t, err)
		return b
	}
	o := Operation(OpRecord{No: 7, Time: meta.Time{Sec: -1, Nsec: 999999999}, Op: []byte("operation"), Inline: []Inline{{Off: 4096, Data: []byte("data")}, {Off: math.MaxUint64, Data: []byte{}}}})
	p := Packed(PackRecord{No: 1<<36 | 5, Name: crypt.Name{1, 2, 3}, Length: 4 << 20, Epoch: 2, Size: 4<<20 + 3000})
	a := Attempted(AttemptRecord{Slot: 12, ID: [32]byte{9}, First: 7, Last: 8, Object: []byte("sealed commit")})
	s := Settled(SettledRecord{Slot: 12, ID: [32]byte{9}, Last: 8, Packs: []meta.PackNo{3, 1<<36 | 5}})
	add("op", "ok", "operation 7, two runs of inline data, the second empty", KindOp, enc(o))
	add("op-bare", "ok", "operation without inline data", KindOp, enc(op(1, "")))
	add("pack", "ok", "", KindPack, enc(p))
	add("pack-carried", "ok", "a pack record repeated so that an old file can go", kindCarried, enc(p))
	add("attempt", "ok", "", KindAttempt, enc(a))
	add("settled", "ok", "", KindSettled, enc(s))
	add("settled-no-packs", "ok", "", KindSettled, enc(Settled(SettledRecord{Slot: 1, Last: 8})))
	add("lost", "ok", "", KindLost, enc(Lost(LostRecord{Slot: 12, ID: [32]byte{9}})))
	add("dropped", "ok", "", KindDropped, enc(Dropped(DroppedRecord{Packs: []meta.PackNo{4}})))
	add("kind-0", "newer", "no record has kind 0", 0, nil)
	add("kind-8", "newer", "a kind of a later version", 8, enc(p))
	second := enc(o)
	be.PutUint32(second[16:], 1e9)
	add("op-nanoseconds", "malformed", "1e9 nanoseconds", KindOp, second)
	add("op-short", "malformed", "a byte of inline data is missing", KindOp, enc(Operation(o.Op))[:len(enc(o))-1])
	add("op-trailing", "malformed", "a byte too many", KindOp, append(enc(o), 0))
	add("op-count", "malformed", "2^32-1 runs of inline data in no bytes", KindOp, append(enc(op(1, ""))[:24], 0xff, 0xff, 0xff, 0xff))
	add("op-length", "malformed", "operation longer than any record", KindOp, append(enc(op(1, ""))[:20], 0xff, 0xff, 0xff, 0xff))
	negative := enc(p)
	negative[len(negative)-8] = 0x80
	add("pack-size", "malformed", "object size 2^63 and more", KindPack, negative)
	add("pack-short", "malformed", "", KindPack, enc(p)[:40])
	add("attempt-short", "malformed", "object cut", KindAttempt, enc(a)[:len(enc(a))-2])
	add("settled-count", "malformed", "three packs announced, two there", KindSettled, func() []byte { b := enc(s); b[8+32+8+3] = 3; return b }())
	add("lost-trailing", "malformed", "", KindLost, append(enc(Lost(LostRecord{})), 1))
	add("index", "ok", "", kindIndex, enc(Record{Kind: kindIndex, index: []IndexEntry{{5, 1 << 37}, {6, 1}}}))
	add("index-count", "malformed", "two entries are said, one is there", kindIndex, []byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1})
	add("dropped-short", "malformed", "half a count", KindDropped, []byte{0, 0})
	f := Followed(FollowedRecord{Slot: 12, More: true, Replaced: []Replaced{{No: 7}, {No: 8, Steps: [][]byte{[]byte("step"), {}}}}})
	add("followed", "ok", "nothing stands for operation 7, two steps for 8, and more comes", KindFollowed, enc(f))
	add("followed-rest", "ok", "the last part", KindFollowed, enc(Followed(FollowedRecord{Slot: 12, Rest: true, Replaced: []Replaced{{No: 9}}})))
	add("followed-bare", "ok", "a slot that leaves all operations as they are", KindFollowed, enc(Followed(FollowedRecord{Slot: 1})))
	add("followed-flag", "malformed", "a flag that there is not", KindFollowed, func() []byte { b := enc(f); b[8] = 4; return b }())
	add("followed-short", "malformed", "a step cut", KindFollowed, enc(f)[:len(enc(f))-5])
	add("followed-count", "malformed", "2^32-1 operations in no bytes", KindFollowed, append(enc(f)[:9], 0xff, 0xff, 0xff, 0xff))
	add("followed-steps", "malformed", "2^32-1 steps in no bytes", KindFollowed, append(enc(f)[:9+4+8], 0xff, 0xff, 0xff, 0xff))
	add("followed-trailing", "malformed", "", KindFollowed, append(enc(f), 0))
	return all
}

// seals are what has random nonces: headers, and sealed records.
func seals(t *testing.T) (headers, records []vectortest.Vector) {
	number := uint64(0x2a)
	secret := testKey(t, 7)
	root := vectortest.Line("key", bytes.Repeat([]byte{7}, 32))
	drawn := func(key string, b []byte) vectortest.Field {
		f := vectortest.Line(key, b)
		f.Drawn = true
		return f
	}
	prev := link{file: 0x29, count: 3, chain: tag{5, 6, 7}}
	key, h := newHeader(secret, testID, number, prev)
	header := func(name, expect, comment string, id [16]byte, number uint64, edit func(b []byte) []byte) {
		b := edit(slices.Clone(h))
		headers = append(headers, vectortest.New(name, expect, comment,
			root, vectortest.Line("journal", id[:]), vectortest.Line("number", be.AppendUint64(nil, number)), drawn("hex", b)))
	}
	same := func(b []byte) []byte { return b }
	flip := func(at int) func(b []byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	header("header", "ok", "file 42 after file 41, which ends after 3 records with tag 0506070..", testID, number, same)
	header("renamed", "foreign", "the name says another number", testID, number+1, same)
	header("journal", "foreign", "of another journal", [16]byte{}, number, same)
	header("salt", "foreign", "salt changed", testID, number, flip(headerClear-1))
	header("sealed", "foreign", "last byte changed", testID, number, flip(-1))
	header("magic", "malformed", "", testID, number, flip(0))
	header("short", "malformed", "a byte is missing", testID, number, func(b []byte) []byte { return b[:len(b)-1] })

	chain := tag(h[headerSize-tagSize:])
	r := op(7, "operation")
	plain, err := newPlain(&r)
	must(t, err)
	first, last := key.seal(nil, plain, 0, 0, chain)
	plain, err = newPlain(&r)
	must(t, err)
	next, _ := key.seal(nil, plain, 1, 1, last)
	sealed := func(name, expect, comment string, index uint32, prev tag, b []byte) {
		records = append(records, vectortest.New(name, expect, comment,
			root, vectortest.Line("journal", testID[:]), vectortest.Line("number", be.AppendUint64(nil, number)),
			drawn("salt", h[headerClear-32:headerClear]), vectortest.Line("index", be.AppendUint32(nil, index)), drawn("prev", prev[:]), drawn("hex", b)))
	}
	sealed("first", "ok", "holds the operation record 7; the tag before is the header's", 0, chain, first)
	sealed("second", "ok", "one record was synced when it was written", 1, last, next)
	sealed("chain", "chain", "opens, but does not follow what lies before it", 1, chain, next)
	sealed("index", "malformed", "the second where the first belongs", 0, chain, next)
	sealed("cut", "malformed", "a byte is missing", 0, chain, first[:len(first)-1])
	sealed("tag", "malformed", "last byte changed", 0, chain, flip(-1)(slices.Clone(first)))
	sealed("length", "malformed", "a length beyond the end", 0, chain, flip(2)(slices.Clone(first)))
	sealed("zeros", "malformed", "what is written ahead", 0, chain, make([]byte, 100))
	return headers, records
}

func TestVectorFiles(t *testing.T) {
	headers, records := seals(t)
	vectortest.Keep(t, "record", payloads(t))
	vectortest.Keep(t, "header", headers)
	vectortest.Keep(t, "sealed", records)
}

func TestRecordVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "record") {
		r, err := decodePayload(Kind(v.Number(t, "kind")), v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil {
			if b, err := appendPayload(nil, &r); err != nil || !bytes.Equal(b, v.Bytes(t, "hex")) {
				t.Errorf("%s encodes to %x", v.Name, b)
			}
		}
	}
}

func vectorKey(t testing.TB, v vectortest.Vector) (*crypt.Key, [16]byte, uint64) {
	k, err := crypt.KeyFromBytes(v.Bytes(t, "key"))
	must(t, err)
	return k, [16]byte(v.Bytes(t, "journal")), v.Number(t, "number")
}

func TestHeaderVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "header") {
		k, id, number := vectorKey(t, v)
		_, prev, chain, err := openHeader(k, id, number, v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && (prev != link{file: 0x29, count: 3, chain: tag{5, 6, 7}} || !bytes.HasSuffix(v.Bytes(t, "hex"), chain[:])) {
			t.Errorf("%s: %+v %x", v.Name, prev, chain)
		}
	}
}

func TestSealedVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "sealed") {
		k, id, number := vectorKey(t, v)
		s, err := newFileKey(k, id, number, v.Bytes(t, "salt")).open(nil, v.Bytes(t, "hex"), uint32(v.Number(t, "index")))
		v.Check(t, outcomes, err)
		if err != nil {
			continue
		}
		if joined := s.prev == tag(v.Bytes(t, "prev")); joined != (v.Expect == "ok") {
			t.Errorf("%s: follows what lies before it: %s", v.Name, strconv.FormatBool(joined))
		}
		if r, err := decodePayload(s.kind, s.payload); err != nil || r.Op.No != 7 {
			t.Errorf("%s: %+v, %v", v.Name, r, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, v := range vectortest.Read(f, "record") {
		f.Add(byte(v.Number(f, "kind")), v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		r, err := decodePayload(Kind(kind), b)
		if err != nil {
			return
		}
		if again, err := appendPayload(nil, &r); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func FuzzOpenHeader(f *testing.F) {
	var good [][]byte
	for _, v := range vectortest.Read(f, "header") {
		if f.Add(v.Bytes(f, "hex")); v.Expect == "ok" {
			good = append(good, v.Bytes(f, "hex"))
		}
	}
	k := testKey(f, 7)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, err := openHeader(k, testID, 0x2a, b)
		if err == nil && !slices.ContainsFunc(good, func(g []byte) bool { return bytes.HasPrefix(b, g) }) {
			t.Errorf("%x opens", b)
		}
	})
}

// FuzzReadFile puts bytes where records belong: nothing but what was sealed comes out.
func FuzzReadFile(f *testing.F) {
	var salt []byte
	var good [2][]byte
	for _, v := range vectortest.Read(f, "sealed") {
		f.Add(v.Bytes(f, "hex"))
		if v.Expect == "ok" {
			good[v.Number(f, "index")], salt = v.Bytes(f, "hex"), v.Bytes(f, "salt")
		}
	}
	f.Add(slices.Concat(good[0], good[1], make([]byte, 50)))
	f.Add(slices.Concat(make([]byte, len(good[0])), good[1]))
	k := newFileKey(testKey(f, 7), testID, 0x2a, salt)
	f.Fuzz(func(t *testing.T, b []byte) {
		for index := range uint32(3) {
			if _, err := k.open(nil, b, index); err == nil && (index > 1 || !bytes.HasPrefix(b, good[index])) {
				t.Errorf("%x opens as record %d", b, index)
			}
		}
		for _, s := range k.behind(b, len(b), 0) {
			if s.index > 1 || !bytes.Contains(b, good[s.index]) {
				t.Errorf("%x holds record %d", b, s.index)
			}
		}
	})
}
