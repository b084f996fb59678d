package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPrepareMountpoint(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(base, name) }
	for _, dir := range []string{"empty", "full/x", "store/sub", "above/state"} {
		if err := os.MkdirAll(at(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(at("file"), nil, 0o600), os.Symlink("empty", at("link")), os.Symlink("store/sub", at("trap")), os.Symlink("nowhere", at("dangling"))); err != nil {
		t.Fatal(err)
	}
	avoid := map[string]string{"the store": at("store"), "the state folder": at("above/state"), "the cache folder": at("none/cache")}
	for name, test := range map[string]struct {
		dir  string
		want string // resolved; empty when it is refused
		says string
	}{
		"an empty folder":                {"empty", "empty", ""},
		"a link to one":                  {"link", "empty", ""},
		"one that is missing":            {"new", "new", ""},
		"one that is missing, and above": {"deep/er/new", "deep/er/new", ""},
		"beside the store, by name":      {"store2", "store2", ""},
		"a file":                         {"file", "", "not a folder"},
		"below a file":                   {"file/x", "", ""},
		"a folder with something":        {"full", "", "1 entry"},
		"in the store":                   {"store/sub", "", "lies in the store"},
		"in the store, missing":          {"store/new", "", "lies in the store"},
		"in the store, by a link":        {"trap", "", "lies in the store"},
		"the store itself":               {"store", "", "lies in the store"},
		"above the state":                {"above", "", "would hide the state folder"},
		"above a cache not made yet":     {"none", "", "would hide the cache folder"},
		"a link to nowhere":              {"dangling", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := quiet(t)
			m, err := a.prepareMountpoint(t.Context(), at(test.dir), avoid)
			if test.want == "" {
				p := explain("", err)
				if p == nil || p.code != codeMountpoint || !strings.Contains(p.text(), test.says) || p.next == "" {
					t.Errorf("%v", err)
				}
			} else {
				if err != nil || m.dir != at(test.want) {
					t.Fatalf("%+v, %v", m, err)
				}
				if i, err := os.Stat(m.dir); err != nil || i.Mode().Perm() != 0o700 {
					t.Errorf("%v %v", i, err)
				}
				m.undo()
			}
			for _, left := range []string{"new", "deep", "store/new", "none", "nowhere", "store2"} {
				if _, err := os.Lstat(at(left)); err == nil {
					t.Errorf("%s was left behind", left)
				}
			}
		})
	}
}

// Between the look before the passphrase and the mount programs can have written.
func TestFolderIsLookedAtAgain(t *testing.T) {
	dir := t.TempDir()
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := stillEmpty(folder, dir); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	for _, name := range []string{"a", "b\x1b[2J", "c", "d", "e", "f", "g"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := explain("", stillEmpty(folder, dir))
	if p == nil || p.code != codeMountpoint || !strings.Contains(p.text(), "not encrypted") || !strings.HasSuffix(p.what, ", and 2 more") {
		t.Fatalf("%v", p)
	}
	if strings.Contains(p.text(), "\x1b") {
		t.Error("a name reaches the terminal as it is")
	}
}

func TestUndoKeepsWhatIsUsed(t *testing.T) {
	base := t.TempDir()
	made, err := makeFolders(filepath.Join(base, "a/b/c"))
	if err != nil || len(made) != 3 {
		t.Fatalf("%v %v", made, err)
	}
	if err := os.WriteFile(filepath.Join(base, "a/b/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	(&mountpoint{made: made}).undo()
	entries, err := os.ReadDir(filepath.Join(base, "a/b"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestResolveTo(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(base, name) }
	if err := errors.Join(
		os.MkdirAll(at("drive/dir"), 0o700), os.MkdirAll(at("a/b"), 0o700),
		os.Symlink(at("drive"), at("abs")), os.Symlink("../drive", at("a/rel")), os.Symlink("/", at("drive/inside")),
		os.Symlink("loop", at("loop")), os.Symlink("../../drive/dir", at("a/b/deep")),
	); err != nil {
		t.Fatal(err)
	}
	mounts := []string{at("drive"), at("drive/dir/inner")}
	for in, want := range map[string]string{
		"drive":           "drive",
		"drive/x/y":       "drive/x/y",
		"abs":             "drive",
		"abs/x":           "drive/x",
		"a/rel/x":         "drive/x",
		"a/b/deep/x":      "drive/dir/x",
		"drive/inside":    "drive/inside", // a link of the drive is the drive's
		"drive/inside/x":  "drive/inside/x",
		"a/b":             "a/b",
		"none/x":          "none/x",
		"loop/x":          "loop/x",
		"a/../drive/x":    "drive/x",
		"drive/dir/inner": "drive/dir/inner",
	} {
		if got := resolveTo(at(in), mounts); got != at(want) {
			t.Errorf("%s: %s, want %s", in, got, at(want))
		}
	}
	t.Chdir(at("drive"))
	if got := resolveTo("x", mounts); got != at("drive/x") {
		t.Errorf("relative: %s", got)
	}
	if got := mountOf(at("drive/dir/inner/x"), mounts); got != at("drive/dir/inner") {
		t.Errorf("innermost: %s", got)
	}
	if got := mountOf(at("drives/x"), mounts); got != "" {
		t.Errorf("a name that only begins alike: %s", got)
	}
}

func TestCheckDevice(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		path, says string
	}{
		"missing":  {filepath.Join(dir, "none"), "modprobe fuse"},
		"a folder": {dir, "cannot be used"},
	} {
		p := explain("", checkDevice(test.path))
		if p == nil || p.code != codeFUSE || !strings.Contains(p.text(), test.says) {
			t.Errorf("%s: %v", name, p)
		}
	}
	file := filepath.Join(dir, "fuse.conf")
	for text, want := range map[string]bool{"user_allow_other\n": true, "  user_allow_other  ": true, "#user_allow_other\n": false, "": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if configAllowsOthers(file) != want {
			t.Errorf("%q", text)
		}
	}
}

func TestUsersOfAFolder(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if found := users(dir); len(found) != 0 {
		t.Errorf("nobody uses it: %v", found)
	}
	f, err := os.Create(filepath.Join(dir, "secret-name"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := users(dir)
	if !slices.ContainsFunc(found, func(u user) bool { return u.PID == os.Getpid() && u.How == "open file" }) {
		t.Errorf("%v", found)
	}
	if strings.Contains(usersText(found), "secret-name") {
		t.Error("a file name is told")
	}
	if s := usersText(make([]user, 7)); !strings.HasSuffix(s, "and 2 more") {
		t.Error(s)
	}
}
