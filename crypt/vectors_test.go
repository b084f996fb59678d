package crypt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A vector is a small text file of "key: value" lines. A key that stands on several
// lines continues its value. "expect" and "comment" are text, all others hexadecimal.
type vector struct {
	name    string
	expect  string
	comment string
	fields  []field
}

type field struct {
	key   string
	value []byte
}

func (v *vector) add(key string, value []byte) { v.fields = append(v.fields, field{key, value}) }

func (v *vector) bytes(tb testing.TB, key string) []byte {
	tb.Helper()
	for _, f := range v.fields {
		if f.key == key {
			return f.value
		}
	}
	tb.Fatalf("%s: no %s", v.name, key)
	return nil
}

func (v *vector) array(tb testing.TB, key string) [32]byte {
	tb.Helper()
	b := v.bytes(tb, key)
	if len(b) != 32 {
		tb.Fatalf("%s: %s has %d bytes", v.name, key, len(b))
	}
	return [32]byte(b)
}

func (v *vector) number(tb testing.TB, key string) (n uint64) {
	tb.Helper()
	for _, c := range v.bytes(tb, key) {
		n = n<<8 | uint64(c)
	}
	return n
}

func (v *vector) key(tb testing.TB) *Key {
	tb.Helper()
	k, err := KeyFromBytes(v.bytes(tb, "key"))
	if err != nil {
		tb.Fatalf("%s: %v", v.name, err)
	}
	return k
}

// check compares an error with what the vector expects.
func (v *vector) check(tb testing.TB, err error) {
	tb.Helper()
	want, ok := map[string]error{"ok": nil, "forged": ErrForged, "newer": ErrVersion}[v.expect]
	if !ok {
		tb.Fatalf("%s: unknown expectation %q", v.name, v.expect)
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		tb.Errorf("%s: got %v, want %v", v.name, err, want)
	}
}

func (v *vector) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "expect: %s\ncomment: %s\n", v.expect, v.comment)
	for _, f := range v.fields {
		for rest := f.value; ; {
			line := rest[:min(48, len(rest))]
			fmt.Fprintf(&b, "%s: %x\n", f.key, line)
			if rest = rest[len(line):]; len(rest) == 0 {
				break
			}
		}
	}
	return []byte(b.String())
}

func parseVector(name string, text []byte) (v vector, err error) {
	v.name = name
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !found {
			return v, fmt.Errorf("%s: line %q", name, line)
		}
		switch key {
		case "expect":
			v.expect = value
			continue
		case "comment":
			v.comment = value
			continue
		}
		b, err := hex.DecodeString(value)
		if err != nil {
			return v, fmt.Errorf("%s: %s: %w", name, key, err)
		}
		if n := len(v.fields); n > 0 && v.fields[n-1].key == key {
			v.fields[n-1].value = append(v.fields[n-1].value, b...)
		} else {
			v.add(key, b)
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
		all = append(all, v)
	}
	return all
}

// TestVectorFiles holds the files to the tables below. With HUSHFS_WRITE_VECTORS=1
// it writes those that are missing; one that exists is never changed, since what
// it shows is stored somewhere.
func TestVectorFiles(t *testing.T) {
	for kind, made := range map[string][]vector{
		"envelope": envelopeVectors(),
		"large":    largeVectors(),
		"tail":     tailVectors(),
		"frame":    frameVectors(),
		"derive":   deriveVectors(),
		"check":    checkVectors(),
		"local":    localVectors(),
	} {
		known := map[string]bool{}
		good := 0
		for _, v := range made {
			known[v.name] = true
			if v.expect == "ok" {
				good++
			}
			path := filepath.Join("testdata", kind, v.name+".txt")
			text, err := os.ReadFile(path)
			switch {
			case err == nil && !bytes.Equal(text, v.text()):
				t.Errorf("%s is not what the code makes now; a vector never changes", path)
			case errors.Is(err, os.ErrNotExist) && os.Getenv("HUSHFS_WRITE_VECTORS") == "1":
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, v.text(), 0o644); err != nil {
					t.Fatal(err)
				}
			case err != nil:
				t.Errorf("%v; HUSHFS_WRITE_VECTORS=1 writes what is missing", err)
			}
		}
		if good == 0 {
			t.Errorf("%s: no good vector", kind)
		}
		for _, v := range vectors(t, kind) {
			if !known[v.name] {
				t.Errorf("testdata/%s/%s.txt: nothing makes it", kind, v.name)
			}
		}
	}
}

// pattern returns n bytes without a short period.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*29)
	}
	return b
}

// count returns 32 bytes that count up from first.
func count(first byte) (b [32]byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func testKey(first byte) *Key {
	b := count(first)
	k, err := KeyFromBytes(b[:])
	if err != nil {
		panic(err)
	}
	return k
}
