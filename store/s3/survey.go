package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
)

var _ store.Surveyor = (*Bucket)(nil)

// Survey implements store.Surveyor, with a request for every 1000 keys.
func (b *Bucket) Survey(ctx context.Context, fn func(store.Sight) error) error {
	var failed error
	err := b.scan(ctx, "", "", maxPage, func(i store.Info) bool {
		failed = fn(store.Sight{Name: i.Name, Size: i.Size, Modified: i.Modified, Object: store.CheckName(i.Name) == nil})
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("survey: %w", err)
	}
	return nil
}

// plainHeaders are what a server says of an object to which nobody added anything,
// beside the values of Content-Type that stand for "bytes".
var plainHeaders = []string{
	"Content-Disposition", "Content-Encoding", "Content-Language", "Cache-Control", "Expires", "X-Amz-Website-Redirect-Location",
}

// Look implements store.Surveyor, with one GET, and one for the tags where there are
// any. A key may have any form.
func (b *Bucket) Look(ctx context.Context, name string, n int64) ([]byte, []store.Note, error) {
	var start []byte
	var notes []store.Note
	err := b.renewing(ctx, func() (err error) {
		start, notes, err = b.look(ctx, b.prefix+name, n)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look at an object: %w", err)
	}
	return start, notes, nil
}

func (b *Bucket) look(ctx context.Context, key string, n int64) ([]byte, []store.Note, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var o minio.GetObjectOptions
	o.Set("Range", rangeHeader(0, max(n, 1)))
	body, _, header, err := b.core.GetObject(ctx, b.bucket, key, o)
	if err != nil && minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		body, _, header, err = b.core.GetObject(ctx, b.bucket, key, minio.GetObjectOptions{}) // it is empty
	}
	if err != nil {
		return nil, nil, explain(ctx, err)
	}
	defer body.Close()
	start, err := io.ReadAll(io.LimitReader(body, n))
	if err != nil {
		return nil, nil, failed(store.ErrUnavailable, ErrTruncated, "the beginning of an object")
	}
	notes := beside(header)
	tags, err := b.tags(ctx, key, header)
	return start, append(notes, tags...), err
}

// beside is what the headers of an answer say that nobody needs.
func beside(h http.Header) (notes []store.Note) {
	switch t := h.Get("Content-Type"); t {
	case "", "application/octet-stream", "binary/octet-stream":
	default:
		notes = append(notes, note("header", "Content-Type", t))
	}
	for _, name := range plainHeaders {
		if v := h.Get(name); v != "" {
			notes = append(notes, note("header", name, v))
		}
	}
	for name, values := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			notes = append(notes, note("metadata", key, strings.Join(values, ", ")))
		}
	}
	slices.SortFunc(notes, func(a, b store.Note) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return notes
}

// tags are those of an object. Who may read objects may not always read tags: the
// number of them, which comes with each object, then has to do.
func (b *Bucket) tags(ctx context.Context, key string, h http.Header) ([]store.Note, error) {
	count := h.Get("X-Amz-Tagging-Count")
	if count == "" || count == "0" {
		return nil, nil
	}
	unnamed := []store.Note{note("tag", "(not shown)", count+" tags")}
	all, err := b.core.Client.GetObjectTagging(ctx, b.bucket, key, minio.GetObjectTaggingOptions{})
	if err != nil {
		if err = explain(ctx, err); errors.Is(err, store.ErrDenied) {
			return unnamed, nil
		}
		return nil, err
	}
	var notes []store.Note
	for name, value := range all.ToMap() {
		notes = append(notes, note("tag", name, value))
	}
	slices.SortFunc(notes, func(a, b store.Note) int { return strings.Compare(a.Name, b.Name) })
	return notes, nil
}

func note(kind, name, value string) store.Note {
	return store.Note{Kind: kind, Name: name, Value: value[:min(len(value), store.MaxNote)]}
}

// Versions implements store.Surveyor. It needs the right to list versions.
func (b *Bucket) Versions(ctx context.Context) (v store.Versions, known bool, err error) {
	o := minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true, WithVersions: true, MaxKeys: maxPage, FetchOwner: new(bool)}
	for object := range b.core.Client.ListObjectsIter(ctx, b.bucket, o) {
		if object.Err != nil {
			err := explain(ctx, unreadable(object.Err))
			if errors.Is(err, store.ErrDenied) || errors.Is(err, ErrRefused) {
				return store.Versions{}, false, nil
			}
			return store.Versions{}, false, fmt.Errorf("list versions: %w", err)
		}
		switch {
		case object.IsDeleteMarker:
			v.Markers++
		case !object.IsLatest:
			v.Older++
			v.Bytes += object.Size
		}
	}
	return v, ctx.Err() == nil, ctx.Err()
}
