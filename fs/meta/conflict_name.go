package meta

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxExtension is how long what follows the last dot of a name may be, dot included,
// to count as its extension.
const maxExtension = 16

// conflictName is the nth name, from 1, that stands beside name for what the machine
// called device did on a day: "report (conflict, laptop, 2026-03-01).odt".
func conflictName(name []byte, device, day string, n int) []byte {
	stem, ext := string(name), ""
	if dot := strings.LastIndexByte(stem, '.'); dot > 0 && len(stem)-dot <= maxExtension && !strings.ContainsRune(stem[dot:], ' ') {
		stem, ext = stem[:dot], stem[dot:]
	}
	word := "conflict"
	if n > 1 {
		word = fmt.Sprintf("conflict %d", n)
	}
	tail := fmt.Sprintf(" (%s, %s, %s)%s", word, deviceWord(device), day, ext)
	return []byte(shorten(stem, MaxName-len(tail)) + tail)
}

// deviceWord is what of a device's name can stand in a file's.
func deviceWord(device string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' || r == 0x7f {
			return '-'
		}
		return r
	}, device)
	if clean == "" {
		clean = "?"
	}
	return shorten(clean, 64)
}

// shorten cuts s to n bytes at most, not inside a character. What is no text has none,
// and is cut anywhere.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > max(0, n-utf8.UTFMax); i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}
