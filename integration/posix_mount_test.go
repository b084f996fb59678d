package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// With --auto-unmount a mount whose daemon is killed goes away, and the folder
// underneath is there again; an orderly end is as ever.
func TestAutoUnmount(t *testing.T) {
	t.Parallel()
	autoUnmount(t, newDrive(t))
}

func TestAutoUnmountAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	m := ordinary(t)
	m.init()
	autoUnmount(t, m)
}

func autoUnmount(t *testing.T, m *machine) {
	d := m.mount("--auto-unmount")
	m.tool("sh", "-c", `echo kept > "$1" && sync "$1"`, "-", m.in("file"))
	d.kill()
	eventually(t, "the dead mount goes away", patience, func() bool { return !mounted(m.mnt) })
	if left, err := os.ReadDir(m.mnt); err != nil || len(left) != 0 {
		t.Errorf("underneath: %v, %v", left, err)
	}
	d = m.mount("--auto-unmount")
	if s := m.tool("cat", m.in("file")); s != "kept\n" {
		t.Errorf("the file holds %q", s)
	}
	d.umount()
}

// What is read shows it, like on a disk with relatime; with --noatime nothing does.
func TestAtime(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	for _, c := range []struct {
		flags []string
		moves bool
	}{{nil, true}, {[]string{"--noatime"}, false}} {
		d := m.mount(c.flags...)
		must(t, os.Mkdir(m.in("dir"), 0o755))
		must(t, os.WriteFile(m.in("dir/file"), []byte("12345"), 0o644))
		must(t, os.Symlink("file", m.in("dir/link")))
		names := []string{"dir", "dir/file", "dir/link"}
		old := unix.Timespec{Sec: 1 << 30}
		for _, name := range names {
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.in(name), []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW))
		}
		atime := func(name string) unix.StatxTimestamp {
			return statx(t, m.in(name), unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS).Atime
		}
		fd := mustOpen(t, m.in("dir/file"), unix.O_RDONLY|unix.O_NOATIME)
		_, err := unix.Pread(fd, make([]byte, 5), 0)
		must(t, errors.Join(err, unix.Close(fd)))
		if got := atime("dir/file"); got.Sec != old.Sec {
			t.Errorf("%v: read with O_NOATIME, and atime is %d", c.flags, got.Sec)
		}
		read(t, m.in("dir/file"))
		_, err = os.ReadDir(m.in("dir"))
		must(t, err)
		_, err = os.Readlink(m.in("dir/link"))
		must(t, err)
		was := map[string]unix.StatxTimestamp{}
		for _, name := range names {
			was[name] = atime(name)
			if moved := was[name].Sec != old.Sec; moved != c.moves {
				t.Errorf("%v: %s: read, and atime moved: %v", c.flags, name, moved)
			}
		}
		must(t, os.WriteFile(m.in("other"), nil, 0o644)) // a change that takes them along
		d.umount()
		d = m.mount(c.flags...)
		for _, name := range names {
			if got := atime(name); got != was[name] {
				t.Errorf("%v: %s: atime %+v after a remount, was %+v", c.flags, name, got, was[name])
			}
		}
		must(t, os.RemoveAll(m.in("dir")))
		d.umount()
	}
}

// A mount that shows other numbers of users: those of the drive come back where
// something is made, and root is known as such for what only root may.
func TestIdmappedMount(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	d := m.mount("--allow-other")
	must(t, os.Chmod(m.home, 0o755))
	must(t, os.Chmod(m.mnt, 0o777))
	const inside = 1234
	must(t, os.WriteFile(m.in("file"), []byte("x"), 0o600))
	must(t, unix.Setxattr(m.in("file"), "trusted.secret", []byte("1"), 0))
	must(t, os.Chown(m.in("file"), inside, inside))

	// The user inside of the drive is nobody in the mapped mount; root is root.
	holder := exec.Command("sleep", "1000")
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: inside, HostID: nobody, Size: 1}}
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps}
	must(t, holder.Start())
	defer holder.Wait()
	defer holder.Process.Kill()
	users := mustOpen(t, fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid), unix.O_RDONLY)
	defer unix.Close(users)
	tree, err := unix.OpenTree(unix.AT_FDCWD, m.mnt, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(t, err)
	must(t, unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users)}))
	mapped := m.mkdir("mapped")
	must(t, unix.MoveMount(tree, "", unix.AT_FDCWD, mapped, unix.MOVE_MOUNT_F_EMPTY_PATH))
	defer unix.Unmount(mapped, unix.MNT_DETACH)
	must(t, unix.Close(tree))

	user := m.puppet(nobody)
	owner := func(path string) (int, int) {
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		return int(st.Uid), int(st.Gid)
	}
	if u, g := owner(mapped + "/file"); u != nobody || g != nobody {
		t.Errorf("the file shows as %d:%d, want %d", u, g, nobody)
	}
	user.want(0, order{Do: "open", ID: 1, Path: mapped + "/file", N: []int64{unix.O_RDWR}})
	user.want(0, order{Do: "pwrite", ID: 1, Text: "hello"})
	user.want(0, order{Do: "close", ID: 1})
	user.want(0, order{Do: "open", ID: 1, Path: mapped + "/new", N: []int64{unix.O_RDWR | unix.O_CREAT, 0o600}})
	user.want(0, order{Do: "close", ID: 1})
	user.want(0, order{Do: "mkdir", Path: mapped + "/newdir", N: []int64{0o700}})
	for _, name := range []string{"new", "newdir"} {
		if u, g := owner(m.in(name)); u != inside || g != inside {
			t.Errorf("%s, made through the mapped mount, is stored as %d:%d, want %d", name, u, g, inside)
		}
	}
	user.want(unix.EACCES, order{Do: "open", ID: 2, Path: m.in("new"), N: []int64{unix.O_RDONLY}})
	if list := user.want(0, order{Do: "listxattr", Path: mapped + "/file"}).Text; list != "" {
		t.Errorf("an ordinary user sees %q", list)
	}
	for _, path := range []string{mapped, m.mnt} {
		b := make([]byte, 100)
		n, err := unix.Llistxattr(path+"/file", b)
		if string(b[:max(n, 0)]) != "trusted.secret\x00" || err != nil {
			t.Errorf("root sees %q, %v", b[:max(n, 0)], err)
		}
	}
	user.end()
	must(t, unix.Unmount(mapped, 0))
	d.umount()
}
