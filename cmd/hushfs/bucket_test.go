package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

func TestSweptListing(t *testing.T) {
	b := mem.New()
	list := func(limit int) string {
		t.Helper()
		page, err := swept{b}.List(t.Context(), "", "", limit)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, i := range page {
			names = append(names, i.Name)
		}
		return strings.Join(names, " ")
	}
	for i := range 5 {
		if err := b.PutIfAbsent(t.Context(), fmt.Sprint("v0/probe/aa/", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(1) + list(0); got != "" {
		t.Errorf("only what a probe left: %q", got)
	}
	for _, name := range []string{"v0/a", "v0/z"} {
		if err := b.PutIfAbsent(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int]string{0: "v0/a v0/z", 1: "v0/a", 2: "v0/a v0/z", 9: "v0/a v0/z"} {
		if got := list(limit); got != want {
			t.Errorf("at most %d: %q, want %q", limit, got, want)
		}
	}
}

func TestVerdictsAreKept(t *testing.T) {
	state := t.TempDir()
	a, other := &bucket{endpoint: "http://a", name: "one"}, &bucket{endpoint: "http://a", name: "two"}
	good := &probe.Verdict{When: time.Unix(5, 0), Rounds: 6, Racers: 16}
	bad := &probe.Verdict{Findings: []probe.Finding{{Kind: probe.SeveralWin, Words: "two of them won"}}}
	for _, k := range []struct {
		b *bucket
		v *probe.Verdict
	}{{a, bad}, {other, good}, {a, good}, {other, bad}} {
		if err := keepVerdict(state, k.b, k.v); err != nil {
			t.Fatal(err)
		}
	}
	if v := readVerdict(state, "http://a", "one"); v == nil || !v.Good() || !v.When.Equal(good.When) || refusal(v) != nil {
		t.Errorf("%+v", v)
	}
	v := readVerdict(state, "http://a", "two")
	if v == nil || v.Good() || readVerdict(state, "http://b", "one") != nil {
		t.Fatalf("%+v", v)
	}
	if p := explain("", refusal(v)); p.code != codeStore || !strings.Contains(p.text(), "two of them won. Nothing is written") || !strings.Contains(p.text(), "--read-only") {
		t.Errorf("%s", p.text())
	}
	if i, err := os.Stat(filepath.Join(state, verdictsName)); err != nil || i.Mode() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
	if err := os.WriteFile(filepath.Join(state, verdictsName), []byte(`[{"endpoint":"http://a","bucket":"one"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if readVerdict(state, "http://a", "one") != nil {
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
