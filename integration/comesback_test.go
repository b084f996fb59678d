package integration

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestComesBack has a file or folder come back that was deleted or replaced here: another
// machine changed it meanwhile, and that counts more. For the kernel who has it open has the
// deleted one, and who goes by its name has another's.
func TestComesBack(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	for _, c := range []struct {
		name string
		run  func(p *pair)
	}{
		{"deleted", func(p *pair) {
			deletedAndBack(p, func() { must(p.t, os.Remove(p.at("f.txt"))) })
		}},
		{"replaced", func(p *pair) {
			deletedAndBack(p, func() {
				must(p.t, os.WriteFile(p.at("tmp"), []byte("saved"), 0o644))
				must(p.t, os.Rename(p.at("tmp"), p.at("f.txt")))
			})
			p.copied("f.txt", []byte("saved"))
		}},
		{"all of its names deleted", func(p *pair) {
			must(p.t, os.WriteFile(p.elsewhere("f.txt"), []byte("base"), 0o644))
			must(p.t, os.Link(p.elsewhere("f.txt"), p.elsewhere("g.txt")))
			p.synced()
			p.holds(p.at("g.txt"), []byte("base"))
			deletedAndBack(p, func() { must(p.t, errors.Join(os.Remove(p.at("g.txt")), os.Remove(p.at("f.txt")))) })
		}},
		{"mapped", mappedAndBack},
		{"held by its path alone", pathAndBack},
		{"a folder that nobody has open", func(p *pair) { folderAndBack(p, func() { must(p.t, os.Remove(p.at("d"))) }) }},
		{"a folder that is open", func(p *pair) {
			folderAndBack(p, func() {
				f, err := os.Open(p.at("d"))
				must(p.t, err)
				p.t.Cleanup(func() { f.Close() })
				must(p.t, os.Remove(p.at("d")))
			})
		}},
		{"a folder that another replaced", func(p *pair) {
			folderAndBack(p, func() {
				must(p.t, os.Mkdir(p.at("e"), 0o755))
				f, err := os.Open(p.at("d"))
				must(p.t, err)
				p.t.Cleanup(func() { f.Close() })
				must(p.t, unix.Rename(p.at("e"), p.at("d")))
			})
		}},
		{"two folders that become one", foldersBecomeOne},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pair{t, here, there, strings.ReplaceAll(c.name, " ", "-")}
			must(t, os.Mkdir(there.in(p.dir), 0o755))
			p.synced()
			c.run(p)
		})
		here.t, there.t = t, t
	}
	dHere.umount()
	dThere.umount()
}

// followed has here see what was done there, which wins.
func (p *pair) followed() {
	p.t.Helper()
	p.there.ok("sync", p.there.mnt)
	p.here.ok("sync", p.here.mnt)
}

// deletedAndBack has a file come back that was open when its last name here went.
func deletedAndBack(p *pair, remove func()) {
	t := p.t
	p.put("f.txt", []byte("base"))
	f := p.open("f.txt", os.O_RDWR)
	must(t, os.WriteFile(p.elsewhere("f.txt"), []byte("theirs and more"), 0o644))
	remove()
	p.followed()
	p.stays(f, []byte("base"))
	p.holds(p.at("f.txt"), []byte("theirs and more"))
	_, err := f.WriteAt([]byte("into nothing"), 0)
	must(t, errors.Join(err, f.Sync()))
	p.holds(p.at("f.txt"), []byte("theirs and more"))
	g := p.open("f.txt", os.O_RDWR)
	_, err = g.WriteAt([]byte("HERE"), 0)
	must(t, errors.Join(err, g.Sync(), g.Close()))
	p.holds(p.at("f.txt"), []byte("HERErs and more"))
	p.stays(f, []byte("into nothing"))
	p.synced()
	p.holds(p.elsewhere("f.txt"), []byte("HERErs and more"))
	must(t, os.WriteFile(p.elsewhere("f.txt"), []byte("theirs again"), 0o644))
	p.synced()
	p.holds(p.at("f.txt"), []byte("theirs again"))
	must(t, f.Close())
	p.holds(p.at("f.txt"), []byte("theirs again"))
}

// mappedAndBack is deletedAndBack of a file that is mapped and was closed.
func mappedAndBack(p *pair) {
	t := p.t
	was := pattern(1, 0, 100_000)
	p.put("f.bin", was)
	f := p.open("f.bin", os.O_RDWR)
	m, err := unix.Mmap(int(f.Fd()), 0, len(was), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, errors.Join(err, f.Close()))
	must(t, os.WriteFile(p.elsewhere("f.bin"), []byte("theirs"), 0o644))
	must(t, os.Remove(p.at("f.bin")))
	p.followed()
	p.holds(p.at("f.bin"), []byte("theirs"))
	copy(m, "into nothing")
	copy(was, "into nothing")
	must(t, again(func() error { return unix.Msync(m, unix.MS_SYNC) }))
	if !bytes.Equal(m, was) {
		t.Error("the map shows something else")
	}
	must(t, unix.Munmap(m))
	p.synced()
	p.holds(p.at("f.bin"), []byte("theirs"))
	p.holds(p.elsewhere("f.bin"), []byte("theirs"))
	p.alone("f.bin")
}

// pathAndBack has a file come back that a program found and did not open.
func pathAndBack(p *pair) {
	t := p.t
	p.put("f", []byte("base"))
	fd, err := unix.Open(p.at("f"), unix.O_PATH, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, os.WriteFile(p.elsewhere("f"), []byte("theirs and more"), 0o644))
	must(t, os.Remove(p.at("f")))
	p.followed()
	p.holds(p.at("f"), []byte("theirs and more"))
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
}

// folderAndBack has a folder come back in which another machine made something.
func folderAndBack(p *pair, remove func()) {
	t := p.t
	must(t, os.Mkdir(p.at("d"), 0o755))
	p.synced()
	must(t, os.WriteFile(p.elsewhere("d/x"), []byte("theirs"), 0o644))
	remove()
	p.followed()
	p.lists(p.at("d"), "x")
	p.holds(p.at("d/x"), []byte("theirs"))
	must(t, os.WriteFile(p.at("d/y"), []byte("y"), 0o644))
	must(t, os.WriteFile(p.elsewhere("d/z"), []byte("z"), 0o644))
	p.synced()
	p.lists(p.at("d"), "x", "y", "z")
	p.lists(p.elsewhere("d"), "x", "y", "z")
}

// foldersBecomeOne has both machines make a folder of one name: what the kernel keeps of
// what was in mine is no listing of it any more, also for who has it open.
func foldersBecomeOne(p *pair) {
	t := p.t
	must(t, os.Mkdir(p.elsewhere("d"), 0o755))
	must(t, os.WriteFile(p.elsewhere("d/b"), []byte("theirs"), 0o644))
	must(t, os.Mkdir(p.at("d"), 0o755))
	must(t, os.WriteFile(p.at("d/a"), []byte("mine"), 0o644))
	f, err := os.Open(p.at("d"))
	must(t, err)
	defer f.Close()
	for range 2 { // from then on the kernel answers itself
		p.lists(p.at("d"), "a")
	}
	p.followed()
	p.lists(p.at("d"), "a", "b")
	names, err := f.Readdirnames(-1)
	must(t, err)
	if slices.Sort(names); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("who has it open sees %q", names)
	}
	p.holds(p.at("d/b"), []byte("theirs"))
	must(t, os.WriteFile(p.at("d/c"), []byte("mine"), 0o644))
	p.lists(p.at("d"), "a", "b", "c")
}

// lists wants exactly these names in a folder.
func (p *pair) lists(dir string, want ...string) {
	p.t.Helper()
	entries, err := os.ReadDir(dir)
	must(p.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		p.t.Errorf("there is %q, want %q", names, want)
	}
}
