package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The attributes of access control lists, and the tags of their entries.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"

	ownerEntry, userEntry, groupEntry, maskEntry, otherEntry = 0x01, 0x02, 0x04, 0x10, 0x20
)

// acl encodes entries of tag, rights, and id; -1 where there is none.
func acl(entries ...[3]int) string {
	b := []byte{2, 0, 0, 0}
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, uint32(e[2]))
	}
	return string(b)
}

// forAlice is a list with rights for alice beside those of the mode's classes.
func forAlice(owner, alices, group, mask, other int) string {
	return acl([3]int{ownerEntry, owner, -1}, [3]int{userEntry, alices, alice}, [3]int{groupEntry, group, -1}, [3]int{maskEntry, mask, -1}, [3]int{otherEntry, other, -1})
}

// aclOf wants path to have the mode, and the list as an attribute; "" is none.
func aclOf(t testing.TB, path, name, want string, mode uint32) {
	t.Helper()
	got, err := getxattr(path, name)
	if want == "" && !errors.Is(err, unix.ENODATA) || want != "" && (err != nil || got != want) {
		t.Errorf("%s is %x, %v, want %x", name, got, err, want)
	}
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	if st.Mode&0o7777 != mode {
		t.Errorf("mode %04o, want %04o", st.Mode&0o7777, mode)
	}
}

// Access control lists are enforced, follow the mode and are followed by it, and
// are handed down, here and on another machine.
func TestACLs(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	must(t, os.Chmod(m.home, 0o755))
	d := m.mount("--allow-other")
	must(t, os.Chmod(m.mnt, 0o755))
	file := m.in("file")
	must(t, os.WriteFile(file, []byte("x"), 0o600))
	a, b := m.puppet(alice), m.puppet(bob)

	a.want(syscall.EACCES, openTo(file, unix.O_RDONLY))
	must(t, unix.Setxattr(file, accessACL, []byte(forAlice(6, 6, 0, 6, 0)), 0))
	aclOf(t, file, accessACL, forAlice(6, 6, 0, 6, 0), 0o660)
	a.want(0, openTo(file, unix.O_RDWR))
	b.want(syscall.EACCES, openTo(file, unix.O_RDONLY))

	// The mode's group is the mask, so chmod bounds what alice may.
	must(t, os.Chmod(file, 0o644))
	aclOf(t, file, accessACL, forAlice(6, 6, 0, 4, 4), 0o644)
	a.want(syscall.EACCES, openTo(file, unix.O_WRONLY))
	a.want(0, openTo(file, unix.O_RDONLY))
	b.want(0, openTo(file, unix.O_RDONLY))

	// A list that says what a mode can say becomes the mode.
	must(t, unix.Setxattr(file, accessACL, []byte(acl([3]int{ownerEntry, 6, -1}, [3]int{groupEntry, 4, -1}, [3]int{otherEntry, 0, -1})), 0))
	aclOf(t, file, accessACL, "", 0o640)
	a.want(syscall.EACCES, openTo(file, unix.O_RDONLY))
	must(t, unix.Setxattr(file, accessACL, []byte(forAlice(6, 4, 0, 4, 0)), 0))
	must(t, unix.Removexattr(file, accessACL))
	aclOf(t, file, accessACL, "", 0o640)
	must(t, unix.Setxattr(file, accessACL, []byte(forAlice(6, 4, 0, 4, 0)), 0))
	if names := listxattr(t, file); fmt.Sprint(names) != fmt.Sprint([]string{accessACL}) {
		t.Errorf("the list of attributes is %q", names)
	}
	for name, err := range map[string]error{
		"a default list of a file": unix.Setxattr(file, defaultACL, []byte(forAlice(7, 7, 7, 7, 7)), 0),
		"no list":                  unix.Setxattr(file, accessACL, []byte("nonsense"), 0),
		"a list without a mask":    unix.Setxattr(file, accessACL, []byte(acl([3]int{ownerEntry, 6, -1}, [3]int{userEntry, 6, alice}, [3]int{groupEntry, 4, -1}, [3]int{otherEntry, 0, -1})), 0),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	b.want(syscall.EPERM, order{Do: "setxattr", Path: file, New: accessACL, Text: octets(forAlice(7, 7, 7, 7, 7))})

	// Who is not in the group loses its bit with the list that she sets.
	must(t, os.WriteFile(m.in("setgid"), nil, 0o644))
	must(t, os.Chown(m.in("setgid"), alice, bob))
	must(t, unix.Chmod(m.in("setgid"), 0o2755))
	a.want(0, order{Do: "setxattr", Path: m.in("setgid"), New: accessACL, Text: octets(forAlice(7, 7, 5, 7, 5))})
	aclOf(t, m.in("setgid"), accessACL, forAlice(7, 7, 5, 7, 5), 0o775)

	// What is made in a directory with a default list gets that, and the umask of
	// 022 does not count.
	dir := m.in("dir")
	must(t, os.Mkdir(dir, 0o777))
	must(t, unix.Chmod(dir, 0o2777))
	must(t, unix.Setxattr(dir, defaultACL, []byte(forAlice(7, 6, 5, 7, 0)), 0))
	b.want(0, create(dir+"/file", 0o666))
	aclOf(t, dir+"/file", accessACL, forAlice(6, 6, 5, 6, 0), 0o660)
	b.want(0, order{Do: "mkdir", Path: dir + "/sub", N: []int64{0o777}})
	aclOf(t, dir+"/sub", accessACL, forAlice(7, 6, 5, 7, 0), 0o2770)
	aclOf(t, dir+"/sub", defaultACL, forAlice(7, 6, 5, 7, 0), 0o2770)
	b.want(0, create(dir+"/sub/private", 0o600))
	aclOf(t, dir+"/sub/private", accessACL, forAlice(6, 6, 5, 0, 0), 0o600)
	b.want(0, order{Do: "mknod", Path: dir + "/fifo", N: []int64{unix.S_IFIFO | 0o644}})
	aclOf(t, dir+"/fifo", accessACL, forAlice(6, 6, 5, 4, 0), 0o640)
	b.want(0, order{Do: "symlink", Path: dir + "/link", Text: "x"})
	a.want(0, openTo(dir+"/file", unix.O_RDWR))
	a.want(syscall.EACCES, openTo(dir+"/sub/private", unix.O_RDONLY))
	must(t, unix.Setxattr(dir, defaultACL, []byte(acl([3]int{ownerEntry, 7, -1}, [3]int{groupEntry, 0, -1}, [3]int{otherEntry, 0, -1})), 0))
	b.want(0, create(dir+"/mode", 0o666))
	aclOf(t, dir+"/mode", accessACL, "", 0o600)
	must(t, unix.Removexattr(dir, defaultACL))
	b.want(0, create(dir+"/plain", 0o666))
	aclOf(t, dir+"/plain", accessACL, "", 0o644) // by the umask again

	a.end()
	b.end()
	d = d.remount("--allow-other")
	n := d.m
	must(t, os.Chmod(n.home, 0o755))
	a = n.puppet(alice)
	a.want(0, openTo(n.in("file"), unix.O_RDONLY))
	a.want(syscall.EACCES, openTo(n.in("file"), unix.O_WRONLY))
	a.want(0, openTo(n.in("dir", "file"), unix.O_RDWR))
	aclOf(t, n.in("dir", "sub"), defaultACL, forAlice(7, 6, 5, 7, 0), 0o2770)
	a.end()
	d.umount()
}
