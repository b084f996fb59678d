package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/volume"
)

// sentinels lists the exported errors that a package declares.
func sentinels(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no source: %v", dir, err)
	}
	var names []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					if strings.HasPrefix(n.Name, "Err") {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func TestEverySentinelHasARow(t *testing.T) {
	source, err := os.ReadFile("errno.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t\{(\w+\.Err\w+), `).FindAllSubmatch(source, -1) {
		rows[string(m[1])] = true
	}
	// Where the packages lie whose errors can reach a program. drive and keyslot
	// work before there is a mount.
	packages := map[string]string{
		"store": "../store", "cache": "../cache", "crypt": "../crypt", "block": "block", "table": "table",
		"chain": "chain", "journal": "journal", "meta": "meta", "pack": "pack",
		"state": "state", "publish": "sync", "volume": "volume",
	}
	for name, dir := range packages {
		for _, s := range sentinels(t, dir) {
			if !rows[name+"."+s] {
				t.Errorf("%s.%s has no row in errno.go", name, s)
			}
			delete(rows, name+"."+s)
		}
	}
	for left := range rows {
		t.Errorf("errno.go has a row for %s, which is no sentinel", left)
	}
}

func TestErrno(t *testing.T) {
	damage := &pack.Damage{Why: errors.New("gone")}
	cases := []struct {
		name string
		err  error
		want syscall.Errno
		logs bool
	}{
		{"nothing wrong", nil, 0, false},
		{"wrapped twice", fmt.Errorf("a: %w", fmt.Errorf("b: %w", meta.ErrNotEmpty)), syscall.ENOTEMPTY, false},
		{"a full disk under a journal error", fmt.Errorf("%w: %w", volume.ErrJournal, syscall.ENOSPC), syscall.ENOSPC, false},
		{"interrupted while it waited", fmt.Errorf("get: %w", context.Canceled), syscall.EINTR, false},
		{"a damaged object", damage, syscall.EIO, true},
		{"an error that nobody thought of", errors.New("strange"), syscall.EIO, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			got := errno(slog.New(slog.NewTextHandler(&out, nil)), "test", c.err)
			if got != fuse.Status(c.want) {
				t.Errorf("errno %v, want %v", got, c.want)
			}
			if logged := out.Len() > 0; logged != c.logs {
				t.Errorf("logged %v, want %v", logged, c.logs)
			}
		})
	}
}
