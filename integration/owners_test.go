package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Two further users of the machine.
const (
	alice = 30001
	bob   = 30002
)

// shown wants path to be shown as belonging to uid and gid.
func (p *puppet) shown(path string, uid, gid int64) {
	p.t.Helper()
	if got := p.want(0, order{Do: "stat", Path: path}).N; got[1] != uid || got[2] != gid {
		p.t.Errorf("%s belongs to %d:%d, want %d:%d", filepath.Base(path), got[1], got[2], uid, gid)
	}
}

func create(path string, mode int64) order {
	return order{Do: "open", ID: 1, Path: path, N: []int64{unix.O_CREAT | unix.O_EXCL | unix.O_RDWR, mode}}
}

func openTo(path string, flags int64) order {
	return order{Do: "open", ID: 2, Path: path, N: []int64{flags}}
}

// Several users of one mount, kept apart by owners and modes as on any disk.
func TestAllowOther(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	must(t, os.Chmod(m.home, 0o755))
	d := m.mount("--allow-other")
	a, b := m.puppet(alice), m.puppet(bob)
	must(t, os.Chmod(m.mnt, 0o755))
	a.want(syscall.EACCES, create(m.in("file"), 0o644)) // in root's directory

	must(t, os.Mkdir(m.in("all"), 0o777))
	must(t, os.Chmod(m.in("all"), 0o777|os.ModeSticky))
	file := m.in("all", "file")
	a.want(0, create(file, 0o640))
	a.shown(file, alice, alice)
	for _, c := range []struct {
		name string
		who  *puppet
		o    order
		want syscall.Errno
	}{
		{"reads another's", b, openTo(file, unix.O_RDONLY), syscall.EACCES},
		{"writes another's", b, openTo(file, unix.O_WRONLY), syscall.EACCES},
		{"chmods another's", b, order{Do: "chmod", Path: file, N: []int64{0o666}}, syscall.EPERM},
		{"gives away another's", b, order{Do: "chown", Path: file, N: []int64{bob, bob}}, syscall.EPERM},
		{"gives away his own", a, order{Do: "chown", Path: file, N: []int64{bob, -1}}, syscall.EPERM},
		{"to a group he is not in", a, order{Do: "chown", Path: file, N: []int64{-1, bob}}, syscall.EPERM},
		{"to himself", a, order{Do: "chown", Path: file, N: []int64{alice, alice}}, 0},
		{"removes another's, sticky", b, order{Do: "unlink", Path: file}, syscall.EPERM},
		{"renames another's, sticky", b, order{Do: "rename", Path: file, New: file + "2"}, syscall.EPERM},
		{"sets times of another's", b, order{Do: "utimes", Path: file, N: []int64{1}}, syscall.EPERM},
		{"truncates another's", b, order{Do: "truncate", Path: file}, syscall.EACCES},
		{"chmods his own", a, order{Do: "chmod", Path: file, N: []int64{0o646}}, 0},
		{"reads what he may", b, openTo(file, unix.O_RDWR), 0},
		{"O_NOATIME of another's", b, openTo(file, unix.O_RDONLY|unix.O_NOATIME), syscall.EPERM},
		{"O_NOATIME of his own", a, openTo(file, unix.O_RDONLY|unix.O_NOATIME), 0},
		{"mknod of a device", a, order{Do: "mknod", Path: m.in("all", "dev"), N: []int64{unix.S_IFCHR | 0o666, 7}}, syscall.EPERM},
	} {
		if got := c.who.do(c.o).Errno; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, error(got), error(c.want))
		}
	}

	// Root gives away, and the bits that give privileges go.
	must(t, unix.Chmod(file, 0o6755))
	must(t, os.Chown(file, bob, alice))
	b.shown(file, bob, alice)
	if mode := b.do(order{Do: "stat", Path: file}).N[0]; mode != unix.S_IFREG|0o755 {
		t.Errorf("mode %o after chown", mode)
	}
	b.want(0, order{Do: "chmod", Path: file, N: []int64{0o4755}})
	b.want(0, order{Do: "open", ID: 3, Path: file, N: []int64{unix.O_WRONLY}})
	b.want(0, order{Do: "pwrite", ID: 3, Text: "x"})
	b.want(0, order{Do: "close", ID: 3})
	if mode := b.do(order{Do: "stat", Path: file}).N[0]; mode != unix.S_IFREG|0o755 {
		t.Errorf("mode %o after a write", mode)
	}

	// A setgid directory hands down its group.
	must(t, os.Mkdir(m.in("shared"), 0o777))
	must(t, os.Chown(m.in("shared"), 0, bob))
	must(t, unix.Chmod(m.in("shared"), 0o2777))
	a.want(0, create(m.in("shared", "file"), 0o644))
	a.shown(m.in("shared", "file"), alice, bob)
	a.want(0, order{Do: "mkdir", Path: m.in("shared", "dir"), N: []int64{0o755}})
	a.shown(m.in("shared", "dir"), alice, bob)
	if mode := a.do(order{Do: "stat", Path: m.in("shared", "dir")}).N[0]; mode != unix.S_IFDIR|0o2755 {
		t.Errorf("mode %o of a directory within", mode)
	}
	a.end()
	b.end()

	// On another machine of root's all of it is as it was stored.
	d = d.remount()
	p := d.m.puppet(-1)
	p.shown(d.m.in("all", "file"), bob, alice)
	p.shown(d.m.in("shared", "file"), alice, bob)
	p.end()
	d.umount()
}

// Without --allow-other nobody else gets in, root's mounts included.
func TestOthersStayOut(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	must(t, os.Chmod(m.home, 0o755))
	d := m.mount()
	must(t, os.WriteFile(m.in("file"), nil, 0o666))
	p := m.puppet(alice)
	p.want(syscall.EACCES, openTo(m.in("file"), unix.O_RDONLY))
	p.want(syscall.EACCES, create(m.in("new"), 0o644))
	p.end()
	d.umount()
}

// Whom files are shown to belong to, by who mounts and what he asks for.
func TestOwners(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newMachineOf(t, nobody)
	m.init()

	// Files of other numbers come from another machine, here from root's mount.
	all := newMachine(t)
	all.store, all.pass = m.store, m.pass
	d := all.mount()
	must(t, os.WriteFile(all.in("alices"), []byte("a"), 0o600))
	must(t, os.Chown(all.in("alices"), alice, bob))
	must(t, os.Mkdir(all.in("roots"), 0o700))
	root := all.puppet(-1)
	root.shown(all.in("alices"), alice, bob)
	root.shown(all.in("roots"), 0, 0)
	root.end()
	d.umount()
	give := func() { // what root wrote to the store stands in the user's way
		must(t, filepath.WalkDir(m.store, func(path string, _ os.DirEntry, err error) error {
			must(t, err)
			return os.Lchown(path, nobody, nobody)
		}))
	}
	give()

	// An ordinary user sees all as hers, may do with it what an owner may, and
	// what she makes is stored as hers.
	d = m.mount()
	p := m.puppet(nobody)
	p.shown(m.in("alices"), nobody, nobody)
	p.shown(m.in("roots"), nobody, nobody)
	p.shown(m.mnt, nobody, nobody)
	p.want(0, openTo(m.in("alices"), unix.O_RDWR))
	p.want(0, order{Do: "chmod", Path: m.in("alices"), N: []int64{0o640}})
	p.want(0, create(m.in("roots", "hers"), 0o644))
	p.shown(m.in("roots", "hers"), nobody, nobody)
	p.want(syscall.EPERM, order{Do: "chown", Path: m.in("alices"), N: []int64{bob, -1}})
	p.want(0, order{Do: "chown", Path: m.in("roots"), N: []int64{nobody, nobody}}) // is stored
	p.end()
	d.umount()

	// As stored: alice's is not hers.
	n := m.another()
	d = n.mount("--owner", "stored")
	p = n.puppet(nobody)
	p.shown(n.in("alices"), alice, bob)
	p.shown(n.in("roots"), nobody, nobody)
	p.shown(n.in("roots", "hers"), nobody, nobody)
	p.want(syscall.EACCES, openTo(n.in("alices"), unix.O_RDONLY))
	p.want(syscall.EPERM, order{Do: "chmod", Path: n.in("alices"), N: []int64{0o666}})
	p.end()
	d.umount()

	// Root, and others beside him, see all as his when he asks for that.
	all = newMachine(t)
	all.store, all.pass = m.store, m.pass
	must(t, os.Chmod(all.home, 0o755))
	d = all.mount("--owner", "me", "--allow-other")
	must(t, os.Chmod(all.mnt, 0o777))
	root, p = all.puppet(-1), all.puppet(alice)
	root.shown(all.in("alices"), 0, 0)
	p.shown(all.in("alices"), 0, 0)
	p.want(syscall.EACCES, openTo(all.in("alices"), unix.O_RDONLY)) // shown as root's, mode 0640
	p.want(0, create(all.in("hers too"), 0o644))
	p.shown(all.in("hers too"), 0, 0)
	must(t, os.Chown(all.in("alices"), bob, bob)) // stored, not shown
	root.shown(all.in("alices"), 0, 0)
	root.end()
	p.end()
	d.umount()
	give()

	all = newMachine(t)
	all.store, all.pass = m.store, m.pass
	d = all.mount()
	root = all.puppet(-1)
	root.shown(all.in("alices"), bob, bob)
	root.shown(all.in("hers too"), alice, alice)
	root.end()
	d.umount()
	m.refused(2, []string{"--owner is me or stored"}, m.mountArgs("--owner", "you")...)
}

// An ordinary user lets others in, where /etc/fuse.conf permits it.
func TestAllowOtherOfAnOrdinaryUser(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newMachineOf(t, nobody)
	m.init()
	must(t, os.Chmod(m.home, 0o755))
	conf := m.at("fuse.conf")
	must(t, os.WriteFile(conf, []byte("user_allow_other\n"), 0o644))
	// In a mount namespace of its own, which sees that file in the place of the real
	// one: nobody mounts, alice uses it, root unmounts.
	script := `set -e
		mount --bind "$1" /etc/fuse.conf
		as() { u=$1; shift; setpriv --reuid "$u" --regid "$u" --clear-groups "$@"; }
		as 65534 "$2" mount --passphrase-file "$3" --allow-other "$4" "$5" >/dev/null
		as 65534 sh -c 'umask 0; mkdir "$1/all"; echo hers >"$1/all/hers"; chmod 600 "$1/all/hers"' - "$5"
		as 30001 sh -c 'cd "$1/all"; echo x >mine; ! cat hers 2>/dev/null; stat -c "%n %u" *' - "$5"
		as 65534 "$2" umount "$5" >/dev/null`
	root := *m
	root.uid = -1
	r := finish(t, root.command(t.Context(), "unshare", "-m", "--propagation", "private", "sh", "-c", script, "-", conf, hushfs, m.pass, m.store, m.mnt))
	if r.code != 0 || r.stdout != "hers 65534\nmine 30001\n" {
		t.Errorf("exit code %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}
