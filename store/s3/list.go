package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
)

const maxPage = 1000 // names in one answer; S3 gives no more

// List implements store.Bucket, with a request for every 1000 objects. Keys
// under the prefix that cannot be names of ours are left out.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	var infos []store.Info
	err := b.renewing(ctx, func() (err error) {
		infos, err = b.list(ctx, prefix, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	return infos, nil
}

func (b *Bucket) list(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = store.DefaultList
	}
	start, some := startAfter(prefix, after)
	if !some {
		return nil, nil
	}
	var infos []store.Info
	err := b.scan(ctx, prefix, start, min(limit, maxPage), func(i store.Info) bool {
		if store.CheckName(i.Name) == nil && i.Name > after {
			infos = append(infos, i)
		}
		return len(infos) < limit
	})
	if err != nil {
		return nil, err
	}
	return infos, nil
}

// scan calls each for the keys below the bucket's prefix that begin with prefix
// and come after start, names or not, until it returns false. It asks for page
// keys at a time.
func (b *Bucket) scan(ctx context.Context, prefix, start string, page int, each func(store.Info) bool) error {
	o := minio.ListObjectsOptions{
		Prefix:     b.prefix + prefix,
		Recursive:  true,
		MaxKeys:    page,
		FetchOwner: new(bool),
	}
	if start != "" {
		o.StartAfter = b.prefix + start
	}
	last, first := "", true
	for object := range b.core.Client.ListObjectsIter(ctx, b.bucket, o) {
		if object.Err != nil {
			return explain(ctx, unreadable(object.Err))
		}
		name, ours := strings.CutPrefix(object.Key, b.prefix)
		// What is out of order is out of place on the next page too: then
		// nothing that the listing leaves out could be taken for missing.
		if !ours || !strings.HasPrefix(name, prefix) || name <= last && !first || start != "" && name <= start {
			return failed(store.ErrUnavailable, ErrOrder, "")
		}
		last, first = name, false
		if !each(store.Info{Name: name, Size: object.Size, Modified: object.LastModified}) {
			break
		}
	}
	return ctx.Err() // the iterator just ends
}

// Foreign returns how many of the first 1000 keys in the bucket's place can be
// no names of objects: what List passes over, since somebody else put it there.
// Empty keys that end in '/', with which some tools mark folders, do not count.
func (b *Bucket) Foreign(ctx context.Context) (int, error) {
	seen, foreign := 0, 0
	err := b.scan(ctx, "", "", maxPage, func(i store.Info) bool {
		marker := i.Size == 0 && (i.Name == "" || strings.HasSuffix(i.Name, "/"))
		if !marker && store.CheckName(i.Name) != nil {
			foreign++
		}
		seen++
		return seen < maxPage
	})
	if err != nil {
		return 0, fmt.Errorf("list: %w", err)
	}
	return foreign, nil
}

// unreadable gives an error without one of the server behind it its cause: the
// page could not be decoded.
func unreadable(err error) error {
	var known *failure
	if errors.As(err, &known) {
		return known
	}
	f := classify(err)
	if f.cause == ErrNetwork && f.detail == detailBroken {
		return failed(store.ErrUnavailable, ErrTruncated, "the listing cannot be read")
	}
	return f
}

// startAfter returns the key, below the bucket's prefix, behind which a listing
// of prefix must begin to have the names after after; "" for the beginning. It
// is false when there can be none.
//
// Servers disagree about a start that lies before the prefix (MinIO then lists
// nothing), about segments "." and "..", and about bytes that are not UTF-8. So
// the start begins with prefix, or is empty, and is the beginning of a name
// with perhaps a '{' behind it, which sorts behind all bytes of names.
func startAfter(prefix, after string) (start string, some bool) {
	if !strings.HasPrefix(after, prefix) {
		return "", after < prefix
	}
	if after == prefix && (prefix == "" || prefix[len(prefix)-1] == '/') {
		return "", true
	}
	after = after[:min(len(after), store.MaxName+1)] // no name is as long
	for i := len(prefix); i < len(after); i++ {
		next := nameBytes
		if i == 0 || after[i-1] == '/' {
			next = firstBytes
		}
		if strings.IndexByte(next, after[i]) >= 0 {
			continue
		}
		// No name goes on so. All that are greater than after begin as it
		// does, up to here, and go on with a greater byte.
		below := ""
		for _, c := range []byte(next) {
			if c < after[i] {
				below = string(c) + "{"
			}
		}
		return after[:i] + below, true
	}
	return after, true
}

// The bytes of names and those that begin a segment, ascending.
const (
	nameBytes  = "-./0123456789_abcdefghijklmnopqrstuvwxyz"
	firstBytes = "-0123456789_abcdefghijklmnopqrstuvwxyz"
)
