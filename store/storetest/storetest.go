// Package storetest is the suite that every store passes.
//
// A check is a function that says what is wrong with a bucket. So the suite is
// itself tested: for each promise of store.Bucket there is a bucket that
// breaks it, and a check must notice.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/store"
)

// Run runs the suite. Open returns an empty bucket and cleans up with t.
func Run(t *testing.T, open func(t *testing.T) store.Bucket) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is run on an empty bucket of its own.
type check struct {
	name string
	run  func(ctx context.Context, b store.Bucket) error
}

var checks = []check{
	{"an object comes back as it was put", comesBack},
	{"slices are not shared with the caller", notShared},
	{"a taken name stays as it is", staysAsItIs},
	{"an absent object is absent", absent},
	{"a deleted object is gone", deleted},
	{"ranges along the edges", ranges},
	{"a range that makes no sense is refused", badRanges},
	{"an object that is too large is refused", tooLarge},
	{"names up to the longest", longNames},
	{"a bad name is refused", badNames},
	{"a name that is a folder of another is kept or refused", folderNames},
	{"a listing tells sizes and times", listInfo},
	{"a listing is sorted, cut by prefix, after and max", listCuts},
	{"pages join without gap", listPages},
	{"a cancelled call does nothing", cancelled},
	{"one racer wins", oneWins},
	{"readers beside racers see all or nothing", allOrNothing},
}

// body returns n bytes that differ from those for another seed, if there are any.
func body(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if n > 0 {
		b[0] = byte(seed)
	}
	return b
}

// wantBody reads the whole object and compares.
func wantBody(ctx context.Context, b store.Bucket, name string, want []byte) error {
	got, err := b.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("get %s: %d bytes that are not the %d that were put", name, len(got), len(want))
	}
	return nil
}

// wantErr tells when err does not wrap want.
func wantErr(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: got error %v, want %v", what, err, want)
	}
	return nil
}

// wantNames lists everything under prefix and compares the names.
func wantNames(ctx context.Context, b store.Bucket, prefix string, want ...string) error {
	infos, err := b.List(ctx, prefix, "", 0)
	if err != nil {
		return err
	}
	return sameNames(fmt.Sprintf("list %q", prefix), infos, want)
}

func sameNames(what string, infos []store.Info, want []string) error {
	var got []string
	for _, i := range infos {
		got = append(got, i.Name)
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		return fmt.Errorf("%s: got %q, want %q", what, got, want)
	}
	return nil
}
