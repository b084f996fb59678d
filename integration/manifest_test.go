package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// manifest describes everything below root, a line each by name: kind and mode,
// owner, links, size, mtime to the nanosecond, target, content, and which names
// are one file.
func manifest(t testing.TB, root string) map[string]string {
	t.Helper()
	m := map[string]string{}
	first := map[uint64]string{} // inode -> first name of a file with several
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("mode %o owner %d:%d mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case unix.S_IFREG:
			sum, err := digest(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" links %d size %d sum %s", st.Nlink, st.Size, sum)
			if st.Nlink > 1 {
				if _, ok := first[st.Ino]; !ok {
					first[st.Ino] = name
				}
				line += fmt.Sprintf(" same as %q", first[st.Ino])
			}
		}
		m[name] = line
		return nil
	}))
	return m
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sameManifest compares two manifests, and shows the first differences.
func sameManifest(t testing.TB, what string, want, got map[string]string) {
	t.Helper()
	shown := 0
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if want[name] != got[name] && shown < 8 {
			shown++
			t.Errorf("%s: %q\n was %s\n is  %s", what, name, orAbsent(want, name), orAbsent(got, name))
		}
	}
}

func orAbsent(m map[string]string, name string) string {
	if s, ok := m[name]; ok {
		return s
	}
	return "not there"
}

// sameTree wants everything below a to be below b, and nothing else.
func sameTree(t testing.TB, a, b string) {
	t.Helper()
	sameManifest(t, b, manifest(t, a), manifest(t, b))
}

// tool runs a program that must succeed.
func (m *machine) tool(name string, args ...string) string {
	m.t.Helper()
	return m.toolIn("/", nil, name, args...)
}

func (m *machine) toolIn(dir string, env []string, name string, args ...string) string {
	m.t.Helper()
	c := m.command(m.t.Context(), name, args...)
	c.Dir = dir
	c.Env = append(c.Env, env...)
	r := finish(m.t, c)
	if r.code != 0 {
		m.t.Fatalf("%s: exit code %d\n%s%s", c, r.code, tail([]byte(r.stdout)), tail([]byte(r.stderr)))
	}
	return r.stdout
}
