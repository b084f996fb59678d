package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mutations are all calls that change something, of the things that someOfEach makes.
var mutations = []order{
	{Do: "open", Path: "file", N: []int64{unix.O_WRONLY, 0}},
	{Do: "open", Path: "file", N: []int64{unix.O_RDWR, 0}},
	{Do: "open", Path: "file", N: []int64{unix.O_RDONLY | unix.O_TRUNC, 0}},
	{Do: "open", Path: "new", N: []int64{unix.O_CREAT | unix.O_RDONLY, 0o644}},
	{Do: "mkdir", Path: "new", N: []int64{0o755}},
	{Do: "mknod", Path: "new", N: []int64{unix.S_IFIFO | 0o644}},
	{Do: "symlink", Path: "new", Text: "x"},
	{Do: "link", Path: "file", New: "new"},
	{Do: "unlink", Path: "file"},
	{Do: "rmdir", Path: "empty"},
	{Do: "rename", Path: "file", New: "new"},
	{Do: "rename", Path: "file", New: "link", N: []int64{unix.RENAME_EXCHANGE}},
	{Do: "chmod", Path: "file", N: []int64{0o600}},
	{Do: "chown", Path: "file", N: []int64{1, 1}},
	{Do: "utimes", Path: "file", N: []int64{7}},
	{Do: "utimes", Path: "dir", N: []int64{7}},
	{Do: "truncate", Path: "file", N: []int64{1}},
	{Do: "setxattr", Path: "file", New: "user.new", Text: "x"},
	{Do: "removexattr", Path: "file", New: "user.x"},
	{Do: "access", Path: "file", N: []int64{unix.W_OK}},
}

// someOfEach makes a few things of each kind in dir.
func someOfEach(t testing.TB, dir string) {
	t.Helper()
	at := func(name string) string { return dir + "/" + name }
	must(t, os.WriteFile(at("file"), []byte("content"), 0o644))
	must(t, unix.Lsetxattr(at("file"), "user.x", []byte("y"), 0))
	must(t, os.Symlink("file", at("link")))
	must(t, os.MkdirAll(at("dir/sub"), 0o755))
	must(t, os.Mkdir(at("empty"), 0o755))
}

// refuseAll wants every change to fail with EROFS, and nothing to be changed.
func refuseAll(t testing.TB, p *puppet, mnt string) {
	t.Helper()
	before := fmt.Sprint(manifest(t, mnt))
	for _, o := range mutations {
		o.Path = mnt + "/" + o.Path
		if o.New != "" && !strings.HasPrefix(o.New, "user.") {
			o.New = mnt + "/" + o.New
		}
		p.want(syscall.EROFS, o)
	}
	if after := fmt.Sprint(manifest(t, mnt)); after != before {
		t.Errorf("changed all the same: %s, was %s", after, before)
	}
}

// On a read-only mount each call that would change something fails with EROFS,
// and all that looks works: also after somebody tells the kernel alone to mount
// it read-write.
func TestReadOnlyRefusesEveryChange(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	someOfEach(t, m.mnt)
	d.umount()
	stored := fmt.Sprint(objects(t, m.store))
	d = m.another().mount("--read-only")
	m = d.m
	p := m.puppet(-1)
	refuseAll(t, p, m.mnt)

	p.want(0, order{Do: "open", ID: 1, Path: m.in("file"), N: []int64{unix.O_RDONLY}})
	if got := p.want(0, order{Do: "pread", ID: 1, N: []int64{0, 99}}).Text; got != "content" {
		t.Errorf("it reads %q", got)
	}
	p.want(0, order{Do: "access", Path: m.in("file"), N: []int64{unix.R_OK}})
	p.want(0, flock(1, unix.LOCK_EX|unix.LOCK_NB)) // locks change nothing
	p.want(0, fcntl(1, unix.F_SETLK, readLock, 0, 0))
	if got, err := getxattr(m.in("file"), "user.x"); err != nil || got != "y" {
		t.Errorf("the attribute is %q, %v", got, err)
	}
	var st unix.Statfs_t
	must(t, unix.Statfs(m.mnt, &st))
	if st.Flags&unix.ST_RDONLY == 0 {
		t.Error("statfs does not say that it is read-only")
	}

	if out, err := exec.Command("mount", "-i", "-o", "remount,rw", m.mnt).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	for _, o := range mutations {
		if o.Do == "access" {
			continue // which the kernel answers, and it believes what it was told
		}
		o.Path = m.in(o.Path)
		if o.New != "" && !strings.HasPrefix(o.New, "user.") {
			o.New = m.in(o.New)
		}
		p.want(syscall.EROFS, o)
	}
	p.end()
	d.umount()
	if after := fmt.Sprint(objects(t, m.store)); after != stored {
		t.Errorf("the store has changed: %s, was %s", after, stored)
	}
}

// An ordinary user's read-only mount.
func TestReadOnlyOfAnOrdinaryUser(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newMachineOf(t, nobody)
	m.init()
	d := m.mount()
	m.tool("sh", "-c", `cd "$1" && echo content >file && setfattr -n user.x -v y file && ln -s file link && mkdir -p dir/sub empty`, "-", m.mnt)
	d.umount()
	n := m.another()
	d = n.mount("--read-only")
	p := n.puppet(nobody)
	for _, o := range mutations {
		o.Path = n.in(o.Path)
		if o.New != "" && !strings.HasPrefix(o.New, "user.") {
			o.New = n.in(o.New)
		}
		p.want(syscall.EROFS, o)
	}
	if s := n.tool("cat", n.in("file")); s != "content\n" {
		t.Errorf("it reads %q", s)
	}
	p.end()
	d.umount()
}

// A drive that another machine writes can be looked at meanwhile: what was in the
// store at the mount stays readable and whole, and the next mount shows the rest.
func TestReadOnlyBesideAWriter(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	writer := m.mount()
	const files = 20
	name := func(i int) string { return fmt.Sprint("file", i) }
	for i := range files {
		must(t, os.WriteFile(m.in(name(i)), pattern(uint64(i), 0, 50_000*i), 0o644))
	}
	m.ok("wait", m.mnt)

	looker := m.another().mount("--read-only")
	for i := range files / 2 { // while it is mounted there
		must(t, os.WriteFile(m.in(name(i)), pattern(100+uint64(i), 0, 30_000), 0o644))
		must(t, os.Remove(m.in(name(files-1-i))))
	}
	m.ok("wait", m.mnt)
	for i := range files {
		b, err := os.ReadFile(looker.m.in(name(i)))
		old, changed := string(pattern(uint64(i), 0, 50_000*i)), string(pattern(100+uint64(i), 0, 30_000))
		switch {
		case err == nil && (string(b) == old || i < files/2 && string(b) == changed):
		case errors.Is(err, os.ErrNotExist) && i >= files/2:
		default:
			t.Errorf("%s: %d bytes that are of no version, %v", name(i), len(b), err)
		}
	}
	looker.umount()

	looker = m.another().mount("--read-only")
	for i := range files {
		b, err := os.ReadFile(looker.m.in(name(i)))
		if i < files/2 && (err != nil || string(b) != string(pattern(100+uint64(i), 0, 30_000))) {
			t.Errorf("%s: %d bytes, not the new ones, %v", name(i), len(b), err)
		}
		if i >= files/2 && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, though it was removed", name(i), err)
		}
	}
	looker.umount()
	writer.umount()
}
