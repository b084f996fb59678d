package crypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

// usual is what most vectors start from.
func usual(t Type, content []byte) reference {
	padded := pad(content)
	if t.framed() {
		padded = pad(frame(content))
	}
	return reference{key: count(0), volume: count(0x40), typ: byte(t), epoch: 3, salt: count(0x80), padded: padded}
}

// envelopeVectors are whole small objects. "type", "volume" and "key" are what the
// opener believes; "length" stands in those of packs only.
func envelopeVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, t Type, content, object []byte) {
		key, volume := count(0), count(0x40)
		v := vectortest.New(name, expect, comment)
		v.Add("key", key[:])
		v.Add("volume", volume[:])
		v.Add("type", []byte{byte(t)})
		if t == TypePack {
			v.Add("length", binary.BigEndian.AppendUint32(nil, uint32(len(content))))
		}
		if expect == "ok" {
			v.Add("content", content)
			name := sha256.Sum256(join([]byte("hushfs/name\x00"), object[len(object)-112:]))
			v.Add("name", name[:])
		}
		v.Add("hex", object)
		all = append(all, v)
	}
	content := []byte("what a commit says")
	for t := TypePack; t <= TypeBundle; t++ {
		if t != TypeTable {
			add(t.String(), "ok", "one segment", t, content, usual(t, content).object())
		}
	}
	add("pack-of-one-byte", "ok", "no padding", TypePack, []byte{7}, usual(TypePack, []byte{7}).object())
	add("empty", "ok", "content of no bytes: only its length is sealed", TypeCommit, nil, usual(TypeCommit, nil).object())
	add("padded", "ok", "8 + 257 bytes are padded to 272", TypeHint, pattern(257), usual(TypeHint, pattern(257)).object())

	bad := func(name, comment string, change func(*reference)) {
		r := usual(TypeCommit, content)
		change(&r)
		add(name, "forged", comment, TypeCommit, content, r.object())
	}
	bad("other-key", "the key is another one", func(r *reference) { r.key = count(1) })
	bad("other-volume", "sealed for another volume", func(r *reference) { r.volume = count(0x41) })
	bad("other-type", "a ledger where a commit is wanted", func(r *reference) { r.typ = 3 })
	bad("first-is-one", "segments are counted from 1", func(r *reference) { r.firstIndex = 1 })
	bad("no-last", "the last segment is not flagged", func(r *reference) { r.neverLast = true })
	bad("no-volume", "associated data is the header alone", func(r *reference) { r.noVolume = true })
	bad("hash-without-tag", "hashes leave the tags out", func(r *reference) { r.hashNoTag = true })
	bad("other-commitment", "the commitment is to another key; all else fits", func(r *reference) { r.commitment = pattern(32) })
	bad("reserved", "the reserved byte is 1; all else fits", func(r *reference) { r.reserved = 1 })
	bad("padding-not-zero", "the last byte of the padding is 1", func(r *reference) {
		r.padded = pad(frame(pattern(25))) // 33 bytes, padded to 36
		r.padded[35] = 1
	})
	bad("padding-missing", "no padding where there must be", func(r *reference) { r.padded = frame(pattern(25)) })
	bad("padding-too-long", "padded to the Padmé length after the right one", func(r *reference) { r.padded = append(r.padded, 0, 0) })
	bad("length-too-long", "the length reaches beyond the plaintext", func(r *reference) { r.padded[7] = 200 })
	bad("length-huge", "the length overflows 63 bits", func(r *reference) { r.padded[0] = 0xff })
	bad("length-too-short", "a shorter length, whose Padmé length is another", func(r *reference) { r.padded = make([]byte, 28) })
	bad("no-length", "seven bytes cannot hold the length", func(r *reference) { r.padded = make([]byte, 7) })

	good := usual(TypeCommit, content).object()
	n := len(good)
	edit := func(name, expect, comment string, change func(b []byte) []byte) {
		add(name, expect, comment, TypeCommit, content, change(bytes.Clone(good)))
	}
	at := func(i int, x byte) func([]byte) []byte {
		return func(b []byte) []byte { b[i] ^= x; return b }
	}
	edit("ciphertext", "forged", "a bit of the ciphertext", at(0, 1))
	edit("tag", "forged", "a bit of the tag", at(n-112-1, 0x80))
	edit("hash", "forged", "a bit of the hash", at(n-112, 1))
	edit("ciphertext-and-hash", "forged", "a bit of the ciphertext, and a hash that fits", func(b []byte) []byte {
		b[0] ^= 1
		hash := sha256.Sum256(b[:n-112])
		copy(b[n-112:], hash[:])
		return b
	})
	edit("count-zero", "forged", "no segments", at(n-77, 1))
	edit("count-two", "forged", "a segment more than there are", at(n-77, 3))
	edit("count-huge", "forged", "2^31 + 1 segments", at(n-80, 0x80))
	edit("magic", "forged", "another magic", at(n-76, 0x20))
	edit("suite-zero", "forged", "there never was a suite 0", at(n-71, 1))
	edit("type-in-header", "forged", "the header says pack", at(n-70, 3))
	edit("type-unknown", "forged", "the header says type 10", at(n-70, 8))
	edit("epoch", "forged", "the header names another epoch", at(n-65, 1))
	edit("salt", "forged", "a bit of the salt", at(n-64, 1))
	edit("commitment", "forged", "a bit of the commitment", at(n-1, 1))
	edit("byte-before", "forged", "a byte before the first segment", func(b []byte) []byte { return join([]byte{0}, b) })
	edit("byte-after", "forged", "a byte after the tail", func(b []byte) []byte { return append(b, 0) })
	edit("no-first-byte", "forged", "the first byte is missing", func(b []byte) []byte { return b[1:] })
	edit("no-last-byte", "forged", "the last byte is missing", func(b []byte) []byte { return b[:n-1] })
	edit("tail-alone", "forged", "no segments before the tail", func(b []byte) []byte { return b[n-112:] })
	edit("header-alone", "forged", "the last 76 bytes", func(b []byte) []byte { return b[n-76:] })
	edit("nothing", "forged", "no bytes", func([]byte) []byte { return nil })
	edit("version-one", "newer", "version 1, which this code does not know", at(n-72, 1))
	edit("suite-two", "newer", "suite 2, which this code does not know", at(n-71, 3))
	edit("version-and-magic", "forged", "version 1 under another magic", func(b []byte) []byte { return at(n-76, 1)(at(n-72, 1)(b)) })

	pack := usual(TypePack, pattern(257))
	add("pack-length-too-short", "forged", "256 bytes are padded to 256, not 272", TypePack, pattern(256), pack.object())
	add("pack-length-other", "forged", "258 bytes where 257 were sealed: the same sizes, and byte 257 is padding", TypePack, pattern(258),
		func() []byte { p := usual(TypePack, pattern(257)); p.padded[271] = 1; return p.object() }())
	add("pack-length-zero", "forged", "there is no empty pack", TypePack, nil, pack.object())
	add("pack-as-commit", "forged", "a pack where a commit is wanted", TypeCommit, pattern(257), pack.object())
	return all
}

func TestEnvelopeVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "envelope") {
		t.Run(v.Name, func(t *testing.T) {
			volume, typ, object := VolumeID(vectorArray(t, v, "volume")), Type(v.Number(t, "type")), v.Bytes(t, "hex")
			before := bytes.Clone(object)
			var (
				content []byte
				tail    *Tail
				err     error
			)
			if typ == TypePack {
				content, tail, err = OpenPack(vectorKey(t, v), volume, object, int64(v.Number(t, "length")))
			} else {
				content, tail, err = Open(vectorKey(t, v), volume, typ, object)
			}
			v.Check(t, outcomes, err)
			if !bytes.Equal(object, before) {
				t.Error("opening wrote on the object")
			}
			if v.Expect != "ok" {
				if content != nil || tail != nil {
					t.Error("something came with the error")
				}
				return
			}
			if err != nil {
				return
			}
			if !bytes.Equal(content, v.Bytes(t, "content")) {
				t.Errorf("content is %x", content)
			}
			if tail.Name() != vectorArray(t, v, "name") {
				t.Errorf("name is %v", tail.Name())
			}
			again, name, err := newSealer(vectorKey(t, v), volume, typ, tail.Epoch(), tail.salt).Seal(nil, content)
			if err != nil || !bytes.Equal(again, object) || name != tail.Name() {
				t.Errorf("sealed again: %v, %x", err, again)
			}
		})
	}
}

// largeVectors are objects of several segments: their content is pattern(length),
// and their name, which covers every byte, stands for the object.
func largeVectors() (all []vectortest.Vector) {
	for _, c := range []struct {
		typ    Type
		length int
	}{
		{TypePack, SegmentSize - 1}, {TypePack, SegmentSize}, {TypePack, SegmentSize + 1}, {TypePack, 2 * SegmentSize},
		{TypePack, 300001}, {TypeTable, 100000},
		{TypeCommit, SegmentSize - 9}, {TypeCommit, SegmentSize - 8}, {TypeCommit, SegmentSize - 7}, {TypeLedger, 2*SegmentSize - 8},
	} {
		r := usual(c.typ, pattern(c.length))
		object, name := r.object(), r.name()
		sum := sha256.Sum256(object)
		v := vectortest.New(fmt.Sprintf("%v-%d", c.typ, c.length), "ok",
			"byte i of the content is i*7 + (i>>8)*13 + (i>>16)*29; size and SHA-256 are of the object")
		v.Add("key", r.key[:])
		v.Add("volume", r.volume[:])
		v.Add("type", []byte{byte(c.typ)})
		v.Add("epoch", binary.BigEndian.AppendUint32(nil, r.epoch))
		v.Add("salt", r.salt[:])
		v.Add("length", binary.BigEndian.AppendUint32(nil, uint32(c.length)))
		v.Add("size", binary.BigEndian.AppendUint32(nil, uint32(len(object))))
		v.Add("sha256", sum[:])
		v.Add("hex", name[:])
		all = append(all, v)
	}
	return all
}

func TestLargeVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "large") {
		typ, content := Type(v.Number(t, "type")), pattern(int(v.Number(t, "length")))
		s := newSealer(vectorKey(t, v), vectorArray(t, v, "volume"), typ, Epoch(v.Number(t, "epoch")), vectorArray(t, v, "salt"))
		object, name, err := s.Seal(nil, content)
		v.Check(t, outcomes, err)
		if len(object) != int(v.Number(t, "size")) || sha256.Sum256(object) != vectorArray(t, v, "sha256") || name != vectorArray(t, v, "hex") {
			t.Errorf("%s: %d bytes, name %v", v.Name, len(object), name)
		}
	}
}
