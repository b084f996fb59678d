package storetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/store"
)

func comesBack(ctx context.Context, b store.Bucket) error {
	for _, n := range []int{0, 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 300 << 10, 4<<20 + 1} {
		name := fmt.Sprintf("v0/p/%02x/object-%d", n%251, n)
		data := body(n, 1)
		if err := b.PutIfAbsent(ctx, name, data); err != nil {
			return err
		}
		if err := wantBody(ctx, b, name, data); err != nil {
			return err
		}
	}
	return nil
}

func notShared(ctx context.Context, b store.Bucket) error {
	want := body(100, 1)
	data := slices.Clone(want)
	if err := b.PutIfAbsent(ctx, "v0/a", data); err != nil {
		return err
	}
	clear(data)
	for _, length := range []int64{-1, 100} {
		got, err := b.Get(ctx, "v0/a", 0, length)
		if err != nil {
			return err
		}
		clear(got)
		if err := wantBody(ctx, b, "v0/a", want); err != nil {
			return fmt.Errorf("after the caller's slice changed: %w", err)
		}
	}
	return nil
}

func staysAsItIs(ctx context.Context, b store.Bucket) error {
	first := body(1000, 1)
	if err := b.PutIfAbsent(ctx, "v0/a", first); err != nil {
		return err
	}
	for _, second := range [][]byte{first, body(1000, 2), body(10, 3), nil, body(300<<10, 4)} {
		what := fmt.Sprintf("put of %d bytes under a taken name", len(second))
		if err := wantErr(what, b.PutIfAbsent(ctx, "v0/a", second), store.ErrExist); err != nil {
			return err
		}
		if err := wantBody(ctx, b, "v0/a", first); err != nil {
			return fmt.Errorf("after %s: %w", what, err)
		}
	}
	return wantNames(ctx, b, "", "v0/a")
}

func absent(ctx context.Context, b store.Bucket) error {
	if err := wantNames(ctx, b, ""); err != nil {
		return err
	}
	if err := b.PutIfAbsent(ctx, "v0/h/a", body(10, 1)); err != nil {
		return err
	}
	// Neighbours of what is there: its folders, its name cut, continued, below.
	for _, name := range []string{"v0", "v0/h", "v0/h/b", "v0/h/aa", "v0/h/a/b", "v0/h/a/b/c", "v0/k/a", "v1", "x/y/z"} {
		for _, off := range []int64{0, 5, -5} {
			_, err := b.Get(ctx, name, off, -1)
			if err := wantErr("get "+name, err, store.ErrNotExist); err != nil {
				return err
			}
		}
		if err := b.Delete(ctx, name); err != nil {
			return fmt.Errorf("delete of an absent object: %w", err)
		}
	}
	for _, prefix := range []string{"v0/h/b", "v0/h/aa", "v0/h/a/", "v0/h/a/b", "v0/k", "v0/k/", "v00", "x/y/z/"} {
		if err := wantNames(ctx, b, prefix); err != nil {
			return err
		}
	}
	return wantNames(ctx, b, "", "v0/h/a")
}

func deleted(ctx context.Context, b store.Bucket) error {
	for i, name := range []string{"v0/a", "v0/b", "v0/c/d"} {
		if err := b.PutIfAbsent(ctx, name, body(10, uint64(i))); err != nil {
			return err
		}
	}
	for range 2 {
		for _, name := range []string{"v0/a", "v0/c/d"} {
			if err := b.Delete(ctx, name); err != nil {
				return err
			}
			_, err := b.Get(ctx, name, 0, -1)
			if err := wantErr("get after delete", err, store.ErrNotExist); err != nil {
				return err
			}
		}
		if err := wantNames(ctx, b, "", "v0/b"); err != nil {
			return err
		}
	}
	if err := wantBody(ctx, b, "v0/b", body(10, 1)); err != nil {
		return err
	}
	// The name is free again. Hushfs never uses one twice, but a put that is
	// repeated after a deletion must tell the truth.
	if err := b.PutIfAbsent(ctx, "v0/a", body(20, 7)); err != nil {
		return fmt.Errorf("put after delete: %w", err)
	}
	return wantBody(ctx, b, "v0/a", body(20, 7))
}
