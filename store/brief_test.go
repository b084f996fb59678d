package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store"
)

type spoken struct{ error }

func (spoken) Brief() string  { return "in short" }
func (spoken) Advice() string { return "look" }

func TestBrief(t *testing.T) {
	for _, c := range []struct {
		fact          string
		err           error
		brief, advice string
	}{
		{"an object's name is left out", fmt.Errorf("get v0/s/00/p/11: %w", store.ErrFull), "store is full", ""},
		{"the last cause counts", fmt.Errorf("3 tries: put a: %w: input/output error", store.ErrUnavailable), "input/output error", ""},
		{"nothing behind the colon", fmt.Errorf("%w: ", store.ErrDenied), "store denies access: ", ""},
		{"a store with words of its own", fmt.Errorf("put a: %w", spoken{store.ErrUnavailable}), "in short", "look"},
		{"too long", fmt.Errorf("%w: %s", store.ErrUnavailable, strings.Repeat("ä", 100)), strings.Repeat("ä", 50) + "…", ""},
		{"cut within a letter", fmt.Errorf("%w: a%s", store.ErrUnavailable, strings.Repeat("ä", 100)), "a" + strings.Repeat("ä", 49) + "…", ""},
		{"no error of a store", errors.New("another machine: changed: it"), "another machine: changed: it", ""},
	} {
		if b, a := store.Brief(c.err), store.Advice(c.err); b != c.brief || a != c.advice {
			t.Errorf("%s: %q, %q; want %q, %q", c.fact, b, a, c.brief, c.advice)
		}
	}
}
