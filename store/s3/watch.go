package s3

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
)

var _ store.Watcher = (*Bucket)(nil)

// readyKey is the name, in the context of a request for events, of a func() that is
// called when the server begins to tell them.
type readyKey struct{}

// created are the events that are listened for. A PUT is all by which we make objects;
// a copy by whoever runs the store makes some too.
var created = []string{"s3:ObjectCreated:*"}

// Watch implements store.Watcher with the notifications of MinIO, which come over a
// connection that is kept open. AWS and its kin have none of the kind: theirs go to
// other services.
func (b *Bucket) Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	return b.renewing(ctx, func() error { return b.watch(ctx, prefix, ready, told) })
}

func (b *Bucket) watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	outer := ctx
	ctx, cancel := context.WithCancel(context.WithValue(ctx, readyKey{}, ready))
	events := b.core.Client.ListenBucketNotification(ctx, b.bucket, b.key(prefix), "", created)
	defer func() {
		cancel()
		for range events { // until it has let go of the connection
		}
	}()
	for e := range events {
		if e.Err != nil {
			return unwatched(outer, e.Err)
		}
		for _, r := range e.Records {
			// What a server says is a name of ours, or is passed over.
			key, err := url.QueryUnescape(r.S3.Object.Key)
			name, ours := strings.CutPrefix(key, b.prefix)
			if err == nil && ours && strings.HasPrefix(name, prefix) && store.CheckName(name) == nil {
				told(name)
			}
		}
	}
	if err := outer.Err(); err != nil {
		return err
	}
	return failed(store.ErrUnavailable, ErrTruncated, "events")
}

// unwatched is why a server tells no events. One that knows S3 and not this of MinIO
// refuses in one of many ways, which all say that there are none.
func unwatched(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f, status := classify(err), minio.ToErrorResponse(err).StatusCode
	switch {
	case status == http.StatusNotImplemented: // also minio-go's own, where it knows the server
		return failed(store.ErrNoWatch, nil, "")
	case errors.Is(f, store.ErrNoWatch), errors.Is(f, ErrCredentials), errors.Is(f, ErrExpired):
		return f
	case errors.Is(f, ErrCondition), errors.Is(f, ErrRefused), errors.Is(f, store.ErrNotExist), errors.Is(f, ErrPermission):
		return failed(store.ErrNoWatch, nil, "%s", f.detail)
	}
	return f
}
