package s3_test

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/probe"
	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// What races, races on connections of its own, and they are used again: the
// server answers when all sixteen have asked.
func TestParallelCallsHaveTheirOwnConnections(t *testing.T) {
	const racers, rounds = 16, 3
	var mu sync.Mutex // guards the next two
	peers := make(map[string]bool)
	asked := 0
	released := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	_, b := newFake(t, nil, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr] = true
		round := released[asked/racers]
		if asked++; asked%racers == 0 {
			close(round)
		}
		mu.Unlock()
		<-round
		say(200, "", `ETag: "x"`)(w, r)
	})
	for range rounds {
		var wg sync.WaitGroup
		for range racers {
			wg.Go(func() {
				if err := b.PutIfAbsent(t.Context(), "v0/a", []byte("data")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	// A few are not used again on a busy machine: the transport waits only 50 ms to hear that
	// its request was sent.
	if n := len(peers); n < racers || n > racers*3/2 {
		t.Errorf("%d connections in %d rounds of %d", n, rounds, racers)
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	o := server.Options(t)
	patient := server.OpenWith(t, o)
	if err := patient.PutIfAbsent(t.Context(), "v0/a", []byte("data")); err != nil {
		t.Fatal(err)
	}
	o.Stall = 2 * time.Second
	b := impatient(t, o)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := b.Get(t.Context(), "v0/a", 0, -1)
	wantErr(t, err, store.ErrUnavailable, s3.ErrNetwork)
	// More than the buffers between here and there hold.
	wantErr(t, b.PutIfAbsent(t.Context(), "v0/b", make([]byte, 32<<20)), store.ErrUnavailable, s3.ErrNetwork)
	if d := time.Since(began); d > 2*s3.DefaultStall { // what both would take at least without Stall
		t.Errorf("only after %v", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = patient.Get(ctx, "v0/a", 0, -1)
	wantErr(t, err, context.DeadlineExceeded)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	// A server that comes to itself again may be silent for longer than b waits.
	until(t, "it goes on", func() bool {
		got, err := b.Get(t.Context(), "v0/a", 0, -1)
		return err == nil && string(got) == "data"
	})
}

// impatient opens a bucket with a short Stall, before the server is silent. One that is
// busy may be silent for as long even then, and is asked again.
func impatient(t *testing.T, o s3.Options) *s3.Bucket {
	t.Helper()
	var b *s3.Bucket
	until(t, "the bucket opens", func() bool {
		var err error
		if b, err = s3.Open(t.Context(), o); err != nil && !isErr(err, s3.ErrNetwork) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { b.Close() })
	return b
}

// A server that answers early and hangs up is heard all the same.
func TestEarlyAnswer(t *testing.T) {
	early := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			say(200, emptyList)(w, r)
			return
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		buf.WriteString("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		buf.Flush()
		c.Close() // with most of the body unread, which resets the connection
	}))
	defer early.Close()
	b, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: early.URL, Credentials: s3.NewCredentials("id", "s", "")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 20 {
		wantErr(t, b.PutIfAbsent(t.Context(), "v0/a", make([]byte, 4<<20)), store.ErrExist)
	}
}

func TestCertificates(t *testing.T) {
	var unsigned string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			unsigned = r.Header.Get("X-Amz-Content-Sha256")
			say(200, "", `ETag: "x"`)(w, r)
			return
		}
		say(200, emptyList)(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshakes that must fail
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	writeFile(t, empty, "")
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, c := range []struct {
		fact     string
		endpoint string
		ca       string
		want     []error
	}{
		{"known authority", server.URL, ca, nil},
		{"unknown authority", server.URL, "", []error{store.ErrUnavailable, s3.ErrTLS}},
		{"another host", "https://localhost" + port, ca, []error{store.ErrUnavailable, s3.ErrTLS}},
		{"missing file", server.URL, ca + "x", []error{s3.ErrOptions}},
		{"empty file", server.URL, empty, []error{s3.ErrOptions}},
		{"plain HTTP to it", "http://127.0.0.1" + port, "", []error{store.ErrUnavailable, s3.ErrTLS}},
	} {
		b, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: c.endpoint, CAFile: c.ca, Credentials: s3.NewCredentials("id", "s", "")})
		wantErr(t, err, c.want...)
		if err != nil {
			continue
		}
		if err := b.PutIfAbsent(t.Context(), "v0/a", []byte("data")); err != nil || unsigned != "UNSIGNED-PAYLOAD" {
			t.Errorf("%s: %v, %s", c.fact, err, unsigned)
		}
		b.Close()
	}
}

// The server names the region when nobody has; who has named one meant it.
func TestRegionIsLearned(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/s3/") {
			sayError(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")(w, r)
			return
		}
		say(200, emptyList)(w, r)
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	defer server.Close()
	o := s3.Options{Bucket: "bucket", Endpoint: server.URL, Credentials: s3.NewCredentials("id", "s", "")}
	b, err := s3.Open(t.Context(), o)
	if err != nil || b.Region() != "eu-west-1" {
		t.Fatalf("%v", err)
	}
	b.Close()
	o.Region = "us-east-1"
	_, err = s3.Open(t.Context(), o)
	wantErr(t, err, store.ErrDenied, s3.ErrRegion)
}

// The probe of real servers.
func TestProbe(t *testing.T) {
	for _, k := range s3test.Kinds {
		t.Run(string(k), func(t *testing.T) {
			v, err := probe.Run(t.Context(), s3test.Start(t, k).Open(t), probe.Options{})
			if err != nil || !v.Good() {
				t.Fatalf("%v, %v", v, err)
			}
			t.Logf("%v, %d unclear", v.Took, v.Unclear)
		})
	}
}
