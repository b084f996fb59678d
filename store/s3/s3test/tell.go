package s3test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A Teller tells of the objects that are put through a proxy, as MinIO does and in its
// words. The zero value is ready; hand Tell to a proxy.
//
// MinIO at its last commit listens and tells nobody: what it says stays in a buffer
// until there is much of it (its trackingResponseWriter, of October 2025, cannot be
// flushed). The releases before it tell at once, and so do the forks that go on.
type Teller struct {
	mu        sync.Mutex // guards the fields below
	listeners map[*telling]bool
	mute      bool
}

// telling is one stream. What it is to say waits in say.
type telling struct {
	bucket, prefix string
	say            chan string
	stop           chan struct{}
}

// Tell is a Spoiler.
func (t *Teller) Tell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && r.URL.Query().Has("events"):
			t.listen(w, r)
		case r.Method == http.MethodPut:
			kept := httptest.NewRecorder()
			next.ServeHTTP(kept, r)
			if kept.Code == http.StatusOK {
				t.made(r.URL.Path)
			}
			for k, v := range kept.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(kept.Code)
			w.Write(kept.Body.Bytes())
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Listeners is how many streams are open.
func (t *Teller) Listeners() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.listeners)
}

// Hush ends all streams, and from then on others as they begin.
func (t *Teller) Hush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mute = true
	for l := range t.listeners {
		close(l.stop)
		delete(t.listeners, l)
	}
}

func (t *Teller) listen(w http.ResponseWriter, r *http.Request) {
	l := &telling{strings.Trim(r.URL.Path, "/"), r.URL.Query().Get("prefix"), make(chan string, 1000), make(chan struct{})}
	t.mu.Lock()
	if t.mute {
		t.mu.Unlock()
		abort(w)
		return
	}
	if t.listeners == nil {
		t.listeners = map[*telling]bool{}
	}
	t.listeners[l] = true
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.listeners, l)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	ping := time.NewTicker(time.Second)
	defer ping.Stop()
	for line := `{"Records":null}`; ; {
		if _, err := w.Write([]byte(line + "\n")); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-l.stop:
			abort(w)
			return
		case line = <-l.say:
		case <-ping.C:
			line = `{"Records":null}`
		}
	}
}

// made tells of the object at a path, bucket first. A stream whose reader is too slow
// misses it, as with MinIO.
func (t *Teller) made(path string) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	quoted, err := json.Marshal(url.QueryEscape(key))
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := range t.listeners {
		if l.bucket == bucket && strings.HasPrefix(key, l.prefix) {
			select {
			case l.say <- `{"Records":[{"eventVersion":"2.0","eventSource":"minio:s3","eventName":"s3:ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","bucket":{"name":"` + bucket + `"},"object":{"key":` + string(quoted) + `}}}]}`:
			default:
			}
		}
	}
}
