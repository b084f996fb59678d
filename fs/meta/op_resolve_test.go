package meta_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

func left(t *testing.T, m *metatest.Map) (ids []meta.ConflictID) {
	t.Helper()
	err := meta.Conflicts(m, func(id meta.ConflictID, _ meta.Conflict) bool {
		ids = append(ids, id)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// Resolve deletes the records that are there, and is content where another machine has
// done so already.
func TestResolve(t *testing.T) {
	t.Parallel()
	m := new(metatest.Map)
	m.Apply(meta.InitBatch(clock, 0, 0))
	a, b, c := meta.ConflictID{Version: version}, meta.ConflictID{Version: version, No: 1}, meta.ConflictID{Version: version + 1}
	for _, id := range []meta.ConflictID{a, b, c} {
		m.Apply(&meta.Batch{Puts: []meta.KV{{Key: meta.ConflictKey(id), Value: meta.AppendConflict(nil, meta.Conflict{Kind: meta.ConflictLost, Ours: letter, Time: clock})}}})
	}
	at := meta.Stamp{Device: 2, No: 1, Time: clock}
	do := func(ids ...meta.ConflictID) *meta.Batch {
		t.Helper()
		batch, err := (&meta.Resolve{IDs: ids}).Apply(m, at)
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Validate(); err != nil {
			t.Fatal(err)
		}
		m.Apply(batch)
		return batch
	}
	do(a, b)
	if got := left(t, m); !slices.Equal(got, []meta.ConflictID{c}) {
		t.Errorf("left: %v", got)
	}
	if batch := do(a); !batch.Empty() {
		t.Errorf("resolved twice: %+v", batch)
	}
	do(b, c)
	if got := left(t, m); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if _, err := (&meta.Resolve{}).Apply(m, at); !errors.Is(err, meta.ErrMalformed) {
		t.Errorf("of nothing: %v", err)
	}
}

// A machine that has got a new number means the records of its own operations still.
func TestResolveReobserved(t *testing.T) {
	t.Parallel()
	o := &meta.Resolve{IDs: []meta.ConflictID{{Version: version}, {Version: version + 1}, {Version: 9<<48 | 7}}}
	got := meta.Reobserve(o, func(v uint64) uint64 {
		if meta.WrittenBy(v) == 1 {
			return 10<<48 | v&uint64(meta.MaxOpNo)
		}
		return v
	}).(*meta.Resolve)
	want := []meta.ConflictID{{Version: 9<<48 | 7}, {Version: 10<<48 | version&uint64(meta.MaxOpNo)}, {Version: 10<<48 | (version+1)&uint64(meta.MaxOpNo)}}
	if !slices.Equal(got.IDs, want) || len(o.IDs) != 3 || o.IDs[0].Version != version {
		t.Errorf("%v, want %v", got.IDs, want)
	}
	if _, err := meta.DecodeOp(meta.EncodeOp(got)); err != nil {
		t.Error(err)
	}
}

func TestConflictIDText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{"1-2", true}, {"1-2-3", true}, {"65535-281474976710655-255", true},
		{"1-2-0", false}, {"01-2", false}, {"1", false}, {"1-", false}, {"0-1", false}, {"1-0", false}, {"65536-1", false},
		{"1-2-256", false}, {"1-2-3-4", false}, {"a-b", false}, {"", false}, {"1-+2", false},
	} {
		id, ok := meta.ParseConflictID(c.text)
		if ok != c.ok || ok && id.String() != c.text {
			t.Errorf("%q: %v %v", c.text, id, ok)
		}
	}
}
