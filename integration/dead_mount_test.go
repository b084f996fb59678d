package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// dead mounts the drive, has it hold the file "kept", and kills the daemon.
func (m *machine) dead(flags ...string) {
	m.t.Helper()
	d := m.mount(flags...)
	m.tool("sh", "-c", `echo kept >"$1" && sync "$1"`, "-", m.in("kept"))
	d.kill()
	m.stillDead()
}

// leaksNothing mounts in the place of a dead mount, and has a program write there while the
// passphrase is asked for: what it writes is nowhere.
func (m *machine) leaksNothing() {
	m.t.Helper()
	m.ok("mount", "--passphrase-command", fmt.Sprintf("echo secret >%s; cat %s", m.in("leak"), m.pass), m.store, m.mnt)
	m.reap(m.status()[0].PID)
	if s := m.tool("ls", m.mnt); s != "kept\n" {
		m.t.Errorf("the drive holds %q", s)
	}
	m.ok("umount", m.mnt)
	if left := m.plain(); len(left) > 0 {
		m.t.Errorf("below the mount lie %q", left)
	}
}

// stillDead wants that the machine's user gets ENOTCONN at the mountpoint.
func (m *machine) stillDead() {
	m.t.Helper()
	c := m.command(m.t.Context(), "stat", "-f", m.mnt) // which the kernel never answers by itself
	if r := finish(m.t, c); !strings.Contains(r.stderr, "Transport endpoint is not connected") {
		m.t.Errorf("statfs of the dead mount: %s%s", r.stdout, r.stderr)
	}
}

// plain are the names in the folder on which the drive was mounted.
func (m *machine) plain() []string {
	m.t.Helper()
	if mounted(m.mnt) {
		m.t.Fatal("something is mounted still")
	}
	entries, err := os.ReadDir(m.mnt)
	must(m.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// impatient is a program of the machine's user that tries to write to the drive all the
// while, whatever it gets. stop returns the files that it was told are written.
func (m *machine) impatient(name string) (stop func() []string) {
	m.t.Helper()
	end := m.at("enough")
	c := m.command(m.t.Context(), "sh", "-c", `n=0; while [ ! -e "$2" ]; do n=$((n+1)); echo "$n" >"$1/$3-$n" && echo "$3-$n"; done; true`, "-", m.mnt, end, name)
	var said strings.Builder
	c.Stdout = &said
	must(m.t, c.Start())
	return func() []string {
		m.t.Helper()
		must(m.t, os.WriteFile(end, nil, 0o644))
		must(m.t, c.Wait())
		must(m.t, os.Remove(end))
		return strings.Fields(said.String())
	}
}

// A dead mount stays until the drive is open: a program that writes while the passphrase
// is asked for gets an error as before, and nothing comes to lie in the folder below.
func TestDeadMountStaysWhileThePassphraseIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*machine{"as who tests": newMachine(t), "as an ordinary user": ordinary(t)} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			m.init()
			m.dead()
			m.leaksNothing()
		})
	}
}

// Where root mounts there is no moment without a mount: what a program that never stops
// writing was told is written, is in the drive.
func TestNoGapBetweenADeadMountAndTheNext(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	for i := range 5 {
		m.dead()
		name := fmt.Sprint("round", i)
		stop := m.impatient(name)
		d := m.mount()
		eventually(t, "the program writes", patience, func() bool {
			found, err := filepath.Glob(m.in(name + "-*"))
			return err == nil && len(found) > 10
		})
		for _, name := range stop() {
			if _, err := os.Lstat(m.in(name)); err != nil {
				t.Errorf("of what was written: %v", err)
			}
		}
		d.umount()
		if left := m.plain(); len(left) > 0 {
			t.Fatalf("below the mount lie %q", left)
		}
	}
}

// Root looks below the dead mount: what lies there refuses the next one before the
// passphrase is asked for, and the dead one stays.
func TestFolderBelowADeadMountIsNotEmpty(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	below, err := os.OpenRoot(m.mkdir("mnt"))
	must(t, err)
	defer below.Close()
	m.dead()
	must(t, below.WriteFile("diary", []byte("secret"), 0o600))
	asked := m.at("asked")
	r := m.run("mount", "--passphrase-command", fmt.Sprintf("touch %s; cat %s", asked, m.pass), m.store, m.mnt)
	checkRefusal(t, r, 7, []string{m.mnt, "not empty", "diary", "not encrypted"})
	if _, err := os.Stat(asked); err == nil {
		t.Error("the passphrase was asked for")
	}
	m.stillDead()
	// The daemon looks again.
	must(t, below.Remove("diary"))
	r = m.run("mount", "--passphrase-command", fmt.Sprintf("echo secret >/proc/%d/fd/%d/diary; cat %s", os.Getpid(), fdOf(t, below), m.pass), m.store, m.mnt)
	checkRefusal(t, r, 7, []string{m.mnt, "not empty", "diary", "not encrypted"})
	if !strings.Contains(r.stderr, "stays") {
		t.Errorf("it is not said that the dead mount stays: %s", r.stderr)
	}
	m.stillDead()
	must(t, below.Remove("diary"))
	m.mount().umount()
}

// fdOf is a descriptor of the folder of r.
func fdOf(t *testing.T, r *os.Root) uintptr {
	t.Helper()
	f, err := r.Open(".")
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f.Fd()
}

// A mount that has come beneath a dead one has the options of any other.
func TestMountInPlaceOfADeadOneIsLikeAnyOther(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	m.mount().umount() // a machine that only reads makes no drive's first commit
	for _, flags := range [][]string{nil, {"--read-only"}, {"--allow-other", "--noatime"}} {
		d := m.mount(flags...)
		want := mountLine(t, m.mnt)
		d.kill()
		d = m.mount(flags...)
		if got := mountLine(t, m.mnt); got != want {
			t.Errorf("%q: %s, want %s", flags, got, want)
		}
		d.umount()
	}
}

// mountLine is what the kernel shows of the only mount at dir, but for its numbers.
func mountLine(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	var found []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[4] == dir {
			found = append(found, strings.Join(f[3:], " "))
		}
	}
	if len(found) != 1 {
		t.Fatalf("at %s are mounted %q", dir, found)
	}
	return found[0]
}

// Most machines show mounts of one namespace in others. There, too, no program finds the
// plain folder, and one mount is left, in each.
func TestDeadMountAmongNamespaces(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	m.mkdir("mnt")
	const inside = `
		"$hushfs" mount --passphrase-file "$pass" "$store" "$mnt" && echo kept >"$mnt/kept" && sync "$mnt/kept" || exit
		pid=$("$hushfs" status | sed -n 's/.*pid \([0-9]*\).*/\1/p')
		kill -9 "$pid"; while ! stat -f "$mnt" 2>&1 | grep -q 'not connected'; do sleep 0.01; done
		"$hushfs" mount --passphrase-command 'echo secret >"$mnt/leak"; cat "$pass"' "$store" "$mnt" || exit
		echo "here $(grep -c " $mnt " /proc/self/mountinfo): $(ls "$mnt")"`
	const outside = `mount --make-rshared / && unshare -m --propagation unchanged sh -c "$0" || exit
		echo "there $(grep -c " $mnt " /proc/self/mountinfo): $(ls "$mnt")"
		"$hushfs" umount "$mnt"; echo "after $(grep -c " $mnt " /proc/self/mountinfo): $(ls "$mnt")"`
	c := m.command(t.Context(), "unshare", "-m", "--propagation", "private", "sh", "-c", outside, inside)
	c.Env = append(c.Env, "hushfs="+hushfs, "pass="+m.pass, "store="+m.store, "mnt="+m.mnt)
	r := finish(t, c)
	for _, want := range []string{"here 1: kept\n", "there 1: kept\n", "Locked. Everything is in the store.\n", "after 0: \n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is missing:\n%s%s", want, r.stdout, r.stderr)
		}
	}
}

// Where nothing can be mounted beneath another, root does as others do.
func TestDeadMountWhereNothingComesBeneath(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	place := m.mkdir("place")
	must(t, unix.Mount("none", place, "tmpfs", 0, ""))
	defer unix.Unmount(place, unix.MNT_DETACH)
	must(t, unix.Mount("", place, "", unix.MS_UNBINDABLE, "")) // the folder in it cannot be looked at
	m.mnt = m.at("place", "mnt")
	m.dead()
	m.leaksNothing()
}

// Of dead mounts that lie on one another none is left; what is not ours is not touched.
func TestDeadMountsOnOneAnother(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	m.dead()
	other := m.mkdir("other")
	must(t, unix.Mount("none", other, "tmpfs", 0, ""))
	defer unix.Unmount(other, unix.MNT_DETACH)
	must(t, unix.Mount(m.mnt, other, "", unix.MS_BIND, ""))
	defer unix.Unmount(other, unix.MNT_DETACH)
	m.refused(7, []string{other, "dead mount", "another program"}, "mount", "--passphrase-file", m.pass, m.store, other)
	if n := mountsAt(other); n != 2 {
		t.Errorf("%d mounts are left, want 2", n)
	}

	must(t, unix.Mount(m.mnt, m.mnt, "", unix.MS_BIND, ""))
	if n := mountsAt(m.mnt); n != 2 {
		t.Fatalf("%d mounts, want 2", n)
	}
	d := m.mount()
	if n := mountsAt(m.mnt); n != 1 {
		t.Errorf("%d mounts are there, want 1", n)
	}
	d.umount()
	if left := m.plain(); len(left) > 0 {
		t.Errorf("below the mount lie %q", left)
	}
}

// fusermountThat is a fusermount3 of the machine that does more, in shell, as what
// programs do in the moment for which a folder is uncovered.
func (m *machine) fusermountThat(script string) {
	m.t.Helper()
	real, err := exec.LookPath("fusermount3")
	must(m.t, err)
	bin := m.mkdir("bin")
	text := fmt.Sprintf("#!/bin/sh\nmnt=%s real=%s\n%s\n", m.mnt, real, script)
	must(m.t, os.WriteFile(m.at("bin", "fusermount3"), []byte(text), 0o755))
	must(m.t, os.Chmod(m.at("bin", "fusermount3"), 0o755)) // whatever the umask is
	allExecuted()                                          // nobody has it open to write
	m.path = bin + ":" + os.Getenv("PATH")
}

// An ordinary user has to take the dead mount away before the next can be there. What
// programs write in that moment is told, by the mount and for as long as it lies there.
func TestWrittenInTheGapIsTold(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := ordinary(t)
	m.init()
	for _, script := range []string{
		`case $1 in -u) "$real" "$@"; code=$?; echo secret >"$mnt/diary"; exit $code;; esac; exec "$real" "$@"`,
		`case $1 in -u) ;; *) echo secret >"$mnt/diary";; esac; exec "$real" "$@"`,
	} {
		m.dead()
		m.fusermountThat(script)
		r := m.run(m.mountArgs()...)
		if r.code != 0 {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		m.reap(m.status()[0].PID)
		for _, where := range []string{r.stderr, m.ok("status")} {
			for _, word := range []string{"diary", "not encrypted", "hides", "hushfs umount " + m.mnt} {
				if !strings.Contains(where, word) {
					t.Errorf("%q is not said: %s", word, where)
				}
			}
		}
		if s := m.tool("ls", m.mnt); s != "kept\n" {
			t.Errorf("the drive holds %q", s)
		}
		m.path = ""
		m.ok("umount", m.mnt)
		if left := m.plain(); fmt.Sprint(left) != "[diary]" {
			t.Errorf("below the mount lie %q", left)
		}
		m.refused(7, []string{m.mnt, "not empty", "1 entry"}, m.mountArgs()...)
		must(t, os.Remove(m.in("diary")))
	}
}

// When the next mount fails after all, it is told that the folder is uncovered.
func TestDeadMountIsGoneAndTheNextFails(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := ordinary(t)
	m.init()
	m.dead()
	m.fusermountThat(`case $1 in -u) exec "$real" "$@";; esac; exit 1`)
	r := m.run(m.mountArgs()...)
	checkRefusal(t, r, 8, []string{"did not mount"})
	if !strings.Contains(r.stderr, "The dead mount at "+m.mnt+" is gone") {
		t.Errorf("it is not said: %s", r.stderr)
	}
	m.path = ""
	m.mount().umount()
}

// A mount that does not come about leaves the dead mount where it is, and says so.
func TestRefusedMountLeavesTheDeadOne(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*machine{"as who tests": newMachine(t), "as an ordinary user": ordinary(t)} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			m.init()
			m.dead()
			refuse := func(code int, words []string, args ...string) {
				t.Helper()
				r := m.run(args...)
				checkRefusal(t, r, code, words)
				if !strings.Contains(r.stderr, "stays") || !strings.Contains(r.stderr, m.mnt) {
					t.Errorf("it is not said that the dead mount stays: %s", r.stderr)
				}
				if mountsAt(m.mnt) != 1 {
					t.Errorf("%d mounts are there", mountsAt(m.mnt))
				}
			}
			refuse(3, []string{"passphrase does not open the drive"}, "mount", "--passphrase-command", "echo wrong", m.store, m.mnt)
			refuse(3, []string{"passphrase does not open the drive"}, "mount", "-f", "--passphrase-command", "echo wrong", m.store, m.mnt)
			// The daemon finds this, when all is unlocked.
			journals, err := filepath.Glob(filepath.Join(m.stateDir(), "journal-*"))
			if err != nil || len(journals) != 1 {
				t.Fatalf("journals: %v, %v", journals, err)
			}
			must(t, os.Rename(journals[0], m.at("journal")))
			must(t, os.WriteFile(journals[0], nil, 0o600))
			refuse(1, []string{"not mounted", "journal"}, m.mountArgs()...)
			refuse(1, []string{"not mounted", "journal"}, m.mountArgs("-f")...)
			must(t, os.Remove(journals[0]))
			must(t, os.Rename(m.at("journal"), journals[0]))

			m.stillDead()
			m.mount().umount()
			if left := m.plain(); len(left) > 0 {
				t.Errorf("below the mount lie %q", left)
			}
		})
	}
}

// mountsAt is how many mounts lie on one another at dir.
func mountsAt(dir string) int {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return -1
	}
	return strings.Count(string(b), " "+dir+" ")
}
