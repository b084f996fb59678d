package drive

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

func TestWrongSecrets(t *testing.T) {
	w := newWorld(t)
	w.create()
	id, entropy := w.paper()
	_, other, err := keyslot.GenerateWords()
	must(t, err)
	elsewhere := ID{1}
	for name, c := range map[string]struct {
		o    UnlockOptions
		want error
	}{
		"another passphrase":     {UnlockOptions{Passphrase: []byte("x")}, keyslot.ErrPassphrase},
		"an empty passphrase":    {UnlockOptions{}, keyslot.ErrPassphrase},
		"other words":            {UnlockOptions{Recovery: other}, keyslot.ErrWords},
		"other words, the drive": {UnlockOptions{Recovery: other, Expect: id}, keyslot.ErrWords},
		"another drive":          {UnlockOptions{Passphrase: testPass, Expect: &elsewhere}, ErrOther},
		"words of another drive": {UnlockOptions{Recovery: entropy, Expect: &elsewhere}, ErrOther},
	} {
		for _, c.o.StateRoot = range []string{"", w.root} {
			if _, err := Unlock(ctx, w.bucket, c.o); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	}
}

func TestNoDrive(t *testing.T) {
	for name, c := range map[string]struct {
		names []string
		want  error
		not   error
	}{
		"nothing":                 {nil, ErrNoDrive, nil},
		"other things":            {[]string{"a", "video", "v", "v0", "v3x/h/0"}, ErrNoDrive, ErrNewer},
		"a drive of version 1":    {[]string{"v1/h/00"}, ErrNewer, ErrNoDrive},
		"one without its header":  {[]string{"v0/s/00/l/00"}, ErrNoDrive, ErrNewer},
		"a header that is none":   {[]string{"v0/h/00"}, keyslot.ErrHeader, ErrNewer},
		"an empty header":         {[]string{keyslot.ObjectName(1)}, keyslot.ErrHeader, ErrNewer},
		"leftovers and a newer":   {[]string{"v0/s/00/l/00", "v1/h/0"}, ErrNoDrive, ErrNewer},
		"other members' headers":  {[]string{"v0/m/00/00"}, ErrNoDrive, ErrNewer},
		"a drive of version 2":    {[]string{"v2/x"}, ErrNewer, ErrNoDrive},
		"something before a v1/h": {[]string{"v", "v0x", "v1/h/0"}, ErrNewer, ErrNoDrive},
	} {
		w := newWorld(t)
		for _, n := range c.names {
			w.mem.Overwrite(n, nil)
		}
		_, err := w.unlock(w.root)
		if !errors.Is(err, c.want) || c.not != nil && errors.Is(err, c.not) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := Peek(ctx, w.bucket, w.root); !errors.Is(err, c.want) {
			t.Errorf("%s: peek: %v, want %v", name, err, c.want)
		}
	}
}

func TestNewerHeader(t *testing.T) {
	w := newWorld(t)
	w.create()
	name := w.headers()[0]
	b, err := w.mem.Get(ctx, name, 0, -1)
	must(t, err)
	b = bytes.Clone(b)
	b[7]++
	w.mem.Overwrite(name, b)
	if _, err := w.unlock(""); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
	if _, err := Peek(ctx, w.bucket, ""); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}

// junk puts n headers in front of the good one.
func (w *world) junk(n int, header func(counter uint64) []byte) {
	w.t.Helper()
	for i := range n {
		counter := math.MaxUint64 - uint64(i)
		w.mem.Overwrite(keyslot.ObjectName(counter), header(counter))
	}
}

// stranger is a whole header of a drive, not necessarily his own, by somebody who
// knows no key of it.
func stranger(t testing.TB, drive ID, slots int) func(uint64) []byte {
	root := crypt.NewKey()
	var list []keyslot.Slot
	for range slots {
		s, err := keyslot.NewPassphrase(root, drive, []byte("stranger"), fast, "", time.Unix(1, 0))
		must(t, err)
		list = append(list, s)
	}
	return func(counter uint64) []byte {
		h := keyslot.Header{Drive: drive, Counter: counter, Slots: list, Keyring: make([]byte, 100)}
		return h.Encode()
	}
}

// Whoever may write to the bucket puts as many headers in front of the good one
// as are ever looked at. The first header cannot be displaced, and where it is
// gone a machine that was in once gets in.
func TestJunkHeaders(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	id, entropy := w.paper()
	first := w.headers()[0]
	good, err := w.mem.Get(ctx, first, 0, -1)
	must(t, err)
	for name, header := range map[string]func(uint64) []byte{
		"random bytes":      func(uint64) []byte { return bytes.Repeat([]byte{7}, 300) },
		"empty":             func(uint64) []byte { return nil },
		"of the future":     func(uint64) []byte { return []byte("HUSHDRV9.................") },
		"of another drive":  stranger(t, ID{9}, 1),
		"of this drive":     stranger(t, made.ID, 1),
		"that cost the KDF": stranger(t, made.ID, keyslot.MaxPassphraseSlots),
	} {
		w.junk(headersMax, header)
		for how, o := range map[string]UnlockOptions{
			"passphrase":        {Passphrase: testPass},
			"passphrase, drive": {Passphrase: testPass, Expect: &made.ID},
			"words":             {Recovery: entropy, Expect: id},
		} {
			if u, err := Unlock(ctx, w.bucket, o); err != nil || u.ID != made.ID {
				t.Errorf("%s, %s: a new machine: %v", name, how, err)
			}
			must(t, w.mem.Delete(ctx, first))
			if _, err := Unlock(ctx, w.bucket, o); err == nil {
				t.Errorf("%s, %s: a machine without a copy got in", name, how)
			}
			o.StateRoot = w.root
			if u, err := Unlock(ctx, w.bucket, o); err != nil || u.ID != made.ID {
				t.Errorf("%s, %s: %v", name, how, err)
			}
			w.mem.Overwrite(first, good)
		}
		if _, err := Unlock(ctx, w.bucket, UnlockOptions{Passphrase: []byte("x"), StateRoot: w.root}); err == nil {
			t.Errorf("%s: another passphrase", name)
		}
		ids, err := Peek(ctx, w.bucket, w.root)
		if name == "of another drive" {
			continue // nothing tells them apart before the passphrase
		}
		if err != nil || len(ids) != 1 || ids[0] != made.ID {
			t.Errorf("%s: peek: %v, %v", name, ids, err)
		}
	}
}

// Fewer junk headers than are looked at stop nobody, as long as they cost no run
// of Argon2id; and what is known here is named first.
func TestSomeJunkHeaders(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	w.junk(headersMax-1, func(uint64) []byte { return []byte("junk") })
	if u, err := w.unlock(""); err != nil || u.ID != made.ID {
		t.Error(err)
	}
	w.junk(2, stranger(t, ID{9}, 1))
	if u, err := w.unlock(""); err != nil || u.ID != made.ID {
		t.Error(err)
	}
	if ids, err := Peek(ctx, w.bucket, ""); err != nil || len(ids) != 2 || ids[0] != (ID{9}) {
		t.Errorf("a machine that knows none: %v, %v", ids, err)
	}
	if ids, err := Peek(ctx, w.bucket, w.root); err != nil || len(ids) != 2 || ids[0] != made.ID {
		t.Errorf("a machine that knows one: %v, %v", ids, err)
	}
	// One that cannot be read hides no other.
	w.bucket.Add(fault.On(fault.Get, 1, fault.Fail(store.ErrDenied)), fault.On(fault.Get, 2, fault.Missing))
	if u, err := w.unlock(""); err != nil || u.ID != made.ID {
		t.Error(err)
	}
}

// All headers were deleted, but the volume is there.
func TestDeletedHeader(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	must(t, w.mem.Delete(ctx, w.headers()[0]))
	if _, err := w.unlock(""); !errors.Is(err, ErrNoDrive) {
		t.Error(err)
	}
	if u, err := w.unlock(w.root); err != nil || u.ID != made.ID {
		t.Error(err)
	}
}

// The copies of drives that lie elsewhere are no way into this store.
func TestCopiesOfOtherDrives(t *testing.T) {
	here, there := newWorld(t), newWorld(t)
	here.root = there.root
	made := here.create()
	there.create()
	must(t, here.mem.Delete(ctx, here.headers()[0]))
	here.junk(headersMax, func(uint64) []byte { return []byte("junk") })
	if u, err := here.unlock(here.root); err != nil || u.ID != made.ID {
		t.Errorf("two copies: %v", err)
	}
	if ids, err := Peek(ctx, here.bucket, here.root); err != nil || len(ids) != 1 || ids[0] != made.ID {
		t.Errorf("%v, %v", ids, err)
	}
	must(t, os.RemoveAll(here.stateDir(made.ID)))
	if _, err := here.unlock(here.root); !errors.Is(err, keyslot.ErrHeader) {
		t.Errorf("only that of another: %v", err)
	}
	if _, err := Peek(ctx, here.bucket, here.root); !errors.Is(err, keyslot.ErrHeader) {
		t.Errorf("peek: %v", err)
	}
}

// Whoever has learnt the public half of the words can make a drive that they
// open, so words alone are not enough.
func TestWordsDoNotVouchForTheDrive(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	_, entropy := w.paper()
	var asked ID
	for name, confirm := range map[string]func(ID) bool{
		"nobody to ask": nil,
		"no":            func(id ID) bool { asked = id; return false },
	} {
		if _, err := Unlock(ctx, w.bucket, UnlockOptions{Recovery: entropy, Confirm: confirm}); !errors.Is(err, ErrUnconfirmed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked != made.ID {
		t.Errorf("asked about %s", asked)
	}
}

// An old header still has the ways in that were taken away since.
func TestAnOlderHeaderThanWasSeen(t *testing.T) {
	owner, root := identity.New(), crypt.NewKey()
	vol := crypt.VolumeID{1}
	id := ID(keyslot.DriveID(owner.Public(), vol))
	header := func(counter uint64, pass string) []byte {
		s, err := keyslot.NewPassphrase(root, id, []byte(pass), fast, "", time.Unix(1, 0))
		must(t, err)
		k, err := keyslot.SealKeyring(root, id, counter, &keyslot.Keyring{Identity: owner, Volumes: []keyslot.VolumeEntry{{ID: vol, Kind: keyslot.KindMain}}})
		must(t, err)
		h, err := keyslot.New(root, id, counter, []keyslot.Slot{s}, k)
		must(t, err)
		return h.Encode()
	}
	w := newWorld(t)
	w.mem.Overwrite(chain.SlotName(vol, 1), nil)
	w.mem.Overwrite(keyslot.ObjectName(1), header(1, "old"))
	old := w.mem.Clone()
	w.mem.Overwrite(keyslot.ObjectName(2), header(2, "new"))
	u, err := Unlock(ctx, w.mem, UnlockOptions{Passphrase: []byte("new"), StateRoot: w.root})
	must(t, err)
	dir := w.stateDir(id)
	must(t, os.MkdirAll(dir, 0o700))
	must(t, u.KeepHeader(dir))
	if _, err := Unlock(ctx, old, UnlockOptions{Passphrase: []byte("old"), StateRoot: w.root}); !errors.Is(err, ErrOlder) {
		t.Error(err)
	}
	if _, err := Unlock(ctx, old, UnlockOptions{Passphrase: []byte("old")}); err != nil {
		t.Errorf("a machine that saw nothing: %v", err)
	}
	if u, err := Unlock(ctx, old, UnlockOptions{Passphrase: []byte("new"), StateRoot: w.root}); err != nil || !strings.Contains(u.Headers, "this machine's copy") {
		t.Errorf("by the new one: %v, %v", u, err)
	}
}

// Looking for copies makes no folders: junk names drives that nobody has.
func TestUnlockMakesNoFolders(t *testing.T) {
	w := newWorld(t)
	w.create()
	w.junk(3, stranger(t, ID{9}, 1))
	_, err := Unlock(ctx, w.bucket, UnlockOptions{Passphrase: []byte("x"), StateRoot: w.root})
	if !errors.Is(err, keyslot.ErrPassphrase) {
		t.Error(err)
	}
	if all, err := os.ReadDir(w.root); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestStoreFails(t *testing.T) {
	w := newWorld(t)
	w.create()
	for name, rule := range map[string]fault.Rule{
		"list": fault.On(fault.List, 0, fault.Fail(store.ErrUnavailable)),
		"get":  fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)),
	} {
		w.bucket.Add(rule)
		if _, err := w.unlock(w.root); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Peek(ctx, w.bucket, w.root); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: peek: %v", name, err)
		}
		w.bucket.Clear()
	}
}

// newer is the header of u with a higher counter.
func newer(t testing.TB, u *Unlocked, counter uint64) *Unlocked {
	t.Helper()
	sealed, err := keyslot.SealKeyring(u.root, u.ID, counter, u.keyring)
	must(t, err)
	h, err := keyslot.New(u.root, u.ID, counter, u.header.Slots, sealed)
	must(t, err)
	v := *u
	v.header = h
	return &v
}

func TestKeepHeader(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	u, err := w.unlock("")
	must(t, err)
	dir := w.stateDir(made.ID)
	counter := func() uint64 {
		t.Helper()
		main, raw, err := state.Header(dir, keyslot.MaxSize)
		must(t, err)
		h, err := keyslot.Decode(raw)
		must(t, err)
		if main != u.Main().ID {
			t.Error("another volume")
		}
		return h.Counter
	}
	third := newer(t, u, 3)
	must(t, third.KeepHeader(dir))
	if counter() != 3 {
		t.Errorf("kept %d", counter())
	}
	// A store that shows an older one does not take the newer from us.
	must(t, u.KeepHeader(dir))
	if counter() != 3 {
		t.Errorf("went back to %d", counter())
	}
	// Junk is replaced whatever it says of itself.
	high := *third.header
	high.Counter = 99
	must(t, state.KeepHeader(dir, u.Main().ID, high.Encode()))
	must(t, u.KeepHeader(dir))
	if counter() != 1 {
		t.Errorf("junk stayed: %d", counter())
	}
	for _, junk := range [][]byte{nil, []byte("junk"), bytes.Repeat([]byte{1}, keyslot.MaxSize+100)} {
		must(t, os.WriteFile(filepath.Join(dir, "header"), junk, 0o600))
		if all := copies(w.root); len(all) != 0 {
			t.Errorf("%d bytes of junk are a header", len(junk))
		}
		must(t, u.KeepHeader(dir))
		if counter() != 1 {
			t.Errorf("junk stayed: %d", counter())
		}
	}
}

// Whatever in the store was in the way of the newest header is told to who unlocks, each
// object in the log, and how many there are and the first of them to who mounts.
func TestHeadersInTheWayAreNamed(t *testing.T) {
	for name, header := range map[string]func(made ID) func(uint64) []byte{
		"that do not decode":          func(ID) func(uint64) []byte { return func(uint64) []byte { return []byte("junk") } },
		"of another drive":            func(ID) func(uint64) []byte { return stranger(t, ID{9}, 1) },
		"of this drive, and not ours": func(made ID) func(uint64) []byte { return stranger(t, made, 1) },
	} {
		w := newWorld(t)
		made := w.create()
		unlock := func(expect *ID) (*Unlocked, string) {
			var log bytes.Buffer
			u, err := Unlock(ctx, w.bucket, UnlockOptions{Passphrase: testPass, StateRoot: w.root, Expect: expect, Log: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			return u, log.String()
		}
		if u, log := unlock(nil); u.Headers != "" || log != "" {
			t.Errorf("nothing is in the way: %q, %q", u.Headers, log)
		}
		w.junk(2, header(made.ID))
		for _, expect := range []*ID{nil, &made.ID} {
			u, log := unlock(expect)
			for n := range uint64(2) {
				if !strings.Contains(log, keyslot.ObjectName(math.MaxUint64-n)) {
					t.Errorf("%s: log %q", name, log)
				}
			}
			if !strings.Contains(u.Headers, "2 objects") || !strings.Contains(u.Headers, keyslot.ObjectName(math.MaxUint64)) {
				t.Errorf("%s: %q", name, u.Headers)
			}
			if again, err := FromHandover(u.Handover()); err != nil || again.Headers != u.Headers {
				t.Errorf("%s: handed over: %v, %v", name, again, err)
			}
		}
		w.junk(headersMax, header(made.ID))
		must(t, w.mem.Delete(ctx, keyslot.ObjectName(1)))
		if u, log := unlock(nil); !strings.Contains(u.Headers, "this machine's copy") || !strings.Contains(log, keyslot.ObjectName(math.MaxUint64)) {
			t.Errorf("%s, and no good one: %q, log %q", name, u.Headers, log)
		}
	}
}
