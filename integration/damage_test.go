package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// damages are what a store can do to an object, other than deliver it. The
// folder of another drive's store is where foreign ones come from.
var damages = []struct {
	name string
	do   func(t *testing.T, store, object, foreign string)
}{
	{"one bit in the middle", func(t *testing.T, store, object, _ string) {
		change(t, store, object, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}},
	{"one bit at the beginning", func(t *testing.T, store, object, _ string) {
		change(t, store, object, func(b []byte) []byte { b[0] ^= 0x80; return b })
	}},
	{"one bit at the end", func(t *testing.T, store, object, _ string) {
		change(t, store, object, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	}},
	{"missing", func(t *testing.T, store, object, _ string) { must(t, os.Remove(filepath.Join(store, object))) }},
	{"cut in half", func(t *testing.T, store, object, _ string) {
		change(t, store, object, func(b []byte) []byte { return b[:len(b)/2] })
	}},
	{"empty", func(t *testing.T, store, object, _ string) {
		change(t, store, object, func(b []byte) []byte { return nil })
	}},
	{"longer", func(t *testing.T, store, object, _ string) {
		change(t, store, object, func(b []byte) []byte { return append(b, 0) })
	}},
	{"swapped", func(t *testing.T, store, object, foreign string) {
		all := ofKind(t, store, kindOf(object))
		other := all[(slices.Index(all, object)+1)%len(all)]
		if other == object { // the only one of its kind: one of another kind takes its place
			other = ofKind(t, store, "pack")[0]
		}
		b := read(t, filepath.Join(store, other))
		change(t, store, object, func([]byte) []byte { return b })
	}},
	{"of another drive", func(t *testing.T, store, object, foreign string) {
		b := read(t, filepath.Join(foreign, ofKind(t, foreign, kindOf(object))[0]))
		change(t, store, object, func([]byte) []byte { return b })
	}},
}

func change(t *testing.T, store, object string, f func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(store, object)
	must(t, os.WriteFile(path, f(read(t, path)), 0o600))
}

// foldPieces makes so many further commits that they are folded at the end.
func foldPieces(t *testing.T, m *machine) {
	t.Helper()
	d := m.mount()
	for i := range 12 {
		must(t, writeSynced(m.in("small"), os.O_CREATE|os.O_TRUNC, fmt.Append(nil, i)))
		m.ok("wait", m.mnt)
	}
	d.umount()
	if n := byKind(objects(t, m.store)); n["table"] == 0 {
		t.Fatalf("nothing was folded: %v", n)
	}
}

// What is folded is damaged: a name whose place in a table cannot be read is an error,
// not missing.
func TestDamagedTables(t *testing.T) {
	t.Parallel()
	whole, foreign := storeOfPieces(t), storeOfPieces(t)
	foldPieces(t, whole)
	foldPieces(t, foreign)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			n := newMachine(t)
			n.tool("cp", "-a", whole.store, n.store)
			object := ofKind(t, n.store, "table")[0]
			d.do(t, n.store, object, foreign.store)
			r := n.run(n.mountArgs()...)
			if r.code != 0 {
				if !strings.Contains(r.stderr, filepath.Base(object)) {
					t.Errorf("exit code %d, and the message should name %s: %s", r.code, object, r.stderr)
				}
				return
			}
			o := readPieces(t, n)
			if o.absent > 0 || o.good == 0 && o.eio == 0 || o.good < damageFiles && d.name == "longer" {
				t.Errorf("of %d files: %+v", damageFiles, o)
			}
			if s := n.status()[0].Volume; o.eio > 0 && !slices.Contains(s.Damaged, object) {
				t.Errorf("status names %v, want %s", s.Damaged, object)
			}
			n.ok("umount", n.mnt)
		})
	}
}

// A checkpoint whose announcing commit is damaged is passed over: the commits under it
// are there, and tell the same.
func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	m := storeOfPieces(t)
	foldPieces(t, m)
	n := newMachine(t)
	n.tool("cp", "-a", m.store, n.store)
	object := ofKind(t, n.store, "commit")[0] // the newest announces it
	change(t, n.store, object, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	r := n.run(n.mountArgs()...)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	if o := readPieces(t, n); o.good != damageFiles {
		t.Errorf("of %d files: %+v", damageFiles, o)
	}
	if s := n.status()[0].Volume; s.Stopped == "" || !slices.Contains(s.Damaged, object) {
		t.Errorf("status names %v, stopped %q", s.Damaged, s.Stopped)
	}
	n.run("umount", n.mnt)
}

// damageFiles is how many files there are, each in a pack and a commit of its own.
const damageFiles = 5

// storeOfPieces is a machine whose drive has several objects of the kinds of
// which there can be several.
func storeOfPieces(t *testing.T) *machine {
	t.Helper()
	m := newDrive(t)
	d := m.mount()
	for i := range damageFiles {
		must(t, writeSynced(m.in(fmt.Sprint("file", i)), os.O_CREATE, pattern(uint64(i), 0, 400_000)))
		m.ok("wait", m.mnt)
	}
	d.umount()
	if n := byKind(objects(t, m.store)); n["pack"] < damageFiles || n["commit"] < damageFiles {
		t.Fatalf("too few objects: %v", n)
	}
	return m
}

// Whatever is done to an object, a new machine never reads a wrong byte, never
// misses a file without a word, and names the object.
func TestDamagedObjects(t *testing.T) {
	t.Parallel()
	whole, foreign := storeOfPieces(t), storeOfPieces(t)
	for _, kind := range []string{"pack", "commit", "hint", "ledger", "header"} {
		for _, d := range damages {
			t.Run(kind+" "+d.name, func(t *testing.T) {
				t.Parallel()
				n := newMachine(t)
				n.tool("cp", "-a", whole.store, n.store)
				all := ofKind(t, n.store, kind)
				object := all[len(all)/2]
				if kind == "header" { // an unmount wrote a newer one, which would do
					for _, other := range all {
						if other != object {
							must(t, os.Remove(filepath.Join(n.store, other)))
						}
					}
				}
				d.do(t, n.store, object, foreign.store)
				switch kind {
				case "pack":
					damagedPack(t, n, object, d.name == "longer")
				case "commit":
					damagedCommit(t, n, object)
				default:
					damagedOnly(t, n, object, d.name == "missing")
				}
			})
		}
	}
}

// outcome is how the files of storeOfPieces read.
type outcome struct{ good, eio, absent int }

func readPieces(t *testing.T, m *machine) (o outcome) {
	t.Helper()
	for i := range damageFiles {
		b, err := os.ReadFile(m.in(fmt.Sprint("file", i)))
		switch {
		case err == nil && string(b) == string(pattern(uint64(i), 0, 400_000)):
			o.good++
		case err == nil:
			t.Errorf("file%d reads %d wrong bytes", i, len(b))
		case errors.Is(err, unix.EIO):
			o.eio++
		case errors.Is(err, os.ErrNotExist):
			o.absent++
		default:
			t.Errorf("file%d: %v", i, err)
		}
	}
	return o
}

// damagedPack: EIO for the one file in it, the others read, writing goes on, and
// log and status name the object. What hangs behind a pack is never looked at, so
// it may also do no harm.
func damagedPack(t *testing.T, m *machine, object string, longer bool) {
	t.Helper()
	d := m.mount()
	o := readPieces(t, m)
	if longer && o.good == damageFiles {
		d.umount()
		return
	}
	if o != (outcome{good: damageFiles - 1, eio: 1}) {
		t.Errorf("of %d files: %+v", damageFiles, o)
	}
	s := m.status()[0].Volume
	if !slices.Contains(s.Damaged, object) {
		t.Errorf("status names %v, want %s", s.Damaged, object)
	}
	if !strings.Contains(d.logged(), object) {
		t.Errorf("the log does not name %s", object)
	}
	must(t, writeSynced(m.in("more"), os.O_CREATE, pattern(9, 0, 700_000)))
	d = d.remount()
	if string(read(t, d.m.in("more"))) != string(pattern(9, 0, 700_000)) {
		t.Error("what was written beside the damage differs")
	}
	d.umount()
}

// damagedCommit: what came before it is there; the rest may be withheld, said so
// and the object named, but nothing false is shown and nothing is written on
// ground that cannot be trusted.
func damagedCommit(t *testing.T, m *machine, object string) {
	t.Helper()
	d := m.start(nil, m.mountArgs()...)
	if !d.comesUp() {
		if code := d.await(); code != 12 || !strings.Contains(d.logged(), object) {
			t.Errorf("exit code %d, and the message should name %s:\n%s", code, object, d.logged())
		}
		return
	}
	o := readPieces(t, m)
	if o.eio+o.absent == 0 || o.good == 0 {
		t.Errorf("of %d files: %+v", damageFiles, o)
	}
	s := m.status()[0].Volume
	if !slices.Contains(s.Damaged, object) {
		t.Errorf("status names %v, want %s", s.Damaged, object)
	}
	if s.Stopped == "" {
		t.Error("status does not say that nothing more is sent")
	}
	if err := os.WriteFile(m.in("more"), nil, 0o644); err == nil {
		t.Error("a file was made on a broken chain")
	}
	d.kill()
}

// damagedOnly is the only object of its kind, without which nothing opens: the
// mount is refused, and the message or the log names the object. A hint has boxes
// of random bytes, for which nobody has a key; one of them may be hit, and then all
// is as it was.
func damagedOnly(t *testing.T, m *machine, object string, missing bool) {
	t.Helper()
	r := m.run(m.mountArgs()...)
	// A hint holds a small ledger itself, and so nobody asks for the object.
	if r.code == 0 && (kindOf(object) == "hint" || kindOf(object) == "ledger") {
		if o := readPieces(t, m); o.good != damageFiles {
			t.Errorf("of %d files: %+v", damageFiles, o)
		}
		m.ok("umount", m.mnt)
		return
	}
	if r.code == 0 || mounted(m.mnt) {
		t.Fatalf("exit code %d", r.code)
	}
	if !strings.HasPrefix(lastLine(r.stderr), "hushfs: ") {
		t.Errorf("no message: %s", r.stderr)
	}
	if missing && kindOf(object) != "ledger" {
		return // what is not listed has no name
	}
	logs := r.stderr
	if found, err := filepath.Glob(m.at("state", "hushfs", "*", "hushfs.log")); err == nil && len(found) == 1 {
		logs += string(read(t, found[0]))
	}
	if !strings.Contains(logs, object) {
		t.Errorf("nothing names %s:\n%s", object, logs)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// A machine that was in once keeps a copy of the header: junk in the store does
// not lock it out.
func TestHeaderLostOnAMachineThatKnowsTheDrive(t *testing.T) {
	t.Parallel()
	m := storeOfPieces(t)
	for _, object := range ofKind(t, m.store, "header") {
		change(t, m.store, object, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
	d := m.mount()
	if o := readPieces(t, m); o.good != damageFiles {
		t.Errorf("of %d files: %+v", damageFiles, o)
	}
	d.umount()
}

// Damage to a pack while it is mounted, with the machine's own copy in its cache:
// it goes on reading; and a damaged copy in the cache is replaced from the store.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	m := storeOfPieces(t)
	d := m.another().mount()
	if o := readPieces(t, d.m); o.good != damageFiles {
		t.Fatalf("%+v", o)
	}
	d.umount()
	n := 0
	must(t, filepath.WalkDir(d.m.at("cache"), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		n++
		b := read(t, path)
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return os.WriteFile(path, b, 0o600)
	}))
	d = d.m.mount()
	if o := readPieces(t, d.m); o.good != damageFiles {
		t.Errorf("with %d damaged files in the cache: %+v", n, o)
	}
	if s := d.m.status()[0].Volume; len(s.Damaged) > 0 {
		t.Errorf("status calls objects of the store damaged: %v", s.Damaged)
	}
	d.umount()
}
