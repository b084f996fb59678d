package main

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/probe"
	"github.com/hushfs/hushfs/store/s3"
)

func TestIsSlot(t *testing.T) {
	var v crypt.VolumeID
	for name, want := range map[string]bool{
		chain.SlotName(v, 1):                 true,
		chain.HintName(v, 1):                 false,
		chain.LedgerName(v, crypt.Name{}):    false,
		chain.PackName(v, crypt.Name{}):      false,
		"v0/h/fffffffffffffffe":              false,
		"v0/probe/0123456789abcdef/list/one": false,
		"v0":                                 false,
	} {
		if isSlot(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// volumeID is one of a test, as it stands in names.
func volumeID(digit string) string { return strings.Repeat(digit, 64) }

// begun are the names of what an init that was interrupted leaves.
func begun(digit string) []string {
	v := "v0/s/" + volumeID(digit) + "/"
	return []string{v + "a/" + volumeID("b"), v + "k/ffffffffffffffff", v + "k/fffffffffffffffe", v + "l/fffffffffffffffe"}
}

// What is of no use is passed over where a drive is to be made, and nothing else
// is.
func TestRemains(t *testing.T) {
	v := "v0/s/" + volumeID("a") + "/"
	for _, c := range []struct {
		fact  string
		names []string
		err   error
		count int
	}{
		{"nothing", nil, nil, 0},
		{"what a test has left", []string{"v0/probe/aa/one", "v0/probe/ab/list/01"}, nil, 0},
		{"a begun drive", begun("a"), nil, 4},
		{"several, and of a test", append(append(begun("a"), begun("c")...), "v0/probe/aa/one"), nil, 8},
		{"only its ledger", begun("a")[:1], nil, 1},
		{"a drive", append(begun("a"), "v0/h/fffffffffffffffe"), errDrive, 0},
		{"a drive whose volume is gone", []string{"v0/h/fffffffffffffffe"}, errDrive, 0},
		{"a drive without its header, with a second commit", append(begun("a"), v+"l/fffffffffffffffd"), errOccupied, 0},
		{"with a later hint", append(begun("a"), v+"k/fffffffffffffffd"), errOccupied, 0},
		{"with a pack", append(begun("a"), v+"p/bb/"+volumeID("b")), errOccupied, 0},
		{"with a table", append(begun("a"), v+"t/"+volumeID("b")), errOccupied, 0},
		{"with what nobody knows", append(begun("a"), v+"z/1"), errOccupied, 0},
		{"a volume of another name", []string{"v0/s/short/l/fffffffffffffffe"}, errOccupied, 0},
		{"a newer format", []string{"v1/h/fffffffffffffffe"}, errOccupied, 0},
		{"something else", []string{"report.pdf"}, errOccupied, 0},
		{"something else behind", append(begun("a"), "zebra"), errOccupied, 0},
	} {
		b, dir := mem.New(), t.TempDir()
		for _, name := range c.names {
			b.Overwrite(name, nil)
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		inB, berr := inBucket(t.Context(), b)
		inF, ferr := inFolder(dir)
		for place, err := range map[string]error{"bucket": berr, "folder": ferr} {
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("%s, in a %s: %v, want %v", c.fact, place, err, c.err)
			}
		}
		if c.err != nil {
			continue
		}
		if inB.objects != c.count || inF.objects != c.count {
			t.Errorf("%s: %d and %d objects, want %d", c.fact, inB.objects, inF.objects, c.count)
		}
		left, err := cleared{b, inB}.List(t.Context(), "", "", 1)
		if err != nil || len(left) != 0 {
			t.Errorf("%s: %v, %v are listed", c.fact, left, err)
		}
	}
}

func TestRemainsInAFolder(t *testing.T) {
	for _, c := range []struct {
		fact, file string
		err        error
	}{
		{"what was being written", ".tmp/x", nil},
		{"a file beside", "notes", errOccupied},
		{"a hidden file", ".hidden", errOccupied},
		{"a folder beside", "photos/x", errOccupied},
		{"a file that no object is called like", "v0/My File", errOccupied},
		{"a file in the place of a folder", "v0", errOccupied},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := inFolder(dir); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.fact, err)
		}
	}
	if r, err := inFolder(filepath.Join(t.TempDir(), "none")); err != nil || r.objects != 0 {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestClearedListing(t *testing.T) {
	b := mem.New()
	for _, name := range append(begun("a"), "v0/probe/aa/1", "v0/probe/aa/2") {
		b.Overwrite(name, nil)
	}
	past, err := inBucket(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v0/a", "v0/s/" + volumeID("c") + "/l/1", "v0/z"} {
		b.Overwrite(name, nil)
	}
	for limit, want := range map[int]int{0: 3, 1: 1, 2: 2, 9: 3} {
		page, err := cleared{b, past}.List(t.Context(), "", "", limit)
		if err != nil || len(page) != want || page[0].Name != "v0/a" {
			t.Errorf("at most %d: %v, %v", limit, page, err)
		}
	}
	if page, err := (cleared{b, past}).List(t.Context(), "v0/", "v0/a", 1); err != nil || len(page) != 1 || page[0].Name[len("v0/s/")] != 'c' {
		t.Errorf("behind the first: %v, %v", page, err)
	}
}

func TestVerdictsAreKept(t *testing.T) {
	state := t.TempDir()
	at := func(endpoint, bucket, prefix string) string {
		return place(s3.Options{Endpoint: endpoint, Bucket: bucket, Prefix: prefix})
	}
	a, other := at("http://a", "one", ""), at("http://a", "two", "")
	good := &probe.Verdict{When: time.Unix(5, 0), Rounds: 6, Racers: 16}
	bad := &probe.Verdict{Findings: []probe.Finding{{Kind: probe.SeveralWin, Words: "two of them won"}}}
	for _, k := range []struct {
		b string
		v *probe.Verdict
	}{{a, bad}, {other, good}, {a, good}, {other, bad}} {
		if err := keepVerdict(state, k.b, k.v); err != nil {
			t.Fatal(err)
		}
	}
	if v := readVerdict(state, a); v == nil || !v.Good() || !v.When.Equal(good.When) || refusal(v) != nil {
		t.Errorf("%+v", v)
	}
	v := readVerdict(state, other)
	if v == nil || v.Good() {
		t.Fatalf("%+v", v)
	}
	for _, new := range []string{at("http://b", "one", ""), at("http://a", "one", "home"), at("http://aone", "", ""), at("", "one", "")} {
		if readVerdict(state, new) != nil {
			t.Error("a verdict about one place is taken for another's")
		}
	}
	if at("http://a/", "one", "") != a {
		t.Error("a slash behind the server is another place")
	}
	if raw, err := os.ReadFile(filepath.Join(state, verdictsName)); err != nil || strings.Contains(string(raw), "http") || strings.Contains(string(raw), "one\"") {
		t.Errorf("the file names the server: %s, %v", raw, err)
	}
	if p := explain("", refusal(v)); p.code != codeStore || !strings.Contains(p.text(), "two of them won. Nothing is written") || !strings.Contains(p.text(), "--read-only") {
		t.Errorf("%s", p.text())
	}
	if p := explain("", unfit(v, false)); p.code != codeStore || !strings.Contains(p.text(), "--single-writer") || unfit(v, true) != nil || unfit(good, false) != nil {
		t.Errorf("for init: %s, %v, %v", p.text(), unfit(v, true), unfit(good, false))
	}
	worse := &probe.Verdict{Findings: []probe.Finding{{Kind: probe.Loses, Words: "one is gone"}, {Kind: probe.SeveralWin, Words: "two of them won"}}}
	for _, err := range []error{refusal(worse), unfit(worse, true), unfit(worse, false)} {
		if p := explain("", err); p == nil || p.code != codeStore || !strings.Contains(p.text(), "does not keep what is written to it") || strings.Contains(p.text(), "--single-writer") {
			t.Errorf("a store that loses objects: %v", err)
		}
	}
	if i, err := os.Stat(filepath.Join(state, verdictsName)); err != nil || i.Mode() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
	if err := os.WriteFile(filepath.Join(state, verdictsName), []byte(`[{"place":"`+a+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if readVerdict(state, a) != nil {
		t.Error("half a file is believed")
	}
}

// What a user reads of a bucket's trouble has its advice once, as the next step.
func TestBucketsAdvice(t *testing.T) {
	_, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: "http://127.0.0.1:1", Credentials: s3.NewCredentials("a", "b", "")})
	p := explain("open the store", err)
	advice := s3.Advice(err)
	if p.code != codeStore || advice == "" || strings.Count(strings.ToLower(p.text()), advice) != 1 || p.next != capital(advice)+"." {
		t.Errorf("%d %s", p.code, p.text())
	}
}

// The daemon works in another folder than the user who names a file.
func TestFilesInTheEnvironmentAreTheUsers(t *testing.T) {
	dir := t.TempDir()
	keys := "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "keys", "AWS_CA_BUNDLE": "ca", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
	o, err := location{Store: "s3://bucket", S3: s3Flags{Folder: dir}}.options(func(name string) string { return env[name] })
	if err != nil || o.CAFile != filepath.Join(dir, "ca") {
		t.Fatalf("%q %v", o.CAFile, err)
	}
	o.CAFile = ""
	// With keys it gets as far as the network.
	if _, err := s3.Open(t.Context(), o); s3.Advice(err) != s3.Advice(s3.ErrNetwork) {
		t.Errorf("%v", err)
	}
}

func TestUnwritable(t *testing.T) {
	b := mem.New()
	if err := b.PutIfAbsent(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	u := unwritable{b}
	for _, err := range []error{u.PutIfAbsent(t.Context(), "b", nil), u.Delete(t.Context(), "a")} {
		if p := explain("", err); p == nil || p.code != codeStore {
			t.Errorf("%v", err)
		}
	}
	if names := b.Names(); len(names) != 1 {
		t.Errorf("%v", names)
	}
	var _ store.Bucket = u
}

// A server that is busy is asked again for a while, and then it is not said that it still is.
func TestOpenPatiently(t *testing.T) {
	listing := `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`
	busy := `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>m</Message></Error>`
	for _, c := range []struct {
		name     string
		refuses  int32 // how many requests
		status   int
		patience time.Duration
		code     code
		words    string
	}{
		{"busy twice", 2, http.StatusServiceUnavailable, time.Minute, codeOK, ""},
		{"busy for ever", math.MaxInt32, http.StatusServiceUnavailable, time.Second, codeStore, "It was asked again for a while. Try later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/xml")
				w.Header().Set("Connection", "close") // one that is kept would hold the bubble's time
				if asked.Add(1) <= c.refuses {
					w.WriteHeader(c.status)
					io.WriteString(w, busy)
					return
				}
				io.WriteString(w, listing)
			}))
			defer server.Close()
			env := map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "us-east-1"}
			var err error
			synctest.Test(t, func(t *testing.T) { // the server answers beside it: however late that is, no time goes by
				var b *bucket
				if b, err = openBucket(t.Context(), location{Store: "s3://bucket", Patience: c.patience}, func(name string) string { return env[name] }, true, nil); err == nil {
					b.Close()
				}
			})
			p := explain("", err)
			switch {
			case c.code == codeOK && (err != nil || asked.Load() != c.refuses+1):
				t.Errorf("%v after %d requests", err, asked.Load())
			case c.code != codeOK && (p == nil || p.code != c.code || !strings.Contains(p.text(), c.words) || strings.Contains(p.text(), "is tried again") || asked.Load() < 2):
				t.Errorf("%v after %d requests", p, asked.Load())
			}
		})
	}
}
