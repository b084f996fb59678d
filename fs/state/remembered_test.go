package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/vectortest"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

func commit(slot uint64, name string) chain.Remembered {
	return chain.Remembered{
		Link: chain.Link{Slot: chain.Slot(slot), ID: chain.ID{byte(slot), byte(slot >> 8), 9}}, Device: meta.Device(slot % 5),
		Name: name, Time: time.Unix(1700000000+int64(slot), 5),
	}
}

func commits(from, to uint64) (all []chain.Remembered) {
	for ; from <= to; from++ {
		all = append(all, commit(from, fmt.Sprint("device ", from%5)))
	}
	return all
}

func equal(a, b []chain.Remembered) bool {
	return slices.EqualFunc(a, b, func(x, y chain.Remembered) bool {
		return x.Link == y.Link && x.Device == y.Device && x.Name == y.Name && x.Time.Equal(y.Time)
	})
}

func TestRemembered(t *testing.T) {
	dir, s := create(t)
	if got := s.Remembered(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	must(t, s.Note(commits(3, 9)))
	must(t, s.Note(commits(7, 12))) // told twice
	if got := reopen(t, dir, NotFresh).Remembered(); !equal(got, commits(3, 12)) {
		t.Errorf("%v", got)
	}
	// The newest stay, of the longest names too.
	long := commits(13, 300)
	for i := range long {
		long[i].Name = strings.Repeat("n", maxName)
	}
	must(t, s.Note(long))
	got := reopen(t, dir, NotFresh).Remembered()
	newest := max(0, len(got)-chain.RememberedMax)
	if !equal(got[newest:], long[len(long)-chain.RememberedMax:]) || newest == 0 {
		t.Errorf("%d of them, from %d", len(got), got[0].Slot)
	}
	if i, err := os.Stat(filepath.Join(dir, rememberedFile)); err != nil || i.Size() >= rememberedLimit || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
	// Of a slot the one that was told last.
	other := commit(300, "other")
	other.ID[31] = 7
	must(t, s.Note([]chain.Remembered{other}))
	if got := reopen(t, dir, NotFresh).Remembered(); got[len(got)-1].ID != other.ID {
		t.Error("another commit")
	}
}

// Of older commits some are remembered, the fewer the older they are: none is further from
// the next than an eighth of the way back to it, or twice that.
func TestRememberedOfOldCommits(t *testing.T) {
	dir, s := create(t)
	const last = 5000
	for slot := uint64(1); slot <= last; slot += 1 + slot%3 { // some slots are dead
		s.note([]chain.Remembered{commit(slot, strings.Repeat("n", maxName))})
	}
	must(t, s.Note(commits(last+1, last+1)))
	s = reopen(t, dir, NotFresh)
	got := s.Remembered()
	head := uint64(got[len(got)-1].Slot)
	for i, r := range got[1:] {
		back, gap := head-uint64(got[i].Slot), uint64(r.Slot-got[i].Slot)
		if gap > max(3, back/4) {
			t.Errorf("nothing from slot %d to %d, %d and %d back", got[i].Slot, r.Slot, back, head-uint64(r.Slot))
		}
	}
	if got[0].Slot > 3 || len(got) > 150 {
		t.Errorf("%d of them, from %d", len(got), got[0].Slot)
	}
	// However far the slots lie apart, there are not too many.
	for bits := range 63 {
		for i := range uint64(100) {
			s.note([]chain.Remembered{commit(last+2+1<<bits+i<<bits/128, "far")})
		}
	}
	must(t, s.Note([]chain.Remembered{commit(1<<63, strings.Repeat("n", maxName))}))
	if got := reopen(t, dir, NotFresh).Remembered(); len(got) > rememberedMost || len(got) < chain.RememberedMax {
		t.Errorf("%d of them", len(got))
	}
	if i, err := os.Stat(filepath.Join(dir, rememberedFile)); err != nil || i.Size() >= rememberedLimit {
		t.Errorf("%v, %v", i, err)
	}
}

// The file is a convenience: nothing else fails without it, whatever is in its place.
func TestRememberedIsAConvenience(t *testing.T) {
	dir, s := create(t)
	must(t, s.Note(commits(1, 9)))
	path := filepath.Join(dir, rememberedFile)
	good, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(good, []byte("device")) {
		t.Error("a name lies open")
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		for _, b := range [][]byte{bad, good[:i], append(bytes.Clone(good), bad[:i]...)} {
			must(t, os.WriteFile(path, b, 0o600))
			again := reopen(t, dir, NotFresh)
			same(t, again, s)
			if got := again.Remembered(); len(got) != 0 && !bytes.Equal(b, good) {
				t.Fatalf("byte %d: %v", i, got)
			}
		}
	}
	must(t, os.Remove(path))
	again := reopen(t, dir, NotFresh)
	must(t, again.Note(commits(4, 5)))
	if got := reopen(t, dir, NotFresh).Remembered(); !equal(got, commits(4, 5)) {
		t.Errorf("%v", got)
	}
}

func TestAccept(t *testing.T) {
	dir, s := create(t)
	must(t, s.Note(commits(3, 12)))
	must(t, s.Remember(chain.Head{Slot: 12, ID: chain.ID{12}}, 20))
	older := chain.Head{Slot: 5, ID: chain.ID{5}, Ledger: chain.ID{6}}
	s.Accept(older, 4)
	if s.Head() != older {
		t.Error("not accepted")
	}
	if _, err := s.NextIno(); !errors.Is(err, ErrNumber) {
		t.Errorf("a number of the device that it was: %v", err)
	}
	// Nothing is durable before the new device is.
	if got := reopen(t, dir, NotFresh); got.Head().Slot != 12 || got.Known() != 20 {
		t.Errorf("slot %d", got.Head().Slot)
	}
	s.Renew()
	must(t, s.Enrolled(9))
	again := reopen(t, dir, NotFresh)
	if again.Head() != older || again.Known() != 0 {
		t.Errorf("%+v, known %d", again.Head(), again.Known())
	}
	must(t, s.Note(nil))
	if got := s.Remembered(); !equal(got, commits(3, 4)) {
		t.Errorf("%v", got)
	}
	must(t, s.Remember(chain.Head{Slot: 6}, 0))
	if s.Head().Slot != 6 {
		t.Error("it does not go on")
	}
}

func TestSettle(t *testing.T) {
	dir, s := create(t)
	a, b, c := chain.Link{Slot: 5, ID: chain.ID{1}}, chain.Link{Slot: 5, ID: chain.ID{2}}, chain.Link{Slot: 4, ID: chain.ID{3}}
	must(t, s.Settle(b, a))
	must(t, s.Settle(c, a))
	got, err := reopen(t, dir, NotFresh).Settled()
	if err != nil || !slices.Equal(got, []chain.Link{c, a, b}) {
		t.Errorf("%v, %v", got, err)
	}
	// What is damaged is no list without them: it would bring an alarm back, or take one away.
	path := filepath.Join(dir, settledFile)
	good, err := os.ReadFile(path)
	must(t, err)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		for _, raw := range [][]byte{bad, good[:i]} {
			must(t, os.WriteFile(path, raw, 0o600))
			if _, err := s.Settled(); !errors.Is(err, ErrForeign) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewer) {
				t.Fatalf("byte %d: %v", i, err)
			}
			if err := s.Settle(a); err == nil {
				t.Fatalf("byte %d: it is written over", i)
			}
		}
	}
	must(t, os.WriteFile(path, good, 0o600))
	// A machine that is no device yet.
	reader, fresh, err := Open(filepath.Join(t.TempDir(), "r"), key(t, 1), testDrive, "reader")
	must(t, err)
	if fresh != Empty {
		t.Errorf("fresh %q", fresh)
	}
	must(t, reader.Settle(a))
	again, _, err := Open(reader.dir, key(t, 1), testDrive, "reader")
	must(t, err)
	if got, err := again.Settled(); err != nil || !slices.Equal(got, []chain.Link{a}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFreeze(t *testing.T) {
	dir, s := create(t)
	must(t, s.Note(commits(1, 3)))
	s.Freeze()
	must(t, s.Note(commits(4, 5)))
	must(t, s.Remember(chain.Head{Slot: 100, ID: chain.ID{1}}, 100))
	again := reopen(t, dir, NotFresh)
	if again.Head() != testHead || s.Head() != testHead || again.Known() != 11 || !equal(again.Remembered(), commits(1, 3)) {
		t.Errorf("%+v, %d, %v", again.Head(), again.Known(), again.Remembered())
	}
}

// rememberedContent is composed by hand.
func rememberedContent(n byte, slots ...uint64) []byte {
	b := []byte{n}
	for _, s := range slots {
		b = binary.BigEndian.AppendUint64(b, s)          // slot
		b = append(b, count(32, byte(s))...)             // commit
		b = binary.BigEndian.AppendUint16(b, 3)          // device
		b = binary.BigEndian.AppendUint64(b, 1700000000) // time
		b = append(b, 4)                                 // length of the name
		b = append(b, "desk"...)
	}
	return b
}

func rememberedVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	two := rememberedContent(2, 7, 9)
	add("two", "ok", "two commits of one device", two)
	add("none", "ok", "nothing was seen yet", []byte{0})
	add("time-before-1970", "ok", "clocks say what they like", func() []byte {
		b := rememberedContent(1, 7)
		b[1+8+32+2] = 0xff
		return b
	}())
	add("empty", "malformed", "no bytes", nil)
	add("descending", "malformed", "slot 9 before 7", rememberedContent(2, 9, 7))
	add("twice", "malformed", "slot 7 twice", rememberedContent(2, 7, 7))
	add("one-byte-short", "malformed", "the last name ends too early", two[:len(two)-1])
	add("one-byte-more", "malformed", "something behind the last", append(bytes.Clone(two), 0))
	add("one-fewer", "malformed", "claims three", rememberedContent(3, 7, 9))
	add("too-many", "malformed", "claims 65", append([]byte{65}, two[1:]...))
	add("name-too-long", "malformed", "65 bytes", func() []byte {
		b := rememberedContent(1, 7)
		b = append(b[:len(b)-5], 65)
		return append(b, strings.Repeat("n", 65)...)
	}())
	return all
}

func settledVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	link := func(slot uint64, id byte) []byte {
		return append(binary.BigEndian.AppendUint64(nil, slot), count(32, id)...)
	}
	add("two", "ok", "of one slot", append(link(7, 1), link(7, 2)...))
	add("none", "ok", "nothing is settled", nil)
	add("descending", "malformed", "slot 8 before 7", append(link(8, 1), link(7, 2)...))
	add("twice", "malformed", "the same twice", append(link(7, 1), link(7, 1)...))
	add("cut", "malformed", "the id ends too early", link(7, 1)[:39])
	return all
}

func TestRememberedVectors(t *testing.T) {
	vectortest.Keep(t, "remembered", rememberedVectors())
	for _, v := range vectortest.Read(t, "remembered") {
		all, err := decodeRemembered(v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(encodeRemembered(all), v.Bytes(t, "hex")) {
			t.Errorf("%s is not canonical", v.Name)
		}
	}
	vectortest.Keep(t, "settled", settledVectors())
	for _, v := range vectortest.Read(t, "settled") {
		all, err := decodeSettled(v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(encodeSettled(all), v.Bytes(t, "hex")) {
			t.Errorf("%s is not canonical", v.Name)
		}
	}
}

func FuzzDecodeRemembered(f *testing.F) {
	for _, v := range vectortest.Read(f, "remembered") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, err := decodeRemembered(b); err == nil && !bytes.Equal(encodeRemembered(all), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func FuzzDecodeSettled(f *testing.F) {
	for _, v := range vectortest.Read(f, "settled") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, err := decodeSettled(b); err == nil && !bytes.Equal(encodeSettled(all), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}
