package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func listxattr(t testing.TB, path string) []string {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	must(t, err)
	names := strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00")
	if n == 0 {
		names = nil
	}
	slices.Sort(names)
	return names
}

func getxattr(path, name string) (string, error) {
	b := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, name, b)
	return string(b[:max(n, 0)]), err
}

// Extended attributes of all kinds of inodes and of each namespace, with all that
// the calls can be asked for, here and on another machine.
func TestXattrs(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("file"), []byte("x"), 0o644))
	must(t, os.Mkdir(m.in("dir"), 0o755))
	must(t, os.Symlink("nowhere", m.in("link")))
	must(t, unix.Mkfifo(m.in("fifo"), 0o644))

	type value struct{ path, name, value string }
	kept := []value{
		{"file", "user.empty", ""},
		{"file", "user.nul\x01byte", "\x00\xff\x00"},
		{"file", "user." + strings.Repeat("n", 250), "longest name"},
		{"file", "user.largest", string(pattern(1, 0, 64<<10))},
		{"file", "trusted.t", "t"},
		{"file", "security.s", "s"},
		{"dir", "user.d", "d"},
		{"dir", "trusted.d", "d"},
		{"link", "trusted.link", "l"},
		{"link", "security.link", "l"},
		{"fifo", "trusted.fifo", "f"},
	}
	for i := range 300 {
		kept = append(kept, value{"dir", fmt.Sprint("user.many", i), strings.Repeat("v", i)})
	}
	want := map[string][]string{}
	for _, x := range kept {
		mustf(t, unix.Lsetxattr(m.in(x.path), x.name, []byte(x.value), unix.XATTR_CREATE), "set %.20q of %s", x.name, x.path)
		want[x.path] = append(want[x.path], x.name)
	}
	check := func(m *machine) {
		for path, names := range want {
			slices.Sort(names)
			if got := listxattr(t, m.in(path)); !slices.Equal(got, names) {
				t.Errorf("%s has %.100q", path, got)
			}
		}
		for _, x := range kept {
			if got, err := getxattr(m.in(x.path), x.name); err != nil || got != x.value {
				t.Errorf("%s of %s: %d bytes, %v", x.name, x.path, len(got), err)
			}
		}
	}
	check(m)

	file := m.in("file")
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"XATTR_CREATE of one that is there", unix.Lsetxattr(file, "user.empty", nil, unix.XATTR_CREATE), unix.EEXIST},
		{"XATTR_REPLACE of none", unix.Lsetxattr(file, "user.absent", nil, unix.XATTR_REPLACE), unix.ENODATA},
		{"XATTR_REPLACE", unix.Lsetxattr(file, "trusted.t", []byte("t"), unix.XATTR_REPLACE), nil},
		{"flags that nobody knows", unix.Lsetxattr(file, "user.x", nil, 8), unix.EINVAL},
		{"a value too large", unix.Lsetxattr(file, "user.x", make([]byte, 64<<10+1), 0), unix.E2BIG},
		{"a name too long", unix.Lsetxattr(file, "user."+strings.Repeat("n", 251), nil, 0), unix.ERANGE},
		{"a name that is only a namespace", unix.Lsetxattr(file, "user.", nil, 0), unix.EOPNOTSUPP},
		{"no namespace", unix.Lsetxattr(file, "name", nil, 0), unix.EOPNOTSUPP},
		{"an unknown namespace", unix.Lsetxattr(file, "other.name", nil, 0), unix.EOPNOTSUPP},
		{"system", unix.Lsetxattr(file, "system.other", nil, 0), unix.EOPNOTSUPP},
		{"user of a link", unix.Lsetxattr(m.in("link"), "user.x", nil, 0), unix.EPERM},
		{"user of a fifo", unix.Lsetxattr(m.in("fifo"), "user.x", nil, 0), unix.EPERM},
		{"removing none", unix.Lremovexattr(file, "user.absent"), unix.ENODATA},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	if _, err := getxattr(file, "user.absent"); !errors.Is(err, unix.ENODATA) {
		t.Errorf("getting none: %v", err)
	}
	// With too little room, and with none, which asks for the size.
	if n, err := unix.Lgetxattr(file, "user.largest", nil); n != 64<<10 || err != nil {
		t.Errorf("the size is %d, %v", n, err)
	}
	if _, err := unix.Lgetxattr(file, "user.largest", make([]byte, 64<<10-1)); !errors.Is(err, unix.ERANGE) {
		t.Errorf("too little room: %v", err)
	}
	if n, err := unix.Llistxattr(m.in("link"), nil); n != len("trusted.link")+len("security.link")+2 || err != nil {
		t.Errorf("the size of the list is %d, %v", n, err)
	}
	if _, err := unix.Llistxattr(m.in("link"), make([]byte, 3)); !errors.Is(err, unix.ERANGE) {
		t.Errorf("too little room for the list: %v", err)
	}
	check(m)

	// A file that has no name any more.
	f, err := os.Create(m.in("gone"))
	must(t, err)
	must(t, os.Remove(m.in("gone")))
	must(t, unix.Fsetxattr(int(f.Fd()), "user.x", []byte("y"), 0))
	b := make([]byte, 9)
	if n, err := unix.Fgetxattr(int(f.Fd()), "user.x", b); err != nil || !bytes.Equal(b[:n], []byte("y")) {
		t.Errorf("of an unlinked file: %q, %v", b[:n], err)
	}
	must(t, f.Close())

	d = d.remount()
	check(d.m)
	for _, x := range kept {
		must(t, unix.Lremovexattr(d.m.in(x.path), x.name))
	}
	d = d.remount()
	for path := range want {
		if names := listxattr(t, d.m.in(path)); len(names) > 0 {
			t.Errorf("%s still has %q", path, names)
		}
	}
	d.umount()
}

// What xattr(7) keeps from ordinary users.
func TestXattrsOfOrdinaryUsers(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	must(t, os.Chmod(m.home, 0o755))
	d := m.mount("--allow-other")
	must(t, os.Chmod(m.mnt, 0o755))
	must(t, os.WriteFile(m.in("his"), nil, 0o644))
	must(t, os.Chown(m.in("his"), nobody, nobody))
	must(t, os.WriteFile(m.in("other"), nil, 0o644))
	for _, name := range []string{"his", "other"} {
		for _, attr := range []string{"user.u", "trusted.t", "security.s"} {
			must(t, unix.Lsetxattr(m.in(name), attr, []byte("x"), 0))
		}
	}
	p := m.puppet(nobody)
	set := func(path, name string) order { return order{Do: "setxattr", Path: m.in(path), New: name, Text: "y"} }
	p.want(0, set("his", "user.u"))
	p.want(unix.EPERM, set("his", "trusted.t"))
	p.want(unix.EPERM, set("his", "security.s"))
	p.want(unix.EACCES, set("other", "user.u"))
	p.want(unix.EPERM, order{Do: "removexattr", Path: m.in("his"), New: "trusted.t"})
	if got := p.want(0, order{Do: "listxattr", Path: m.in("his")}).Text; got != "security.s\x00user.u\x00" {
		t.Errorf("the list is %q", got)
	}
	p.end()
	d.umount()
}
