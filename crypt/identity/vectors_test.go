package identity

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

// A vector is a small text file of "key: value" lines. A key that stands on
// several lines continues its value. "expect" and "comment" are text, all
// others hexadecimal.
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

// made is a vector as this code would write it now. A random one is drawn
// anew each time, so its file is only opened, never compared.
type made struct {
	vector
	random bool
}

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

// check compares an error with what the vector expects.
func (v *vector) check(tb testing.TB, err error) {
	tb.Helper()
	want, ok := map[string]error{"ok": nil, "malformed": ErrMalformed, "algorithm": ErrAlgorithm,
		"signature": ErrSignature, "box": ErrBox}[v.expect]
	if !ok {
		tb.Fatalf("%s: unknown expectation %q", v.name, v.expect)
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		tb.Errorf("%s: got %v, want %v", v.name, err, want)
	}
}

func (v *vector) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "expect: %s\n", v.expect)
	if v.comment != "" {
		fmt.Fprintf(&b, "comment: %s\n", v.comment)
	}
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
			v.fields = append(v.fields, field{key, b})
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

// TestVectorFiles holds the files to the tables of the tests. With
// HUSHFS_WRITE_VECTORS=1 it writes those that are missing; one that exists is
// never changed, since what it shows is stored somewhere.
func TestVectorFiles(t *testing.T) {
	for kind, all := range map[string][]made{
		"public":    publicVectors(t),
		"device":    deviceVectors(t),
		"signature": signatureVectors(t),
		"box":       boxVectors(t),
		"words":     wordsVectors(t),
		"principal": principalVectors(),
		"wrapinfo":  wrapInfoVectors(),
	} {
		known := map[string]bool{}
		for _, v := range all {
			known[v.name] = true
			path := filepath.Join("testdata", kind, v.name+".txt")
			text, err := os.ReadFile(path)
			switch {
			case err == nil && !v.random && !bytes.Equal(text, v.text()):
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
		for _, v := range vectors(t, kind) {
			if !known[v.name] {
				t.Errorf("testdata/%s/%s.txt: nothing makes it", kind, v.name)
			}
		}
	}
}

// fixed makes a vector that is the same each time.
func fixed(name, expect, comment string, fields ...field) made {
	return made{vector: vector{strings.ReplaceAll(name, " ", "-"), expect, comment, fields}}
}

// drawn makes a vector that differs each time.
func drawn(name, expect, comment string, fields ...field) made {
	return made{vector: vector{strings.ReplaceAll(name, " ", "-"), expect, comment, fields}, random: true}
}

func in(key string, value []byte) field { return field{key, value} }

// count returns n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func testIdentity(tb testing.TB, first byte) *Identity {
	tb.Helper()
	id, err := FromSeed(count(first, SeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func testDevice(tb testing.TB, first byte) *Device {
	tb.Helper()
	d, err := DeviceFromSeed(count(first, DeviceSeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
