package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store"
)

// names are all of up to four bytes out of those that matter for the order.
func names() (all []string) {
	level := []string{""}
	for range 4 {
		var next []string
		for _, s := range level {
			for _, c := range "-./0z" {
				next = append(next, s+string(c))
			}
		}
		level = next
		for _, s := range level {
			if store.CheckName(s) == nil {
				all = append(all, s)
			}
		}
	}
	slices.Sort(all)
	return all
}

// Whatever after is, behind the start come the names that are behind after.
func TestStartAfter(t *testing.T) {
	all := names()
	afters := append([]string{"", "a", "~", "\x00", "\xff", "/", "..", "z\xff", "0/\x00", "0//", "0/.", "0/..", "0/~", "z{", "z/{", "0 ",
		strings.Repeat("0", 600), strings.Repeat("z/", 400)}, all...)
	for _, prefix := range append([]string{"", "0/", "z/0/", "y"}, all[:60]...) {
		for _, after := range afters {
			start, some := startAfter(prefix, after)
			if start != "" && (!strings.HasPrefix(start, prefix) || strings.Contains(start, "//") || strings.Contains("/"+start, "/.") || len(start) > store.MaxName+2) {
				t.Fatalf("prefix %q, after %q: start %q is none that servers take", prefix, after, start)
			}
			for _, name := range all {
				if !strings.HasPrefix(name, prefix) {
					continue
				}
				if got := some && name > start; got != (name > after) {
					t.Fatalf("prefix %q, after %q: start %q, %v: %q is listed: %v", prefix, after, start, some, name, got)
				}
			}
		}
	}
}

func TestRangeHeader(t *testing.T) {
	const tooLarge = store.MaxObject + 1
	for _, c := range []struct {
		off, length int64
		want        string
	}{
		{0, -1, ""},
		{0, math.MinInt64, ""},
		{0, 0, "bytes=0-0"},
		{0, 1, "bytes=0-0"},
		{0, 2, "bytes=0-1"},
		{5, 0, "bytes=5-5"},
		{5, 3, "bytes=5-7"},
		{5, -1, "bytes=5-"},
		{0, math.MaxInt64, fmt.Sprintf("bytes=0-%d", tooLarge-1)},
		{math.MaxInt64, math.MaxInt64, fmt.Sprintf("bytes=%d-%d", int64(1<<60), int64(1<<60)+tooLarge-1)},
		{math.MaxInt64, -1, "bytes=1152921504606846976-"},
		{-1, -1, "bytes=-1"},
		{-4096, -1, "bytes=-4096"},
		{math.MinInt64, -1, fmt.Sprintf("bytes=-%d", tooLarge)},
	} {
		if got := rangeHeader(c.off, c.length); got != c.want {
			t.Errorf("%d, %d: got %q, want %q", c.off, c.length, got, c.want)
		}
	}
}

// Where a request goes, and where it names the bucket.
func TestHosts(t *testing.T) {
	const aws = "s3.dualstack.eu-west-1.amazonaws.com"
	var asked string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Host + r.URL.Path
		io.WriteString(w, "<ListBucketResult></ListBucketResult>")
	}))
	defer server.Close()
	for _, c := range []struct {
		fact, endpoint, bucket string
		style                  Style
		want                   string
	}{
		{"AWS", "", "bucket", StyleAuto, "bucket." + aws + "/"},
		{"AWS, a bucket that no certificate is for", "", "my.bucket", StyleAuto, aws + "/my.bucket/"},
		{"AWS, in the path", "", "bucket", StylePath, aws + "/bucket/"},
		{"another server", "https://minio.example.com:9000", "bucket", StyleAuto, "minio.example.com:9000/bucket/"},
		{"another server, in the host", "https://minio.example.com:9000", "bucket", StyleHost, "bucket.minio.example.com:9000/"},
	} {
		b, err := open(Options{Bucket: c.bucket, Endpoint: c.endpoint, Style: c.style, Region: "eu-west-1", Credentials: NewCredentials("id", "s", "")})
		if err != nil {
			t.Fatal(err)
		}
		b.transport.TLSClientConfig.InsecureSkipVerify = true
		b.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		}
		if _, err := b.List(t.Context(), "", "", 1); err != nil || asked != c.want {
			t.Errorf("%s: asked %s, want %s; %v", c.fact, asked, c.want, err)
		}
		b.Close()
	}
}

// No header makes it panic, or promise more than fits.
func FuzzPartOf(f *testing.F) {
	for _, r := range []string{"", "bytes 0-3/4", "bytes 2-4/9", "bytes 0--1/0", "bytes */9", "bytes 0-9223372036854775807/9223372036854775807", "bytes 4-3/9"} {
		f.Add(r, "4", int64(0), int64(-1))
		f.Add(r, "", int64(-3), int64(-1))
		f.Add(r, "-1", int64(2), int64(3))
	}
	f.Fuzz(func(t *testing.T, contentRange, contentLength string, off, length int64) {
		h := http.Header{}
		h.Set("Content-Range", contentRange)
		h.Set("Content-Length", contentLength)
		p, err := partOf(h, off, length)
		if err == nil && (p.from < 0 || p.from > p.to || p.to > p.sent || p.sent > store.MaxObject || length >= 0 && p.to-p.from > length) {
			t.Errorf("%q, %q: %+v", contentRange, contentLength, p)
		}
	})
}

func TestLentBodyIsTakenBack(t *testing.T) {
	b := &lentBody{r: io.NopCloser(strings.NewReader("data"))}
	p := make([]byte, 2)
	if n, err := b.Read(p); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	b.takeBack()
	if n, err := b.Read(p); n != 0 || !errors.Is(err, errTakenBack) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestCredentialsCannotBePrinted(t *testing.T) {
	c := NewCredentials("t0pid", "t0psecret", "t0ptoken")
	o := Options{Credentials: c}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "credentials", c, "options", o)
	j, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %x %q", c, c, c, c, c), fmt.Sprintf("%v %+v %#v", o, o, o), log.String(), string(j)} {
		if strings.Contains(s, "t0p") || strings.Contains(s, fmt.Sprintf("%x", "t0psecret")) {
			t.Errorf("a secret in %q", s)
		}
	}
}

func TestEveryCauseHasAdvice(t *testing.T) {
	for code, c := range codes {
		if c.cause != nil && Advice(c.cause) == "" {
			t.Errorf("%s: no advice", code)
		}
		if err := error(failed(c.kind, c.cause, "%s", code)); !errors.Is(err, c.kind) || c.cause != nil && !errors.Is(err, c.cause) {
			t.Errorf("%s: %v", code, err)
		}
	}
}
