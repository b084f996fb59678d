package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store/dir"
)

// Exit codes of conflicts --check, and of log --verify.
const (
	conflictsWait = 22
	logUnverified = 23
)

// conflicts are those that hushfs conflicts shows of what is mounted or lies at a place.
func (m *machine) conflicts(args ...string) []volume.Conflict {
	m.t.Helper()
	var r struct{ Conflicts []volume.Conflict }
	must(m.t, json.Unmarshal([]byte(m.ok(append([]string{"conflicts", "--json"}, args...)...)), &r))
	return r.Conflicts
}

// together are two machines that have one drive mounted.
func together(t *testing.T) (m, n *machine) {
	m = newDrive(t)
	m.mount()
	n = m.another()
	n.mount()
	must(t, os.Mkdir(m.in("docs"), 0o755))
	must(t, os.WriteFile(m.in("docs", "report.odt"), []byte("as it was"), 0o644))
	m.ok("wait", m.mnt)
	n.ok("sync", n.mnt)
	return m, n
}

// clash has both write one file at the same time; n is the later.
func clash(m, n *machine, name string, mine, theirs string) {
	m.t.Helper()
	must(m.t, os.WriteFile(n.in(name), []byte(mine), 0o644))
	must(m.t, os.WriteFile(m.in(name), []byte(theirs), 0o644))
	m.ok("wait", m.mnt)
	n.ok("sync", n.mnt)
	n.ok("wait", n.mnt)
	m.ok("sync", m.mnt)
}

// Both see what two machines wrote at once, by command, in the mount, in the status and
// from the store; one resolves it, and for both it is gone.
func TestConflicts(t *testing.T) {
	t.Parallel()
	m, n := together(t)
	clash(m, n, "docs/report.odt", "of n", "of m, longer")
	text := n.ok("conflicts", n.mnt)
	for who, all := range map[string][]volume.Conflict{
		"m": m.conflicts(m.mnt), "n, by a folder": n.conflicts(n.in("docs")), "n, by the file": n.conflicts(n.in("docs", "report.odt")),
		"n, by a path": n.conflicts(n.mnt, "docs"), "the store": n.conflicts("--passphrase-file", n.pass, n.store),
	} {
		if len(all) != 1 || all[0].Kind != "copy" || all[0].Meant != "/docs/report.odt" || all[0].Mine.Size != 4 || all[0].Theirs.Size != 12 ||
			!slices.Equal(all[0].Theirs.Paths, []string{"/docs/report.odt"}) || len(all[0].Mine.Paths) != 1 {
			t.Fatalf("%s: %+v", who, all)
		}
	}
	must(t, os.Mkdir(n.in("elsewhere"), 0o755))
	n.ok("sync", n.mnt)
	if all := n.conflicts(n.mnt, "elsewhere"); len(all) != 0 {
		t.Errorf("below another folder: %+v", all)
	}
	n.refused(2, []string{"nothing at nowhere", "typing error"}, "conflicts", n.mnt, "nowhere")
	if got := string(read(t, n.in(".hushfs", "conflicts"))); got != text || !strings.Contains(got, "/docs/report.odt") {
		t.Errorf("in the mount:\n%s\nby command:\n%s", got, text)
	}
	if r := n.run("conflicts", "--check", n.mnt); r.code != conflictsWait {
		t.Errorf("check: %+v", r)
	}
	if s := n.ok("status", n.mnt); !strings.Contains(s, "1 conflict to be resolved") {
		t.Errorf("status:\n%s", s)
	}
	id, file := n.conflicts(n.mnt)[0].ID, n.conflicts(n.mnt)[0].Mine.Paths[0]
	if got := string(read(t, n.in(file))); got != "of n" {
		t.Errorf("the copy holds %q", got)
	}
	n.refused(2, []string{"--yes"}, "conflicts", "resolve", id, "--keep", "theirs", n.mnt)
	n.refused(2, []string{"--keep"}, "conflicts", "resolve", id, n.mnt)
	n.refused(1, []string{"no such conflict"}, "conflicts", "resolve", "9-9", "--keep", "both", n.mnt)
	n.refused(10, []string{"mounted"}, "conflicts", "resolve", id, "--keep", "both", n.home)
	read(t, n.in(file))

	n.ok("conflicts", "resolve", id, "--keep", "mine", "--yes", n.mnt)
	// The kernel was told: nothing of what it kept is shown.
	if got := string(read(t, n.in("docs/report.odt"))); got != "of n" {
		t.Errorf("resolved, it holds %q", got)
	}
	if _, err := os.Stat(n.in(file)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy: %v", err)
	}
	n.ok("conflicts", "--check", n.mnt)
	n.ok("wait", n.mnt)
	m.ok("sync", m.mnt)
	m.ok("conflicts", "--check", m.mnt)
	if got := string(read(t, m.in("docs/report.odt"))); got != "of n" {
		t.Errorf("elsewhere it holds %q", got)
	}

	clash(m, n, "docs/new", "one", "other")
	copied := n.conflicts(n.mnt)[0].Mine.Paths[0]
	must(t, os.WriteFile(n.in(copied), []byte("other"), 0o644))
	n.ok("conflicts", "resolve", "--all-identical", n.mnt)
	if _, err := os.Stat(n.in(copied)); !errors.Is(err, os.ErrNotExist) || string(read(t, n.in("docs/new"))) != "other" {
		t.Errorf("identical: %v", err)
	}
	if got := string(read(t, n.in(".hushfs", "conflicts"))); got != "No conflicts.\n" {
		t.Errorf("%q", got)
	}
}

// The folder of conflicts is found and not listed, changes nothing, and is not there
// where the drive has something of its name.
func TestVirtualFolder(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	m.mount()
	must(t, os.WriteFile(m.in("f"), []byte("x"), 0o644))
	names := func(path string) (l []string) {
		t.Helper()
		entries, err := os.ReadDir(path)
		must(t, err)
		for _, e := range entries {
			l = append(l, e.Name())
		}
		return l
	}
	if got := names(m.mnt); !slices.Equal(got, []string{"f"}) {
		t.Errorf("the root lists %q", got)
	}
	if got := names(m.in(".hushfs")); !slices.Equal(got, []string{"conflicts"}) {
		t.Errorf("it lists %q", got)
	}
	if i, err := os.Stat(m.in(".hushfs", "conflicts")); err != nil || i.Mode() != 0o400 {
		t.Errorf("%v %v", i, err)
	}
	v, file := m.in(".hushfs"), m.in(".hushfs", "conflicts")
	for name, try := range map[string]func() error{
		"mkdir":         func() error { return os.Mkdir(v, 0o755) },
		"rmdir":         func() error { return syscall.Rmdir(v) },
		"unlink":        func() error { return syscall.Unlink(file) },
		"move away":     func() error { return os.Rename(v, m.in("g")) },
		"move over":     func() error { return os.Rename(m.in("f"), v) },
		"move in":       func() error { return os.Rename(m.in("f"), filepath.Join(v, "f")) },
		"link":          func() error { return os.Link(m.in("f"), filepath.Join(v, "f")) },
		"link to it":    func() error { return os.Link(file, m.in("g")) },
		"symlink":       func() error { return os.Symlink("x", v) },
		"create inside": func() error { return os.WriteFile(filepath.Join(v, "f"), nil, 0o644) },
		"write":         func() error { return os.WriteFile(file, nil, 0o644) },
		"chmod":         func() error { return os.Chmod(file, 0o777) },
		"truncate":      func() error { return os.Truncate(file, 5) },
		"times":         func() error { return os.Chtimes(v, time.Now(), time.Now()) },
		"xattr":         func() error { return syscall.Setxattr(file, "user.x", []byte("y"), 0) },
	} {
		if err := try(); err == nil {
			t.Errorf("%s succeeds", name)
		} else if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ESTALE) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := names(m.mnt); !slices.Equal(got, []string{"f"}) || string(read(t, m.in("f"))) != "x" {
		t.Errorf("the root lists %q", got)
	}

	// Another machine's program knew no better.
	ctx := t.Context()
	b, err := dir.Open(m.store, dir.Options{})
	must(t, err)
	defer b.Close()
	u, err := drive.Unlock(ctx, b, drive.UnlockOptions{Passphrase: []byte(passphrase)})
	must(t, err)
	old, err := volume.Open(ctx, volume.Options{Bucket: b, Drive: u, State: m.mkdir("old"), Cache: m.at("old-cache"), CacheSize: -1, DeviceName: "old"})
	must(t, err)
	a, err := old.Make(ctx, meta.RootRef, []byte(".hushfs"), volume.Node{Kind: meta.Dir, Perm: 0o755, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}, false)
	must(t, err)
	_, err = old.Make(ctx, a.Ref, []byte("kept"), volume.Node{Kind: meta.File, Perm: 0o644, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}, false)
	must(t, err)
	must(t, old.Shutdown(ctx))
	m.ok("sync", m.mnt)
	if got := names(v); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("what is real lists %q", got)
	}
	if got := names(m.mnt); !slices.Equal(got, []string{".hushfs", "f"}) {
		t.Errorf("the root lists %q", got)
	}
	must(t, os.Rename(v, m.in("another name")))
	if got := names(v); !slices.Equal(got, []string{"conflicts"}) || !slices.Equal(names(m.in("another name")), []string{"kept"}) {
		t.Errorf("it lists %q", got)
	}
}

// What two machines did is told by a copy of the store, and by what is mounted; and it
// is verified, until somebody changes a byte.
func TestLog(t *testing.T) {
	t.Parallel()
	m, n := together(t)
	must(t, os.Rename(n.in("docs", "report.odt"), n.in("docs", "final.odt")))
	n.ok("wait", n.mnt)
	m.ok("sync", m.mnt)
	must(t, os.WriteFile(m.in("docs", "final.odt"), []byte("as it is"), 0o644))
	must(t, os.WriteFile(m.in("another"), nil, 0o644))
	m.ok("wait", m.mnt)

	type entry struct {
		Slot           uint64
		Commit, Member string
		Device         int
		Claimed        time.Time `json:"claimed_time"`
		Changes        []struct{ What, Path, From string }
	}
	tell := func(args ...string) (all []entry, whats []string) {
		t.Helper()
		out := m.ok(append([]string{"log", "--json", "--passphrase-file", m.pass}, args...)...)
		for line := range strings.Lines(out) {
			var e entry
			must(t, json.Unmarshal([]byte(line), &e))
			all = append(all, e)
			for _, c := range e.Changes {
				if c.What != "attributes" {
					whats = append(whats, strings.TrimSpace(c.What+" "+c.Path+" "+c.From))
				}
			}
		}
		return all, whats
	}
	copied := m.at("copy")
	must(t, os.CopyFS(copied, os.DirFS(m.store)))
	want := []string{"changed /docs/final.odt", "renamed /docs/final.odt /docs/report.odt", "created /docs/report.odt"}
	for _, args := range [][]string{{m.in("docs", "final.odt")}, {m.mnt, "docs/final.odt"}, {m.store, "/docs/final.odt"}, {copied, "docs/final.odt"}} {
		if _, got := tell(args...); !slices.Equal(got, want) {
			t.Errorf("%q: %q", args, got)
		}
	}
	all, _ := tell(copied)
	onward, _ := tell("--reverse", copied)
	slices.Reverse(onward)
	if len(all) < 5 || len(all) != len(onward) || all[0].Slot != onward[0].Slot || all[len(all)-1].Slot != 1 || len(all[0].Commit) != 64 || len(all[0].Member) != 64 {
		t.Errorf("%+v\nonward %+v", all, onward)
	}
	if few, _ := tell("-n", "2", copied); len(few) != 2 || few[0].Slot != all[0].Slot {
		t.Errorf("%+v", few)
	}
	if mine, _ := tell("--device", "2", copied); len(mine) == 0 || slices.ContainsFunc(mine, func(e entry) bool { return e.Device != 2 }) {
		t.Errorf("%+v", mine)
	}
	if none, _ := tell("--until", "2001-01-01", copied); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	if later, _ := tell("--since", "12h", copied); len(later) != len(all) {
		t.Errorf("%+v", later)
	}
	if text := m.ok("log", "--passphrase-file", m.pass, copied); !strings.Contains(text, "by its clock") || !strings.Contains(text, "/docs/final.odt") {
		t.Errorf("%s", text)
	}
	m.refused(2, []string{"path"}, "log", "--passphrase-file", m.pass, copied, "../x")
	m.refused(2, []string{"--verify"}, "log", "--verify", "--passphrase-file", m.pass, copied, "docs")

	m.ok("log", "--verify", "--passphrase-file", m.pass, copied)
	slot := func(s uint64) string { return filepath.Join(copied, objectOf(t, copied, "l", s)) }
	whole := read(t, slot(3))
	must(t, os.Chmod(slot(3), 0o600))
	bad := slices.Clone(whole)
	bad[len(bad)/3] ^= 1
	must(t, os.WriteFile(slot(3), bad, 0o600))
	r := m.run("log", "--verify", "--json", "--passphrase-file", m.pass, copied)
	var v struct {
		Findings []struct {
			Slot  uint64
			Fault string
		}
	}
	must(t, json.Unmarshal([]byte(r.stdout), &v))
	if r.code != logUnverified || len(v.Findings) != 1 || v.Findings[0].Slot != 3 || v.Findings[0].Fault != "altered" {
		t.Errorf("%d, %s", r.code, r.stdout)
	}
	must(t, os.WriteFile(slot(3), whole, 0o600))
	m.ok("log", "--verify", "--passphrase-file", m.pass, copied)
}

// objectOf is the object of a kind that is called by a slot.
func objectOf(t *testing.T, store, kind string, slot uint64) string {
	t.Helper()
	for _, name := range objects(t, store) {
		part := strings.Split(name, "/")
		if len(part) == 5 && part[3] == kind && part[4] == fmt.Sprintf("%016x", ^slot) {
			return name
		}
	}
	t.Fatalf("no %s of slot %d", kind, slot)
	return ""
}
