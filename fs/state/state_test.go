package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	testDrive = [32]byte{1, 2, 3}
	testHead  = chain.Head{Slot: 7, ID: chain.ID{7}, Ledger: chain.ID{8}}
)

func key(t testing.TB, first byte) *crypt.Key {
	t.Helper()
	k, err := crypt.KeyFromBytes(bytes.Repeat([]byte{first}, crypt.KeySize))
	must(t, err)
	return k
}

// create makes the state of device 3 in a new folder.
func create(t testing.TB) (dir string, s *State) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "drive")
	s, err := Create(dir, key(t, 1), testDrive, identity.NewDevice(), 3, "laptop", testHead, 11)
	must(t, err)
	return dir, s
}

func reopen(t testing.TB, dir string, want Fresh) *State {
	t.Helper()
	s, fresh, err := Open(dir, key(t, 1), testDrive, "another name")
	must(t, err)
	if fresh != want {
		t.Fatalf("fresh is %q, want %q", fresh, want)
	}
	return s
}

// same holds two states to each other.
func same(t testing.TB, got, want *State) {
	t.Helper()
	gd, gn, gname := got.Device()
	wd, wn, wname := want.Device()
	gj, gk := got.Journal()
	wj, wk := want.Journal()
	if !bytes.Equal(gd.Seed(), wd.Seed()) || gn != wn || gname != wname || gj != wj || !gk.Equal(wk) {
		t.Error("another device or journal")
	}
	if got.Head() != want.Head() || got.Known() != want.Known() {
		t.Errorf("head %v and %d, want %v and %d", got.Head(), got.Known(), want.Head(), want.Known())
	}
}

func TestOpenAgain(t *testing.T) {
	dir, s := create(t)
	again := reopen(t, dir, NotFresh)
	same(t, again, s)
	if again.Head() != testHead || again.Known() != 11 {
		t.Errorf("head %v, known %d", again.Head(), again.Known())
	}
	if _, err := Create(dir, key(t, 1), testDrive, identity.NewDevice(), 4, "x", testHead, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created over another: %v", err)
	}
	same(t, reopen(t, dir, NotFresh), s)
	for _, name := range []string{secretFile, stateFile} {
		if i, err := os.Stat(filepath.Join(dir, name)); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, i.Mode(), err)
		}
	}
}

// Numbers go on above what was reserved, however the process ended.
func TestNumbersNeverRepeat(t *testing.T) {
	dir, s := create(t)
	inos, packs := map[meta.Ino]bool{}, map[meta.PackNo]bool{}
	var mu sync.Mutex
	for range 4 {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for range block/2 + 10 {
					i, err := s.NextIno()
					p, perr := s.NextPack()
					mu.Lock()
					if err != nil || perr != nil || i.Device() != 3 || p.Device() != 3 {
						t.Error(i, err, p, perr)
					}
					if inos[i] || packs[p] {
						t.Errorf("%d or %d was given out before", i, p)
					}
					inos[i], packs[p] = true, true
					mu.Unlock()
				}
			})
		}
		all.Wait()
		must(t, s.Remember(testHead, 12))
		s = reopen(t, dir, NotFresh)
	}
}

func TestNumbersEnd(t *testing.T) {
	dir, s := create(t)
	s.d.inos, s.ino = meta.MaxCounter-1, meta.MaxCounter-1
	if i, err := s.NextIno(); err != nil || i.Counter() != meta.MaxCounter {
		t.Errorf("the last number: %v, %v", i.Counter(), err)
	}
	for range 2 {
		if _, err := s.NextIno(); !errors.Is(err, ErrExhausted) {
			t.Errorf("after the last number: %v", err)
		}
	}
	if _, err := reopen(t, dir, NotFresh).NextIno(); !errors.Is(err, ErrExhausted) {
		t.Errorf("opened again: %v", err)
	}
}

// A number that could not be reserved durably is not given out.
func TestReserveFails(t *testing.T) {
	dir, s := create(t)
	blocked := filepath.Join(dir, stateFile+".new")
	must(t, os.Mkdir(blocked, 0o700))
	if _, err := s.NextIno(); err == nil {
		t.Fatal("no error")
	}
	if err := s.Remember(chain.Head{Slot: 9}, 99); err == nil || s.Head() != testHead || s.Known() != 11 {
		t.Errorf("remembered what was not written: %v, %v", s.Head(), err)
	}
	must(t, os.Remove(blocked))
	if i, err := s.NextIno(); err != nil || i.Counter() != 1 {
		t.Errorf("%d, %v", i.Counter(), err)
	}
}

func TestRememberNeverGoesBack(t *testing.T) {
	dir, s := create(t)
	must(t, s.Remember(chain.Head{Slot: 6, ID: chain.ID{6}}, 10))
	if s.Head() != testHead || s.Known() != 11 {
		t.Errorf("head %v, known %d", s.Head(), s.Known())
	}
	next := chain.Head{Slot: 8, ID: chain.ID{8}}
	must(t, s.Remember(next, 12))
	s = reopen(t, dir, NotFresh)
	if s.Head() != next || s.Known() != 12 {
		t.Errorf("head %v, known %d", s.Head(), s.Known())
	}
}

func TestEmptyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, fresh, err := Open(dir, key(t, 1), testDrive, "desktop")
	must(t, err)
	first, number, name := s.Device()
	if fresh != Empty || number != 0 || name != "desktop" || s.Head() != (chain.Head{}) {
		t.Fatalf("%q, %d, %q, %v", fresh, number, name, s.Head())
	}
	if _, err := s.NextIno(); !errors.Is(err, ErrNumber) {
		t.Errorf("a number without a device: %v", err)
	}
	// A machine that only reads remembers the head, and has no number still. Its
	// key may be in the chain, if it was stopped while it was being enrolled.
	must(t, s.Remember(testHead, 0))
	s = reopen(t, dir, Empty)
	second, number, name := s.Device()
	if number != 0 || name != "desktop" || s.Head() != testHead || bytes.Equal(first.Seed(), second.Seed()) {
		t.Errorf("%d, %q, %v", number, name, s.Head())
	}
	if err := s.Enrolled(0); !errors.Is(err, ErrNumber) {
		t.Errorf("number 0: %v", err)
	}
	must(t, s.Enrolled(9))
	if err := s.Enrolled(10); !errors.Is(err, ErrNumber) {
		t.Errorf("a second number: %v", err)
	}
	if i, err := s.NextIno(); err != nil || i.Device() != 9 {
		t.Errorf("%d, %v", i, err)
	}
	same(t, reopen(t, dir, NotFresh), s)
}

func TestEnrolledFails(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(dir, key(t, 1), testDrive, "desktop")
	must(t, err)
	before, _, _ := s.Device()
	blocked := filepath.Join(dir, secretFile+".new")
	must(t, os.MkdirAll(filepath.Join(blocked, "full"), 0o700))
	if err := s.Enrolled(5); err == nil {
		t.Fatal("no error")
	}
	after, number, _ := s.Device()
	if number != 0 || bytes.Equal(before.Seed(), after.Seed()) {
		t.Error("a key that may have got number 5 would get another")
	}
	must(t, os.RemoveAll(blocked))
	must(t, s.Enrolled(6))
	same(t, reopen(t, dir, NotFresh), s)
}

// copyDir copies a folder as cp -a does.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(from))
	must(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// Two machines with one state would give out the same numbers.
func TestCopiedFolder(t *testing.T) {
	dir, s := create(t)
	ino, err := s.NextIno()
	must(t, err)
	twin := copyDir(t, dir)
	c := reopen(t, twin, Moved)
	same(t, c, s)
	if _, err := c.NextIno(); !errors.Is(err, ErrNumber) {
		t.Errorf("a copy gave out a number: %v", err)
	}
	// Until the copy is a device of its own nothing makes it look like one.
	later := chain.Head{Slot: 20, ID: chain.ID{20}}
	must(t, c.Remember(later, 0))
	c = reopen(t, twin, Moved)
	c.Renew()
	must(t, c.Remember(later, 0))
	if c.Head() != later {
		t.Error("the head was forgotten")
	}
	same(t, reopen(t, twin, Moved), s)

	old, _ := s.Journal()
	id, _ := c.Journal()
	_, number, _ := c.Device()
	if _, err := c.NextPack(); number != 0 || id == old || !errors.Is(err, ErrNumber) {
		t.Errorf("renewed: number %d, %v", number, err)
	}
	must(t, c.Enrolled(4))
	if i, err := c.NextIno(); err != nil || i.Device() != 4 || i == ino {
		t.Errorf("%d, %v", i, err)
	}
	same(t, reopen(t, twin, NotFresh), c)
	same(t, reopen(t, dir, NotFresh), s)
}

func TestMovedFolderStays(t *testing.T) {
	dir, s := create(t)
	// Renamed it is the same folder, and nobody has the old one.
	to := dir + "-renamed"
	must(t, os.Rename(dir, to))
	same(t, reopen(t, to, NotFresh), s)
}

func TestForeign(t *testing.T) {
	dir, s := create(t)
	for name, try := range map[string]func() error{
		"another root key": func() error { _, _, err := Open(dir, key(t, 2), testDrive, ""); return err },
		"another drive":    func() error { _, _, err := Open(dir, key(t, 1), [32]byte{9}, ""); return err },
		"other earlier roots": func() error {
			_, _, err := Open(dir, key(t, 2), testDrive, "", key(t, 3), key(t, 4))
			return err
		},
	} {
		if err := try(); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, reopen(t, dir, NotFresh), s)
	other, _ := create(t)
	b, err := os.ReadFile(filepath.Join(other, stateFile))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, stateFile), b, 0o600))
	if _, _, err := Open(dir, key(t, 1), testDrive, ""); !errors.Is(err, ErrForeign) {
		t.Errorf("the state file of another secret: %v", err)
	}
}

// The root key was changed on another machine while this one was away.
func TestRootWasChanged(t *testing.T) {
	dir, s := create(t)
	again, fresh, err := Open(dir, key(t, 5), testDrive, "", key(t, 4), key(t, 1))
	must(t, err)
	if fresh != NotFresh {
		t.Errorf("fresh: %q", fresh)
	}
	same(t, again, s)
	again, _, err = Open(dir, key(t, 5), testDrive, "")
	must(t, err)
	same(t, again, s)
	if _, _, err := Open(dir, key(t, 1), testDrive, ""); !errors.Is(err, ErrForeign) {
		t.Errorf("the old root still opens it: %v", err)
	}
}

func TestEveryByteFlipped(t *testing.T) {
	dir, s := create(t)
	for _, name := range []string{secretFile, stateFile} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		must(t, err)
		try := func(what string, b []byte) {
			t.Helper()
			must(t, os.WriteFile(path, b, 0o600))
			_, _, err := Open(dir, key(t, 1), testDrive, "")
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewer) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			try(fmt.Sprintf("byte %d", i), bad)
			try(fmt.Sprintf("cut to %d", i), good[:i])
		}
		try("longer", append(bytes.Clone(good), 0))
		newer := bytes.Clone(good)
		newer[7] = '1'
		must(t, os.WriteFile(path, newer, 0o600))
		if _, _, err := Open(dir, key(t, 1), testDrive, ""); !errors.Is(err, ErrNewer) {
			t.Errorf("%s of a newer version: %v", name, err)
		}
		must(t, os.WriteFile(path, good, 0o600))
	}
	same(t, reopen(t, dir, NotFresh), s)
}

// A crash leaves, beside the old or the new file, any part of a .new one.
func TestCrashWhileReplacing(t *testing.T) {
	for _, name := range []string{secretFile, stateFile, headerFile} {
		dir, s := create(t)
		must(t, KeepHeader(dir, crypt.VolumeID{1}, []byte("header")))
		before, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		for _, part := range [][]byte{nil, before[:1], before[:len(before)/2], before, bytes.Repeat([]byte{'j'}, 5000)} {
			must(t, os.WriteFile(filepath.Join(dir, name+".new"), part, 0o600))
			again := reopen(t, dir, NotFresh)
			same(t, again, s)
			if _, err := again.NextIno(); err != nil {
				t.Fatal(err)
			}
			must(t, KeepHeader(dir, crypt.VolumeID{1}, []byte("header")))
			same(t, reopen(t, dir, NotFresh), s)
			if main, h, err := Header(dir, 100); err != nil || main != (crypt.VolumeID{1}) || string(h) != "header" {
				t.Errorf("header %q, %v", h, err)
			}
		}
	}
}

// Between the first secret file and the first state file.
func TestCrashBetweenTheFiles(t *testing.T) {
	dir, s := create(t)
	must(t, os.Remove(filepath.Join(dir, stateFile)))
	again := reopen(t, dir, Empty)
	_, got := again.Journal()
	if _, want := s.Journal(); !got.Equal(want) {
		t.Error("another secret")
	}
	must(t, again.Enrolled(8))
	same(t, reopen(t, dir, NotFresh), again)

	// The other way round somebody lost a file: nothing is written over the rest.
	must(t, os.Remove(filepath.Join(dir, secretFile)))
	if _, _, err := Open(dir, key(t, 1), testDrive, ""); !errors.Is(err, ErrMalformed) {
		t.Errorf("state without secret: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for n, want := range map[int]error{0: nil, 64: nil, 65: ErrName, 300: ErrName} {
		dir := filepath.Join(t.TempDir(), "s")
		name := strings.Repeat("n", n)
		if _, _, err := Open(dir, key(t, 1), testDrive, name); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
		_, err := Create(dir, key(t, 1), testDrive, identity.NewDevice(), 1, name, testHead, 0)
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err == nil {
			if _, _, got := reopen(t, dir, NotFresh).Device(); got != name {
				t.Errorf("%d bytes: %q", n, got)
			}
		}
	}
}

func TestNothingSecretIsPrintedOrStored(t *testing.T) {
	dir, s := create(t)
	device, _, _ := s.Device()
	_, secret := s.Journal()
	secrets := [][]byte{device.Seed(), secret.Bytes()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if out := fmt.Sprintf(verb, s); out != "state" {
			t.Errorf("%s: %q", verb, out)
		}
	}
	for _, name := range []string{secretFile, stateFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		for _, k := range secrets {
			if bytes.Contains(b, k) {
				t.Errorf("a key lies open in %s", name)
			}
		}
		if bytes.Contains(b, []byte("laptop")) {
			t.Errorf("the device's name lies open in %s", name)
		}
	}
}

func TestHeader(t *testing.T) {
	root := t.TempDir()
	if dirs, err := Folders(filepath.Join(root, "missing")); len(dirs) != 0 || err != nil {
		t.Errorf("no folder: %v, %v", dirs, err)
	}
	dir := filepath.Join(root, "drive")
	must(t, os.MkdirAll(dir, 0o700))
	if _, _, err := Header(dir, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no header: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	if dirs, err := Folders(root); len(dirs) != 0 || err != nil {
		t.Errorf("no header: %v, %v", dirs, err)
	}
	main := crypt.VolumeID{4}
	must(t, KeepHeader(dir, main, []byte("0123456789")))
	if dirs, err := Folders(root); len(dirs) != 1 || dirs[0] != dir || err != nil {
		t.Errorf("%v, %v", dirs, err)
	}
	if got, h, err := Header(dir, 10); err != nil || string(h) != "0123456789" || got != main {
		t.Errorf("%q, %v", h, err)
	}
	if _, _, err := Header(dir, 9); !errors.Is(err, ErrMalformed) {
		t.Errorf("too long: %v", err)
	}
	must(t, KeepHeader(dir, main, nil))
	whole, err := os.ReadFile(filepath.Join(dir, headerFile))
	must(t, err)
	for n := range whole {
		must(t, os.WriteFile(filepath.Join(dir, headerFile), whole[:n], 0o600))
		if _, _, err := Header(dir, 10); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
