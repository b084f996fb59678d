package s3_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/s3"
)

func TestParseLocation(t *testing.T) {
	for _, c := range []struct {
		in     string
		bucket string
		prefix string
		ok     bool
	}{
		{"s3://bucket", "bucket", "", true},
		{"s3://bucket/", "bucket", "", true},
		{"s3://bucket/prefix", "bucket", "prefix", true},
		{"s3://bucket/prefix/", "bucket", "prefix", true},
		{"s3://my.bucket-1/a/b/c", "my.bucket-1", "a/b/c", true},
		{"s3://bucket/A!-_.*'()9", "bucket", "A!-_.*'()9", true},
		{"s3://bucket/.hidden", "bucket", ".hidden", true},
		{"s3://bucket/" + strings.Repeat("p/", 239) + "pp", "bucket", strings.Repeat("p/", 239) + "pp", true},
		{"s3://bucket/" + strings.Repeat("p/", 240) + "p", "", "", false},
		{"s3://bucket/" + strings.Repeat("p", 256), "", "", false},
		{"", "", "", false},
		{"s3:", "", "", false},
		{"s3://", "", "", false},
		{"s3:///prefix", "", "", false},
		{"S3://bucket", "", "", false},
		{"https://host/bucket", "", "", false},
		{"bucket/prefix", "", "", false},
		{"s3://ab", "", "", false},
		{"s3://Bucket", "", "", false},
		{"s3://192.168.0.1/x", "", "", false},
		{"s3://key:t0psecret@bucket/x", "", "", false},
		{"s3://bucket:9000/x", "", "", false},
		{"s3://bucket?region=t0psecret", "", "", false},
		{"s3://bucket/x?y", "", "", false},
		{"s3://bucket/x#y", "", "", false},
		{"s3://bucket/x%20y", "", "", false},
		{"s3://bucket/x y", "", "", false},
		{"s3://bucket/x\\y", "", "", false},
		{"s3://bucket/é", "", "", false},
		{"s3://bucket//x", "", "", false},
		{"s3://bucket/x//", "", "", false},
		{"s3://bucket/./x", "", "", false},
		{"s3://bucket/x/..", "", "", false},
		{"s3://bucket/x\n", "", "", false},
	} {
		l, err := s3.ParseLocation(c.in)
		if (err == nil) != c.ok || l.Bucket != c.bucket || l.Prefix != c.prefix {
			t.Errorf("%q: got %+v, %v", c.in, l, err)
		}
		if err != nil {
			wantErr(t, err, s3.ErrLocation)
			if strings.Contains(err.Error(), "t0psecret") {
				t.Error(err)
			}
		} else if again, err := s3.ParseLocation(l.String()); err != nil || again != l {
			t.Errorf("%q: %s is %+v, %v", c.in, l, again, err)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "t0psecret"}
	for _, c := range []struct {
		fact     string
		location string
		flags    s3.Flags
		env      map[string]string
		want     s3.Options // without credentials
		err      error
	}{
		{"AWS", "s3://bucket/p", s3.Flags{}, nil, s3.Options{Bucket: "bucket", Prefix: "p"}, nil},
		{"all of the environment", "s3://bucket", s3.Flags{},
			map[string]string{"AWS_ENDPOINT_URL": "https://host:1", "AWS_REGION": "r1", "AWS_DEFAULT_REGION": "r2", "AWS_CA_BUNDLE": "/ca"},
			s3.Options{Bucket: "bucket", Endpoint: "https://host:1", Region: "r1", CAFile: "/ca"}, nil},
		{"the narrower variable", "s3://bucket", s3.Flags{},
			map[string]string{"AWS_ENDPOINT_URL": "https://host:1", "AWS_ENDPOINT_URL_S3": "https://host:2", "AWS_DEFAULT_REGION": "r2"},
			s3.Options{Bucket: "bucket", Endpoint: "https://host:2", Region: "r2"}, nil},
		{"flags before the environment", "s3://bucket", s3.Flags{Endpoint: "https://flag", Region: "rf", CAFile: "/flag", Style: s3.StyleHost},
			map[string]string{"AWS_ENDPOINT_URL": "https://host:1", "AWS_REGION": "r1", "AWS_CA_BUNDLE": "/ca"},
			s3.Options{Bucket: "bucket", Endpoint: "https://flag", Region: "rf", CAFile: "/flag", Style: s3.StyleHost}, nil},
		{"no TLS on loopback", "s3://bucket", s3.Flags{Endpoint: "http://127.0.0.1:9000"}, nil, s3.Options{Bucket: "bucket", Endpoint: "http://127.0.0.1:9000"}, nil},
		{"no TLS on loopback, by name", "s3://bucket", s3.Flags{Endpoint: "http://localhost:9000/"}, nil, s3.Options{Bucket: "bucket", Endpoint: "http://localhost:9000/"}, nil},
		{"no TLS on loopback, IPv6", "s3://bucket", s3.Flags{Endpoint: "http://[::1]:9000"}, nil, s3.Options{Bucket: "bucket", Endpoint: "http://[::1]:9000"}, nil},
		{"no TLS elsewhere", "s3://bucket", s3.Flags{Endpoint: "http://10.0.0.1:9000"}, nil, s3.Options{}, s3.ErrOptions},
		{"no TLS elsewhere, by a misleading name", "s3://bucket", s3.Flags{Endpoint: "http://localhost.example.com"}, nil, s3.Options{}, s3.ErrOptions},
		{"no TLS elsewhere, wanted so", "s3://bucket", s3.Flags{Endpoint: "http://10.0.0.1", Insecure: true}, nil, s3.Options{Bucket: "bucket", Endpoint: "http://10.0.0.1", Insecure: true}, nil},
		{"endpoint without a scheme", "s3://bucket", s3.Flags{Endpoint: "host:9000"}, nil, s3.Options{}, s3.ErrOptions},
		{"endpoint with a path", "s3://bucket", s3.Flags{Endpoint: "https://host/bucket"}, nil, s3.Options{}, s3.ErrOptions},
		{"endpoint with a secret", "s3://bucket", s3.Flags{Endpoint: "https://id:t0psecret@host"}, nil, s3.Options{}, s3.ErrOptions},
		{"endpoint of another kind", "s3://bucket", s3.Flags{Endpoint: "ftp://host"}, nil, s3.Options{}, s3.ErrOptions},
		{"bad location", "bucket", s3.Flags{}, nil, s3.Options{}, s3.ErrLocation},
		{"half of the keys", "s3://bucket", s3.Flags{}, map[string]string{"AWS_SECRET_ACCESS_KEY": ""}, s3.Options{}, s3.ErrOptions},
		{"the other half", "s3://bucket", s3.Flags{}, map[string]string{"AWS_ACCESS_KEY_ID": ""}, s3.Options{}, s3.ErrOptions},
	} {
		got, err := s3.FromEnvironment(c.location, c.flags, func(name string) string {
			if v, ok := c.env[name]; ok {
				return v
			}
			return keys[name]
		})
		if c.err != nil {
			wantErr(t, err, c.err)
			if err != nil && strings.Contains(err.Error(), "t0psecret") {
				t.Error(err)
			}
			continue
		}
		if err != nil || got.Credentials == nil {
			t.Errorf("%s: %v", c.fact, err)
		}
		if got.Credentials = nil; got != c.want {
			t.Errorf("%s: got %+v", c.fact, got)
		}
	}
}

// What no flag and no variable says, the profile may say.
func TestSettingsOfAProfile(t *testing.T) {
	home := t.TempDir()
	writeFile(t, filepath.Join(home, ".aws", "credentials"),
		"# keys\n[default]\naws_access_key_id=id\naws_secret_access_key=s\n[work]\naws_access_key_id = id\naws_secret_access_key = s\nregion = from-credentials\n")
	writeFile(t, filepath.Join(home, ".aws", "config"),
		"[default]\nregion = d1\n; a remark\n[profile work]\nregion = w1\nendpoint_url = https://work.example.com\nca_bundle=/ca\ns3 =\n  endpoint_url = https://wrong.example.com\n"+
			"[profile nested]\ns3 =\n  region = wrong\n\tregion = wrong\nregion =\n[services work]\nregion = wrong\n[profile  last ]\nregion=l1")
	for _, c := range []struct {
		fact  string
		flags s3.Flags
		env   string
		want  [3]string // endpoint, region, authorities
	}{
		{"default", s3.Flags{}, "", [3]string{"", "d1", ""}},
		{"a profile", s3.Flags{Profile: "work"}, "", [3]string{"https://work.example.com", "from-credentials", "/ca"}},
		{"a profile of the environment", s3.Flags{}, "AWS_PROFILE=work", [3]string{"https://work.example.com", "from-credentials", "/ca"}},
		{"flags go before", s3.Flags{Profile: "work", Endpoint: "https://flag", Region: "rf", CAFile: "/flag"}, "", [3]string{"https://flag", "rf", "/flag"}},
		{"so does the environment", s3.Flags{Profile: "work"}, "AWS_REGION=re", [3]string{"https://work.example.com", "re", "/ca"}},
		{"nested settings are others", s3.Flags{Profile: "nested"}, "", [3]string{}},
		{"the last line", s3.Flags{Profile: "last"}, "", [3]string{"", "l1", ""}},
		{"no such profile", s3.Flags{Profile: "none"}, "", [3]string{}},
	} {
		o, err := s3.FromEnvironment("s3://bucket", c.flags, func(name string) string {
			if n, v, _ := strings.Cut(c.env, "="); n == name {
				return v
			}
			if name == "HOME" {
				return home
			}
			return ""
		})
		if got := [3]string{o.Endpoint, o.Region, o.CAFile}; err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.fact, got, err, c.want)
		}
	}
}

// A region that a profile has for all servers is no obstacle to one that is
// elsewhere.
func TestRegionOfAProfileGivesWay(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	writeFile(t, config, "[default]\nregion = eu-west-1\naws_access_key_id = id\naws_secret_access_key = s\n")
	f := &fake{answer: func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "/us-east-1/s3/") {
			sayError(400, "AuthorizationHeaderMalformed", "<Region>us-east-1</Region>")(w, r)
			return
		}
		say(200, emptyList)(w, r)
	}}
	f.Server = httptest.NewServer(f)
	defer f.Close()
	o, err := s3.FromEnvironment("s3://bucket", s3.Flags{Endpoint: f.URL}, func(name string) string {
		return map[string]string{"AWS_CONFIG_FILE": config}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s3.Open(t.Context(), o)
	if err != nil || b.Region() != "us-east-1" {
		t.Fatalf("%v", err)
	}
	b.Close()
}

// keyOf is the access key that a request is signed with.
func keyOf(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(rest, "/")
	return key + "," + r.Header.Get("X-Amz-Security-Token")
}

func TestCredentialsInTheirOrder(t *testing.T) {
	home := t.TempDir()
	writeFile(t, filepath.Join(home, ".aws", "credentials"),
		"[default]\naws_access_key_id = file\naws_secret_access_key = s\n[work]\naws_access_key_id = work\naws_secret_access_key = s\naws_session_token = token\n")
	writeFile(t, filepath.Join(home, ".aws", "config"),
		"[profile side]\naws_access_key_id = side\naws_secret_access_key = s\n[profile empty]\nregion = r\n")
	other := filepath.Join(home, "other")
	writeFile(t, other, "[default]\naws_access_key_id = other\naws_secret_access_key = s\n")
	for _, c := range []struct {
		fact  string
		flags s3.Flags
		env   []string
		want  string
	}{
		{"environment", s3.Flags{}, []string{"AWS_ACCESS_KEY_ID=env", "AWS_SECRET_ACCESS_KEY=s"}, "env,"},
		{"environment with a token", s3.Flags{}, []string{"AWS_ACCESS_KEY_ID=env", "AWS_SECRET_ACCESS_KEY=s", "AWS_SESSION_TOKEN=t"}, "env,t"},
		{"environment before its profile", s3.Flags{}, []string{"AWS_ACCESS_KEY_ID=env", "AWS_SECRET_ACCESS_KEY=s", "AWS_PROFILE=work"}, "env,"},
		{"a profile that is asked for", s3.Flags{Profile: "work"}, []string{"AWS_ACCESS_KEY_ID=env", "AWS_SECRET_ACCESS_KEY=s"}, "work,token"},
		{"default profile", s3.Flags{}, nil, "file,"},
		{"named profile", s3.Flags{}, []string{"AWS_PROFILE=work"}, "work,token"},
		{"profile of the config file", s3.Flags{}, []string{"AWS_PROFILE=side"}, "side,"},
		{"another file", s3.Flags{}, []string{"AWS_SHARED_CREDENTIALS_FILE=" + other}, "other,"},
		{"no such profile", s3.Flags{}, []string{"AWS_PROFILE=none"}, ""},
		{"a profile without keys", s3.Flags{Profile: "empty"}, nil, ""},
		{"nothing at all", s3.Flags{}, []string{"HOME=" + t.TempDir()}, ""},
	} {
		f, _ := newFake(t, nil, say(200, emptyList))
		o, err := s3.FromEnvironment("s3://bucket", c.flags, func(name string) string {
			for _, e := range append(c.env, "HOME="+home, "AWS_ENDPOINT_URL="+f.URL) {
				if n, v, _ := strings.Cut(e, "="); n == name {
					return v
				}
			}
			return ""
		})
		if err != nil {
			t.Fatalf("%s: %v", c.fact, err)
		}
		b, err := s3.Open(t.Context(), o)
		if c.want == "" {
			wantErr(t, err, store.ErrDenied, s3.ErrNoCredentials)
			if len(f.got()) != 0 {
				t.Errorf("%s: something was sent", c.fact)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.fact, err)
			continue
		}
		b.Close()
		if got := keyOf(f.got()[0]); got != c.want {
			t.Errorf("%s: got %s, want %s", c.fact, got, c.want)
		}
	}
}

// New credentials in the file are used by the next request, without a remount.
func TestCredentialsFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	keys := func(id string) string {
		return "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = s\n"
	}
	writeFile(t, file, keys("old"))
	f, b := newFake(t, func(o *s3.Options) { o.Credentials = s3.ProfileCredentials("default", file) }, say(200, emptyList))
	use := func(what, want string) {
		t.Helper()
		if _, err := b.List(t.Context(), "", "", 0); err != nil {
			t.Fatal(err)
		}
		requests := f.got()
		if got := keyOf(requests[len(requests)-1]); got != want+"," {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	use("as it was", "old")
	writeFile(t, file, keys("newer"))
	use("written again", "newer")
	writeFile(t, file, "[defa")
	use("half written", "newer")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	use("removed", "newer")
	writeFile(t, file+".new", keys("newest"))
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	use("replaced", "newest")
	// Same size, same second: only its time tells.
	writeFile(t, file, keys("latest"))
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	use("same size", "latest")
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
