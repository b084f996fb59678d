package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/drive"
)

func TestFindPlaces(t *testing.T) {
	closed, open := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Chmod(closed, 0o700), os.Chmod(open, 0o755)); err != nil {
		t.Fatal(err)
	}
	home := places{config: "/h/.config/hushfs", cache: "/h/.cache/hushfs", state: "/h/.local/state/hushfs"}
	for name, test := range map[string]struct {
		env  map[string]string
		want places
	}{
		"home alone": {map[string]string{"HOME": "/h"}, home},
		"everything set": {map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/a", "XDG_CACHE_HOME": "/b", "XDG_STATE_HOME": "/c", "XDG_RUNTIME_DIR": closed},
			places{"/a/hushfs", "/b/hushfs", "/c/hushfs", closed + "/hushfs"}},
		"no home, everything set": {map[string]string{"XDG_CONFIG_HOME": "/a", "XDG_CACHE_HOME": "/b", "XDG_STATE_HOME": "/c"},
			places{"/a/hushfs", "/b/hushfs", "/c/hushfs", ""}},
		"relative values count as unset": {map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "a", "XDG_CACHE_HOME": "./b", "XDG_STATE_HOME": "../c", "XDG_RUNTIME_DIR": "run"}, home},
		"empty values count as unset":    {map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": ""}, home},
		"runtime folder open to others":  {map[string]string{"HOME": "/h", "XDG_RUNTIME_DIR": open}, home},
		"runtime folder missing":         {map[string]string{"HOME": "/h", "XDG_RUNTIME_DIR": closed + "/none"}, home},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findPlaces(func(k string) string { return test.env[k] })
			if err != nil || got != test.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	for name, env := range map[string]map[string]string{
		"nothing set":        {},
		"relative home":      {"HOME": "h"},
		"only the state set": {"XDG_STATE_HOME": "/c"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := findPlaces(func(k string) string { return env[k] })
			if p := explain("", err); p == nil || p.code != codeState {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestStateDir(t *testing.T) {
	p := places{state: filepath.Join(t.TempDir(), "new", "hushfs")}
	id := drive.ID{1}
	dir, err := p.stateDir(id)
	if err != nil || dir != filepath.Join(p.state, id.Short()) {
		t.Fatalf("%s %v", dir, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := p.stateDir(id); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(dir); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", i, err)
	}
	// A file where the folder should be.
	other := drive.ID{2}
	if err := os.WriteFile(filepath.Join(p.state, other.Short()), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = p.stateDir(other)
	if e := explain("", err); e == nil || e.code != codeState {
		t.Errorf("%v", err)
	}
}

func TestKindOf(t *testing.T) {
	for magic, want := range map[int64]kind{
		unix.EXT4_SUPER_MAGIC: localFS,
		unix.NFS_SUPER_MAGIC:  networkFS,
		unix.SMB2_SUPER_MAGIC: networkFS,
		unix.TMPFS_MAGIC:      memoryFS,
		unix.RAMFS_MAGIC:      memoryFS,
		// as a signed field of 32 bits gives it
		int64(int32(-0x7a7ba70a)): memoryFS,
	} {
		if got := kindOf(magic); got != want {
			t.Errorf("%#x: %d, want %d", magic, got, want)
		}
	}
}

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	p := places{state: filepath.Join(dir, "st[a]te"), runtime: filepath.Join(dir, "run*")}
	id := drive.ID{1}
	want := p.sockets(id)
	if len(want) != 2 || filepath.Dir(want[0]) != p.runtime || len(places{state: "/s"}.sockets(id)) != 1 {
		t.Errorf("%v", want)
	}
	for _, path := range want {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := p.allSockets(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestParseStore(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"/a/b":               "/a/b",
		"/a/../b/":           "/b",
		"a":                  filepath.Join(here, "a"),
		"file:///a/b":        "/a/b",
		"file://localhost/a": "/a",
		"file:///a%20b":      "/a b",
		"a:b":                filepath.Join(here, "a:b"),
		"":                   "",
		"file://a":           "",
		"file:///a?b":        "",
		"file:///a#b":        "",
		"file:///%zz":        "",
		"s3://bucket":        "s3://bucket",
		"s3://bucket/a/b/":   "s3://bucket/a/b",
		"s3://b":             "",
		"s3://bucket/a//b":   "",
		"s3://bucket:9000/a": "",
		"https://host/x":     "",
		"rclone://x":         "",
	} {
		got, err := parseStore(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
		if err != nil && explain("", err).code != codeUsage {
			t.Errorf("%q: code %d", in, explain("", err).code)
		}
	}
}
