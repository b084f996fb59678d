package store_test

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store"
)

func TestCheckName(t *testing.T) {
	segment := strings.Repeat("s", store.MaxSegment)
	for _, c := range []struct {
		fact         string
		in           string
		name, prefix bool // allowed as such
	}{
		{"empty", "", false, true},
		{"one byte", "a", true, true},
		{"every byte that is allowed", "abcdefghijklmnopqrstuvwxyz0123456789._-", true, true},
		{"a slot", "v0/s/00ff/l/fffffffffffffffe", true, true},
		{"dots inside and at the end of a segment", "a..b/c.", true, true},
		{"slash at the end", "a/", false, true},
		{"slash at the start", "/a", false, false},
		{"slash alone", "/", false, false},
		{"empty segment", "a//b", false, false},
		{"dot", ".", false, false},
		{"dot dot", "..", false, false},
		{"hidden first segment", ".tmp/a", false, false},
		{"hidden last segment", "a/.b", false, false},
		{"capital letter", "A", false, false},
		{"byte below the digits", "a,", false, false},
		{"bytes around the letters", "`", false, false},
		{"byte above the letters", "{", false, false},
		{"colon, above the digits", ":", false, false},
		{"space", "a b", false, false},
		{"NUL", "a\x00", false, false},
		{"not ASCII", "ä", false, false},
		{"longest segment", segment, true, true},
		{"segment one too long", segment + "s", false, false},
		{"segment one too long, in the middle", "a/" + segment + "s/a", false, false},
		{"longest name", "a" + strings.Repeat("/a", store.MaxName/2-1) + "a", true, true},
		{"one byte too long", "aaa" + strings.Repeat("/a", store.MaxName/2-1), false, false},
		{"longest prefix with a slash at the end", "aa" + strings.Repeat("/a", store.MaxName/2-2) + "/", false, true},
		{"no room for a last segment", strings.Repeat("a/", store.MaxName/2), false, false},
	} {
		if err := store.CheckName(c.in); (err == nil) != c.name || err != nil && !errors.Is(err, store.ErrName) {
			t.Errorf("%s: CheckName: %v", c.fact, err)
		}
		if err := store.CheckPrefix(c.in); (err == nil) != c.prefix || err != nil && !errors.Is(err, store.ErrName) {
			t.Errorf("%s: CheckPrefix: %v", c.fact, err)
		}
	}
}

func TestErrorOfABadNameDoesNotTellIt(t *testing.T) {
	for _, name := range []string{"Secret", "a/Secret", ".secret", "a//secret", "secret/", strings.Repeat("secret", 100)} {
		if err := store.CheckName(name); err == nil || strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("error %v", err)
		}
	}
}

// What is a name is a path that cannot leave its folder, and each of its
// beginnings is a prefix.
func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a", "v0/s/00/l/ff", "../a", "a/./b", "a//b", "/", "a/", "..a", "a..", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if store.CheckName(s) != nil {
			return
		}
		if !filepath.IsLocal(s) || path.Clean(s) != s {
			t.Errorf("%q is a name and no clean local path", s)
		}
		for i := range len(s) + 1 {
			if err := store.CheckPrefix(s[:i]); err != nil {
				t.Errorf("%q is a name, its beginning %q no prefix: %v", s, s[:i], err)
			}
		}
	})
}
