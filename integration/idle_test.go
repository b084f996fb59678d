package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files lists all files under dir, relative to it.
func files(t testing.TB, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			all[rel] = true
		}
		return err
	}))
	return all
}

// A mount that nobody writes to finds out by itself that its store was set back while it
// was away, and says so in its status and its log; what is near is read, what is written
// waits, and all goes on when the store is what it was.
func TestIdleMountNoticesASetback(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount("--poll", "200ms")
	m.put("a")
	m.ok("wait", m.mnt)
	had := files(t, m.store)
	m.put("b")
	m.ok("wait", m.mnt)
	says := func(what string, done func(v *status) bool) {
		t.Helper()
		eventually(t, what, 2*time.Minute, func() bool {
			for _, name := range []string{"a", "b"} { // and so the mount is in use
				_, err := os.ReadFile(m.in(name))
				must(t, err)
			}
			s := m.status()
			return len(s) == 1 && done(&s[0])
		})
	}

	away := m.at("away")
	must(t, os.Rename(m.store, away))
	says("the store is away", func(s *status) bool { return s.Volume.Offline != "" })
	moved := func(from, to string, names ...string) {
		for _, n := range names {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(to, n)), 0o700))
			must(t, os.Rename(filepath.Join(from, n), filepath.Join(to, n)))
		}
	}
	var later []string
	commits := 0
	for n := range files(t, away) {
		if !had[n] {
			later = append(later, n)
			if strings.Contains(n, "/l/") {
				commits++
			}
		}
	}
	if commits == 0 {
		t.Fatalf("no commit came: %q", later)
	}
	moved(away, m.at("taken"), later...)
	must(t, os.Rename(away, m.store))
	says("it is said that the store was set back", func(s *status) bool {
		return strings.Contains(s.Volume.Stopped, "missing commits") && s.Volume.Offline == ""
	})
	if text := m.ok("status"); !strings.Contains(text, "Nothing more is sent: the store is missing commits") || strings.Contains(text, "All changes are in the store") {
		t.Errorf("status:\n%s", text)
	}
	if n := strings.Count(d.logged(), "it was set back"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, d.logged())
	}
	m.put("c")
	m.refused(12, []string{"missing commits", "Nothing is lost"}, "wait", m.mnt)
	if n := len(files(t, m.store)); n != len(had) {
		t.Errorf("%d objects in a store that was set back, want %d", n, len(had))
	}

	moved(m.at("taken"), m.store, later...)
	says("it goes on", func(s *status) bool { return s.Volume.Stopped == "" && s.Volume.Stored })
	if !strings.Contains(d.logged(), "the store is what it was") {
		t.Errorf("the log does not say that it goes on:\n%s", d.logged())
	}
	d.umount()
	d = m.another().mount()
	d.m.has("a", "b", "c")
	d.umount()
}
