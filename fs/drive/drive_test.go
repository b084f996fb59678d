package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	ctx      = context.Background()
	testPass = []byte("correct horse")
	fast     = keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}
	quiet    = slog.New(slog.DiscardHandler)
)

// A world is a store and one machine.
type world struct {
	t      testing.TB
	mem    *mem.Bucket
	bucket *fault.Bucket
	root   string // of the state folders
	made   *Created
}

func newWorld(t testing.TB) *world {
	m := mem.New()
	return &world{t: t, mem: m, bucket: fault.Wrap(m), root: t.TempDir()}
}

func (w *world) options() CreateOptions {
	return CreateOptions{
		Passphrase: testPass, KDF: fast, Name: "home", DeviceName: "laptop", UID: 1000, GID: 100,
		StateDir: func(id ID) (string, error) { return w.stateDir(id), nil },
	}
}

func (w *world) stateDir(id ID) string { return filepath.Join(w.root, id.Short()) }

// create makes a drive, which must work.
func (w *world) create() *Created {
	w.t.Helper()
	var err error
	w.made, err = Create(ctx, w.bucket, w.options())
	must(w.t, err)
	return w.made
}

// unlock opens with the passphrase on a machine that keeps its state under root.
func (w *world) unlock(root string) (*Unlocked, error) {
	return Unlock(ctx, w.bucket, UnlockOptions{Passphrase: testPass, StateRoot: root})
}

// paper is what stands on the recovery sheet.
func (w *world) paper() (*ID, *crypt.Key) {
	w.t.Helper()
	id, entropy, err := keyslot.ParseRecovery(keyslot.FormatRecovery(w.made.ID, w.made.Words))
	must(w.t, err)
	return (*ID)(id), entropy
}

func (w *world) headers() []string {
	var names []string
	for _, n := range w.mem.Names() {
		if strings.HasPrefix(n, keyslot.Prefix) {
			names = append(names, n)
		}
	}
	return names
}

func TestCreateAndUnlock(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	id, entropy := w.paper()
	for name, o := range map[string]UnlockOptions{
		"passphrase":            {Passphrase: testPass},
		"passphrase, drive":     {Passphrase: testPass, Expect: &made.ID},
		"words, with the paper": {Recovery: entropy, Expect: id},
		"words, and a person":   {Recovery: entropy, Confirm: func(id ID) bool { return id == made.ID }},
	} {
		u, err := Unlock(ctx, w.bucket, o)
		must(t, err)
		if u.ID != made.ID || u.Name != "home" {
			t.Errorf("%s: drive %s called %q", name, u.ID, u.Name)
		}
		if len(u.Previous()) != 0 {
			t.Errorf("%s: earlier roots", name)
		}
	}
	u, err := w.unlock("")
	must(t, err)

	// The volume is whole, and the state folder is that of its first device.
	keys := &publish.Keys{}
	tables := block.New(block.Options{
		Bucket: w.bucket, Cache: cache.Off(), Volume: u.Main().ID, Key: keys.Key,
		Place: func(o block.Object) string { return chain.TableName(u.Main().ID, o.Name) },
		Bad:   func(object string, err error) { t.Errorf("%s: %v", object, err) },
	})
	defer tables.Close()
	l, err := publish.Load(ctx, publish.LoadOptions{
		Bucket: w.bucket, Volume: u.Main().ID, Identity: u.Identity(),
		Tables: tables, Keys: keys, Memory: table.NewMemory(1 << 20), Log: quiet,
	})
	must(t, err)
	if l.Trouble != nil || len(l.Damaged) != 0 || l.Next != 2 {
		t.Errorf("%v, %v, next slot %d", l.Trouble, l.Damaged, l.Next)
	}
	n, err := meta.GetInode(l.Confirmed, meta.RootRef)
	if err != nil || n.UID != 1000 || n.GID != 100 {
		t.Errorf("root directory %+v, %v", n, err)
	}
	st, fresh, err := state.Open(w.stateDir(made.ID), u.Root(), u.ID, "other")
	must(t, err)
	if _, number, name := st.Device(); fresh != state.NotFresh || number != 1 || name != "laptop" || st.Known() != 1 {
		t.Errorf("%q, device %d %q, known %d", fresh, number, name, st.Known())
	}
	if st.Head() != l.Chain.Remember() {
		t.Errorf("head %v, want %v", st.Head(), l.Chain.Remember())
	}
	if ids, err := Peek(ctx, w.bucket, ""); err != nil || len(ids) != 1 || ids[0] != made.ID {
		t.Errorf("%v, %v", ids, err)
	}
	if again, err := ParseID(made.ID.String()); err != nil || again != made.ID || !strings.HasPrefix(made.ID.String(), made.ID.Short()) {
		t.Errorf("%v, %v", again, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(o *CreateOptions)
		want   error
	}{
		"no passphrase":      {func(o *CreateOptions) { o.Passphrase = nil }, keyslot.ErrPassphrase},
		"too little memory":  {func(o *CreateOptions) { o.KDF.MemoryKiB = 1 }, keyslot.ErrKDF},
		"too much memory":    {func(o *CreateOptions) { o.KDF.MemoryKiB = 1 << 31 }, keyslot.ErrKDF},
		"a name of a novel":  {func(o *CreateOptions) { o.Name = strings.Repeat("n", 5000) }, keyslot.ErrHeader},
		"a device of a name": {func(o *CreateOptions) { o.DeviceName = strings.Repeat("n", 65) }, nil},
	} {
		w := newWorld(t)
		o := w.options()
		c.change(&o)
		if _, err := Create(ctx, w.bucket, o); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left := w.mem.Names(); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	w := newWorld(t)
	must(t, w.mem.PutIfAbsent(ctx, "something", nil))
	if _, err := Create(ctx, w.bucket, w.options()); !errors.Is(err, ErrNotEmpty) || len(w.mem.Names()) != 1 {
		t.Errorf("not empty: %v, %v", err, w.mem.Names())
	}
	w = newWorld(t)
	w.bucket.Add(fault.On(fault.List, 1, fault.Fail(store.ErrDenied)))
	if _, err := Create(ctx, w.bucket, w.options()); !errors.Is(err, store.ErrDenied) || len(w.mem.Names()) != 0 {
		t.Errorf("a store that refuses: %v", err)
	}
}

// The process dies, or the store fails, between any two objects: no drive.
func TestCreateBreaksOff(t *testing.T) {
	whole := newWorld(t)
	whole.create()
	var puts []string
	for _, c := range whole.bucket.Log() {
		if c.Op == fault.Put {
			puts = append(puts, c.Name)
		}
	}
	if len(puts) != 4 || !strings.HasPrefix(puts[3], keyslot.Prefix) {
		t.Fatalf("the header is not the last of %v", puts)
	}
	for n := range puts {
		for name, do := range map[string]fault.Action{"not sent": fault.Fail(store.ErrUnavailable), "answer lost": fault.LostAnswer} {
			w := newWorld(t)
			w.bucket.Add(fault.On(fault.Put, n+1, do))
			made, err := Create(ctx, w.bucket, w.options())
			if n == 3 && name == "answer lost" {
				// The drive is there, and nobody else knows its words.
				must(t, err)
				if u, err := w.unlock(""); err != nil || u.ID != made.ID {
					t.Errorf("the header's answer is lost: %v", err)
				}
				continue
			}
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("object %d, %s: %v", n, name, err)
			}
			if got := w.headers(); len(got) != 0 {
				t.Errorf("object %d, %s: header %v", n, name, got)
			}
			if _, err := w.unlock(w.root); !errors.Is(err, ErrNoDrive) {
				t.Errorf("object %d, %s: unlock: %v", n, name, err)
			}
			if ids, err := Peek(ctx, w.bucket, w.root); !errors.Is(err, ErrNoDrive) || len(ids) != 0 {
				t.Errorf("object %d, %s: peek: %v, %v", n, name, ids, err)
			}
		}
	}
}

func TestTwoCreateAtOnce(t *testing.T) {
	one := newWorld(t)
	one.create()
	header, err := one.mem.Get(ctx, one.headers()[0], 0, -1)
	must(t, err)
	w := newWorld(t)
	w.bucket.Add(fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		w.mem.Overwrite(one.headers()[0], header) // the other is faster
		return r.Do(ctx)
	}).Prefix(keyslot.Prefix))
	if _, err := Create(ctx, w.bucket, w.options()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("the slower one: %v", err)
	}
	// Whether the header arrived cannot be told: both are said.
	w = newWorld(t)
	w.bucket.Add(fault.On(fault.Put, 1, fault.LostAnswer).Prefix(keyslot.Prefix), fault.On(fault.Get, 1, fault.Fail(store.ErrDenied)))
	if _, err := Create(ctx, w.bucket, w.options()); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrDenied) {
		t.Errorf("nobody knows: %v", err)
	}
}

func TestStateFolderRefused(t *testing.T) {
	w := newWorld(t)
	o, bad := w.options(), errors.New("no folder")
	o.StateDir = func(ID) (string, error) { return "", bad }
	if _, err := Create(ctx, w.bucket, o); !errors.Is(err, bad) || len(w.headers()) != 0 {
		t.Errorf("%v, %v", err, w.headers())
	}
}

func TestHandover(t *testing.T) {
	w := newWorld(t)
	w.create()
	u, err := w.unlock("")
	must(t, err)
	b := u.Handover()
	again, err := FromHandover(bytes.Clone(b))
	must(t, err)
	if again.ID != u.ID || again.Name != u.Name || !again.Root().Equal(u.Root()) || again.Main() != u.Main() {
		t.Error("another drive")
	}
	if !bytes.Equal(again.Handover(), b) {
		t.Error("handed on it is another")
	}
	for n := range b {
		if n > 200 && n < len(b)-40 && n%37 != 0 {
			continue
		}
		if _, err := FromHandover(b[:n]); err == nil {
			t.Fatalf("cut to %d bytes: no error", n)
		}
	}
	for at := range crypt.KeySize {
		bad := bytes.Clone(b)
		bad[at] ^= 1
		if _, err := FromHandover(bad); !errors.Is(err, keyslot.ErrHeader) {
			t.Fatalf("byte %d of the key: %v", at, err)
		}
	}
	if _, err := FromHandover(append(bytes.Clone(b), 0)); !errors.Is(err, keyslot.ErrHeader) {
		t.Errorf("one byte more: %v", err)
	}
	u.Wipe()
	if _, err := FromHandover(b); err != nil {
		t.Error("the handover shares bytes with what was wiped")
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	w := newWorld(t)
	w.create()
	u, err := w.unlock("")
	must(t, err)
	root, seed := u.Root().Bytes(), u.Identity().Seed()
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		out := fmt.Sprintf(verb, *u)
		for _, secret := range [][]byte{root, seed[:32]} {
			for _, form := range []string{fmt.Sprint(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%#v", secret)} {
				if strings.Contains(out, strings.Trim(form, "[]")) {
					t.Errorf("%s shows a key", verb)
				}
			}
		}
	}
	must(t, filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, root) || bytes.Contains(b, seed[:32]) {
			t.Errorf("a key lies open in %s", d.Name())
		}
		return err
	}))
}
