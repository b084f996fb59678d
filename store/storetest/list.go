package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hushfs/hushfs/store"
)

func listInfo(ctx context.Context, b store.Bucket) error {
	sizes := map[string]int64{"v0/a": 0, "v0/b": 1, "v0/c/d": 70000}
	for name, size := range sizes {
		if err := b.PutIfAbsent(ctx, name, body(int(size), 1)); err != nil {
			return err
		}
	}
	infos, err := b.List(ctx, "v0/", "", 0)
	if err != nil {
		return err
	}
	if err := sameNames("list", infos, []string{"v0/a", "v0/b", "v0/c/d"}); err != nil {
		return err
	}
	for _, i := range infos {
		if i.Size != sizes[i.Name] {
			return fmt.Errorf("%s: size %d, want %d", i.Name, i.Size, sizes[i.Name])
		}
		if i.Modified.IsZero() {
			return fmt.Errorf("%s has no time", i.Name)
		}
	}
	return nil
}

// listed are names whose order depends on every byte that may stand next to
// or in place of a '/', which in a directory is no byte of a name.
var listed = []string{
	"a-/b", "a-b", "a.b", "a/-", "a/b-c", "a/b.c", "a/b/c", "a/b/d", "a/b0", "a0", "a_", "ab", "b", "z/z/z",
}

func listCuts(ctx context.Context, b store.Bucket) error {
	// Backwards: the order must come from the store.
	for _, name := range slices.Backward(listed) {
		if err := b.PutIfAbsent(ctx, name, nil); err != nil {
			return err
		}
	}
	sorted := slices.Sorted(slices.Values(listed))
	prefixes := []string{"", "y", "a/b/c/"}
	for _, name := range listed {
		for i := range len(name) {
			prefixes = append(prefixes, name[:i+1])
		}
	}
	slices.Sort(prefixes)
	afters := append([]string{"", "a", "a/", "a/b/", "a/b/c0", "a/~", "A", "~", "zz", "\x00", "\xff", "..", "/"}, listed...)
	for _, prefix := range slices.Compact(prefixes) {
		for _, after := range afters {
			var want []string
			for _, name := range sorted {
				if strings.HasPrefix(name, prefix) && name > after {
					want = append(want, name)
				}
			}
			for _, limit := range []int{0, 1, 3, len(want)} {
				infos, err := b.List(ctx, prefix, after, limit)
				if err != nil {
					return err
				}
				cut := want
				if limit > 0 {
					cut = want[:min(limit, len(want))]
				}
				if err := sameNames(fmt.Sprintf("list %q after %q, %d", prefix, after, limit), infos, cut); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func listPages(ctx context.Context, b store.Bucket) error {
	const objects = store.DefaultList + 1
	var want []string
	for i := range objects {
		want = append(want, fmt.Sprintf("v0/s/%x/l/%016x", i%7, i))
	}
	if err := putAll(ctx, b, want); err != nil {
		return err
	}
	slices.Sort(want)
	for _, limit := range []int{0, -1, 1, 7, 500, objects - 1, objects, objects + 1, 1 << 40} {
		size := limit
		if limit <= 0 {
			size = store.DefaultList
		}
		var got []store.Info
		// Of pages of one, the first few tell enough.
		for after := ""; limit != 1 || len(got) < 20; {
			page, err := b.List(ctx, "v0/", after, limit)
			if err != nil {
				return err
			}
			if full := min(size, objects-len(got)); len(page) != full {
				return fmt.Errorf("pages of %d: got %d objects after %d, want %d", limit, len(page), len(got), full)
			}
			got = append(got, page...)
			if len(page) < size {
				break
			}
			after = page[len(page)-1].Name
		}
		if err := sameNames(fmt.Sprintf("pages of %d", limit), got, want[:len(got)]); err != nil {
			return err
		}
	}
	return nil
}

// putAll puts empty objects, several at a time.
func putAll(ctx context.Context, b store.Bucket, names []string) error {
	const writers = 16
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < len(names) && errs[w] == nil; i += writers {
				errs[w] = b.PutIfAbsent(ctx, names[i], nil)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
