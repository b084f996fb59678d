package s3_test

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/s3"
)

func isErr(err, want error) bool { return errors.Is(err, want) }

// fake is a server that says what a test tells it to say, and keeps the
// requests it got.
type fake struct {
	*httptest.Server

	mu       sync.Mutex // guards the fields below
	requests []*http.Request
	answer   http.HandlerFunc
}

const emptyList = `<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`

// newFake returns a server and a bucket on it; answer is asked from then on.
func newFake(t *testing.T, with func(o *s3.Options), answer http.HandlerFunc) (*fake, *s3.Bucket) {
	t.Helper()
	f := &fake{answer: say(200, emptyList)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	o := s3.Options{Bucket: "bucket", Endpoint: f.URL, Credentials: s3.NewCredentials("id", "t0psecret", "")}
	if with != nil {
		with(&o)
	}
	b, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.requests = answer, nil
	return f, b
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	answer := f.answer
	f.mu.Unlock()
	io.Copy(io.Discard, r.Body)
	answer(w, r)
}

func (f *fake) got() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// say answers with a status and a body, and headers as "Name: value".
func say(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// sayError answers with an error in the words of S3.
func sayError(status int, code string, more ...string) http.HandlerFunc {
	return say(status, "<Error><Code>"+code+"</Code><Message>the message names t0psecret</Message><BucketName>bucket</BucketName>"+
		strings.Join(more, "")+"</Error>", "Content-Type: application/xml")
}

// The worst that can happen to a condition is that an upload in parts loses it.
func TestOnePutWithItsCondition(t *testing.T) {
	f, b := newFake(t, nil, say(200, "", `ETag: "x"`))
	sizes := []int{0, 1, 5 << 20, 16 << 20, 17 << 20, 64<<20 + 1}
	for i, size := range sizes {
		if err := b.PutIfAbsent(t.Context(), fmt.Sprintf("v0/p/%d", i), make([]byte, size)); err != nil {
			t.Error(err)
		}
	}
	if len(f.got()) != len(sizes) {
		t.Errorf("%d requests for %d puts", len(f.got()), len(sizes))
	}
	for i, r := range f.got() {
		if r.Method == http.MethodPost {
			t.Errorf("an upload in parts: POST %s", r.URL)
		}
		if r.Method != http.MethodPut || r.URL.Query().Has("uploads") || r.URL.Query().Has("uploadId") ||
			r.URL.Path != fmt.Sprintf("/bucket/v0/p/%d", i) || r.Header.Get("If-None-Match") != "*" {
			t.Errorf("%s %s, If-None-Match %q", r.Method, r.URL, r.Header.Get("If-None-Match"))
		}
		if !strings.Contains(r.Header.Get("Authorization"), "if-none-match") {
			t.Error("the condition is not signed")
		}
		// A bucket with a default retention of AWS takes no put without it.
		sum := md5.Sum(make([]byte, sizes[i]))
		if got, want := r.Header.Get("Content-MD5"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
			t.Errorf("Content-MD5 of %d bytes: %q, want %q", sizes[i], got, want)
		}
	}
}

func TestNothingIsTriedTwice(t *testing.T) {
	for _, answer := range []http.HandlerFunc{sayError(503, "SlowDown"), sayError(500, "InternalError"), say(502, "bad gateway"),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }} {
		f, b := newFake(t, nil, answer)
		wantErr(t, b.PutIfAbsent(t.Context(), "v0/a", []byte("data")), store.ErrUnavailable)
		if n := len(f.got()); n != 1 {
			t.Errorf("%d requests for one put", n)
		}
	}
}

// Every answer, what it means for the caller, and why.
func TestAnswers(t *testing.T) {
	put := func(b *s3.Bucket, t *testing.T) error { return b.PutIfAbsent(t.Context(), "v0/a", []byte("data")) }
	get := func(b *s3.Bucket, t *testing.T) error { _, err := b.Get(t.Context(), "v0/a", 0, -1); return err }
	part := func(b *s3.Bucket, t *testing.T) error { _, err := b.Get(t.Context(), "v0/a", 2, 3); return err }
	list := func(b *s3.Bucket, t *testing.T) error { _, err := b.List(t.Context(), "v0/", "v0/b", 2); return err }
	del := func(b *s3.Bucket, t *testing.T) error { return b.Delete(t.Context(), "v0/a") }
	names := func(keys ...string) string {
		s := "<ListBucketResult><IsTruncated>false</IsTruncated>"
		for _, k := range keys {
			s += "<Contents><Key>" + k + "</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
		}
		return s + "</ListBucketResult>"
	}
	for _, c := range []struct {
		fact   string
		call   func(*s3.Bucket, *testing.T) error
		answer http.HandlerFunc
		want   []error
	}{
		{"put", put, say(200, "", `ETag: "x"`), nil},
		{"put: taken", put, sayError(412, "PreconditionFailed"), []error{store.ErrExist}},
		{"put: taken, in one word", put, say(412, ""), []error{store.ErrExist}},
		{"put: taken, says a proxy", put, say(412, "<html>"), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"put: undecided", put, sayError(409, "ConditionalRequestConflict"), []error{store.ErrUnavailable, s3.ErrConflict}},
		{"put: another conflict", put, sayError(409, "Unheard"), []error{store.ErrUnavailable, s3.ErrConflict}},
		{"put: the answer lost its ETag", put, say(200, ""), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"put: not quite 200", put, say(202, "<x/>"), []error{store.ErrUnavailable}},
		{"put: 204", put, say(204, ""), []error{store.ErrUnavailable}},
		{"put: not modified", put, say(304, ""), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"put: unknown condition", put, sayError(501, "NotImplemented"), []error{store.ErrDenied, s3.ErrCondition}},
		{"put: full", put, sayError(507, "XMinioStorageFull"), []error{store.ErrFull}},
		{"put: quota", put, sayError(403, "QuotaExceeded"), []error{store.ErrFull}},
		{"put: too large", put, sayError(400, "EntityTooLarge"), []error{store.ErrTooLarge}},
		{"put: under an object", put, sayError(400, "XMinioParentIsObject"), []error{store.ErrName}},

		{"get", get, say(200, "data"), nil},
		{"get: missing", get, sayError(404, "NoSuchKey"), []error{store.ErrNotExist}},
		{"get: missing, says a proxy", get, say(404, "<html><body>not found"), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"get: missing, in one word", get, say(404, ""), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"get: no bucket is no missing object", get, sayError(404, "NoSuchBucket"), []error{store.ErrUnavailable, s3.ErrNoBucket}},
		{"get: body ends early", get, say(200, "data", "Content-Length: 5"), []error{store.ErrUnavailable, s3.ErrTruncated}},
		{"get: body ends at once", get, say(200, "", "Content-Length: 5"), []error{store.ErrUnavailable, s3.ErrTruncated}},
		{"get: no length", get, say(200, "data", "Transfer-Encoding: chunked"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"get: no Last-Modified", get, say(200, "data", "Last-Modified: x"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"get: too large", get, say(200, "", fmt.Sprint("Content-Length: ", store.MaxObject+1)), []error{store.ErrTooLarge}},
		{"get: a part unasked for", get, say(206, "data", "Content-Range: bytes 0-3/5", "Content-Length: 4"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"part", part, say(206, "cde", "Content-Range: bytes 2-4/9", "Content-Length: 3"), nil},
		{"part: cut at the end", part, say(206, "cd", "Content-Range: bytes 2-3/4", "Content-Length: 2"), nil},
		{"part: cut before the end", part, say(206, "cd", "Content-Range: bytes 2-3/9", "Content-Length: 2"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"part: another", part, say(206, "bcd", "Content-Range: bytes 1-3/9", "Content-Length: 3"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"part: longer than said", part, say(206, "cdefg", "Content-Range: bytes 2-4/9", "Content-Length: 5"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"part: unreadable", part, say(206, "cde", "Content-Range: bytes */9", "Content-Length: 3"), []error{store.ErrUnavailable, s3.ErrHeaders}},
		{"part: ends early", part, say(206, "cd", "Content-Range: bytes 2-4/9", "Content-Length: 3"), []error{store.ErrUnavailable, s3.ErrTruncated}},
		{"part: behind the end", part, sayError(416, "InvalidRange"), nil},
		{"part: behind the end, says a proxy", part, say(416, "<html>"), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"part: range got lost", part, say(200, "abcdefghi", "Content-Length: 9"), nil},
		{"part: range got lost, huge object", part, say(200, "", fmt.Sprint("Content-Length: ", store.MaxObject+1)), []error{store.ErrUnavailable, s3.ErrHeaders}},

		{"list", list, say(200, names("v0/c", "v0/d")), nil},
		{"list: empty", list, say(200, " \n"+emptyList), nil},
		{"list: a web page", list, say(200, "<html><body/></html>"), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"list: nothing", list, say(200, ""), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"list: ends early", list, say(200, names("v0/c")[:80]), []error{store.ErrUnavailable, s3.ErrTruncated}},
		{"list: backwards", list, say(200, names("v0/d", "v0/c")), []error{store.ErrUnavailable, s3.ErrOrder}},
		{"list: twice the same", list, say(200, names("v0/c", "v0/c")), []error{store.ErrUnavailable, s3.ErrOrder}},
		{"list: before after", list, say(200, names("v0/b")), []error{store.ErrUnavailable, s3.ErrOrder}},
		{"list: another prefix", list, say(200, names("v1/c")), []error{store.ErrUnavailable, s3.ErrOrder}},
		{"list: missing prefix is no error of S3", list, say(404, "<html>"), []error{store.ErrUnavailable, s3.ErrNotS3}},

		{"delete", del, say(204, ""), nil},
		{"delete: missing", del, sayError(404, "NoSuchKey"), nil},
		{"delete: no bucket", del, sayError(404, "NoSuchBucket"), []error{store.ErrUnavailable, s3.ErrNoBucket}},
		{"delete: not allowed", del, sayError(403, "AccessDenied"), []error{store.ErrDenied, s3.ErrPermission}},

		{"a header that was signed is gone", get, say(403, "<Error><Code>AccessDenied</Code><Message>There were headers present in the request which were not signed</Message></Error>"),
			[]error{store.ErrDenied, s3.ErrHeaders}},
		{"unknown key", get, sayError(403, "InvalidAccessKeyId"), []error{store.ErrDenied, s3.ErrCredentials}},
		{"wrong secret, or a changed header", get, sayError(403, "SignatureDoesNotMatch"), []error{store.ErrDenied, s3.ErrCredentials}},
		{"expired", get, sayError(400, "ExpiredToken"), []error{store.ErrDenied, s3.ErrExpired}},
		{"clock", get, sayError(403, "RequestTimeTooSkewed"), []error{store.ErrDenied, s3.ErrClock}},
		{"region", get, sayError(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), []error{store.ErrDenied, s3.ErrRegion}},
		{"malformed, but not the region", get, sayError(400, "AuthorizationHeaderMalformed"), []error{store.ErrDenied, s3.ErrCredentials}},
		{"redirect", get, sayError(301, "PermanentRedirect"), []error{store.ErrDenied, s3.ErrRegion}},
		{"redirect to a portal", get, say(302, "", "Location: http://example.com/"), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"unknown 403", get, sayError(403, "Unheard"), []error{store.ErrDenied, s3.ErrPermission}},
		{"a firewall's 403", get, say(403, "<html>"), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"slow down", put, sayError(503, "SlowDown"), []error{store.ErrUnavailable, s3.ErrBusy}},
		{"too many", put, say(429, ""), []error{store.ErrUnavailable, s3.ErrBusy}},
		{"internal", put, sayError(500, "InternalError"), []error{store.ErrUnavailable, s3.ErrServer}},
		{"bad gateway", put, say(502, "<html>"), []error{store.ErrUnavailable, s3.ErrServer}},
		{"proxy login", put, say(407, ""), []error{store.ErrUnavailable, s3.ErrNotS3}},
		{"unknown 400", put, sayError(400, "Unheard"), []error{store.ErrUnavailable, s3.ErrRefused}},
		{"https wanted", put, say(400, "Client sent an HTTP request to an HTTPS server.\n"), []error{store.ErrUnavailable, s3.ErrTLS}},
		{"hung up", put, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []error{store.ErrUnavailable, s3.ErrNetwork}},
	} {
		t.Run(c.fact, func(t *testing.T) {
			_, b := newFake(t, nil, c.answer)
			err := c.call(b, t)
			wantErr(t, err, c.want...)
			if err == nil {
				return
			}
			for _, no := range []string{"127.0.0.1", "bucket/", "t0psecret", "message"} {
				if strings.Contains(err.Error(), no) {
					t.Errorf("the error tells %q: %v", no, err)
				}
			}
			if len(c.want) > 1 && s3.Advice(err) == "" {
				t.Errorf("no advice for %v", err)
			}
		})
	}
}

func TestLostRangeGivesThePart(t *testing.T) {
	_, b := newFake(t, nil, say(200, "abcdefghi", "Content-Length: 9"))
	for _, c := range []struct {
		off, length int64
		want        string
	}{{2, 3, "cde"}, {0, 2, "ab"}, {7, 9, "hi"}, {20, 2, ""}, {-3, -1, "ghi"}, {3, 0, ""}, {1, -1, "bcdefghi"}} {
		if got, err := b.Get(t.Context(), "v0/a", c.off, c.length); err != nil || string(got) != c.want {
			t.Errorf("%d, %d: got %q, %v", c.off, c.length, got, err)
		}
	}
}

// Foreign keys in the place are passed over, and do not count.
func TestForeignKeysAreNotListed(t *testing.T) {
	page := "<ListBucketResult><IsTruncated>false</IsTruncated>"
	for _, k := range []string{"mine/.x", "mine/A", "mine/a", "mine/b c", "mine/b/", "mine/c"} {
		page += "<Contents><Key>" + k + "</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
	}
	_, b := newFake(t, func(o *s3.Options) { o.Prefix = "mine" }, say(200, page+"</ListBucketResult>"))
	infos, err := b.List(t.Context(), "", "", 2)
	if err != nil || len(infos) != 2 || infos[0].Name != "a" || infos[1].Name != "c" {
		t.Errorf("%v, %v", infos, err)
	}
}

func TestWhereTheBucketIsNamed(t *testing.T) {
	f, b := newFake(t, func(o *s3.Options) { o.Prefix = "a-(b)/c!" }, say(200, "", `ETag: "x"`))
	if err := b.PutIfAbsent(t.Context(), "v0/a", nil); err != nil {
		t.Fatal(err)
	}
	if r := f.got()[0]; r.URL.Path != "/bucket/a-(b)/c!/v0/a" {
		t.Errorf("path style: %s %s", r.Host, r.URL.Path)
	}
}
