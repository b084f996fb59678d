package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hushfs/hushfs/store"
)

func longNames(ctx context.Context, b store.Bucket) error {
	segment := strings.Repeat("s", store.MaxSegment)
	names := []string{
		"1",
		"a_b-c.d..e",
		segment,
		"v0/" + segment,
		"0/" + segment + "/" + segment[:store.MaxName-store.MaxSegment-len("0//")],
		"a" + strings.Repeat("/a", (store.MaxName-1)/2),
	}
	for i, name := range names {
		if err := b.PutIfAbsent(ctx, name, body(10, uint64(i))); err != nil {
			return fmt.Errorf("name of %d bytes: %w", len(name), err)
		}
	}
	for i, name := range names {
		if err := wantBody(ctx, b, name, body(10, uint64(i))); err != nil {
			return err
		}
		if err := wantNames(ctx, b, name, name); err != nil {
			return err
		}
	}
	return nil
}

// bad are no names, and no prefixes of names either.
var bad = []string{
	"/", "/a", "a//b", ".", "..", ".a", "a/.", "a/..", "a/../b", "../a", "a/.b/c", ".tmp/x",
	"A", "a b", "a\\b", "a\x00b", "a:b", "a*", "a?", "é", "\xff", "a\n",
	strings.Repeat("a", store.MaxSegment+1),
	"a/" + strings.Repeat("a", store.MaxSegment+1) + "/b",
	strings.Repeat("a/", store.MaxName/2) + "a",
	strings.Repeat("a/", store.MaxName/2),
}

func badNames(ctx context.Context, b store.Bucket) error {
	onlyPrefixes := []string{"", "a/", "v0/h/"}
	for _, name := range append(onlyPrefixes, bad...) {
		_, get := b.Get(ctx, name, 0, -1)
		for op, err := range map[string]error{
			"put":    b.PutIfAbsent(ctx, name, body(10, 1)),
			"get":    get,
			"delete": b.Delete(ctx, name),
		} {
			if err := wantErr(fmt.Sprintf("%s %.40q", op, name), err, store.ErrName); err != nil {
				return err
			}
		}
	}
	for _, prefix := range bad {
		_, err := b.List(ctx, prefix, "", 0)
		if err := wantErr(fmt.Sprintf("list %.40q", prefix), err, store.ErrName); err != nil {
			return err
		}
	}
	return wantNames(ctx, b, "")
}

func folderNames(ctx context.Context, b store.Bucket) error {
	if err := b.PutIfAbsent(ctx, "v0/a/b", body(10, 0)); err != nil {
		return err
	}
	want := []string{"v0/a/b"}
	for i, name := range []string{"v0/a", "v0/a/b/c", "v0/a/b/c/d/e"} {
		switch err := b.PutIfAbsent(ctx, name, body(10, uint64(i+1))); {
		case err == nil:
			if err := wantBody(ctx, b, name, body(10, uint64(i+1))); err != nil {
				return err
			}
			want = append(want, name)
		case !errors.Is(err, store.ErrName):
			return wantErr("put "+name, err, store.ErrName)
		}
	}
	if err := wantBody(ctx, b, "v0/a/b", body(10, 0)); err != nil {
		return err
	}
	infos, err := b.List(ctx, "", "", 0)
	if err != nil {
		return err
	}
	if len(infos) != len(want) {
		return fmt.Errorf("%d objects are listed, and %d were put", len(infos), len(want))
	}
	return nil
}
