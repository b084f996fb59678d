package chain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

// A vector is a small text file of "key: value" lines; a key that stands on several
// lines continues its value. "expect" and "comment" are text, all others hexadecimal.
//
// Boxes and salts are random, so no vector can be made twice. Those that exist are
// read and never written again; they all are of the volume in testdata/world.
type vector struct {
	name, expect, comment string
	hex                   []byte // what is to be decoded
	slot                  Slot   // of commits: where it lies
	ledger                []byte // of hints: the object that is named
}

func (v vector) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "expect: %s\ncomment: %s\n", v.expect, v.comment)
	if v.slot != 0 {
		fmt.Fprintf(&b, "slot: %016x\n", uint64(v.slot))
	}
	lines := func(key string, value []byte) {
		for len(value) > 0 {
			n := min(48, len(value))
			fmt.Fprintf(&b, "%s: %x\n", key, value[:n])
			value = value[n:]
		}
	}
	lines("ledger", v.ledger)
	lines("hex", v.hex)
	return []byte(b.String())
}

func parseVector(name string, text []byte) (vector, error) {
	v := vector{name: name}
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !found {
			return v, fmt.Errorf("%s: line %q", name, line)
		}
		if key == "expect" {
			v.expect = value
			continue
		}
		if key == "comment" {
			v.comment = value
			continue
		}
		b, err := hex.DecodeString(value)
		if err != nil {
			return v, fmt.Errorf("%s: %s: %w", name, key, err)
		}
		switch key {
		case "slot":
			for _, c := range b {
				v.slot = v.slot<<8 | Slot(c)
			}
		case "ledger":
			v.ledger = append(v.ledger, b...)
		case "hex":
			v.hex = append(v.hex, b...)
		default:
			return v, fmt.Errorf("%s: unknown key %q", name, key)
		}
	}
	return v, nil
}

// vectors reads all of one kind, and fails when there are none.
func vectors(tb testing.TB, kind string) []vector {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", kind, "*.txt"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no vectors in testdata/%s: %v", kind, err)
	}
	var all []vector
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		v, err := parseVector(strings.TrimSuffix(filepath.Base(path), ".txt"), text)
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.Equal(v.text(), text) {
			tb.Fatalf("%s: not in its own form", path)
		}
		all = append(all, v)
	}
	return all
}

// storedWorld is the volume that the vectors are of: the keys of emptyWorld, the
// ledger in testdata/world/ledger.txt.
func storedWorld(tb testing.TB) *world {
	tb.Helper()
	w := emptyWorld(tb)
	raw := vectors(tb, "world")[0].hex
	l, err := DecodeLedger(volumeOf(tb, raw), raw)
	if err != nil {
		tb.Fatal(err)
	}
	w.begin(l)
	return w
}

// volumeOf is the id that the first record of an encoded ledger makes.
func volumeOf(tb testing.TB, ledger []byte) crypt.VolumeID {
	tb.Helper()
	d := decoder{b: ledger}
	d.u32()
	r, err := DecodeRecord(d.bytes(MaxRecord))
	if err != nil {
		tb.Fatal(err)
	}
	return r.volume()
}

var wordErrors = map[string]error{
	"ok": nil, "malformed": ErrMalformed, "forged": ErrForged, "newer": ErrVersion, "refused": ErrRefused,
	"no box": ErrNoBox, "key": ErrKey, "seal": crypt.ErrForged,
}

// check compares an error with what the vector expects.
func (v vector) check(tb testing.TB, err error) {
	tb.Helper()
	want, ok := wordErrors[v.expect]
	if !ok {
		tb.Fatalf("%s: unknown expectation %q", v.name, v.expect)
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		tb.Errorf("%s (%s): got %v, want %v", v.name, v.comment, err, want)
	}
}

// TestVectorFiles holds the stored files to the names below. With
// HUSHFS_WRITE_VECTORS=1 it writes those that are missing; one that exists is never
// changed, since what it shows is stored somewhere.
func TestVectorFiles(t *testing.T) {
	write := os.Getenv("HUSHFS_WRITE_VECTORS") == "1"
	path := filepath.Join("testdata", "world", "ledger.txt")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && write {
		writeVector(t, "world", vector{name: "ledger", expect: "ok",
			comment: "owner seed 0102..40, epoch key 8081..9f, device 1 seed 4041..5f", hex: newWorld(t).start.Encode()})
	}
	made := map[string][]vector{
		"record": recordVectors(storedWorld(t)),
		"ledger": ledgerVectors(storedWorld(t)),
		"commit": commitVectors(storedWorld(t)),
		"body":   bodyVectors(storedWorld(t)),
		"hint":   hintVectors(storedWorld(t)),
		"inhint": inhintVectors(storedWorld(t)),
	}
	for kind, list := range made {
		known := map[string]vector{}
		for _, v := range list {
			known[v.name] = v
			if _, err := os.Stat(filepath.Join("testdata", kind, v.name+".txt")); err == nil {
				continue
			}
			if !write {
				t.Errorf("testdata/%s/%s.txt is missing; HUSHFS_WRITE_VECTORS=1 writes it", kind, v.name)
				continue
			}
			writeVector(t, kind, v)
		}
		for _, v := range vectors(t, kind) {
			k, ok := known[v.name]
			if !ok {
				t.Errorf("testdata/%s/%s.txt: nothing makes it", kind, v.name)
			} else if k.expect != v.expect || k.slot != v.slot {
				t.Errorf("testdata/%s/%s.txt expects %s in slot %d, but %s in slot %d is known of it", kind, v.name, v.expect, v.slot, k.expect, k.slot)
			}
		}
	}
}

func writeVector(t *testing.T, kind string, v vector) {
	t.Helper()
	dir := filepath.Join("testdata", kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, v.name+".txt"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(v.text()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecordVectors(t *testing.T) {
	for _, v := range vectors(t, "record") {
		r, err := DecodeRecord(v.hex)
		v.check(t, err)
		if err == nil && !bytes.Equal(r.Encode(), v.hex) {
			t.Errorf("%s: is not canonical", v.name)
		}
	}
}

func TestLedgerVectors(t *testing.T) {
	w := storedWorld(t)
	for _, v := range vectors(t, "ledger") {
		l, err := DecodeLedger(w.Volume, v.hex)
		v.check(t, err)
		if err == nil && !bytes.Equal(l.Encode(), v.hex) {
			t.Errorf("%s: is not canonical", v.name)
		}
	}
}

func TestCommitVectors(t *testing.T) {
	for _, v := range vectors(t, "commit") {
		w := storedWorld(t)
		if j := w.Judge(v.slot, v.hex, nil); j.Verdict.String() != v.expect {
			t.Errorf("%s (%s): %v (%s), want %s", v.name, v.comment, j.Verdict, j.Reason, v.expect)
		}
	}
}

func TestBodyVectors(t *testing.T) {
	w := storedWorld(t)
	for _, v := range vectors(t, "body") {
		_, err := decodeCommit(w.Volume, 9, [32]byte{}, v.hex)
		v.check(t, err)
	}
}

func TestHintVectors(t *testing.T) {
	w := storedWorld(t)
	for _, v := range vectors(t, "hint") {
		_, _, _, err := enter(w.Volume, w.owner, v.hex, v.ledger)
		v.check(t, err)
	}
}

func TestInhintVectors(t *testing.T) {
	for _, v := range vectors(t, "inhint") {
		_, err := decodeHint(v.hex)
		v.check(t, err)
	}
}
