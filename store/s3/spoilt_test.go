package s3_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/probe"
	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// behind returns a bucket behind the proxy, with an object "v0/a" in it.
func behind(t *testing.T, server *s3test.Server, p *s3test.Proxy, change func(o *s3.Options)) *s3.Bucket {
	t.Helper()
	o := server.Options(t)
	o.Endpoint, o.CAFile = p.Endpoint, p.CAFile
	if change != nil {
		change(&o)
	}
	b := server.OpenWith(t, o)
	if err := b.PutIfAbsent(t.Context(), "v0/a", whole); err != nil {
		t.Fatal(err)
	}
	return b
}

var whole = bytes.Repeat([]byte("0123456789"), 20_000)

// What can happen on the way to a real server, and what a caller is told of it:
// never a wrong byte but where the body itself was changed, which what is sealed
// in it finds out.
func TestSpoiltOnTheWay(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	p := server.Proxy(t)
	var o s3.Options
	b := behind(t, server, p, func(given *s3.Options) { o = *given })
	o.Stall = 3 * time.Second // asks for nothing that is to be answered: a busy server may be silent for as long
	soon := impatient(t, o)
	put := func() error { return b.PutIfAbsent(t.Context(), "v0/new", whole) }
	get := func() error {
		got, err := b.Get(t.Context(), "v0/a", 100_000, 70_000)
		if err == nil && !bytes.Equal(got, whole[100_000:170_000]) {
			return errWrong
		}
		return err
	}
	list := func() error {
		infos, err := b.List(t.Context(), "v0/", "", 0)
		if err == nil && (len(infos) == 0 || infos[0].Name != "v0/a") {
			return errWrong
		}
		return err
	}
	del := func() error { return b.Delete(t.Context(), "v0/new") }
	for _, c := range []struct {
		fact  string
		spoil s3test.Spoiler
		call  func() error
		want  []error
		there bool // whether v0/new is then there
	}{
		{"put: the answer is lost", s3test.LoseAnswer, put, []error{store.ErrUnavailable, s3.ErrNetwork}, true},
		{"put: reset", s3test.Reset, put, []error{store.ErrUnavailable, s3.ErrNetwork}, false},
		{"put: silence", s3test.Hang, func() error { return soon.PutIfAbsent(t.Context(), "v0/new", whole) }, []error{store.ErrUnavailable, s3.ErrNetwork}, false},
		{"put: 500", s3test.Say(500, "InternalError"), put, []error{store.ErrUnavailable, s3.ErrServer}, false},
		{"put: 503", s3test.Say(503, "SlowDown"), put, []error{store.ErrUnavailable, s3.ErrBusy}, false},
		{"put: 403", s3test.Say(403, "AccessDenied"), put, []error{store.ErrDenied, s3.ErrPermission}, false},
		{"put: the clock is behind", s3test.Late(-time.Hour), put, []error{store.ErrDenied, s3.ErrClock}, false},
		{"put: the clock is ahead", s3test.Late(time.Hour), put, []error{store.ErrDenied, s3.ErrClock}, false},
		{"put: the condition is taken off", s3test.WithoutHeader("If-None-Match"), put, []error{store.ErrDenied, s3.ErrHeaders}, false},
		{"get: reset", s3test.Reset, get, []error{store.ErrUnavailable, s3.ErrNetwork}, false},
		{"get: silence", s3test.Hang, func() error { _, err := soon.Get(t.Context(), "v0/a", 100_000, 70_000); return err }, []error{store.ErrUnavailable, s3.ErrNetwork}, false},
		{"get: cut in half", s3test.Body(s3test.Half), get, []error{store.ErrUnavailable, s3.ErrTruncated}, false},
		{"get: a bit is flipped", s3test.Body(s3test.FlipBit), get, []error{errWrong}, false},
		{"get: 503", s3test.Say(503, "SlowDown"), get, []error{store.ErrUnavailable, s3.ErrBusy}, false},
		{"get: 403", s3test.Say(403, "AccessDenied"), get, []error{store.ErrDenied, s3.ErrPermission}, false},
		{"get: the range is taken off", s3test.WithoutHeader("Range"), get, []error{store.ErrDenied, s3.ErrHeaders}, false},
		{"get: the time is taken off", s3test.Answer(func(a *http.Response) { a.Header.Del("Last-Modified") }), get, []error{store.ErrUnavailable, s3.ErrHeaders}, false},
		{"list: reset", s3test.Reset, list, []error{store.ErrUnavailable, s3.ErrNetwork}, false},
		{"list: cut in half", s3test.Body(s3test.Half), list, []error{store.ErrUnavailable}, false},
		{"list: 500", s3test.Say(500, "InternalError"), list, []error{store.ErrUnavailable, s3.ErrServer}, false},
		{"delete: reset", s3test.Reset, del, []error{store.ErrUnavailable, s3.ErrNetwork}, false},
		{"delete: 403", s3test.Say(403, "AccessDenied"), del, []error{store.ErrDenied, s3.ErrPermission}, false},
	} {
		t.Run(c.fact, func(t *testing.T) {
			p.Spoil(c.spoil)
			before := p.Requests()
			wantErr(t, c.call(), c.want...)
			// The transport asks again for what it may, when a connection that
			// was in use before breaks.
			if n := p.Requests() - before; n != 1 && (n != 2 || strings.HasPrefix(c.fact, "put")) {
				t.Errorf("%d requests for one call", n)
			}
			p.Spoil()
			_, err := b.Get(t.Context(), "v0/new", 0, -1)
			if there := err == nil; there != c.there || !there && !errors.Is(err, store.ErrNotExist) {
				t.Errorf("v0/new is there: %v, %v", there, err)
			}
			for _, call := range []func() error{get, list, del} {
				if err := call(); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
}

var errWrong = errors.New("wrong bytes")

// A gateway that takes headers off and signs anew: the server cannot notice, and
// the test of the store does.
func TestGatewaysThatDropHeaders(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	g := server.Gateway(t)
	b := behind(t, server, g, nil)
	v, err := probe.Run(t.Context(), b, probe.Options{})
	if err != nil || !v.Good() || b.WholeForParts() {
		t.Fatalf("one that drops nothing: %v, %v, %v", v, err, b.WholeForParts())
	}
	g.Spoil(s3test.WithoutHeader("If-None-Match"))
	v, err = probe.Run(t.Context(), b, probe.Options{})
	if err != nil || v.Good() || !v.Single() || !v.Has(probe.IgnoresCondition) || !v.Has(probe.Overwrites) || !v.Has(probe.SeveralWin) {
		t.Errorf("without conditions: %v, %v", v, err)
	}
	g.Spoil(s3test.WithoutHeader("Range"))
	for _, r := range []struct {
		off, length int64
		want        []byte
	}{{-16, -1, whole[len(whole)-16:]}, {70_000, 65_552, whole[70_000:135_552]}, {0, -1, whole}} {
		if got, err := b.Get(t.Context(), "v0/a", r.off, r.length); err != nil || !bytes.Equal(got, r.want) {
			t.Errorf("without ranges: %d bytes, %v", len(got), err)
		}
	}
	if !b.WholeForParts() {
		t.Error("nobody is told that parts cost as much as the whole")
	}
}

// Credentials of a real server that may do less than a drive needs.
func TestLackingPermission(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[%ACTIONS%],"Resource":["arn:aws:s3:::*"]}]}`
	for _, c := range []struct {
		fact           string
		actions        string
		open, put, get error
	}{
		{"all that is needed", `"s3:ListBucket","s3:GetObject","s3:PutObject"`, nil, nil, nil},
		{"no writing", `"s3:ListBucket","s3:GetObject"`, nil, s3.ErrPermission, nil},
		{"no reading", `"s3:ListBucket","s3:PutObject"`, nil, nil, s3.ErrPermission},
		{"no listing", `"s3:GetObject","s3:PutObject"`, s3.ErrPermission, nil, nil},
	} {
		o := server.Options(t)
		full := server.OpenWith(t, o)
		if err := full.PutIfAbsent(t.Context(), "v0/a", nil); err != nil {
			t.Fatal(err)
		}
		o.Credentials = s3.NewCredentials(server.Session(t, strings.Replace(allow, "%ACTIONS%", c.actions, 1)))
		b, err := s3.Open(t.Context(), o)
		if !errors.Is(err, c.open) || c.open != nil && !errors.Is(err, store.ErrDenied) {
			t.Errorf("%s: open: %v", c.fact, err)
		}
		if err != nil {
			continue
		}
		defer b.Close()
		if err := b.PutIfAbsent(t.Context(), "v0/b", nil); !errors.Is(err, c.put) {
			t.Errorf("%s: put: %v", c.fact, err)
		}
		if _, err := b.Get(t.Context(), "v0/a", 0, -1); !errors.Is(err, c.get) {
			t.Errorf("%s: get: %v", c.fact, err)
		}
		if err := b.Delete(t.Context(), "v0/a"); !errors.Is(err, s3.ErrPermission) {
			t.Errorf("%s: delete: %v", c.fact, err)
		}
	}
}

// What others keep in the place is found by who wants to make a drive there.
func TestForeign(t *testing.T) {
	server := s3test.Start(t, s3test.MinIO)
	o := server.Options(t)
	client := server.Client(t)
	put := func(key, text string) {
		t.Helper()
		_, err := client.PutObject(t.Context(), o.Bucket, key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	foreign := func(prefix string) int {
		t.Helper()
		with := o
		with.Prefix = prefix
		n, err := server.OpenWith(t, with).Foreign(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put("beside/My Photo.jpg", "x")
	put("drive-2/A", "x")
	put("drive/", "") // as a console marks a folder
	if n := foreign("drive"); n != 0 {
		t.Errorf("in an empty place: %d", n)
	}
	put("drive/v0/s/a", "x")
	if n := foreign("drive"); n != 0 {
		t.Errorf("with a name of ours: %d", n)
	}
	put("drive/My Photo.jpg", "x")
	put("drive/v0/.hidden", "x")
	put("drive/full/", "not empty")
	if n := foreign("drive"); n != 3 {
		t.Errorf("with three of others: %d", n)
	}
	if n := foreign(""); n != 5 {
		t.Errorf("in the whole bucket: %d", n)
	}
}
