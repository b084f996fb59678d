package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Bucket { return open(t, t.TempDir(), Options{}) })
}

func open(t *testing.T, path string, o Options) *Bucket {
	t.Helper()
	b, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func put(t *testing.T, b store.Bucket, name, data string) {
	t.Helper()
	if err := b.PutIfAbsent(t.Context(), name, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func wantData(t *testing.T, b store.Bucket, name, want string) {
	t.Helper()
	if got, err := b.Get(t.Context(), name, 0, -1); err != nil || string(got) != want {
		t.Errorf("get %s: %q, %v; want %q", name, got, err, want)
	}
}

func wantListed(t *testing.T, b store.Bucket, want ...string) {
	t.Helper()
	infos, err := b.List(t.Context(), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range infos {
		got = append(got, i.Name)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("listed %q, want %q", got, want)
	}
}

// temps returns the temporary files there are.
func temps(t *testing.T, root string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, TempFolder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpen(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "secretfile")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fact string
		path string
		o    Options
		err  error
	}{
		{"a missing directory", "secret", Options{}, ErrMissing},
		{"a missing directory, for reading", "secret", Options{Create: true, ReadOnly: true}, ErrMissing},
		{"a file", "secretfile", Options{}, ErrNotDir},
		{"a file that is to be created", "secretfile", Options{Create: true}, store.ErrUnavailable},
		{"below a file", "secretfile/x", Options{}, store.ErrUnavailable},
		{"below a file, to be created", "secretfile/x", Options{Create: true}, store.ErrUnavailable},
		{"a name that no file system takes", strings.Repeat("secret", 50), Options{Create: true}, store.ErrUnavailable},
	} {
		b, err := Open(filepath.Join(base, c.path), c.o)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.fact, err, c.err)
			continue
		}
		if b != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: bucket %v; the error tells the path: %v", c.fact, b, err)
		}
	}
}

func TestOpenCreates(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "a", "b", "c")
	b := open(t, path, Options{Create: true})
	put(t, b, "v0/x", "1")
	for _, p := range []string{"a", "a/b", "a/b/c", "a/b/c/.tmp", "a/b/c/v0"} {
		if info, err := os.Stat(filepath.Join(base, p)); err != nil || info.Mode().Perm() != folderMode {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(path, "v0/x")); err != nil || info.Mode().Perm() != fileMode {
		t.Errorf("object: %v, %v", info.Mode(), err)
	}
	again := open(t, path, Options{Create: true})
	wantData(t, again, "v0/x", "1")
	wantListed(t, again, "v0/x")
	if left := temps(t, path); len(left) > 0 {
		t.Errorf("temporary files %q", left)
	}
}

func TestReadOnly(t *testing.T) {
	root := t.TempDir()
	put(t, open(t, root, Options{}), "v0/a", "1")
	if err := os.RemoveAll(filepath.Join(root, TempFolder)); err != nil {
		t.Fatal(err)
	}
	b := open(t, root, Options{ReadOnly: true})
	for op, err := range map[string]error{
		"put":        b.PutIfAbsent(t.Context(), "v0/b", nil),
		"put, taken": b.PutIfAbsent(t.Context(), "v0/a", nil),
		"delete":     b.Delete(t.Context(), "v0/a"),
	} {
		if !errors.Is(err, store.ErrDenied) {
			t.Errorf("%s: %v", op, err)
		}
	}
	wantData(t, b, "v0/a", "1")
	wantListed(t, b, "v0/a")
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
}

func TestLeftovers(t *testing.T) {
	root := t.TempDir()
	open(t, root, Options{})
	ages := map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour, "new": 0}
	for name, age := range ages {
		p := filepath.Join(root, TempFolder, name)
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, root, Options{})
	if got := strings.Join(temps(t, root), " "); got != "new young" {
		t.Errorf("left are %q", got)
	}
	wantListed(t, b)
}

// What others put into the directory is neither listed nor harmed, and
// nothing outside is reached through it.
func TestForeignFiles(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	b := open(t, root, Options{})
	put(t, b, "v0/a", "1")
	at := func(p string) string { return filepath.Join(root, p) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("README"), nil, 0o600))
	must(os.WriteFile(at("v0/.DS_Store"), nil, 0o600))
	must(os.Mkdir(at("lost+found"), 0o700))
	must(os.WriteFile(at("lost+found/x"), nil, 0o600))
	must(os.Mkdir(at(".hidden"), 0o700))
	must(os.WriteFile(at(".hidden/x"), nil, 0o600))
	must(syscall.Mkfifo(at("v0/pipe"), 0o600))
	must(os.WriteFile(filepath.Join(outside, "x"), []byte("outside"), 0o600))
	must(os.Symlink(outside, at("v0/out")))
	must(os.Symlink(filepath.Join(outside, "x"), at("v0/file")))
	must(os.Symlink("../../../../../../../../etc", at("v0/up")))

	wantListed(t, b, "v0/a")
	for _, name := range []string{"v0/out/x", "v0/file", "v0/up/passwd", "v0/pipe"} {
		if data, err := b.Get(t.Context(), name, 0, -1); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("get %s: %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"v0/out/y", "v0/up/y"} {
		if err := b.PutIfAbsent(t.Context(), name, nil); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("put %s: %v", name, err)
		}
		if err := b.Delete(t.Context(), name); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if err := b.Delete(t.Context(), "v0/out/x"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("delete through a link: %v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside are now %v, %v", entries, err)
	}
	if left := temps(t, root); len(left) > 0 {
		t.Errorf("temporary files %q", left)
	}
}

// A put whose folders were removed behind its back makes them again.
func TestFoldersRemovedMeanwhile(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, Options{})
	put(t, b, "v0/s/l/a", "1")
	if err := os.RemoveAll(filepath.Join(root, "v0")); err != nil {
		t.Fatal(err)
	}
	put(t, b, "v0/s/l/b", "2")
	wantData(t, b, "v0/s/l/b", "2")
	wantListed(t, b, "v0/s/l/b")
}

// Delete must not take a folder that is empty at the moment.
func TestDeleteLeavesFolders(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, Options{})
	put(t, b, "v0/l/a", "1")
	for _, name := range []string{"v0/l/a", "v0/l", "v0"} {
		if err := b.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "v0/l")); err != nil || !info.IsDir() {
		t.Errorf("the folder: %v", err)
	}
	if err := b.PutIfAbsent(t.Context(), "v0/l", nil); !errors.Is(err, store.ErrName) {
		t.Errorf("put in the place of an empty folder: %v", err)
	}
}

// Folders without objects take up room in a page; they must not end it.
func TestListOverEmptyFolders(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, Options{})
	for _, folder := range []string{"a", "b/c/d", "e", "f"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, b, "g/h", "1")
	put(t, b, "i", "1")
	for _, limit := range []int{1, 2, 3} {
		infos, err := b.List(t.Context(), "", "", limit)
		if err != nil || len(infos) != min(limit, 2) || infos[0].Name != "g/h" {
			t.Errorf("at most %d: %v, %v", limit, infos, err)
		}
	}
}

func TestTranslate(t *testing.T) {
	pathError := func(errno syscall.Errno) error {
		return &os.PathError{Op: "open", Path: "/home/secret", Err: errno}
	}
	for _, c := range []struct {
		err  error
		want error
	}{
		{pathError(syscall.ENOSPC), store.ErrFull},
		{pathError(syscall.EDQUOT), store.ErrFull},
		{pathError(syscall.EACCES), store.ErrDenied},
		{pathError(syscall.EPERM), store.ErrDenied},
		{pathError(syscall.EROFS), store.ErrDenied},
		{pathError(syscall.EIO), store.ErrUnavailable},
		{pathError(syscall.ESTALE), store.ErrUnavailable},
		{pathError(syscall.ENOENT), store.ErrUnavailable},
		{&os.LinkError{Op: "link", Old: "secret", New: "secret", Err: syscall.EMLINK}, store.ErrUnavailable},
		{os.ErrClosed, store.ErrUnavailable},
		{context.Canceled, context.Canceled},
		{context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		got := translate(c.err)
		if !errors.Is(got, c.want) || strings.Contains(got.Error(), "secret") {
			t.Errorf("%v became %v, want %v", c.err, got, c.want)
		}
		if c.want == context.Canceled && errors.Is(got, store.ErrUnavailable) {
			t.Errorf("%v became %v", c.err, got)
		}
	}
}

func TestUseAfterClose(t *testing.T) {
	b := open(t, t.TempDir(), Options{})
	put(t, b, "v0/a", "1")
	b.Close()
	_, get := b.Get(t.Context(), "v0/a", 0, -1)
	_, list := b.List(t.Context(), "", "", 0)
	for op, err := range map[string]error{
		"put": b.PutIfAbsent(t.Context(), "v0/b", nil), "get": get, "list": list, "delete": b.Delete(t.Context(), "v0/a"),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestUnsupportedLinks(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.EPERM: true, syscall.ENOSYS: true, syscall.EOPNOTSUPP: true, syscall.EMLINK: true,
		syscall.EEXIST: false, syscall.ENOSPC: false, syscall.EACCES: false, syscall.EROFS: false, syscall.EIO: false,
	} {
		if got := unsupported(&os.LinkError{Op: "linkat", Err: errno}); got != want {
			t.Errorf("%v: %v, want %v", errno, got, want)
		}
	}
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Bucket {
		bucket, err := Open(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { bucket.Close() })
		return bucket
	})
}
