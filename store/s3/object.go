package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
)

func (b *Bucket) key(name string) string { return b.prefix + name }

// PutIfAbsent implements store.Bucket, with one PUT.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := b.renewing(ctx, func() error { return b.put(ctx, name, data) }); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (b *Bucket) put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(data) > store.MaxObject {
		return store.ErrTooLarge
	}
	o := minio.PutObjectOptions{
		DisableMultipart: true,
		// Over TLS a signature of the body protects nothing more. Without, the body
		// is signed in pieces, and the framing of no piece confuses servers
		// that keep the connection (versitygw 1.8.0).
		DisableContentSha256: b.secure || len(data) == 0,
		// AWS takes nothing without a checksum into a bucket with a default retention.
		// This one every server knows.
		SendContentMd5: true,
	}
	o.SetMatchETagExcept("*")
	info, err := b.core.Client.PutObject(ctx, b.bucket, b.key(name), bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		return explain(ctx, err)
	}
	// Whoever stored it knows its ETag; minio-go is silent about some other
	// answers than 200, and then there is none either.
	if info.ETag == "" {
		return failed(store.ErrUnavailable, ErrHeaders, "no ETag")
	}
	return nil
}

// Get implements store.Bucket, with one GET, also of a range from the end.
func (b *Bucket) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if err := store.CheckName(name); err != nil {
		return nil, err
	}
	var data []byte
	err := b.renewing(ctx, func() (err error) {
		data, err = b.get(ctx, name, off, length)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (b *Bucket) get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, _, err := store.Range(0, off, length); err != nil {
		return nil, err
	}
	var o minio.GetObjectOptions
	asked := rangeHeader(off, length)
	if asked != "" {
		o.Set("Range", asked)
	}
	body, _, header, err := b.core.GetObject(ctx, b.bucket, b.key(name), o)
	if err != nil {
		if r := minio.ToErrorResponse(err); r.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			return nil, ctx.Err() // there is an object, and it has nothing there
		}
		return nil, explain(ctx, err)
	}
	defer body.Close()
	p, err := partOf(header, off, length)
	if err != nil {
		return nil, err
	}
	if asked != "" && p.sent > max(p.to-p.from, 1) {
		b.whole.Store(true)
	}
	data := make([]byte, p.sent)
	if _, err := io.ReadFull(body, data); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, failed(store.ErrUnavailable, ErrTruncated, "fewer than %d bytes", p.sent)
	}
	// The transport keeps the connection when it has seen the end.
	if n, _ := body.Read(make([]byte, 1)); n != 0 {
		return nil, failed(store.ErrUnavailable, ErrHeaders, "more than %d bytes", p.sent)
	}
	if p.to-p.from < p.sent {
		return slices.Clone(data[p.from:p.to]), nil
	}
	return data, nil
}

// rangeHeader returns the Range to ask for, or "" for the whole object. Parts
// that are too large are asked for with one byte too many, to be told apart.
func rangeHeader(off, length int64) string {
	const farBehind = 1 << 60 // more than any object has; no sum overflows
	switch {
	case off < 0:
		return fmt.Sprintf("bytes=-%d", -max(off, -store.MaxObject-1))
	case off == 0 && length < 0:
		return ""
	case length < 0:
		return fmt.Sprintf("bytes=%d-", min(off, farBehind))
	}
	// There is no empty range: one byte is asked for in its place.
	off = min(off, farBehind)
	return fmt.Sprintf("bytes=%d-%d", off, off+min(max(length, 1), store.MaxObject+1)-1)
}

// A part is what an answer holds: sent bytes, of which those from from to to
// were asked for.
type part struct{ sent, from, to int64 }

// partOf reads from an answer's header which bytes come, and checks that they
// are, or hold, the part that off and length ask for.
func partOf(h http.Header, off, length int64) (part, error) {
	announced := int64(-1)
	if s := h.Get("Content-Length"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return part{}, failed(store.ErrUnavailable, ErrHeaders, "Content-Length")
		}
		announced = n
	}
	if s := h.Get("Content-Range"); s != "" && announced != 0 {
		first, last, total, ok := contentRange(s)
		if !ok || announced >= 0 && announced != last-first+1 {
			return part{}, failed(store.ErrUnavailable, ErrHeaders, "Content-Range")
		}
		from, to, err := store.Range(total, off, length)
		if err != nil {
			return part{}, err
		}
		if from == to && first == from && last == from {
			return part{sent: 1}, nil // the one byte in place of none
		}
		if from != first || to != last+1 {
			return part{}, failed(store.ErrUnavailable, ErrHeaders, "another range than asked for")
		}
		return part{sent: to - from, to: to - from}, nil
	}
	// The whole object, asked for or not: a proxy that drops Range makes it
	// slow, and not wrong. For a range of the empty object, MinIO answers 206
	// and bytes 0--1/0.
	if announced < 0 {
		return part{}, failed(store.ErrUnavailable, ErrHeaders, "no Content-Length")
	}
	from, to, err := store.Range(announced, off, length)
	if err != nil {
		return part{}, err
	}
	if announced > store.MaxObject {
		return part{}, failed(store.ErrUnavailable, ErrHeaders, "no Content-Range")
	}
	return part{sent: announced, from: from, to: to}, nil
}

// contentRange reads "bytes first-last/total".
func contentRange(s string) (first, last, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, 0, false
	}
	s, t, ok1 := strings.Cut(s, "/")
	f, l, ok2 := strings.Cut(s, "-")
	if !ok1 || !ok2 {
		return 0, 0, 0, false
	}
	var n [3]uint64
	for i, s := range []string{f, l, t} {
		var err error
		if n[i], err = strconv.ParseUint(s, 10, 63); err != nil {
			return 0, 0, 0, false
		}
	}
	if n[0] > n[1] || n[1] >= n[2] {
		return 0, 0, 0, false
	}
	return int64(n[0]), int64(n[1]), int64(n[2]), true
}

// Delete implements store.Bucket. In a bucket that keeps versions the server
// keeps the bytes.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	err := b.renewing(ctx, func() error {
		err := b.core.Client.RemoveObject(ctx, b.bucket, b.key(name), minio.RemoveObjectOptions{})
		if err == nil || ctx.Err() == nil && classify(err).kind == store.ErrNotExist {
			return nil
		}
		return explain(ctx, err)
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
