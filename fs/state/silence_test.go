package state

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

func silenceVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	content := func(days byte, silent uint16, asked int64, date int32, came byte) []byte {
		b := binary.BigEndian.AppendUint64(nil, 700) // newest slot of another device
		b = binary.BigEndian.AppendUint16(b, 2)      // devices that were removed
		b = append(b, days)                          // days with commits
		b = binary.BigEndian.AppendUint16(b, silent) // days since
		b = binary.BigEndian.AppendUint64(b, uint64(asked))
		b = binary.BigEndian.AppendUint32(b, uint32(date))
		return append(b, came)
	}
	good := content(0x7f, 3, int64(2*time.Hour), 20_000, 1)
	add("three-silent", "ok", "each of seven days, then three of silence, then something", good)
	add("nothing-yet", "ok", "what a new machine has", make([]byte, silenceSize))
	add("before-1970", "ok", "clocks say what they like", content(1, 0, 0, -1, 0))
	add("longest", "ok", "no day is counted any more", content(0x55, 65535, 1<<62, 1<<30, 0))
	add("eighth-day", "malformed", "days that are not remembered", content(0x81, 0, 0, 0, 0))
	add("no-newest-day", "malformed", "the newest day with commits had none", content(0x7e, 0, 0, 0, 0))
	add("silent-since-never", "malformed", "days of silence, and none with commits before", content(0, 4, 0, 0, 0))
	add("asked-less-than-nothing", "malformed", "a negative time", content(1, 0, -1, 0, 0))
	add("came-twice", "malformed", "neither yes nor no", content(1, 0, 0, 0, 2))
	add("one-byte-short", "malformed", "ends too early", good[:len(good)-1])
	add("one-byte-more", "malformed", "something behind", append(bytes.Clone(good), 0))
	return all
}

func TestSilenceVectors(t *testing.T) {
	vectortest.Keep(t, "silence", silenceVectors())
	for _, v := range vectortest.Read(t, "silence") {
		q, err := decodeSilence(v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(q.encode(), v.Bytes(t, "hex")) {
			t.Errorf("%s is not canonical", v.Name)
		}
	}
}

func FuzzDecodeSilence(f *testing.F) {
	for _, v := range vectortest.Read(f, "silence") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeSilence(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func TestSilence(t *testing.T) {
	dir, s := create(t)
	if got := s.Silence(); got != (Silence{}) {
		t.Errorf("a new machine has %+v", got)
	}
	want := Silence{Newest: 9, Removed: 1, Days: 0x5f, Silent: 4, Asked: time.Hour, Date: 20_000}
	must(t, s.SetSilence(want, true))
	more := want
	more.Asked += time.Minute
	must(t, s.SetSilence(more, false))
	if s.Silence() != more {
		t.Errorf("it has %+v", s.Silence())
	}
	if got := reopen(t, dir, NotFresh).Silence(); got != want {
		t.Errorf("the next process has %+v", got)
	}
	// Whatever else lies there is none.
	path := filepath.Join(dir, silenceFile)
	good, err := os.ReadFile(path)
	must(t, err)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		must(t, os.WriteFile(path, bad, 0o600))
		if got := reopen(t, dir, NotFresh).Silence(); got != (Silence{}) {
			t.Fatalf("byte %d: %+v", i, got)
		}
	}
	// Who looks at what is not to be gone on from keeps nothing of it.
	must(t, os.WriteFile(path, good, 0o600))
	s = reopen(t, dir, NotFresh)
	s.Freeze()
	must(t, s.SetSilence(more, true))
	if got := reopen(t, dir, NotFresh).Silence(); got != want {
		t.Errorf("%+v was kept", got)
	}
}
