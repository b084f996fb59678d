// Package vectortest reads and writes test vectors: what the formats are held to.
//
// A vector is a small text file testdata/<kind>/<name>.txt of lines
// "key: value". The first one says what comes of it ("expect: forged"); of
// lines that follow each other with the same key, each continues the one
// before. A vector shows what lies stored somewhere, so a file that exists is
// never changed: when the code makes something else, its test fails. What the
// words after expect mean, and what the fields hold, is each package's own.
package vectortest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Vector is one file.
type Vector struct {
	Name   string // of the file, without directory and .txt
	Expect string
	Fields []Field // in the order of the file
}

// Field is a key and its value.
type Field struct {
	Key, Text string // Text has a line for each line of the file
	Drawn     bool   // made anew each time, so not compared with the file
}

// New is a vector with a comment, which may be empty. Spaces in its name become
// hyphens.
func New(name, expect, comment string, fields ...Field) Vector {
	return Vector{strings.ReplaceAll(name, " ", "-"), expect, append([]Field{{Key: "comment", Text: comment}}, fields...)}
}

// Add appends a field as Hex makes it.
func (v *Vector) Add(key string, value []byte) { v.Fields = append(v.Fields, Hex(key, value)) }

// Line is a field of bytes, in hexadecimal on one line.
func Line(key string, value []byte) Field { return Field{Key: key, Text: hex.EncodeToString(value)} }

// Hex is a field of bytes, in hexadecimal, 48 on a line.
func Hex(key string, value []byte) Field {
	var lines []string
	for part := range slices.Chunk(value, 48) {
		lines = append(lines, hex.EncodeToString(part))
	}
	return Field{Key: key, Text: strings.Join(lines, "\n")}
}

// Text is the value of a field as it stands in the file. A test without it fails.
func (v Vector) Text(tb testing.TB, key string) string {
	tb.Helper()
	i := slices.IndexFunc(v.Fields, func(f Field) bool { return f.Key == key })
	if i < 0 {
		tb.Fatalf("%s: no %s", v.Name, key)
	}
	return v.Fields[i].Text
}

// Bytes is the value of a field in hexadecimal; the slice is the caller's.
func (v Vector) Bytes(tb testing.TB, key string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(v.Text(tb, key), "\n", ""))
	if err != nil {
		tb.Fatalf("%s: %s: %v", v.Name, key, err)
	}
	return b
}

// Number is the value of a field in hexadecimal as a number, big endian.
func (v Vector) Number(tb testing.TB, key string) (n uint64) {
	tb.Helper()
	for _, c := range v.Bytes(tb, key) {
		n = n<<8 | uint64(c)
	}
	return n
}

// Check compares an error with what the vector expects. The words are all that
// it may; that of nil is for no error.
func (v Vector) Check(tb testing.TB, words map[string]error, err error) {
	tb.Helper()
	want, ok := words[v.Expect]
	if !ok {
		tb.Fatalf("%s: unknown expectation %q", v.Name, v.Expect)
	}
	if !errors.Is(err, want) {
		tb.Errorf("%s: got %v, want %v", v.Name, err, want)
	}
}

// Read is all vectors of a kind; a test that finds none fails.
func Read(tb testing.TB, kind string) []Vector {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", kind, "*.txt"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no vectors in testdata/%s: %v", kind, err)
	}
	var all []Vector
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		v := parse(string(text))
		v.Name = strings.TrimSuffix(filepath.Base(path), ".txt")
		if !bytes.Equal(v.encode(), text) {
			tb.Fatalf("%s: not lines of key and value that begin with expect", path)
		}
		all = append(all, v)
	}
	return all
}

// Keep holds the files of a kind to the vectors that the code makes: there is
// one for each, it says the same, and nothing else is there. With
// HUSHFS_WRITE_VECTORS=1 it writes those that are missing, and no other.
func Keep(tb testing.TB, kind string, made []Vector) {
	tb.Helper()
	known := map[string]Vector{}
	for _, v := range made {
		if _, twice := known[v.Name]; twice {
			tb.Errorf("testdata/%s/%s.txt is made twice", kind, v.Name)
		}
		known[v.Name] = v
		if err := v.write(kind); err != nil {
			tb.Error(err)
		}
	}
	for _, v := range Read(tb, kind) {
		if now, ok := known[v.Name]; !ok {
			tb.Errorf("testdata/%s/%s.txt: nothing makes it", kind, v.Name)
		} else if !now.same(v) {
			tb.Errorf("testdata/%s/%s.txt is not what the code makes now; a vector never changes:\n%s", kind, v.Name, now.encode())
		}
	}
}

// write makes the file unless there is one, and fails where it is not to.
func (v Vector) write(kind string) error {
	path := filepath.Join("testdata", kind, v.Name+".txt")
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Getenv("HUSHFS_WRITE_VECTORS") != "1" {
		return fmt.Errorf("%s is missing; HUSHFS_WRITE_VECTORS=1 writes it", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, v.encode(), 0o644)
}

// same reports whether a file says what v does, but for what is drawn.
func (v Vector) same(file Vector) bool {
	return v.Expect == file.Expect && slices.EqualFunc(v.Fields, file.Fields, func(f, g Field) bool {
		return f.Key == g.Key && (f.Drawn || f.Text == g.Text)
	})
}

func (v Vector) encode() []byte {
	b := fmt.Appendf(nil, "expect: %s\n", v.Expect)
	for _, f := range v.Fields {
		for line := range strings.SplitSeq(f.Text, "\n") {
			b = fmt.Appendf(b, "%s: %s\n", f.Key, line)
		}
	}
	return b
}

// parse takes text apart. What is no vector does not encode to the same text.
func parse(text string) (v Vector) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		n := len(v.Fields)
		switch {
		case key == "expect":
			v.Expect = value
		case n > 0 && v.Fields[n-1].Key == key:
			v.Fields[n-1].Text += "\n" + value
		default:
			v.Fields = append(v.Fields, Field{Key: key, Text: value})
		}
	}
	return v
}
