package meta_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// stutter is a Reader that fails now and then in the middle of a scan, as one does whose
// tables are far.
type stutter struct {
	meta.Reader
	n int
}

var errFar = errors.New("far")

func (s *stutter) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	failed := false
	err := s.Reader.Scan(from, to, func(k, v []byte) bool {
		if s.n++; s.n%3 == 0 {
			failed = true
			return false
		}
		return fn(k, v)
	})
	if failed {
		return errFar
	}
	return err
}

func (s *stutter) look(fn func(meta.Reader) error) error {
	for {
		if err := fn(s); !errors.Is(err, errFar) {
			return err
		}
	}
}

// Names knows every directory, and files away from where they were made; each name is
// told once, however often a read has to be done again.
func TestNames(t *testing.T) {
	t.Parallel()
	m := new(metatest.Map)
	m.Apply(meta.InitBatch(clock, 0, 0))
	n := meta.OpNo(0)
	do := func(op meta.Op) {
		t.Helper()
		n++
		b, err := op.Apply(m, meta.Stamp{Device: 1, No: n, Time: clock})
		if err != nil {
			t.Fatal(err)
		}
		m.Apply(b)
	}
	inner := meta.Ref{Home: docs.Ino, Ino: meta.MakeIno(1, 9)}
	do(&meta.Make{Parent: meta.RootRef, Name: []byte("docs"), Ref: docs, Kind: meta.Dir})
	do(&meta.Make{Parent: docs, Name: []byte("inner"), Ref: inner, Kind: meta.Dir})
	do(&meta.Make{Parent: docs, Name: []byte("letter"), Ref: letter, Kind: meta.File})
	do(&meta.Link{Ref: letter, Parent: inner, Name: []byte("again")})
	for i := range 20 {
		do(&meta.Make{Parent: docs, Name: fmt.Appendf(nil, "f%d", i), Ref: meta.Ref{Home: docs.Ino, Ino: meta.MakeIno(1, uint64(100+i))}, Kind: meta.File})
	}
	x := meta.NewNames()
	var told []string
	err := x.Add((&stutter{Reader: m}).look, func(at meta.At, _ meta.Dirent) { told = append(told, at.Name) })
	if err != nil || len(told) != 24 || len(slices.Compact(slices.Sorted(slices.Values(told)))) != 24 {
		t.Errorf("%v, %q", err, told)
	}
	again := meta.At{Dir: inner.Ino, Name: "again"}
	if got := x.Away(letter.Ino); !slices.Equal(got, []meta.At{again}) {
		t.Errorf("away: %v", got)
	}
	if got := x.Path(again); got != "/docs/inner/again" {
		t.Error(got)
	}
	if got := x.Path(meta.At{Dir: meta.Root}); got != "/" {
		t.Error(got)
	}
	if ref, ok := x.Ref(inner.Ino); !ok || ref != inner {
		t.Errorf("%v %v", ref, ok)
	}
	if got := x.Way(inner.Ino); !slices.Equal(got, []meta.Ino{inner.Ino, docs.Ino, meta.Root}) {
		t.Errorf("%v", got)
	}
	// A name that was given to something else is not taken away with what had it.
	x.Put(meta.At{Dir: meta.Root, Name: "papers"}, meta.Dirent{Ref: docs, Kind: meta.Dir})
	x.Drop(meta.At{Dir: meta.Root, Name: "docs"}, meta.Dirent{Ref: docs, Kind: meta.Dir})
	if got := x.Path(again); got != "/papers/inner/again" {
		t.Error(got)
	}
	x.Drop(meta.At{Dir: meta.Root, Name: "papers"}, meta.Dirent{Ref: docs, Kind: meta.Dir})
	if got := x.Path(again); got != "?/inner/again" {
		t.Error(got)
	}
	x.Drop(again, meta.Dirent{Ref: letter, Kind: meta.File})
	if got := x.Away(letter.Ino); len(got) > 0 {
		t.Errorf("away: %v", got)
	}
}
