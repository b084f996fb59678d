package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
)

// parseStore turns STORE of the command line into the absolute path of a
// directory. It does not look at the disk.
func parseStore(arg string) (string, error) {
	scheme, _, found := strings.Cut(arg, "://")
	switch {
	case arg == "":
		return "", usage("STORE is empty")
	case !found:
		path, err := filepath.Abs(arg)
		if err != nil {
			return "", err
		}
		return path, nil
	case scheme == "file":
		u, err := url.Parse(arg)
		if err != nil || u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
			return "", &problem{code: codeUsage, what: "STORE is no usable file URL",
				next: "Write file:///directory (three slashes, special characters as %XX), or the directory itself."}
		}
		return filepath.Clean(u.Path), nil
	case scheme == "s3" || scheme == "http" || scheme == "https":
		return "", &problem{code: codeUsage, what: "this build stores in directories only; " + scheme + ":// comes with the next release",
			next: "Give a directory, or file:///directory."}
	}
	return "", &problem{code: codeUsage, what: "STORE has an unknown scheme " + scheme + "://", next: "Give a directory, or file:///directory."}
}

// openStore opens the store that lies in the directory path. Close it when done.
func openStore(path string, readOnly bool) (*dir.Bucket, error) {
	b, err := dir.Open(path, dir.Options{ReadOnly: readOnly})
	if err != nil {
		return nil, explain("open the store", err)
	}
	return b, nil
}

// slowed makes each PUT take delay longer, for tests of what happens while
// something is on its way.
type slowed struct {
	store.Bucket
	delay time.Duration
}

func (s slowed) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	t := time.NewTimer(s.delay)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	return s.Bucket.PutIfAbsent(ctx, name, data)
}

// slow wraps b when a test asked for it.
func slow(b store.Bucket, delay time.Duration) store.Bucket {
	if delay <= 0 {
		return b
	}
	return slowed{b, delay}
}

// emptyPlace checks that a drive can be made at path: nothing is there, or an
// empty directory.
func emptyPlace(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		if i, serr := os.Stat(path); serr == nil && !i.IsDir() {
			return &problem{code: codeNotEmpty, what: path + " is not a directory", next: "Nothing was touched. Choose a new or empty directory."}
		}
		return &problem{code: codeStore, what: "the store cannot be read", why: err, next: "Check its permissions."}
	case len(entries) > 0:
		return &problem{code: codeNotEmpty, what: path + " is not empty (" + entriesIn(len(entries)) + ")",
			next: "Nothing was touched. Choose a new or empty directory; to mount a drive that lies there: hushfs mount STORE DIR"}
	}
	return nil
}

func entriesIn(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return strconv.Itoa(n) + " entries"
}
