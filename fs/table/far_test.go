package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// drive is n files, folded in that many deltas, and all of it far.
func drive(t testing.TB, n, deltas int) (*life, []Entry) {
	r := rand.New(rand.NewPCG(1, 1))
	l := &life{b: newBucket()}
	var every []Entry
	for i := range deltas {
		d := files(r, i*n/deltas, n/deltas)
		l.fold(t, d)
		every = append(every, d...)
	}
	l.b.forget()
	return l, every
}

// oneTable is n files in one table.
func oneTable(t testing.TB, n int) (b *bucket, run []Run, every []Entry) {
	b = newBucket()
	o := b.options()
	o.Target = maxTarget
	every = files(rand.New(rand.NewPCG(1, 1)), 0, n)
	run = b.fold(t, nil, every, o)
	if len(run) != 1 || len(run[0]) != 1 {
		t.Fatal(len(run[0]), "tables")
	}
	b.forget()
	return b, run, every
}

func TestFirstGetTakesTwoFetches(t *testing.T) {
	b, runs, every := oneTable(t, 60_000)
	table := runs[0][0]
	var s *Set
	for _, e := range []Entry{every[0], every[len(every)/2], every[len(every)-1]} {
		b.forget()
		s = NewSet(runs, b, NewMemory(8<<20))
		v, turns, err := get(t, s, e.Key)
		if err != nil || !bytes.Equal(v, e.Value) || turns != 3 {
			t.Errorf("get %x: %v, %d turns", e.Key, err, turns)
		}
		got := b.fetches()
		if len(got) != 2 || got[0].off != table.Length-int64(table.Index) || got[0].n != int64(table.Index) || got[1].n > blockSize {
			t.Fatalf("fetched %v", got)
		}
		if _, turns, err = get(t, s, e.Key); err != nil || turns != 1 {
			t.Errorf("again: %v, %d turns", err, turns)
		}
	}

	// With the index here, nearly all that is not there costs nothing.
	b.fetches()
	for i := range 600 {
		if _, _, err := get(t, s, fmt.Appendf(nil, "%sabsent%d", every[i*40].Key, i)); !errors.Is(err, meta.ErrAbsent) {
			t.Fatal(err)
		}
	}
	if n := len(b.fetches()); n > 25 {
		t.Errorf("600 lookups of what is not there took %d fetches", n)
	}
}

func TestSmallTableTakesOneFetch(t *testing.T) {
	l, every := drive(t, 1000, 1)
	s := NewSet(l.runs, l.b, NewMemory(8<<20))
	for _, e := range every {
		if v, _, err := get(t, s, e.Key); err != nil || !bytes.Equal(v, e.Value) {
			t.Fatal(err)
		}
	}
	if n := len(l.b.fetches()); n != len(l.runs[0]) {
		t.Errorf("%d fetches of %d tables", n, len(l.runs[0]))
	}
}

// firstListing is what a new machine reads of the tables to list the root with
// the attributes of all that is in it.
func firstListing(t testing.TB, l *life, folders int) (fetches, turns int) {
	l.b.forget()
	s := NewSet(l.runs, l.b, NewMemory(8<<20))
	names, inodes := meta.DirentRange(meta.Root), meta.Range{From: meta.InodeKey(meta.Ref{Home: meta.Root}), To: meta.InodeKey(meta.Ref{Home: meta.Root + 1})}
	for _, r := range []meta.Range{names, inodes} {
		keys, _, n, err := scan(t, s, r.From, r.To)
		if turns += n - 1; err != nil || len(keys) != folders {
			t.Fatalf("%d of %d, %v", len(keys), folders, err)
		}
	}
	fetches = len(l.b.fetches())
	again := NewSet(l.runs, l.b, NewMemory(8<<20))
	if _, _, n, err := scan(t, again, names.From, names.To); n != 1 || err != nil {
		t.Errorf("what is near was fetched again: %d turns, %v", n, err)
	}
	return fetches, turns
}

func TestFirstListing(t *testing.T) {
	l, _ := drive(t, 60_000, 13)
	fetches, turns := firstListing(t, l, 600)
	t.Logf("%d runs: %d fetches in %d turns", len(l.runs), fetches, turns)
	if len(l.runs) < 2 || turns > 4 || fetches > 8 {
		t.Errorf("%d runs: %d fetches in %d turns", len(l.runs), fetches, turns)
	}
}

// TestFarScan fetches all of a range in as few turns as 4 MiB allow.
func TestFarScan(t *testing.T) {
	b, runs, every := oneTable(t, 130_000)
	s := NewSet(runs, b, NewMemory(64<<20))
	keys, _, turns, err := scan(t, s, []byte{0}, []byte{0xff})
	if err != nil || len(keys) != len(every) {
		t.Fatalf("%d of %d entries, %v", len(keys), len(every), err)
	}
	got := b.fetches()
	var sum int64
	for _, f := range got {
		if sum += f.n; f.n > farBytes {
			t.Errorf("%d bytes at once", f.n)
		}
	}
	t.Logf("%d turns, %d fetches, %d of %d bytes in %d tables", turns, len(got), sum, s.Bytes(), s.Tables())
	if most := s.Tables() + int(s.Bytes()/farBytes) + 2; turns > most || sum > s.Bytes() {
		t.Errorf("%d turns, %d bytes", turns, sum)
	}

	// A folder in the middle: the index, then its blocks and no others.
	b.forget()
	s = NewSet(runs, b, NewMemory(64<<20))
	dir := meta.DirentRange(meta.MakeIno(1, 300*101+1))
	keys, _, turns, err = scan(t, s, dir.From, dir.To)
	if err != nil || len(keys) != 100 || turns != 3 {
		t.Errorf("%d names in %d turns, %v", len(keys), turns, err)
	}
	if got := b.fetches(); len(got) != 2 || got[1].n > 2*blockSize {
		t.Errorf("fetched %v", got)
	}
	// One that is not there falls between keys: the filter knows.
	dir = meta.DirentRange(meta.MakeIno(1, 300*101+2))
	if keys, _, turns, err = scan(t, s, dir.From, dir.To); err != nil || len(keys) != 0 || turns != 1 {
		t.Errorf("%d names in %d turns, %v", len(keys), turns, err)
	}
}

func TestFarErrors(t *testing.T) {
	l, every := drive(t, 5000, 2)
	s := NewSet(l.runs, l.b, NewMemory(1<<20))
	_, err := s.Get(every[0].Key)
	var far *Far
	if !errors.As(err, &far) || far.Bytes() == 0 {
		t.Fatal(err)
	}
	offline := errors.New("off line")
	l.b.fail = offline
	if err := far.Fetch(t.Context()); !errors.Is(err, offline) {
		t.Errorf("fetch: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := far.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("fetch: %v", err)
	}
	if _, err := s.Get(every[0].Key); !errors.Is(err, meta.ErrUnknown) {
		t.Errorf("get: %v", err)
	}
	if err := far.Fetch(t.Context()); err != nil {
		t.Error(err)
	}
	if v, _, err := get(t, s, every[0].Key); err != nil || !bytes.Equal(v, every[0].Value) {
		t.Error(err)
	}
	delete(l.b.objects, l.runs[0][0].Name)
	if _, err := NewSet(l.runs, l.b, NewMemory(0)).Get(l.runs[0][0].First); err == nil || errors.Is(err, ErrFar) || errors.Is(err, meta.ErrAbsent) {
		t.Errorf("get from an object that is not there: %v", err)
	}
}
