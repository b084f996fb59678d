package chain

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

// A vector is a file of vectortest. Boxes and salts are random, so none can be
// made twice: what counts is the file. They all are of the volume in
// testdata/world.
type vector struct {
	name, expect, comment string
	hex                   []byte // what is to be decoded
	slot                  Slot   // of commits: where it lies
	ledger                []byte // of hints: the object that is named
}

// file is how a vector is written: no bytes have no line.
func (v vector) file() vectortest.Vector {
	f := vectortest.New(v.name, v.expect, v.comment)
	if v.slot != 0 {
		f.Fields = append(f.Fields, vectortest.Line("slot", binary.BigEndian.AppendUint64(nil, uint64(v.slot))))
	}
	drawn := func(key string, value []byte) {
		if len(value) > 0 {
			f.Add(key, value)
			f.Fields[len(f.Fields)-1].Drawn = true
		}
	}
	drawn("ledger", v.ledger)
	drawn("hex", v.hex)
	return f
}

// vectors reads all of one kind.
func vectors(tb testing.TB, kind string) (all []vector) {
	tb.Helper()
	for _, f := range vectortest.Read(tb, kind) {
		v := vector{name: f.Name, expect: f.Expect}
		for _, field := range f.Fields {
			switch field.Key {
			case "comment":
				v.comment = field.Text
			case "slot":
				v.slot = Slot(f.Number(tb, "slot"))
			case "ledger":
				v.ledger = f.Bytes(tb, "ledger")
			case "hex":
				v.hex = f.Bytes(tb, "hex")
			default:
				tb.Fatalf("%s: unknown key %q", f.Name, field.Key)
			}
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

var outcomes = map[string]error{
	"ok": nil, "malformed": ErrMalformed, "forged": ErrForged, "newer": ErrVersion, "refused": ErrRefused,
	"no box": ErrNoBox, "key": ErrKey, "seal": crypt.ErrForged,
}

// check compares an error with what the vector expects.
func (v vector) check(tb testing.TB, err error) {
	tb.Helper()
	v.file().Check(tb, outcomes, err)
}

func TestVectorFiles(t *testing.T) {
	world := vector{name: "ledger", expect: "ok", comment: "owner seed 0102..40, epoch key 8081..9f, device 1 seed 4041..5f",
		hex: newWorld(t).start.Encode()}
	vectortest.Keep(t, "world", []vectortest.Vector{world.file()})
	for kind, made := range map[string][]vector{
		"record": recordVectors(storedWorld(t)),
		"ledger": ledgerVectors(storedWorld(t)),
		"commit": commitVectors(storedWorld(t)),
		"body":   bodyVectors(storedWorld(t)),
		"hint":   hintVectors(storedWorld(t)),
		"inhint": inhintVectors(storedWorld(t)),
	} {
		var files []vectortest.Vector
		for _, v := range made {
			files = append(files, v.file())
		}
		vectortest.Keep(t, kind, files)
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
