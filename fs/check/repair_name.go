package check

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/hushfs/hushfs/fs/meta"
)

// foundName is a path as one name: /a/b.txt becomes "a - b (damaged).txt". Of a
// long one the end is kept.
func foundName(p string) string {
	name := strings.ReplaceAll(strings.Trim(p, "/"), "/", " - ")
	ext := path.Ext(name)
	if len(ext) > 16 || strings.Contains(ext, " ") || ext == name {
		ext = ""
	}
	const mark = " (damaged)"
	stem := strings.TrimSuffix(name, ext)
	return tailOf(stem, meta.MaxName-len(ext)-len(mark)-roomForNumber) + mark + ext
}

// roomForNumber is kept for what free adds.
const roomForNumber = 8

// tailOf is the end of a name, in at most n bytes.
func tailOf(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n+len("…"):]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return "…" + s
}

// free is a name that is not taken in lost+found yet, and takes it.
func (m *mender) free(name string) string {
	try := tailOf(name, meta.MaxName-roomForNumber)
	for i := 2; m.taken[try] || try == readMe; i++ {
		ext := path.Ext(name)
		if strings.Contains(ext, " ") {
			ext = ""
		}
		try = tailOf(fmt.Sprintf("%s %d%s", strings.TrimSuffix(name, ext), i, ext), meta.MaxName)
	}
	m.taken[try] = true
	return try
}
