package table

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// bucket holds tables, and knows which of their bytes are near.
type bucket struct {
	mu      sync.Mutex
	objects map[crypt.Name][]byte
	near    map[crypt.Name][]span // what Fetch brought; ascending, apart
	all     bool                  // everything is near
	fetched []fetch               // since it was last looked at
	written int64                 // bytes of content
	tables  int
	serial  uint64
	fail    error       // of the next Fetch or Write
	lose    func() bool // asked at each Fetch whether nothing comes of it; nil is no
}

type span struct{ from, to int64 }

type fetch struct {
	name   crypt.Name
	off, n int64
}

func newBucket() *bucket {
	return &bucket{objects: map[crypt.Name][]byte{}, near: map[crypt.Name][]span{}, all: true}
}

func (b *bucket) Near(t Table, off int64, dst []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.objects[t.Name]
	if !ok {
		return errors.New("no such object")
	}
	end := off + int64(len(dst))
	if off < 0 || end > t.Length || int64(len(content)) != t.Length {
		return fmt.Errorf("%d bytes at %d of %d", len(dst), off, len(content))
	}
	if !b.all && !slices.ContainsFunc(b.near[t.Name], func(s span) bool { return s.from <= off && end <= s.to }) {
		return fmt.Errorf("%d at %d: %w", len(dst), off, ErrFar)
	}
	copy(dst, content[off:])
	return nil
}

func (b *bucket) Fetch(ctx context.Context, t Table, off, n int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail; err != nil {
		b.fail = nil
		return err
	}
	if off < 0 || n < 1 || n > MaxIndex || off+n > t.Length {
		return fmt.Errorf("fetch of %d bytes at %d", n, off)
	}
	b.fetched = append(b.fetched, fetch{t.Name, off, n})
	if b.lose != nil && b.lose() {
		return nil
	}
	spans := append(b.near[t.Name], span{off, off + n})
	slices.SortFunc(spans, func(x, y span) int { return int(x.from - y.from) })
	merged := spans[:1]
	for _, s := range spans[1:] {
		if last := &merged[len(merged)-1]; s.from <= last.to {
			last.to = max(last.to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	b.near[t.Name] = merged
	return nil
}

// fetches returns what was fetched since the last call.
func (b *bucket) fetches() []fetch {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.fetched = nil }()
	return b.fetched
}

// forget makes everything far.
func (b *bucket) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.near, b.fetched = false, map[crypt.Name][]span{}, nil
}

func (b *bucket) write(ctx context.Context, content []byte) (name crypt.Name, err error) {
	if err := ctx.Err(); err != nil {
		return name, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail; err != nil {
		b.fail = nil
		return name, err
	}
	b.tables++
	b.written += int64(len(content))
	// As with sealing, two objects of one content have two names.
	b.serial++
	name = sha256.Sum256(binary.BigEndian.AppendUint64(nil, b.serial))
	b.objects[name] = bytes.Clone(content)
	return name, nil
}

func (b *bucket) options() FoldOptions {
	return FoldOptions{Src: b, Write: b.write, Epoch: 1}
}

// fold folds and checks each table that came of it.
func (b *bucket) fold(t testing.TB, runs []Run, delta []Entry, o FoldOptions) []Run {
	t.Helper()
	had := map[crypt.Name]bool{}
	for _, r := range runs {
		for _, table := range r {
			had[table.Name] = true
		}
	}
	out, err := Fold(t.Context(), runs, entries(delta), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out {
		for _, table := range r {
			if had[table.Name] {
				continue
			}
			if err := Check(table, b.objects[table.Name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	again, err := DecodeRuns(AppendRuns(nil, out))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(again) != fmt.Sprint(out) {
		t.Fatalf("the list of runs decodes to another one")
	}
	return out
}

// entries is a delta that uses its slices again, as it may.
func entries(delta []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var key, value []byte
		for _, e := range delta {
			key, value = append(key[:0], e.Key...), append(value[:0], e.Value...)
			if !yield(Entry{key, value, e.Dead}, nil) {
				return
			}
			for i := range key {
				key[i] = 0xee
			}
			for i := range value {
				value[i] = 0xee
			}
		}
	}
}

// delta makes one of a map, in which nil is a tombstone.
func delta(m map[string][]byte) []Entry {
	var out []Entry
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Entry{[]byte(k), m[k], m[k] == nil})
	}
	return out
}

// puts is a delta of keys, with values that tell them and the word.
func puts(word string, keys ...string) []Entry {
	m := map[string][]byte{}
	for _, k := range keys {
		m[k] = []byte(word + " " + k)
	}
	return delta(m)
}

func dead(keys ...string) []Entry {
	m := map[string][]byte{}
	for _, k := range keys {
		m[k] = nil
	}
	return delta(m)
}

// get is a Get that fetches what is far. It counts its turns.
func get(t testing.TB, s *Set, key []byte) (value []byte, turns int, err error) {
	t.Helper()
	for turns = 1; ; turns++ {
		value, err = s.Get(key)
		var far *Far
		if !errors.As(err, &far) {
			return value, turns, err
		}
		if !errors.Is(err, ErrFar) || !errors.Is(err, meta.ErrUnknown) {
			t.Fatalf("%v is not far, or not unknown", err)
		}
		if err := far.Fetch(t.Context()); err != nil {
			return nil, turns, err
		}
		if turns > 100 {
			t.Fatal("a lookup does not end")
		}
	}
}

// scan is a Scan that fetches what is far and begins anew.
func scan(t testing.TB, s *Set, from, to []byte) (keys, values [][]byte, turns int, err error) {
	t.Helper()
	for turns = 1; ; turns++ {
		keys, values = nil, nil
		err = s.Scan(from, to, func(k, v []byte) bool {
			keys, values = append(keys, bytes.Clone(k)), append(values, v)
			return true
		})
		var far *Far
		if !errors.As(err, &far) {
			return keys, values, turns, err
		}
		if err := far.Fetch(t.Context()); err != nil {
			return nil, nil, turns, err
		}
		if turns > 1000 {
			t.Fatal("a scan does not end")
		}
	}
}

// all is what a set holds, as text.
func all(t testing.TB, s *Set) string {
	t.Helper()
	keys, values, _, err := scan(t, s, []byte{0}, bytes.Repeat([]byte{0xff}, MaxKey))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for i := range keys {
		fmt.Fprintf(&b, "%s = %s\n", keys[i], values[i])
	}
	return b.String()
}
