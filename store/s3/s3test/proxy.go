package s3test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// A Proxy stands between clients and a server and does to what passes what
// spoilers say; without one it passes all. It ends with the test.
type Proxy struct {
	Endpoint string
	CAFile   string // of one with TLS, else empty

	backend http.Handler

	mu       sync.Mutex // guards the fields below
	spoilers []Spoiler
	requests int
	waiting  int
}

// A Spoiler answers requests in the place of next, which is the server, or asks
// it and spoils its answer.
type Spoiler func(next http.Handler) http.Handler

// Proxy starts one with plain HTTP. Signatures stay those of the client, so a
// server notices what is done to the headers of a request.
func (s *Server) Proxy(t testing.TB, spoilers ...Spoiler) *Proxy {
	t.Helper()
	return s.proxy(t, false, spoilers)
}

// Gateway starts one with TLS that signs requests anew, as gateways do that hold
// the keys of a bucket: the server does not notice what is done to headers.
func (s *Server) Gateway(t testing.TB, spoilers ...Spoiler) *Proxy {
	t.Helper()
	return s.proxy(t, true, spoilers)
}

func (s *Server) proxy(t testing.TB, gateway bool, spoilers []Spoiler) *Proxy {
	t.Helper()
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0) // clients that hang up, and handshakes that must fail
	backend := &httputil.ReverseProxy{
		ErrorLog:     quiet,
		Transport:    &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { abort(w) },
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // which is signed
			if !gateway {
				return
			}
			r.Out.Host = to.Host
			r.Out.Header.Del("Authorization")
			r.Out.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			r.Out = signer.SignV4(*r.Out, s.AccessKey, s.Secret, "", Region)
		},
	}
	p := &Proxy{backend: backend, spoilers: spoilers}
	h := httptest.NewUnstartedServer(p)
	h.Config.ErrorLog = quiet
	if gateway {
		h.StartTLS()
		p.CAFile = filepath.Join(t.TempDir(), "gateway.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
		if err := os.WriteFile(p.CAFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	} else {
		h.Start()
	}
	p.Endpoint = h.URL
	t.Cleanup(func() {
		h.CloseClientConnections() // a client may hold one for as long as it lives
		h.Close()
	})
	return p
}

// Spoil puts other spoilers in the place of those that there are; the first
// meets a request first.
func (p *Proxy) Spoil(spoilers ...Spoiler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoilers = spoilers
}

// Requests returns how many there were.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// Waiting returns how many hang.
func (p *Proxy) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

func (p *Proxy) wait(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += n
}

type proxyKey struct{}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), proxyKey{}, p))
	p.mu.Lock()
	h := p.backend
	for i := len(p.spoilers) - 1; i >= 0; i-- {
		h = p.spoilers[i](h)
	}
	p.requests++
	p.mu.Unlock()
	h.ServeHTTP(w, r)
}

// Where lets a spoiler have the requests for which which is true.
func Where(which func(*http.Request) bool, s Spoiler) Spoiler {
	return func(next http.Handler) http.Handler {
		spoilt := s(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if which(r) {
				spoilt.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// Puts and Gets are those of objects whose key has part in it, Lists all.
func Puts(part string) func(*http.Request) bool { return asked(http.MethodPut, part) }
func Gets(part string) func(*http.Request) bool { return asked(http.MethodGet, part) }
func Lists(r *http.Request) bool                { return r.Method == http.MethodGet && r.URL.Query().Has("list-type") }

func asked(method, part string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == method && !r.URL.Query().Has("list-type") && strings.Contains(r.URL.Path, part)
	}
}

// Say answers with an error in the words of S3; more are further elements.
func Say(status int, code string, more ...string) Spoiler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message>%s</Error>", code, strings.Join(more, ""))
		})
	}
}

// Reset breaks the connection before the request has arrived.
func Reset(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { abort(w) })
}

// LoseAnswer lets the request be done, and breaks the connection.
func LoseAnswer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		abort(w)
	})
}

// Hang answers nothing until the client gives up.
func Hang(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the end of the connection is not noticed
		p := r.Context().Value(proxyKey{}).(*Proxy)
		p.wait(1)
		defer p.wait(-1)
		<-r.Context().Done()
	})
}

// abort resets the connection.
func abort(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// WithoutHeader takes a header from requests.
func WithoutHeader(name string) Spoiler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del(name)
			next.ServeHTTP(w, r)
		})
	}
}

// Redirected asks for the object of another name, which has the bucket's prefix
// as the one that is asked for has it: what stands before "/v0/".
func Redirected(name string) Spoiler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = r.URL.Path[:strings.Index(r.URL.Path, "/v0/")+1] + name
			next.ServeHTTP(w, r)
		})
	}
}

// Late makes requests look as if they were made by a clock that is wrong by d.
func Late(d time.Duration) Spoiler {
	const layout = "20060102T150405Z"
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(d).UTC().Format(layout))
			next.ServeHTTP(w, r)
		})
	}
}

// Body changes the bodies of good answers; their headers say the length that
// they had. Change owns what it is given.
func Body(change func([]byte) []byte) Spoiler {
	return Answer(func(a *http.Response) {
		if a.StatusCode < 300 {
			b, _ := io.ReadAll(a.Body)
			a.Body = io.NopCloser(bytes.NewReader(change(b)))
		}
	})
}

// FlipBit changes one bit in the middle of a body.
func FlipBit(b []byte) []byte {
	if len(b) > 0 {
		b[len(b)/2] ^= 0x10
	}
	return b
}

// Half cuts a body, and with it the connection.
func Half(b []byte) []byte { return b[:len(b)/2] }

// Answer changes answers.
func Answer(change func(*http.Response)) Spoiler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kept := httptest.NewRecorder()
			next.ServeHTTP(kept, r)
			a := kept.Result()
			change(a)
			for k, v := range a.Header {
				w.Header()[k] = v
			}
			w.WriteHeader(a.StatusCode)
			if n, _ := io.Copy(w, a.Body); a.Header.Get("Content-Length") != "" && a.Header.Get("Content-Length") != fmt.Sprint(n) && r.Method != http.MethodHead {
				panic(http.ErrAbortHandler) // it was cut
			}
		})
	}
}
