package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// What is wrong with a bucket is said in one line, before a passphrase is asked
// for, and nothing is left behind.
func TestBucketRefusals(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	inBucket := m.inBucket(server)
	set := func(more ...string) []string { return append(settings(server), more...) }
	mountAt := func(store string, flags ...string) []string {
		return append(append([]string{"mount", "--passphrase-file", m.pass}, flags...), store, m.mnt)
	}
	initAt := func(store string, flags ...string) []string {
		return append(append([]string{"init", "--passphrase-file", m.pass, "--recovery-file", m.at("new words"), "--kdf-memory", "19MiB"}, flags...), store)
	}
	for _, c := range []struct {
		name  string
		code  int
		words []string
		env   []string
		args  []string
	}{
		{"wrong secret", 11, []string{"store denies access", "credentials are not accepted", "Check access key and secret"}, set("AWS_SECRET_ACCESS_KEY=wrong"), mountAt(m.store)},
		{"unknown key", 11, []string{"credentials are not accepted", "Check access key and secret"}, set("AWS_ACCESS_KEY_ID=unknown"), mountAt(m.store)},
		{"no keys", 11, []string{"no credentials", "Set AWS_ACCESS_KEY_ID"}, []string{"AWS_ENDPOINT_URL=" + server.Endpoint}, mountAt(m.store)},
		{"half of the keys", 2, []string{"AWS_SECRET_ACCESS_KEY is not", "hushfs help s3"}, []string{"AWS_ENDPOINT_URL=" + server.Endpoint, "AWS_ACCESS_KEY_ID=a"}, mountAt(m.store)},
		{"no such profile", 11, []string{"no credentials", "AWS_PROFILE"}, set(), mountAt(m.store, "--s3-profile", "none")},
		{"no such bucket", 11, []string{"bucket does not exist", "Create it"}, set(), mountAt("s3://no-such-bucket/drive")},
		{"no such bucket for init", 11, []string{"bucket does not exist", "Create it"}, set(), initAt("s3://no-such-bucket/drive")},
		{"wrong region", 11, []string{"another region", "AWS_REGION"}, set(), mountAt(m.store, "--s3-region", "eu-west-1")},
		{"TLS where there is none", 11, []string{"does not speak TLS"}, set(), mountAt(m.store, "--s3-endpoint", "https"+strings.TrimPrefix(server.Endpoint, "http"))},
		{"in the clear to another machine", 2, []string{"not encrypted"}, set(), mountAt(m.store, "--s3-endpoint", "http://192.0.2.1:9000")},
		{"no authority in the file", 2, []string{"CA file"}, set(), mountAt(m.store, "--s3-ca-file", m.pass)},
		{"no drive at the prefix", 4, []string{"no drive", "hushfs init"}, set(), mountAt(m.store + "/other")},
		{"init on a drive", 5, []string{m.store, "not empty", "Nothing was touched"}, set(), initAt(m.store)},
		{"init above a drive", 5, []string{"not empty", "Nothing was touched"}, set(), initAt(strings.TrimSuffix(m.store, "/drive"))},
		{"wrong passphrase", 3, []string{"passphrase does not open"}, set(), []string{"mount", "--passphrase-command", "echo wrong", m.store, m.mnt}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.settings = nil
			checkRefusal(t, m.runWith(c.env, c.args...), c.code, c.words)
			if left, _ := filepath.Glob(m.at("new words")); len(left) > 0 || mounted(m.mnt) {
				t.Error("something was left behind")
			}
		})
	}
	m.settings = settings(server)
	if now := m.inBucket(server); len(now) != len(inBucket) {
		t.Errorf("%d objects, there were %d", len(now), len(inBucket))
	}
	m.mount().umount()
	server.Kill()
	m.refused(11, []string{"cannot be reached", "connection refused", "Check the network"}, m.mountArgs()...)
	m.refused(11, []string{"cannot be reached", "connection refused", "Check the network"}, initAt(m.store+"/other")...)
}

// A server that lets everybody win is refused by init and by mount, which still
// shows what lies there.
func TestServerThatLies(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	there, err := url.Parse(server.Endpoint)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(there)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode == http.StatusPreconditionFailed {
			r.StatusCode, r.Status = http.StatusOK, "200 OK"
			r.Header.Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
			r.Header.Del("Content-Length")
			r.Body.Close()
			r.Body, r.ContentLength = http.NoBody, 0
		}
		return nil
	}
	liar := httptest.NewServer(proxy)
	t.Cleanup(liar.Close)

	m := machineAt(t, server)
	words := []string{"work would be lost", "taken name was accepted", "another server"}
	m.refused(11, words, m.initArgs("--s3-endpoint", liar.URL)...)
	if names := m.inBucket(server); len(names) > 0 {
		t.Errorf("the refused init left %v", names)
	}
	if _, err := os.Stat(m.words); err == nil {
		t.Error("the refused init left a recovery file")
	}
	m.init()
	d := m.mount()
	must(t, os.WriteFile(m.in("a"), []byte("a"), 0o644))
	d.umount()
	before := len(m.inBucket(server))
	m.refused(11, words, m.mountArgs("--s3-endpoint", liar.URL)...)
	d = m.mount("--s3-endpoint", liar.URL, "--read-only")
	if b := read(t, m.in("a")); string(b) != "a" {
		t.Errorf("%q", b)
	}
	s := m.status()[0]
	if s.Probe == nil || s.Probe.Good || s.Endpoint != liar.URL {
		t.Errorf("status: %+v", s)
	}
	if out := m.ok("status"); !strings.Contains(out, "only one machine may write to this store: ") {
		t.Errorf("status says\n%s", out)
	}
	d.umount()
	if after := len(m.inBucket(server)); after != before {
		t.Errorf("%d objects, there were %d", after, before)
	}
	// The server itself is what it was.
	m.mount().umount()
}

// What an interrupted test of the store has left is nobody's data.
func TestInitAfterAnInterruptedTest(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := machineAt(t, server)
	l, err := s3.ParseLocation(m.store)
	must(t, err)
	b := server.OpenWith(t, s3.Options{Bucket: l.Bucket, Prefix: l.Prefix, Endpoint: server.Endpoint,
		Credentials: s3.NewCredentials(server.AccessKey, server.Secret, "")})
	must(t, b.PutIfAbsent(t.Context(), "v0/probe/0123456789abcdef/one", []byte("x")))
	m.init()
	m.mount().umount()
}
