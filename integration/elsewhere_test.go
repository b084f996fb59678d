package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a drive mounted on two machines, of which there changes files that here has
// open. Each case has a folder of its own.
type pair struct {
	t           *testing.T
	here, there *machine
	dir         string
}

// synced has each machine see what the other one did.
func (p *pair) synced() {
	p.t.Helper()
	for _, m := range []*machine{p.there, p.here, p.there} {
		m.t = p.t
		m.ok("sync", m.mnt)
	}
}

func (p *pair) at(name string) string        { return p.here.in(p.dir, name) }
func (p *pair) elsewhere(name string) string { return p.there.in(p.dir, name) }

// put writes a file there and has it come here.
func (p *pair) put(name string, b []byte) {
	p.t.Helper()
	must(p.t, os.WriteFile(p.elsewhere(name), b, 0o644))
	p.synced()
	p.holds(p.at(name), b)
}

// holds wants exactly b in a file, by size and by reading.
func (p *pair) holds(path string, b []byte) {
	p.t.Helper()
	i, err := os.Stat(path)
	must(p.t, err)
	got := read(p.t, path)
	if i.Size() != int64(len(b)) || !bytes.Equal(got, b) {
		p.t.Errorf("%s: stat says %d bytes, it reads as %d, %.30q; want %d, %.30q", filepath.Base(path), i.Size(), len(got), got, len(b), b)
	}
}

// stays wants an open file to be exactly b at every offset, whatever the kernel has of it.
func (p *pair) stays(f *os.File, b []byte) {
	p.t.Helper()
	i, err := f.Stat()
	must(p.t, err)
	if i.Size() != int64(len(b)) {
		p.t.Errorf("what is open has %d bytes, want %d", i.Size(), len(b))
	}
	for off := 0; off <= len(b); off += max(1, len(b)/13) {
		got := make([]byte, len(b)-off+5)
		n, err := f.ReadAt(got, int64(off))
		if err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], b[off:]) {
			p.t.Fatalf("what is open reads as %.30q (%d bytes) from %d on, want %.30q (%d): %v", got[:n], n, off, b[off:], len(b)-off, err)
		}
	}
}

// names lists the case's folder on a machine.
func (p *pair) names(m *machine) (names []string) {
	p.t.Helper()
	entries, err := os.ReadDir(m.in(p.dir))
	must(p.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// copied finds the conflict copy of a file, which both machines must have by now, and
// wants it to hold b.
func (p *pair) copied(name string, b []byte) string {
	p.t.Helper()
	stem, ext, _ := strings.Cut(name, ".")
	var found []string
	for _, m := range []*machine{p.here, p.there} {
		for _, n := range p.names(m) {
			if strings.HasPrefix(n, stem+" (conflict") && strings.HasSuffix(n, ext) {
				found = append(found, n)
				p.holds(m.in(p.dir, n), b)
			}
		}
	}
	if len(found) != 2 || found[0] != found[1] {
		p.t.Fatalf("conflict copies of %s: %q, among %q", name, found, p.names(p.here))
	}
	return found[0]
}

// alone wants nothing but these names in the folder, on both machines.
func (p *pair) alone(names ...string) {
	p.t.Helper()
	for _, m := range []*machine{p.here, p.there} {
		if got := p.names(m); !slices.Equal(got, names) {
			p.t.Errorf("there is %q, want %q", got, names)
		}
	}
}

func (p *pair) open(name string, flags int) *os.File {
	p.t.Helper()
	f, err := os.OpenFile(p.at(name), flags, 0)
	must(p.t, err)
	p.t.Cleanup(func() { f.Close() })
	return f
}

// TestChangedElsewhere has another machine change what is open, known or being written
// here, through two mounts of the real kernel with its writeback cache.
func TestChangedElsewhere(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	for _, c := range []struct {
		name string
		run  func(p *pair)
	}{
		{"open files keep their version", openKeeps},
		{"dirty pages", dirtyPages},
		{"written after it was followed", writtenAfter},
		{"open to write on both", writtenOnBoth},
		{"appended on both", appendedOnBoth},
		{"deleted while it is written", deletedElsewhere},
		{"attributes alone", attributesElsewhere},
		{"renamed across folders", renamedElsewhere},
		{"hard links", linkedElsewhere},
		{"a name that was not there", appearsElsewhere},
		{"a folder that is being read", listedElsewhere},
		{"the working directory", removedWorkingDirectory},
		{"a program that runs", replacedProgram},
		{"mapped and written", mappedAndWritten},
		{"many changes, never torn", neverTorn},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			p := &pair{t, here, there, strings.ReplaceAll(c.name, " ", "-")}
			must(t, os.Mkdir(there.in(p.dir), 0o755))
			p.synced()
			c.run(p)
		})
		here.t, there.t = t, t
		if !ok {
			break
		}
	}
	dHere.umount()
	dThere.umount()
}

// Every way to change a file, and its size: who has it open sees what he opened, in the
// kernel's cache, behind it and mapped; who opens it sees the new.
func openKeeps(p *pair) {
	t := p.t
	large := pattern(1, 0, 600_000)
	replaced := func(b []byte) func(name string) {
		return func(name string) {
			must(t, os.WriteFile(p.elsewhere("tmp"), b, 0o644))
			must(t, os.Rename(p.elsewhere("tmp"), p.elsewhere(name)))
		}
	}
	rewritten := func(b []byte) func(name string) {
		return func(name string) { must(t, os.WriteFile(p.elsewhere(name), b, 0o644)) }
	}
	type change struct {
		name   string
		was    []byte
		change func(name string)
		is     []byte // nil: it is gone
	}
	var open []func()
	var changes []change
	for _, c := range []change{
		{"grown", large, rewritten(pattern(2, 0, 900_000)), pattern(2, 0, 900_000)},
		{"shrunk", large, rewritten(pattern(2, 0, 10)), pattern(2, 0, 10)},
		{"same-size", large, rewritten(pattern(2, 0, 600_000)), pattern(2, 0, 600_000)},
		{"emptied", large, rewritten(nil), []byte{}},
		{"filled", []byte{}, rewritten(large), large},
		{"cut", large, func(name string) { must(t, os.Truncate(p.elsewhere(name), 4097)) }, large[:4097]},
		{"replaced", large, replaced(pattern(3, 0, 700_000)), pattern(3, 0, 700_000)},
		{"replaced-by-smaller", large, replaced([]byte("x")), []byte("x")},
		{"deleted", large, func(name string) { must(t, os.Remove(p.elsewhere(name))) }, nil},
		{"made-again", large, func(name string) {
			must(t, os.Remove(p.elsewhere(name)))
			must(t, os.WriteFile(p.elsewhere(name), []byte("again"), 0o644))
		}, []byte("again")},
		{"patched", large, func(name string) {
			f, err := os.OpenFile(p.elsewhere(name), os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("patch"), 300_000)
			must(t, errors.Join(err, f.Close()))
		}, append(append(append([]byte(nil), large[:300_000]...), "patch"...), large[300_005:]...)},
	} {
		must(t, os.WriteFile(p.elsewhere(c.name), c.was, 0o644))
		changes = append(changes, c)
	}
	p.synced()
	for _, c := range changes {
		f := p.open(c.name, os.O_RDONLY)
		w := p.open(c.name, os.O_RDWR)
		first := make([]byte, min(len(c.was), 8192)) // the rest is in no cache
		_, err := io.ReadFull(f, first)
		must(t, err)
		var mapped []byte
		if len(c.was) > 0 {
			mapped, err = unix.Mmap(int(f.Fd()), 0, len(c.was), unix.PROT_READ, unix.MAP_SHARED)
			must(t, err)
		}
		open = append(open, func() {
			p.stays(f, c.was)
			p.stays(w, c.was)
			if !bytes.Equal(mapped, c.was) {
				t.Errorf("%s: the map shows something else", c.name)
			}
			if mapped != nil {
				must(t, unix.Munmap(mapped))
			}
			must(t, errors.Join(f.Close(), w.Close()))
		})
		c.change(c.name)
	}
	p.synced()
	for i, c := range changes {
		if c.is != nil {
			p.holds(p.at(c.name), c.is)
		} else if _, err := os.Stat(p.at(c.name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", c.name, err)
		}
		open[i]()
		if c.is != nil {
			p.holds(p.at(c.name), c.is)
		}
	}
	p.synced()
	if got := p.names(p.here); len(got) != len(changes)-1 {
		t.Errorf("there is %q, though nothing was written here", got)
	}
}

// What the kernel has not handed over when the change comes goes to the copy.
func dirtyPages(p *pair) {
	p.put("f.txt", []byte("base base base"))
	f := p.open("f.txt", os.O_RDWR)
	_, err := f.WriteAt([]byte("MINE"), 5)
	must(p.t, err)
	must(p.t, os.WriteFile(p.elsewhere("f.txt"), []byte("theirs"), 0o644))
	p.there.ok("sync", p.there.mnt)
	// Not by sync, which may have the kernel hand over what it has.
	eventually(p.t, "the change is seen", time.Minute, func() bool {
		b, err := os.ReadFile(p.at("f.txt"))
		return err == nil && string(b) == "theirs"
	})
	p.stays(f, []byte("base MINE base"))
	must(p.t, f.Sync())
	p.stays(f, []byte("base MINE base"))
	_, err = f.WriteAt([]byte("!"), 14)
	must(p.t, errors.Join(err, f.Close()))
	p.synced()
	p.holds(p.at("f.txt"), []byte("theirs"))
	p.holds(p.elsewhere("f.txt"), []byte("theirs"))
	p.copied("f.txt", []byte("base MINE base!"))
}

// A program that goes on writing to what it has open writes the copy, and whoever opens
// that meanwhile sees it at once.
func writtenAfter(p *pair) {
	was := pattern(1, 0, 300_000)
	p.put("f.dat", was)
	f := p.open("f.dat", os.O_RDWR)
	must(p.t, os.WriteFile(p.elsewhere("f.dat"), []byte("theirs"), 0o644))
	p.synced()
	p.stays(f, was)
	copy(was[100_000:], "MINE")
	_, err := f.WriteAt([]byte("MINE"), 100_000)
	must(p.t, errors.Join(err, f.Sync()))
	p.stays(f, was)
	name := p.copied2(was)
	g := p.open(name, os.O_RDONLY)
	_, err = f.WriteAt([]byte("more"), 0)
	must(p.t, err)
	copy(was, "more")
	p.stays(g, was) // not synced: it is one file for the kernel
	must(p.t, f.Truncate(1000))
	p.stays(g, was[:1000])
	must(p.t, f.Close())
	p.synced()
	p.holds(p.at("f.dat"), []byte("theirs"))
	p.copied("f.dat", was[:1000])
}

// copied2 finds the copy here alone.
func (p *pair) copied2(b []byte) string {
	p.t.Helper()
	for _, n := range p.names(p.here) {
		if strings.Contains(n, " (conflict") {
			p.holds(p.at(n), b)
			return n
		}
	}
	p.t.Fatalf("no copy among %q", p.names(p.here))
	return ""
}

// Both machines have the file open to write, and do.
func writtenOnBoth(p *pair) {
	p.put("f.txt", []byte("base"))
	f := p.open("f.txt", os.O_RDWR)
	g, err := os.OpenFile(p.elsewhere("f.txt"), os.O_RDWR, 0)
	must(p.t, err)
	_, err = f.WriteAt([]byte("HERE and longer"), 0)
	must(p.t, errors.Join(err, f.Sync()))
	_, err = g.WriteAt([]byte("THERE"), 0)
	must(p.t, errors.Join(err, g.Sync()))
	p.synced() // theirs is first
	p.stays(f, []byte("HERE and longer"))
	_, err = f.WriteAt([]byte("here"), 0)
	must(p.t, err)
	_, err = g.WriteAt([]byte("there"), 0)
	must(p.t, errors.Join(err, f.Close(), g.Close()))
	p.synced()
	p.holds(p.at("f.txt"), []byte("there"))
	p.holds(p.elsewhere("f.txt"), []byte("there"))
	p.copied("f.txt", []byte("here and longer"))
}

// Lines that both append are all kept, whole.
func appendedOnBoth(p *pair) {
	p.put("log", []byte("first\n"))
	f := p.open("log", os.O_WRONLY|os.O_APPEND)
	g, err := os.OpenFile(p.elsewhere("log"), os.O_WRONLY|os.O_APPEND, 0)
	must(p.t, err)
	want := map[string]bool{"first": true}
	for i := range 6 {
		for who, w := range map[string]*os.File{"here": f, "there": g} {
			line := fmt.Sprintf("%s %d %s", who, i, strings.Repeat("x", 40*i))
			want[line] = true
			_, err := w.WriteString(line + "\n")
			must(p.t, err)
		}
		if i%2 == 1 {
			p.there.ok("sync", p.there.mnt)
			p.here.ok("sync", p.here.mnt)
		}
	}
	must(p.t, errors.Join(f.Close(), g.Close()))
	p.synced()
	for _, m := range []*machine{p.here, p.there} {
		got := map[string]bool{}
		for _, n := range p.names(m) {
			for line := range strings.Lines(string(read(p.t, m.in(p.dir, n)))) {
				line = strings.TrimSuffix(line, "\n")
				if !want[line] {
					p.t.Errorf("%s has a line that nobody wrote: %q", n, line)
				}
				got[line] = true
			}
		}
		if len(got) != len(want) {
			p.t.Errorf("%d of %d lines are there", len(got), len(want))
		}
	}
	if n := len(p.names(p.here)); n != 2 {
		p.t.Errorf("the lines lie in %q", p.names(p.here))
	}
}

// Deletes lose to writes, also those that come after the deletion.
func deletedElsewhere(p *pair) {
	p.put("f", []byte("base"))
	f := p.open("f", os.O_RDWR)
	must(p.t, os.Remove(p.elsewhere("f")))
	p.synced()
	p.alone()
	p.stays(f, []byte("base"))
	var st unix.Stat_t
	must(p.t, unix.Fstat(int(f.Fd()), &st))
	if st.Nlink != 0 {
		p.t.Errorf("%d names", st.Nlink)
	}
	_, err := f.WriteAt([]byte("mine"), 4)
	must(p.t, errors.Join(err, f.Close()))
	p.synced()
	p.alone("f")
	p.holds(p.at("f"), []byte("basemine"))
	p.holds(p.elsewhere("f"), []byte("basemine"))
}

// Other attributes are no other content: who writes goes on with the file itself.
func attributesElsewhere(p *pair) {
	p.put("f", []byte("base"))
	f := p.open("f", os.O_RDWR)
	_, err := f.WriteAt([]byte("B"), 0)
	must(p.t, err)
	when := time.Unix(1_000_000_000, 5)
	must(p.t, os.Chmod(p.elsewhere("f"), 0o600))
	must(p.t, unix.Setxattr(p.elsewhere("f"), "user.a", []byte("1"), 0))
	p.synced()
	for _, stat := range []func() (os.FileInfo, error){f.Stat, func() (os.FileInfo, error) { return os.Stat(p.at("f")) }} {
		i, err := stat()
		must(p.t, err)
		if i.Mode() != 0o600 || i.Size() != 4 {
			p.t.Errorf("mode %v, %d bytes", i.Mode(), i.Size())
		}
	}
	var b [8]byte
	if n, err := unix.Getxattr(p.at("f"), "user.a", b[:]); err != nil || string(b[:n]) != "1" {
		p.t.Errorf("attribute %q, %v", b[:max(n, 0)], err)
	}
	_, err = f.WriteAt([]byte("A"), 1)
	must(p.t, errors.Join(err, f.Close()))
	p.synced()
	p.alone("f")
	p.holds(p.elsewhere("f"), []byte("BAse"))
	// Of a file that nobody writes the times come over as well.
	must(p.t, os.Chtimes(p.elsewhere("f"), when, when))
	p.synced()
	i, err := os.Stat(p.at("f"))
	must(p.t, err)
	if !i.ModTime().Equal(when) {
		p.t.Errorf("mtime %v, want %v", i.ModTime(), when)
	}
}

// A file that moves elsewhere is the same file here.
func renamedElsewhere(p *pair) {
	must(p.t, os.Mkdir(p.elsewhere("a"), 0o755))
	must(p.t, os.Mkdir(p.elsewhere("b"), 0o755))
	p.put("a/f", []byte("base"))
	f := p.open("a/f", os.O_RDWR)
	must(p.t, os.Rename(p.elsewhere("a/f"), p.elsewhere("b/g")))
	p.synced()
	if _, err := os.Stat(p.at("a/f")); !errors.Is(err, os.ErrNotExist) {
		p.t.Errorf("the old name: %v", err)
	}
	p.stays(f, []byte("base"))
	_, err := f.WriteAt([]byte("MORE"), 4)
	must(p.t, err)
	p.holds(p.at("b/g"), []byte("baseMORE")) // not synced: it is one file for the kernel
	must(p.t, f.Close())
	p.synced()
	p.holds(p.elsewhere("b/g"), []byte("baseMORE"))
	// A folder that moves, with a file open in it.
	g := p.open("b/g", os.O_RDWR)
	must(p.t, os.Rename(p.elsewhere("b"), p.elsewhere("a/c")))
	p.synced()
	_, err = g.WriteAt([]byte("x"), 0)
	must(p.t, errors.Join(err, g.Close()))
	p.synced()
	p.holds(p.elsewhere("a/c/g"), []byte("xaseMORE"))
	p.alone("a")
}

// All names of a file show what it is now.
func linkedElsewhere(p *pair) {
	must(p.t, os.WriteFile(p.elsewhere("one"), []byte("base"), 0o644))
	must(p.t, os.Mkdir(p.elsewhere("d"), 0o755))
	for _, n := range []string{"two", "d/three"} {
		must(p.t, os.Link(p.elsewhere("one"), p.elsewhere(n)))
	}
	p.synced()
	for _, n := range []string{"one", "two", "d/three"} {
		p.holds(p.at(n), []byte("base"))
	}
	f := p.open("two", os.O_RDWR)
	must(p.t, os.WriteFile(p.elsewhere("one"), []byte("theirs, longer"), 0o644))
	p.synced()
	for _, n := range []string{"d/three", "two", "one"} {
		p.holds(p.at(n), []byte("theirs, longer"))
	}
	p.stays(f, []byte("base"))
	// A name that goes elsewhere takes nothing from those that stay.
	must(p.t, os.Remove(p.elsewhere("two")))
	p.synced()
	i, err := os.Stat(p.at("one"))
	must(p.t, err)
	if n := i.Sys().(*syscall.Stat_t).Nlink; n != 2 {
		p.t.Errorf("%d names", n)
	}
	p.stays(f, []byte("base"))
}

// The kernel remembers that a name is not there, until it is.
func appearsElsewhere(p *pair) {
	for range 2 {
		if _, err := os.Stat(p.at("new")); !errors.Is(err, os.ErrNotExist) {
			p.t.Fatal(err)
		}
	}
	must(p.t, os.WriteFile(p.elsewhere("new"), []byte("1"), 0o644))
	must(p.t, os.MkdirAll(p.elsewhere("x/y"), 0o755))
	p.synced()
	p.holds(p.at("new"), []byte("1"))
	if _, err := os.Stat(p.at("x/y")); err != nil {
		p.t.Error(err)
	}
	// And the other way round; and what stood for a file stands for a folder.
	must(p.t, os.Remove(p.elsewhere("new")))
	must(p.t, os.Mkdir(p.elsewhere("new"), 0o755))
	p.synced()
	if i, err := os.Stat(p.at("new")); err != nil || !i.IsDir() {
		p.t.Errorf("%v %v", i, err)
	}
}

// A folder that changes while it is read: what stays is seen once, and the next reading
// shows what is there.
func listedElsewhere(p *pair) {
	const n = 600
	for i := range n {
		must(p.t, os.WriteFile(p.elsewhere("f"+strconv.Itoa(i)), nil, 0o644))
	}
	p.synced()
	if got := len(p.names(p.here)); got != n {
		p.t.Fatalf("%d names", got)
	}
	d := p.open("", os.O_RDONLY)
	seen := map[string]int{}
	some, err := d.Readdirnames(50)
	must(p.t, err)
	for i := range n {
		if i%3 == 0 {
			must(p.t, os.Remove(p.elsewhere("f"+strconv.Itoa(i))))
			must(p.t, os.WriteFile(p.elsewhere("g"+strconv.Itoa(i)), nil, 0o644))
		}
	}
	p.synced()
	rest, err := d.Readdirnames(-1)
	must(p.t, err)
	for _, name := range append(some, rest...) {
		seen[name]++
	}
	for i := range n {
		if name := "f" + strconv.Itoa(i); i%3 != 0 && seen[name] != 1 {
			p.t.Errorf("%s, which stays, was seen %d times", name, seen[name])
		}
	}
	for name, times := range seen {
		if times != 1 {
			p.t.Errorf("%s was seen %d times", name, times)
		}
	}
	now := p.names(p.here)
	_, err = d.Seek(0, io.SeekStart)
	must(p.t, err)
	again, err := d.Readdirnames(-1)
	must(p.t, err)
	slices.Sort(again)
	if there := p.names(p.there); !slices.Equal(now, there) || !slices.Equal(again, there) {
		p.t.Errorf("%d names, %d for who had it open, %d elsewhere", len(now), len(again), len(there))
	}
}

// A program whose working directory another machine removes, or moves, gets errors as on
// any disk, and nothing hangs.
func removedWorkingDirectory(p *pair) {
	t := p.t
	for _, d := range []string{"gone", "moved"} {
		must(t, os.Mkdir(p.elsewhere(d), 0o755))
		must(t, os.WriteFile(p.elsewhere(d+"/f"), []byte(d), 0o644))
	}
	p.synced()
	shell := func(dir, script string) (io.WriteCloser, *exec.Cmd, *bytes.Buffer) {
		c := exec.CommandContext(t.Context(), "sh", "-c", script)
		var out bytes.Buffer
		c.Dir, c.Stdout, c.Stderr = p.at(dir), &out, &out
		in, err := c.StdinPipe()
		must(t, err)
		must(t, c.Start())
		return in, c, &out
	}
	in1, gone, said1 := shell("gone", "read x; cat f; mkdir h; echo new > g; ls; true")
	in2, moved, said2 := shell("moved", "read x; cat f; echo new > g; ls")
	must(t, os.RemoveAll(p.elsewhere("gone")))
	must(t, os.Rename(p.elsewhere("moved"), p.elsewhere("to")))
	p.synced()
	if _, err := os.Stat(p.at("gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the removed folder: %v", err)
	}
	p.holds(p.at("to/f"), []byte("moved"))
	must(t, errors.Join(in1.Close(), in2.Close()))
	must(t, errors.Join(gone.Wait(), moved.Wait()))
	if s := said1.String(); strings.Contains(s, "gone\n") || strings.Count(s, "o such file") < 2 {
		t.Errorf("in the removed folder: %s", s)
	}
	if s := said2.String(); s != "movedf\ng\n" {
		t.Errorf("in the moved folder: %q", s)
	}
	p.synced()
	p.holds(p.elsewhere("to/g"), []byte("new\n"))
	p.alone("to")
}

// A program that runs here goes on as it was when another machine replaces its file.
func replacedProgram(p *pair) {
	t := p.t
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	yes, err := exec.LookPath("true")
	must(t, err)
	must(t, os.WriteFile(p.elsewhere("prog"), read(t, sleep), 0o755))
	p.synced()
	c := exec.CommandContext(t.Context(), p.at("prog"), "1000")
	must(t, c.Start())
	eventually(t, "it runs", time.Minute, func() bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.Process.Pid))
		return err == nil && exe == p.at("prog")
	})
	must(t, os.WriteFile(p.elsewhere("prog"), read(t, yes), 0o755)) // in place
	p.synced()
	if got := read(t, fmt.Sprintf("/proc/%d/exe", c.Process.Pid)); !bytes.Equal(got, read(t, sleep)) {
		t.Error("what runs is another program")
	}
	must(t, exec.CommandContext(t.Context(), p.at("prog"), "1000").Run()) // true ends
	must(t, c.Process.Signal(syscall.SIGTERM))
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended otherwise: %v", err)
	}
	p.alone("prog")
}

// What is written to a map of a file goes where what is written to the file does.
func mappedAndWritten(p *pair) {
	was := pattern(1, 0, 200_000)
	p.put("f.bin", was)
	f := p.open("f.bin", os.O_RDWR)
	m, err := unix.Mmap(int(f.Fd()), 0, len(was), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(p.t, err)
	copy(m, "before")
	must(p.t, os.WriteFile(p.elsewhere("f.bin"), []byte("theirs"), 0o644))
	p.synced()
	copy(was, "before")
	if !bytes.Equal(m, was) {
		p.t.Error("the map shows something else")
	}
	copy(m[150_000:], "after")
	copy(was[150_000:], "after")
	must(p.t, f.Close()) // the map stays
	must(p.t, errors.Join(again(func() error { return unix.Msync(m, unix.MS_SYNC) }), unix.Munmap(m)))
	p.synced()
	p.holds(p.at("f.bin"), []byte("theirs"))
	p.copied("f.bin", was)
}

// envTorn is how many times neverTorn changes its file.
const envTorn = "HUSHFS_TORN_ROUNDS"

// Whoever opens a file that changes all the time has one whole version of it: by stat, by
// reading, at whatever size.
func neverTorn(p *pair) {
	t := p.t
	rounds := 12
	if s := os.Getenv(envTorn); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		must(t, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %d rounds", seed, rounds)
	r := rand.New(rand.NewPCG(seed, 0))
	must(t, os.WriteFile(p.elsewhere("f"), telling(0, 10), 0o644))
	p.synced()
	var done atomic.Bool
	type outcome struct {
		looks, versions int
		last            uint64
		err             error
	}
	result := make(chan outcome, 1)
	go func() {
		var o outcome
		for !done.Load() && o.err == nil {
			version, err := seeVersion(p.at("f"))
			if version != o.last {
				o.versions++
			}
			if o.err = err; err == nil && version < o.last {
				o.err = fmt.Errorf("version %d after %d", version, o.last)
			}
			o.last = max(o.last, version)
			o.looks++
		}
		result <- o
	}()
	for i := 1; i <= rounds; i++ {
		b := telling(uint64(i), 10+r.IntN(150_000))
		if i%2 == 0 {
			must(t, os.WriteFile(p.elsewhere("tmp"), b, 0o644))
			must(t, os.Rename(p.elsewhere("tmp"), p.elsewhere("f")))
		} else {
			must(t, rewriteAtOnce(p.elsewhere("f"), b))
		}
		p.there.ok("sync", p.there.mnt)
		if r.IntN(3) > 0 {
			p.here.ok("sync", p.here.mnt)
		}
	}
	p.synced()
	done.Store(true)
	o := <-result
	must(t, o.err)
	version, err := seeVersion(p.at("f"))
	if err != nil || version != uint64(rounds) {
		t.Errorf("in the end it is version %d, %v", version, err)
	}
	t.Logf("%d looks saw %d versions", o.looks, o.versions)
	if o.looks < rounds || o.versions < 2 {
		t.Errorf("%d looks saw %d versions", o.looks, o.versions)
	}
	p.alone("f")
}

// telling is a content of n bytes and a head that says which version it is, and whether
// all of it is there.
func telling(version uint64, n int) []byte {
	b := binary.BigEndian.AppendUint64(nil, version)
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	b = append(b, pattern(version, 0, n)...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// rewriteAtOnce gives a file another content by one change of it: a commit has all or
// nothing of a write, but may come between a truncation and a write.
func rewriteAtOnce(path string, b []byte) error {
	i, err := os.Stat(path)
	if err != nil {
		return err
	}
	for int64(len(b)) < i.Size() {
		b = append(b, b[:min(len(b), int(i.Size())-len(b))]...) // what is behind the end of the version
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// seeVersion opens a file and wants it to be one version, by its size and by its bytes.
func seeVersion(path string) (version uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	if int64(len(b)) != i.Size() || len(b) < 48 {
		return 0, fmt.Errorf("stat says %d bytes, it reads as %d", i.Size(), len(b))
	}
	n := int(binary.BigEndian.Uint64(b[8:]))
	if n > len(b)-48 {
		return 0, fmt.Errorf("cut off: %d bytes of a version with %d", len(b), n)
	}
	if sum := sha256.Sum256(b[:16+n]); !bytes.Equal(sum[:], b[16+n:][:32]) {
		return 0, fmt.Errorf("torn: %s", hex.EncodeToString(b[:16]))
	}
	return binary.BigEndian.Uint64(b), nil
}
