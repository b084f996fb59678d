package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// resolveTo makes path absolute and resolves its symbolic links up to the first
// folder that is one of mounts, and not further: what lies in a drive is the
// drive's, and a mount that does not answer is not even looked at. A part that
// does not exist stays as it is.
func resolveTo(path string, mounts []string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	at, rest := "/", parts(abs)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if slices.Contains(mounts, next) {
			return filepath.Join(append([]string{next}, rest...)...)
		}
		target, err := os.Readlink(next)
		if err != nil || links == 40 { // as many as Linux follows
			at = next
			continue
		}
		links++
		if filepath.IsAbs(target) {
			at = "/"
		}
		// A target may climb; Join works that out, since at has no links left.
		rest = append(parts(target), rest...)
	}
	return at
}

// parts are the names of a path, without empty ones.
func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// mountOf is the innermost of mounts that path lies in, "" when it is in none.
func mountOf(path string, mounts []string) string {
	best := ""
	for _, m := range mounts {
		if within(m, path) && len(m) > len(best) {
			best = m
		}
	}
	return best
}
