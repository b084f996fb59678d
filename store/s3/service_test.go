package s3_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/s3"
)

// service gives credentials to a machine of AWS, or to a container: the n-th
// ones are called key-n.
type service struct {
	*httptest.Server
	given atomic.Int32
	lasts time.Duration // of what it gives
}

func newService(t *testing.T, lasts time.Duration) *service {
	t.Helper()
	s := &service{lasts: lasts}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const roles = "/latest/meta-data/iam/security-credentials/"
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		fmt.Fprint(w, "session")
	case r.URL.Path != "/container" && r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == roles:
		fmt.Fprint(w, "role\n")
	case r.URL.Path == roles+"role" || r.URL.Path == "/container":
		fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"key-%d","SecretAccessKey":"s","Token":"t","Expiration":%q}`,
			s.given.Add(1), time.Now().Add(s.lasts).UTC().Format(time.RFC3339))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// Credentials of a machine and of a container are asked for again when they are
// over, and when the server takes them no more, without anybody noticing.
func TestCredentialsOfAService(t *testing.T) {
	for _, c := range []struct {
		fact  string
		env   func(s *service) string // of the one variable that is set
		lasts time.Duration
		want  string // access keys of four requests, the third of which refuses the first key
	}{
		{"a machine", func(s *service) string { return "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + s.URL + "/" }, time.Hour, "key-1 key-1 key-1 key-2 key-2"},
		{"a machine whose credentials are always over", func(s *service) string { return "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + s.URL }, -time.Hour, ""},
		{"a container", func(s *service) string { return "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + s.URL + "/container" }, time.Hour, "key-1 key-1 key-1 key-2 key-2"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			s := newService(t, c.lasts)
			name, value, _ := strings.Cut(c.env(s), "=")
			t.Setenv(name, value) // minio-go looks there itself
			refuse := false
			f := &fake{}
			f.answer = func(w http.ResponseWriter, r *http.Request) {
				if refuse && strings.HasPrefix(keyOf(r), "key-1,") {
					sayError(400, "ExpiredToken")(w, r)
					return
				}
				say(200, emptyList)(w, r)
			}
			f.Server = httptest.NewServer(f)
			t.Cleanup(f.Close)
			o, err := s3.FromEnvironment("s3://bucket", s3.Flags{Endpoint: f.URL}, func(n string) string {
				if n == name {
					return value
				}
				return ""
			})
			if err != nil {
				t.Fatal(err)
			}
			b, err := s3.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			for i := range 3 {
				refuse = i > 0
				if _, err := b.List(t.Context(), "", "", 0); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
			var keys []string
			for _, r := range f.got() {
				key, token, _ := strings.Cut(keyOf(r), ",")
				keys = append(keys, key)
				if token != "t" {
					t.Errorf("token %q", token)
				}
			}
			got := strings.Join(keys, " ")
			if c.want != "" && got != c.want {
				t.Errorf("asked with %s, want %s", got, c.want)
			}
			if last := keys[len(keys)-1]; c.want == "" && (last == keys[0] || last == "key-1") {
				t.Errorf("asked with %s", got)
			}
		})
	}
}

// Where the service is away, or switched off, nothing is sent.
func TestServiceIsAway(t *testing.T) {
	s := newService(t, time.Hour)
	f, _ := newFake(t, nil, say(200, emptyList))
	for _, off := range []bool{true, false} {
		if !off {
			s.Close()
		}
		o, err := s3.FromEnvironment("s3://bucket", s3.Flags{Endpoint: f.URL}, func(n string) string {
			switch {
			case n == "AWS_EC2_METADATA_SERVICE_ENDPOINT":
				return s.URL
			case n == "AWS_EC2_METADATA_DISABLED" && off:
				return "true"
			}
			return ""
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s3.Open(t.Context(), o)
		wantErr(t, err, store.ErrDenied, s3.ErrNoCredentials)
	}
	if n := s.given.Load(); n != 0 || len(f.got()) != 0 {
		t.Errorf("%d credentials were given, %d requests sent", n, len(f.got()))
	}
}

// New keys in a file help the very call that was refused; without them it is
// not made again.
func TestRefusedCallTakesNewKeys(t *testing.T) {
	file := t.TempDir() + "/credentials"
	keys := func(id string) {
		writeFile(t, file, "[default]\naws_access_key_id = "+id+"\naws_secret_access_key = s\n")
	}
	keys("old")
	answer := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(keyOf(r), "newer,") {
			say(200, "", `ETag: "x"`)(w, r)
			return
		}
		keys("newer") // while the request is under way
		sayError(403, "InvalidAccessKeyId")(w, r)
	}
	f, b := newFake(t, func(o *s3.Options) { o.Credentials = s3.ProfileCredentials("default", file) }, answer)
	if err := b.PutIfAbsent(t.Context(), "v0/a", []byte("data")); err != nil || len(f.got()) != 2 {
		t.Errorf("%v, %d requests", err, len(f.got()))
	}
	f, b = newFake(t, func(o *s3.Options) { o.Credentials = s3.NewCredentials("old", "s", "") }, sayError(403, "InvalidAccessKeyId"))
	wantErr(t, b.PutIfAbsent(t.Context(), "v0/a", []byte("data")), store.ErrDenied, s3.ErrCredentials)
	if len(f.got()) != 1 {
		t.Errorf("%d requests", len(f.got()))
	}
}
