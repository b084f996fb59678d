package vectortest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failures is a test that goes on, and keeps what it was told.
type failures struct {
	testing.TB
	all []string
}

func (f *failures) Helper()                           {}
func (f *failures) Error(args ...any)                 { f.all = append(f.all, fmt.Sprint(args...)) }
func (f *failures) Errorf(format string, args ...any) { f.Error(fmt.Sprintf(format, args...)) }

func TestKeep(t *testing.T) {
	t.Chdir(t.TempDir())
	path := filepath.Join("testdata", "kind", "two-lines.txt")
	keep := func(failure string, made ...Vector) {
		t.Helper()
		f := failures{TB: t}
		Keep(&f, "kind", made)
		if failure == "" && f.all != nil || failure != "" && (len(f.all) != 1 || !strings.Contains(f.all[0], failure)) {
			t.Errorf("%q, want %q", f.all, failure)
		}
	}
	drawn := func(b byte) Field { return Field{Key: "salt", Text: fmt.Sprint(b), Drawn: true} }
	v := New("two lines", "ok", "", drawn(1), Hex("hex", bytes.Repeat([]byte{0xab}, 49)), Line("line", nil))

	t.Setenv("HUSHFS_WRITE_VECTORS", "1")
	keep("", v)
	text, err := os.ReadFile(path)
	if want := "expect: ok\ncomment: \nsalt: 1\nhex: " + strings.Repeat("ab", 48) + "\nhex: ab\nline: \n"; err != nil || string(text) != want {
		t.Fatalf("%s, %v", text, err)
	}
	v.Fields[1] = drawn(2)
	keep("", v)
	other := New("two lines", "forged", "", v.Fields[1:]...)
	keep("not what the code makes", other)
	other.Expect, other.Fields[2] = "ok", Line("hex", bytes.Repeat([]byte{0xab}, 49))
	keep("not what the code makes", other)
	keep("made twice", v, v)
	keep("nothing makes it")
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the file became %s, %v", now, err)
	}

	t.Setenv("HUSHFS_WRITE_VECTORS", "")
	keep("missing", v, New("another", "ok", ""))
}

func TestVectorValues(t *testing.T) {
	v := New("v", "bad", "", Hex("hex", bytes.Repeat([]byte{0xab}, 100)), Line("n", []byte{1, 2}))
	if got := v.Bytes(t, "hex"); !bytes.Equal(got, bytes.Repeat([]byte{0xab}, 100)) {
		t.Errorf("%x", got)
	}
	if n := v.Number(t, "n"); n != 0x102 {
		t.Error(n)
	}
	bad := errors.New("bad")
	f := failures{TB: t}
	words := map[string]error{"ok": nil, "bad": bad}
	v.Check(&f, words, fmt.Errorf("very: %w", bad))
	if f.all != nil {
		t.Error(f.all)
	}
	v.Check(&f, words, nil)
	v.Expect = "ok"
	v.Check(&f, words, bad)
	if len(f.all) != 2 {
		t.Error(f.all)
	}
}

// What is no vector does not come back as it was, so Read refuses it.
func TestParse(t *testing.T) {
	for text, good := range map[string]bool{
		"expect: ok\n":                       true,
		"expect: ok\na: 1\na: \na: 2\nb: \n": true,
		"expect: ok\na: 1\nb: 2\na: 3\n":     true,
		"":                                   false,
		"expect: ok":                         false,
		"a: 1\nexpect: ok\n":                 false,
		"expect: ok\nexpect: ok\n":           false,
		"expect: ok\na\n":                    false,
		"expect: ok\na:1\n":                  false,
		"expect: ok\n\n":                     false,
	} {
		if v := parse(text); (string(v.encode()) == text) != good {
			t.Errorf("%q: %q", text, v.encode())
		}
	}
}
