package s3_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// listener watches a bucket until the test ends.
type listener struct {
	ready chan struct{} // a value each time when the store begins to tell
	ended chan struct{} // closed when Watch returned
	stop  context.CancelFunc
	err   error // of Watch; read it when ended is closed

	mu   sync.Mutex // guards told
	told []string
}

func listen(t *testing.T, b store.Bucket, prefix string) *listener {
	ctx, stop := context.WithCancel(t.Context())
	l := &listener{ready: make(chan struct{}, 100), ended: make(chan struct{}), stop: stop}
	go func() {
		defer close(l.ended)
		l.err = store.Watch(ctx, b, prefix, func() { l.ready <- struct{}{} }, func(name string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.told = append(l.told, name)
		})
	}()
	t.Cleanup(func() { stop(); <-l.ended })
	return l
}

func (l *listener) heard(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.told, name)
}

// patience is how long something may take that takes milliseconds on a quiet machine.
const patience = time.Minute

func (l *listener) wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	var teller s3test.Teller
	o := server.Options(t)
	o.Prefix, o.Endpoint = "a.place/dr!ve", server.Proxy(t, teller.Tell).Endpoint
	a, b := server.OpenWith(t, o), server.OpenWith(t, o)
	l := listen(t, b, "v0/s/x/l/")
	l.wait(t, "the watch begins", l.ready)
	for _, name := range []string{"v0/s/x/p/1", "v0/s/x/l/1", "v0/s/y/l/2", "v0/s/x/l/2"} {
		if err := a.PutIfAbsent(t.Context(), name, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the new object is told of", func() bool { return l.heard("v0/s/x/l/2") })
	l.stop()
	l.wait(t, "the watch ends with its context", l.ended)
	if !errors.Is(l.err, context.Canceled) {
		t.Errorf("ended with %v", l.err)
	}
	for _, name := range l.told {
		if name != "v0/s/x/l/1" && name != "v0/s/x/l/2" {
			t.Errorf("told of %s", name)
		}
	}
	until(t, "the connection is let go of", func() bool { return teller.Listeners() == 0 })
}

// A stream that breaks off, and a server that says nothing any more, end a watch.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	var teller s3test.Teller
	o := server.Options(t)
	o.Endpoint = server.Proxy(t, teller.Tell).Endpoint
	l := listen(t, server.OpenWith(t, o), "")
	l.wait(t, "the watch begins", l.ready)
	teller.Hush()
	l.wait(t, "the watch ends", l.ended)
	if !errors.Is(l.err, store.ErrUnavailable) {
		t.Errorf("ended with %v", l.err)
	}
	// The server itself, which is silent for 10 s at least, and is to be heard of every 5.
	o.Endpoint, o.Stall = server.Endpoint, 5*time.Second
	l = listen(t, impatient(t, o), "")
	l.wait(t, "the watch of a silent server ends", l.ended)
	if !errors.Is(l.err, store.ErrUnavailable) {
		t.Errorf("silent: ended with %v", l.err)
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begin := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestStoresThatTellNothing(t *testing.T) {
	t.Parallel()
	events := func(r *http.Request) bool { return r.URL.Query().Has("events") }
	minio := s3test.Start(t, s3test.MinIO)
	for name, proxy := range map[string]*s3test.Proxy{
		"forbidden":       minio.Proxy(t, s3test.Where(events, s3test.Say(http.StatusForbidden, "AccessDenied"))),
		"not implemented": minio.Proxy(t, s3test.Where(events, s3test.Say(http.StatusNotImplemented, "NotImplemented"))),
		"bad request":     minio.Proxy(t, s3test.Where(events, s3test.Say(http.StatusBadRequest, "InvalidArgument"))),
		"takes it for a listing": minio.Proxy(t, s3test.Where(events, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/xml")
				w.Write([]byte("<ListBucketResult></ListBucketResult>"))
			})
		})),
	} {
		o := minio.Options(t)
		o.Endpoint = proxy.Endpoint
		tellsNothing(t, name, minio.OpenWith(t, o))
	}
	tellsNothing(t, "versitygw", s3test.Start(t, s3test.VersityGW).Open(t))
}

func tellsNothing(t *testing.T, name string, b *s3.Bucket) {
	t.Helper()
	l := listen(t, b, "v0/")
	l.wait(t, name+": the watch ends", l.ended)
	if !errors.Is(l.err, store.ErrNoWatch) {
		t.Errorf("%s: %v", name, l.err)
	}
	if len(l.ready) != 0 {
		t.Errorf("%s: it began to tell", name)
	}
}
