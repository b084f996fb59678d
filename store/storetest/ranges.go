package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/hushfs/hushfs/store"
)

func ranges(ctx context.Context, b store.Bucket) error {
	for _, size := range []int64{0, 1, 10, 65536 + 1} {
		name := fmt.Sprintf("v0/r/%d", size)
		data := body(int(size), 1)
		if err := b.PutIfAbsent(ctx, name, data); err != nil {
			return err
		}
		edges := []int64{0, 1, 2, size / 2, size - 1, size, size + 1, 2*size + 5, math.MaxInt64}
		for _, off := range edges {
			if off < 0 {
				continue // size-1 of the empty object
			}
			rest := data[min(off, size):]
			for _, length := range edges {
				if length < 0 {
					continue
				}
				if err := wantRange(ctx, b, name, off, length, rest[:min(length, int64(len(rest)))]); err != nil {
					return err
				}
			}
			for _, length := range []int64{-1, -2, math.MinInt64} {
				if err := wantRange(ctx, b, name, off, length, rest); err != nil {
					return err
				}
			}
			if off > 0 {
				if err := wantRange(ctx, b, name, -off, -1, data[size-min(off, size):]); err != nil {
					return err
				}
			}
		}
		if err := wantRange(ctx, b, name, math.MinInt64, -1, data); err != nil {
			return err
		}
	}
	return nil
}

func wantRange(ctx context.Context, b store.Bucket, name string, off, length int64, want []byte) error {
	got, err := b.Get(ctx, name, off, length)
	if err != nil {
		return fmt.Errorf("offset %d, length %d: %w", off, length, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("get %s, offset %d, length %d: got %d bytes, want other %d", name, off, length, len(got), len(want))
	}
	return nil
}

func badRanges(ctx context.Context, b store.Bucket) error {
	if err := b.PutIfAbsent(ctx, "v0/a", body(10, 1)); err != nil {
		return err
	}
	for _, r := range [][2]int64{{-1, 0}, {-1, 1}, {-5, 5}, {-1, -2}, {math.MinInt64, math.MaxInt64}} {
		_, err := b.Get(ctx, "v0/a", r[0], r[1])
		if err := wantErr(fmt.Sprintf("get with offset %d, length %d", r[0], r[1]), err, store.ErrRange); err != nil {
			return err
		}
	}
	return nil
}

func tooLarge(ctx context.Context, b store.Bucket) error {
	data := make([]byte, store.MaxObject+1) // never touched, so it takes no memory
	if err := wantErr("put", b.PutIfAbsent(ctx, "v0/a", data), store.ErrTooLarge); err != nil {
		return err
	}
	return wantNames(ctx, b, "")
}
