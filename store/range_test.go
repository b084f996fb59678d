package store_test

import (
	"errors"
	"math"
	"testing"

	"github.com/hushfs/hushfs/store"
)

func TestRange(t *testing.T) {
	const big = store.MaxObject
	for _, c := range []struct {
		fact              string
		size, off, length int64
		from, to          int64
		err               error
	}{
		{"nothing of nothing", 0, 0, 0, 0, 0, nil},
		{"all of nothing", 0, 0, -1, 0, 0, nil},
		{"the end of nothing", 0, -1, -1, 0, 0, nil},
		{"all", 10, 0, -1, 0, 10, nil},
		{"all, to the byte", 10, 0, 10, 0, 10, nil},
		{"cut at the end", 10, 5, 6, 5, 10, nil},
		{"the last byte", 10, 9, 1, 9, 10, nil},
		{"at the end", 10, 10, 1, 10, 10, nil},
		{"behind the end", 10, 11, -1, 10, 10, nil},
		{"far behind the end", 10, math.MaxInt64, math.MaxInt64, 10, 10, nil},
		{"any length below 0", 10, 3, math.MinInt64, 3, 10, nil},
		{"the last 3", 10, -3, -1, 7, 10, nil},
		{"the last 10", 10, -10, -1, 0, 10, nil},
		{"more than there is", 10, -11, -1, 0, 10, nil},
		{"far more than there is", 10, math.MinInt64, -1, 0, 10, nil},
		{"from the end with a length", 10, -3, 3, 0, 0, store.ErrRange},
		{"from the end with another negative length", 10, -3, -2, 0, 0, store.ErrRange},
		{"the largest part", big + 1, 1, -1, 1, big + 1, nil},
		{"a part that is too large", big + 1, 0, -1, 0, 0, store.ErrTooLarge},
		{"a small part of what is too large", math.MaxInt64, math.MaxInt64 - 1, 5, math.MaxInt64 - 1, math.MaxInt64, nil},
		{"the end of what is too large", math.MaxInt64, -5, -1, math.MaxInt64 - 5, math.MaxInt64, nil},
		{"all of what is far too large", math.MaxInt64, math.MinInt64, -1, 0, 0, store.ErrTooLarge},
	} {
		from, to, err := store.Range(c.size, c.off, c.length)
		if from != c.from || to != c.to || !errors.Is(err, c.err) {
			t.Errorf("%s: got %d to %d, %v; want %d to %d, %v", c.fact, from, to, err, c.from, c.to, c.err)
		}
	}
}
