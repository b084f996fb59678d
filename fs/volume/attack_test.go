// What a hostile store, a stranger with a key to the bucket, two copies of one
// machine and a bad disk can try. Each test was a hole once.
package volume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

var pass = []byte("attack")

type world struct {
	t     *testing.T
	b     *mem.Bucket
	root  string // holds first
	first string // state folder of device 1
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, b: mem.New(), root: t.TempDir()}
	_, err := drive.Create(context.Background(), w.b, drive.CreateOptions{
		Passphrase: pass, KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "one",
		StateDir: func(id drive.ID) (string, error) {
			w.first = filepath.Join(w.root, id.Short())
			return w.first, os.Mkdir(w.first, 0o700)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func unlock(b store.Bucket, root string) (*drive.Unlocked, error) {
	return drive.Unlock(context.Background(), b, drive.UnlockOptions{Passphrase: pass, StateRoot: root})
}

func (w *world) open(b store.Bucket, state string) (*volume.Volume, error) {
	w.t.Helper()
	u, err := unlock(w.b, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return volume.Open(context.Background(), volume.Options{Bucket: b, Drive: u, State: state,
		Cache: w.t.TempDir(), CacheSize: -1, DeviceName: "dev", Log: slog.New(slog.DiscardHandler)})
}

func (w *world) mustOpen(b store.Bucket, state string) *volume.Volume {
	w.t.Helper()
	v, err := w.open(b, state)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func create(v *volume.Volume, name, text string) error {
	ctx := context.Background()
	a, err := v.Make(ctx, meta.RootRef, []byte(name), volume.Node{Kind: meta.File, Perm: 0o644}, false)
	if err != nil {
		return err
	}
	if err := v.Write(ctx, a.Ref, 0, []byte(text)); err != nil {
		return err
	}
	return v.Fsync(context.Background(), a.Ref)
}

func read(v *volume.Volume, name string) string {
	a, err := v.Lookup(context.Background(), meta.RootRef, []byte(name))
	if err != nil {
		return "error: " + err.Error()
	}
	buf := make([]byte, 100)
	n, err := v.Read(context.Background(), a.Ref, 0, buf)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(buf[:n])
}

// end drains and closes; what takes a minute never ends.
func end(v *volume.Volume) error { return endWithin(v, time.Minute) }

func endWithin(v *volume.Volume, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return v.Shutdown(ctx)
}

func (w *world) volumeID() string {
	for _, n := range w.b.Names() {
		if rest, ok := strings.CutPrefix(n, "v0/s/"); ok {
			return rest[:64]
		}
	}
	panic("no volume")
}

func (w *world) slot(n uint64) string {
	return fmt.Sprintf("v0/s/%s/l/%016x", w.volumeID(), ^uint64(0)-n)
}

// 1: one object of one byte, far ahead, costs memory and time by its number.
func TestAttackFarSlotMemory(t *testing.T) {
	w := newWorld(t)
	const far = 2_000_000 // with 1<<63 Open never returns and memory fills
	w.b.Overwrite(w.slot(far), []byte{0})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	v := w.mustOpen(w.b, w.first)
	runtime.ReadMemStats(&after)
	s := v.Status()
	took := time.Since(start)
	t.Logf("%d damaged objects, %d MiB allocated, %v", len(s.Damaged), (after.TotalAlloc-before.TotalAlloc)>>20, took)
	if len(s.Damaged) > 1000 {
		t.Error("a junk object far ahead made the machine walk to it")
	}
}

// 2: the same object makes two honest machines fork without the store lying:
// one jumps over the hole, the other publishes into it.
func TestAttackFarSlotFork(t *testing.T) {
	w := newWorld(t)
	two := t.TempDir()
	b := w.mustOpen(w.b, two) // follows from slot 2 on
	w.b.Overwrite(w.slot(9), []byte("junk"))
	a := w.mustOpen(w.b, w.first)
	if err := create(a, "precious", "a's"); err != nil {
		t.Fatal(err)
	}
	if err := end(a); err != nil {
		t.Fatal(err)
	}
	if err := create(b, "other", "b's"); err != nil {
		t.Fatal(err)
	}
	if err := end(b); err != nil {
		t.Fatal(err)
	}
	c, err := w.open(w.b, t.TempDir())
	if err != nil {
		t.Fatalf("a third machine cannot mount: %v", err)
	}
	t.Logf("third machine: precious %q, other %q, stopped %q", read(c, "precious"), read(c, "other"), c.Status().Stopped)
	if read(c, "precious") != "a's" || read(c, "other") != "b's" {
		t.Error("an acknowledged, drained file is gone for a new machine")
	}
}

// 3: what was only read is not remembered.
func TestAttackRollbackOfReader(t *testing.T) {
	w := newWorld(t)
	two := t.TempDir()
	v := w.mustOpen(w.b, two)
	if err := create(v, "mine", "x"); err != nil { // device 2 has state
		t.Fatal(err)
	}
	if err := end(v); err != nil {
		t.Fatal(err)
	}
	old := w.b.Clone()
	a := w.mustOpen(w.b, w.first)
	if err := create(a, "new", "revoked"); err != nil {
		t.Fatal(err)
	}
	if err := end(a); err != nil {
		t.Fatal(err)
	}
	v = w.mustOpen(w.b, two)
	if got := read(v, "new"); got != "revoked" {
		t.Fatal(got)
	}
	if err := end(v); err != nil {
		t.Fatal(err)
	}
	if v, err := w.open(old, two); err == nil {
		t.Errorf("the store shows slot %d after slot %s, and is believed: new is %q", v.Status().Slot, "above", read(v, "new"))
	}
}

// taken answers every PUT of one slot "exists" and every GET of it "unavailable".
type taken struct {
	store.Bucket
	name string
	mu   sync.Mutex
	put  map[string]int
}

func (b *taken) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if name != b.name {
		return b.Bucket.PutIfAbsent(ctx, name, data)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put[string(data)]++
	return store.ErrExist
}

func (b *taken) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if name == b.name {
		return nil, store.ErrUnavailable
	}
	return b.Bucket.Get(ctx, name, off, n)
}

// 4: one device signs many commits for one slot, and journals each.
func TestAttackEquivocation(t *testing.T) {
	w := newWorld(t)
	b := &taken{Bucket: w.b, name: w.slot(2), put: map[string]int{}}
	v := w.mustOpen(b, w.first)
	if err := create(v, "f", strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	before := v.Status().JournalBytes
	err := endWithin(v, 3*time.Second) // it cannot
	if len(b.put) > 1 {
		t.Errorf("%d different signed commits of one device for slot 2 (%v; journal %d -> %d bytes)", len(b.put), err, before, v.Status().JournalBytes)
	}
}

// lostAnswer loses the answer of the first PUT of a slot that lands, then garbles
// one GET of it.
type lostAnswer struct {
	store.Bucket
	name       string
	mu         sync.Mutex
	puts, gets int
	sent       map[string]bool
}

func (b *lostAnswer) commits() int { return len(b.sent) }

func (b *lostAnswer) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	err := b.Bucket.PutIfAbsent(ctx, name, data)
	b.mu.Lock()
	defer b.mu.Unlock()
	if name == b.name {
		if b.sent == nil {
			b.sent = map[string]bool{}
		}
		b.sent[string(data)] = true
		if b.puts++; b.puts == 1 {
			return store.ErrUnavailable
		}
	}
	return err
}

func (b *lostAnswer) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name == b.name {
		if b.gets++; b.gets == 1 {
			return nil, store.ErrUnavailable
		}
	}
	return b.Bucket.Get(ctx, name, off, n)
}

// 5: a lost answer and one failing GET, both ordinary, and the machine takes its
// own commit for another's.
func TestAttackLostAnswerThenFailedGet(t *testing.T) {
	w := newWorld(t)
	b := &lostAnswer{Bucket: w.b, name: w.slot(2)}
	v := w.mustOpen(b, w.first)
	if err := create(v, "f", "x"); err != nil {
		t.Fatal(err)
	}
	err := end(v)
	if stopped := v.Status().Stopped; err != nil || stopped != "" || b.commits() != 1 {
		t.Errorf("%d commits were signed for the slot; drained: %v; stopped: %q", b.commits(), err, stopped)
	}
}

// asked notes how much is asked of slots.
type asked struct {
	store.Bucket
	mu   sync.Mutex
	most int64
}

func (b *asked) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	o, err := b.Bucket.Get(ctx, name, off, n)
	if strings.Contains(name, "/l/") {
		b.mu.Lock()
		b.most = max(b.most, int64(len(o)))
		b.mu.Unlock()
	}
	return o, err
}

// 6: a junk slot of 32 MiB (up to 128) is fetched whole, 16 at a time, twice.
func TestAttackFatSlots(t *testing.T) {
	w := newWorld(t)
	w.b.Overwrite(w.slot(2), make([]byte, 32<<20))
	b := &asked{Bucket: w.b}
	w.mustOpen(b, w.first)
	if b.most > chain.MaxCommit+1 {
		t.Errorf("%d bytes were fetched of a slot that holds at most %d", b.most, chain.MaxCommit)
	}
}

// 7: 16 junk headers lock out a machine that keeps a good one.
func TestAttackJunkHeaders(t *testing.T) {
	w := newWorld(t)
	v := w.mustOpen(w.b, w.first) // keeps the header
	if err := end(v); err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		w.b.Overwrite(fmt.Sprintf("v0/h/%016x", i), []byte("junk"))
	}
	if _, err := unlock(w.b, w.root); err != nil {
		t.Errorf("locked out in spite of the kept header: %v", err)
	}
}

// 8: passphrase slots of a stranger use up the tries; the right passphrase is "wrong".
func TestAttackForeignSlots(t *testing.T) {
	w := newWorld(t)
	names := w.b.Names()
	raw, err := w.b.Get(context.Background(), names[0], 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	h, err := keyslot.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	s := h.Slots[0]
	h.Counter, h.Slots = 1000, nil
	for i := range 4 {
		f := s
		f.Body = bytes.Clone(s.Body)
		f.Body[0] ^= byte(i + 1) // another salt
		h.Slots = append(h.Slots, f)
	}
	w.b.Overwrite(keyslot.ObjectName(1000), h.Encode())
	if _, err := unlock(w.b, ""); err != nil {
		t.Errorf("a new machine with the right passphrase: %v", err)
	}
}

// 9: 64 junk hints hide the good one from everybody.
func TestAttackJunkHints(t *testing.T) {
	w := newWorld(t)
	for i := range 64 {
		w.b.Overwrite(fmt.Sprintf("v0/s/%s/k/%016x", w.volumeID(), i), []byte("junk"))
	}
	if _, err := w.open(w.b, w.first); err != nil {
		t.Errorf("a machine that was in before: %v", err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func replaceTree(t *testing.T, from, in string) {
	t.Helper()
	entries, err := os.ReadDir(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(in, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	copyTree(t, from, in)
}

// 10: a virtual machine is cloned, or set back to a snapshot, while mounted: same
// machine id, same folder. Both go on writing. The clone's acknowledged files must
// not vanish, nor read as the other's.
func TestAttackLiveClone(t *testing.T) {
	w := newWorld(t)
	snapshot := t.TempDir()
	v := w.mustOpen(w.b, w.first)
	if err := create(v, "base", "base"); err != nil {
		t.Fatal(err)
	}
	if err := end(v); err != nil {
		t.Fatal(err)
	}
	copyTree(t, w.first, snapshot)
	frozen := w.b.Clone() // what the clone has in memory

	orig := w.mustOpen(w.b, w.first)
	for i := range 3 {
		if err := create(orig, fmt.Sprintf("orig%d", i), original(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(orig); err != nil {
		t.Fatal(err)
	}

	replaceTree(t, snapshot, w.first)
	clone := w.mustOpen(frozen, w.first)
	for i := range 5 {
		if err := create(clone, fmt.Sprintf("clone%d", i), fmt.Sprintf("of the clone %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	clone.Shutdown(expired()) // fsynced, not sent; the machine stops

	again := w.mustOpen(w.b, w.first)
	for i := range 3 {
		if got, want := read(again, fmt.Sprintf("orig%d", i)), original(i); got != want {
			t.Errorf("orig%d reads %q", i, got)
		}
	}
	for i := range 5 {
		if got, want := read(again, fmt.Sprintf("clone%d", i)), fmt.Sprintf("of the clone %d", i); got != want {
			t.Errorf("clone%d, fsynced, reads %q", i, got)
		}
	}
	if err := end(again); err != nil {
		t.Errorf("what the clone wrote is not sent: %v", err)
	}
	fresh := w.mustOpen(w.b, t.TempDir())
	for i := range 3 {
		if got, want := read(fresh, fmt.Sprintf("orig%d", i)), original(i); got != want {
			t.Errorf("a new machine reads orig%d as %q", i, got)
		}
	}
	for i := range 5 {
		if got, want := read(fresh, fmt.Sprintf("clone%d", i)), fmt.Sprintf("of the clone %d", i); got != want {
			t.Errorf("a new machine reads clone%d as %q", i, got)
		}
	}
	if err := end(fresh); err != nil {
		t.Error(err)
	}
}

func original(i int) string { return fmt.Sprintf("original %d %s", i, strings.Repeat("o", 80)) }

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// 11: the state was copied; becoming a new device fails half-way (another machine
// made the same name; a crash would do). At the next mount the old journal is
// forgotten.
func TestAttackRenewForgetsJournal(t *testing.T) {
	w := newWorld(t)
	v := w.mustOpen(w.b, w.first)
	if err := create(v, "kept", "fsynced"); err != nil {
		t.Fatal(err)
	}
	if err := create(v, "same", "fsynced too"); err != nil {
		t.Fatal(err)
	}
	v.Shutdown(expired())
	other := w.mustOpen(w.b, t.TempDir())
	if err := create(other, "same", "other"); err != nil {
		t.Fatal(err)
	}
	if err := end(other); err != nil {
		t.Fatal(err)
	}
	moved := t.TempDir()
	copyTree(t, w.first, moved)
	_, err := w.open(w.b, moved)
	t.Logf("first mount: %v", err)
	v, err = w.open(w.b, moved)
	if err != nil {
		// Refusing loses nothing, as long as the journal is there.
		t.Logf("second mount: %v", err)
		if left, _ := filepath.Glob(filepath.Join(moved, "*", "ops-*")); len(left) == 0 {
			t.Errorf("the mount is refused, and the journal is gone: %v", err)
		}
		return
	}
	if got := read(v, "kept"); got != "fsynced" {
		t.Errorf("second mount works, and the fsynced file is silently gone: %q; warnings %q", got, v.Status().Warnings)
	}
}

// 12: a pack file that went bad on the local disk is uploaded, and the lock says
// everything is in the store.
func TestAttackBadLocalPack(t *testing.T) {
	w := newWorld(t)
	v := w.mustOpen(w.b, w.first)
	text := strings.Repeat("0123456789", 60000) // too much for the journal itself
	if err := create(v, "f", text); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(w.first, "journal-*", "packs", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, p := range packs {
		raw, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		raw[100] ^= 1
		if err := os.WriteFile(p, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(v); err == nil {
		n := w.mustOpen(w.b, t.TempDir())
		if got := read(n, "f"); !strings.HasPrefix(got, "0123") {
			t.Errorf("locked with \"everything is in the store\"; another machine reads: %.60s", got)
		}
	} else if !errors.Is(err, volume.ErrUndrained) {
		t.Error(err)
	}
}

// 13: the alarm of a fork ends with the process.
func TestAttackForkForgotten(t *testing.T) {
	w := newWorld(t)
	two := t.TempDir()
	v := w.mustOpen(w.b, two)
	if err := create(v, "x", "x"); err != nil { // slots 2 and 3
		t.Fatal(err)
	}
	if err := end(v); err != nil {
		t.Fatal(err)
	}
	fork := w.b.Clone()
	v = w.mustOpen(fork, two)
	for i := range 2 { // slots 4 and 5 of another history
		if err := create(v, fmt.Sprint("fork", i), "x"); err != nil {
			t.Fatal(err)
		}
		go v.Run(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := v.WaitStored(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if i == 0 {
			if err := end(v); err != nil {
				t.Fatal(err)
			}
			v = w.mustOpen(fork, two)
		}
	}
	v = w.mustOpen(w.b, w.first) // slot 4
	if err := create(v, "mine", "x"); err != nil {
		t.Fatal(err)
	}
	if err := end(v); err != nil {
		t.Fatal(err)
	}
	evidence, err := fork.Get(context.Background(), w.slot(5), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	w.b.Overwrite(w.slot(5), evidence)
	v = w.mustOpen(w.b, w.first)
	t.Logf("stopped: %q", v.Status().Stopped)
	if v.Status().Stopped == "" {
		t.Fatal("no evidence was made; the test is wrong")
	}
	v.Shutdown(expired())
	if err := w.b.Delete(context.Background(), w.slot(5)); err != nil {
		t.Fatal(err)
	}
	v = w.mustOpen(w.b, w.first)
	if v.Status().Stopped == "" {
		t.Error("the store took the evidence away, and the machine writes on as if nothing had been")
	}
}

// 14: a damaged journal makes mount delete the pack files whose records it lost.
func TestAttackDamageDeletesPacks(t *testing.T) {
	w := newWorld(t)
	v := w.mustOpen(w.b, w.first)
	for i := range 3 {
		if err := create(v, fmt.Sprint("f", i), strings.Repeat("0123456789", 60000)); err != nil {
			t.Fatal(err)
		}
	}
	v.Shutdown(expired())
	ops, _ := filepath.Glob(filepath.Join(w.first, "journal-*", "ops-*"))
	before, _ := filepath.Glob(filepath.Join(w.first, "journal-*", "packs", "*"))
	for _, p := range ops {
		raw, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		raw[8192+30] ^= 1
		if err := os.WriteFile(p, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for mount := range 2 { // the damage is told once, and there for good
		v, err := w.open(w.b, w.first)
		after, _ := filepath.Glob(filepath.Join(w.first, "journal-*", "packs", "*"))
		if len(after) < len(before) {
			t.Errorf("mount %d: %d of %d pack files were deleted after one flipped bit in the journal (open: %v)", mount, len(before)-len(after), len(before), err)
		}
		if err == nil {
			v.Shutdown(expired())
		}
	}
}

// 15: changes that another machine's made impossible were dropped from what counts
// as pending, and the lock said that everything is in the store.
func TestAttackConflictCountsAsStored(t *testing.T) {
	w := newWorld(t)
	one, two := w.mustOpen(w.b, w.first), w.mustOpen(w.b, t.TempDir())
	if err := create(one, "same", "one's"); err != nil {
		t.Fatal(err)
	}
	if err := create(two, "same", "two's"); err != nil {
		t.Fatal(err)
	}
	if err := end(two); err != nil {
		t.Fatal(err)
	}
	if err := end(one); err != nil {
		t.Fatal(err)
	}
	n := w.mustOpen(w.b, t.TempDir())
	list, err := n.List(t.Context(), meta.RootRef)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, read(n, string(e.Name)))
	}
	if !slices.Contains(got, "one's") || !slices.Contains(got, "two's") {
		t.Errorf("locked with \"everything is in the store\"; the store has %q", got)
	}
}
