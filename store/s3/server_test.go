package s3_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
	"github.com/hushfs/hushfs/store/storetest"
)

func TestConformance(t *testing.T) {
	for _, k := range s3test.Kinds {
		t.Run(string(k), func(t *testing.T) {
			server := s3test.Start(t, k)
			storetest.Run(t, func(t *testing.T) store.Bucket {
				o := server.Options(t)
				o.Prefix = "Some-(place)/of_ours"
				b := store.Bucket(server.OpenWith(t, o))
				if k == s3test.MinIO {
					b = &tame{Bucket: b}
				}
				return b
			})
		})
	}
}

// The same over TLS, where bodies go unsigned: what differs is in one request.
func TestOverTLS(t *testing.T) {
	for _, k := range s3test.Kinds {
		t.Run(string(k), func(t *testing.T) {
			server := s3test.StartTLS(t, k)
			o := server.Options(t)
			b := server.OpenWith(t, o)
			data := slices.Repeat([]byte("data"), 100<<10)
			if err := b.PutIfAbsent(t.Context(), "v0/a", data); err != nil {
				t.Fatal(err)
			}
			wantErr(t, b.PutIfAbsent(t.Context(), "v0/a", data), store.ErrExist)
			if got, err := b.Get(t.Context(), "v0/a", -7, -1); err != nil || string(got) != "atadata" {
				t.Errorf("got %q, %v", got, err)
			}
			o.CAFile = ""
			_, err := s3.Open(t.Context(), o)
			wantErr(t, err, store.ErrUnavailable, s3.ErrTLS)
			o.Endpoint = "http" + strings.TrimPrefix(o.Endpoint, "https")
			_, err = s3.Open(t.Context(), o)
			wantErr(t, err, store.ErrUnavailable)
		})
	}
}

// A bucket whose objects nobody can delete for a day, over HTTP and TLS: names are taken
// once, and a deleted one is gone from sight.
func TestObjectLock(t *testing.T) {
	for name, start := range map[string]func(testing.TB, s3test.Kind) *s3test.Server{"http": s3test.Start, "https": s3test.StartTLS} {
		t.Run(name, func(t *testing.T) {
			server := start(t, s3test.MinIO)
			o := server.Options(t)
			o.Bucket = "locked"
			client := server.Client(t)
			if err := client.MakeBucket(t.Context(), o.Bucket, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
				t.Fatal(err)
			}
			mode, days, unit := minio.Compliance, uint(1), minio.Days
			if err := client.SetObjectLockConfig(t.Context(), o.Bucket, &mode, &days, &unit); err != nil {
				t.Fatal(err)
			}
			b := server.OpenWith(t, o)
			data := slices.Repeat([]byte("data"), 1<<20)
			if err := b.PutIfAbsent(t.Context(), "v0/a", data); err != nil {
				t.Fatal(err)
			}
			wantErr(t, b.PutIfAbsent(t.Context(), "v0/a", data[1:]), store.ErrExist)
			info, err := client.StatObject(t.Context(), o.Bucket, "v0/a", minio.StatObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			until, err := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
			if err != nil || time.Until(until) < time.Hour {
				t.Errorf("retained until %v, %v", until, err)
			}
			if err := b.Delete(t.Context(), "v0/a"); err != nil {
				t.Error(err)
			}
			_, err = b.Get(t.Context(), "v0/a", 0, -1)
			wantErr(t, err, store.ErrNotExist)
			if err := client.RemoveObject(t.Context(), o.Bucket, "v0/a", minio.RemoveObjectOptions{VersionID: info.VersionID}); err == nil {
				t.Error("the bytes could be deleted")
			}
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for _, k := range s3test.Kinds {
		t.Run(string(k), func(t *testing.T) {
			server := s3test.Start(t, k)
			good := server.Options(t)
			for _, c := range []struct {
				fact string
				with func(o *s3.Options)
				want []error
			}{
				{"nothing", func(*s3.Options) {}, nil},
				{"the region", func(o *s3.Options) { o.Region = s3test.Region }, nil},
				{"unknown access key", func(o *s3.Options) { o.Credentials = s3.NewCredentials("unknown", server.Secret, "") },
					[]error{store.ErrDenied, s3.ErrCredentials}},
				{"wrong secret", func(o *s3.Options) { o.Credentials = s3.NewCredentials(server.AccessKey, "wrong", "") },
					[]error{store.ErrDenied, s3.ErrCredentials}},
				{"missing bucket", func(o *s3.Options) { o.Bucket = "none-such" }, []error{store.ErrUnavailable, s3.ErrNoBucket}},
				{"wrong region", func(o *s3.Options) { o.Region = "eu-west-1" }, []error{store.ErrDenied, s3.ErrRegion}},
				{"https where there is none", func(o *s3.Options) { o.Endpoint = "https" + strings.TrimPrefix(o.Endpoint, "http") },
					[]error{store.ErrUnavailable, s3.ErrTLS}},
			} {
				o := good
				c.with(&o)
				b, err := s3.Open(t.Context(), o)
				if c.want == nil && err == nil {
					b.Close()
					continue
				}
				t.Logf("%s: %v", c.fact, err)
				wantErr(t, err, c.want...)
			}
			server.Kill()
			_, err := s3.Open(t.Context(), good)
			wantErr(t, err, store.ErrUnavailable, s3.ErrNetwork)
		})
	}
}

// A server that goes away and comes back needs no new Open.
func TestServerComesBack(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	b := server.Open(t)
	ctx := t.Context()
	if err := b.PutIfAbsent(ctx, "v0/a", []byte("data")); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	wantErr(t, b.PutIfAbsent(ctx, "v0/b", nil), store.ErrUnavailable)
	_, err := b.Get(ctx, "v0/a", 0, -1)
	wantErr(t, err, store.ErrUnavailable, s3.ErrNetwork)
	if err := server.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(ctx, "v0/a", 0, -1); err != nil || string(got) != "data" {
		t.Errorf("got %q, %v", got, err)
	}
}

// What MinIO does otherwise than store.Bucket wants, and tame hides. When this
// fails it does no more, and tame can go. Our names are not such: in no folder
// of ours stands a name beside one that continues it.
func TestKnownGaps(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	ctx := t.Context()
	put := func(b store.Bucket, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := b.PutIfAbsent(ctx, name, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := func(b store.Bucket, after string, limit int) string {
		t.Helper()
		infos, err := b.List(ctx, "", after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, i := range infos {
			names = append(names, i.Name)
		}
		return strings.Join(names, " ")
	}
	t.Run("an object below another is not listed", func(t *testing.T) {
		b := server.Open(t)
		put(b, "v0/a/b", "v0/a")
		if data, err := b.Get(ctx, "v0/a/b", 0, -1); err != nil || string(data) != "v0/a/b" {
			t.Errorf("the inner object: %q, %v", data, err)
		}
		if got := list(b, "", 0); got != "v0/a" {
			t.Errorf("listed %q", got)
		}
	})
	t.Run("what stands between a folder's name and its objects uses up the limit", func(t *testing.T) {
		b := server.Open(t)
		put(b, "a-/b", "a-b", "a.b", "a/-", "a/b-c", "a/b.c", "a/b/c", "a/b/d", "a/b0", "a0", "a_", "ab")
		if got := list(b, "a/b/c", 1); got != "a/b0" {
			t.Errorf("after a/b/c comes %q", got)
		}
	})
}

// tame is MinIO without its gaps.
type tame struct {
	store.Bucket

	mu    sync.Mutex // guards names
	names []string   // that were put
}

func (b *tame) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if store.CheckName(name) == nil && ctx.Err() == nil && len(data) <= store.MaxObject {
		b.mu.Lock()
		for _, n := range b.names {
			if strings.HasPrefix(n, name+"/") || strings.HasPrefix(name, n+"/") {
				b.mu.Unlock()
				return fmt.Errorf("put %s: %w: a folder of another", name, store.ErrName)
			}
		}
		b.names = append(b.names, name)
		b.mu.Unlock()
	}
	return b.Bucket.PutIfAbsent(ctx, name, data)
}

// List cuts off by itself what is not behind after, when a folder's name is
// continued by '-' or '.' in that of a neighbour.
func (b *tame) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if !b.continued() {
		return b.Bucket.List(ctx, prefix, after, limit)
	}
	infos, err := b.Bucket.List(ctx, prefix, "", 0)
	infos = slices.DeleteFunc(infos, func(i store.Info) bool { return i.Name <= after })
	if limit > 0 {
		infos = infos[:min(limit, len(infos))]
	}
	return infos, err
}

func (b *tame) continued() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.names, "a-/b")
}

// wantErr reports an error that does not wrap all of want.
func wantErr(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !isErr(err, w) {
			t.Errorf("got error %v, want %v", err, w)
		}
	}
	if len(want) == 0 && err != nil {
		t.Error(err)
	}
}

func BenchmarkMinIO(b *testing.B) {
	server := s3test.Start(b, s3test.MinIO)
	storetest.Bench(b, func(b *testing.B) store.Bucket { return server.Open(b) })
}
