package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

// remove removes devices, as somebody does at m.
func remove(devices ...int) act {
	return func(m *machine) error { return m.v.RemoveDevices(context.Background(), devices) }
}

// reading has the machine mount read-only from now on, or not any more.
func (m *machine) reading(on bool) *machine {
	m.crash()
	m.ro = on
	return m
}

// rejoined mounts a machine that was removed so that it joins anew.
func (m *machine) rejoined(discard bool) error {
	m.crash()
	m.set = func(o *Options) { o.Rejoin = &Rejoin{Discard: discard} }
	defer func() { m.set = nil }()
	if err := m.open(); err != nil {
		return err
	}
	if _, err := m.v.Join(context.Background()); err != nil {
		return err
	}
	return lock(m)
}

func TestRemovedDeviceComesBack(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(w.laptop, write("common", "0"), mkdir("d"), lock)
	as(desk, write("theirs", "1"), drained, write("d/new", big), write("common", "changed"), mkdir("d/e"), rename("theirs", "moved"), fsync("d/new"))
	desk.crash()
	as(w.laptop, remove(2), write("after", big), lock)

	if err := desk.open(); !errors.Is(err, publish.ErrRemoved) {
		t.Fatalf("mount: %v", err)
	}
	desk.v = nil
	// It reads, its own things too; nobody else does.
	as(desk.reading(true), read("after", big), read("d/new", big), read("common", "changed"))
	if s := desk.v.Status(); len(s.Warnings) == 0 || !strings.Contains(s.Warnings[0], "export-pending") || s.PendingOps == 0 {
		t.Errorf("status %+v", s)
	}
	as(w.laptop, missing("d/new"), read("common", "0"), read("theirs", "1"))

	// It does not join before somebody has seen to what waits.
	if err := desk.reading(false).rejoined(false); !errors.Is(err, ErrUnexported) {
		t.Fatalf("join anew: %v", err)
	}
	desk.reading(true).mustOpen()
	to := filepath.Join(t.TempDir(), "export")
	x, err := desk.v.ExportPending(t.Context(), to)
	if err != nil || len(x.Failed) > 0 {
		t.Fatalf("export: %+v, %v", x, err)
	}
	for name, want := range map[string]string{"d/new": big, "common": "changed"} {
		if b, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(b) != want {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if i, err := os.Stat(filepath.Join(to, "d/e")); err != nil || !i.IsDir() {
		t.Errorf("d/e: %v", err)
	}
	if strings.Join(x.Renamed, " ") != "/moved" || x.Files != 2 || x.Folders != 2 {
		t.Errorf("exported %+v", x)
	}
	if _, err := desk.v.ExportPending(t.Context(), to); err == nil {
		t.Error("exported into a folder that is not empty")
	}
	if err := desk.reading(false).rejoined(false); err != nil {
		t.Fatalf("join anew: %v", err)
	}
	as(desk, missing("d/new"), read("common", "0"), read("after", big), write("back", "2"), lock)
	if n := desk.number(); n != 3 {
		t.Errorf("it is device %d", n)
	}
	as(w.laptop, lock)
	as(w.laptop, read("back", "2"), missing("d/new"), missing("moved"))
	if err := desk.rejoined(false); !errors.Is(err, ErrNotRemoved) {
		t.Errorf("join twice: %v", err)
	}
	l := w.load()
	if d, ok := l.Chain.Ledger.Removed(2); !ok || d.Name != "desktop" || l.Chain.Epoch != 2 {
		t.Errorf("ledger: %+v, epoch %d", d, l.Chain.Epoch)
	}
}

// Discarding is possible, and leaves the journal for a person.
func TestRejoinWithoutExport(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("a", "1"), drained, write("b", "2"), fsync("b"))
	desk.crash()
	as(w.laptop, remove(2), lock)
	if err := desk.rejoined(true); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, n := range folders(t, desk.state()) {
		if strings.HasPrefix(n, "kept-0002-") {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("%d journals are kept: %v", kept, folders(t, desk.state()))
	}
	as(desk, read("a", "1"), missing("b"))
}

// A machine at work that learns of its removal sends nothing more, and says so.
func TestRemovedWhileMounted(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("a", "1"), drained)
	as(w.laptop, remove(2), lock)
	as(desk, write("b", "2"), refuses(drained, publish.ErrRemoved), read("a", "1"), read("b", "2"))
	as(desk, refuses(write("c", "3"), publish.ErrRemoved))
	if s := desk.v.Status(); !strings.Contains(s.Stopped, "removed") || s.Stored {
		t.Errorf("status %+v", s)
	}
	if err := desk.shut(0); !errors.Is(err, ErrUndrained) || !errors.Is(err, publish.ErrRemoved) {
		t.Errorf("lock: %v", err)
	}
	as(w.laptop, read("a", "1"), missing("b"), missing("c"))
	w.checkChain(1)
}

// checkChain finds a chain without damage, and so many further devices.
func (w *world) checkChain(enrolled meta.Device) {
	w.t.Helper()
	l := w.load()
	if l.Trouble != nil || len(l.Damaged) > 0 {
		w.t.Errorf("chain: %v, damaged %v", l.Trouble, l.Damaged)
	}
	if n := l.Chain.Ledger.HighestDevice(); n != 1+enrolled {
		w.t.Errorf("%d devices, want %d", n, 1+enrolled)
	}
}

// A copy of the state of a device that was removed brings nothing of it back either.
func TestCopyOfARemovedDevice(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("a", "1"), drained, write("b", "inline"), write("c", big), fsync("c"), fsync("b"))
	desk.crash()
	copied := w.machine("copied")
	copyFolder(t, desk.state(), copied.state())
	as(w.laptop, remove(2), lock)
	if err := copied.open(); !errors.Is(err, publish.ErrRemoved) {
		t.Fatalf("mount: %v", err)
	}
	copied.v = nil
	as(copied.reading(true), read("a", "1"), read("b", "inline"), read("c", big))
	to := filepath.Join(t.TempDir(), "export")
	if x, err := copied.v.ExportPending(t.Context(), to); err != nil || x.Files != 2 {
		t.Errorf("export: %+v, %v", x, err)
	}
	if err := copied.reading(false).rejoined(false); err != nil {
		t.Fatal(err)
	}
	as(copied, missing("b"), missing("c"), read("a", "1"))
}

// packsUnder finds that each pack that the chain has after a slot is of epoch e.
func (w *world) packsUnder(e crypt.Epoch, after chain.Slot) int {
	w.t.Helper()
	l := w.load()
	n := 0
	for s := after + 1; s <= l.Chain.Slot; s++ {
		object, err := w.objects.Get(w.t.Context(), chain.SlotName(w.vol, s), 0, -1)
		if err != nil {
			w.t.Fatal(err)
		}
		c, err := l.Chain.Open(s, object)
		if err != nil {
			w.t.Fatalf("slot %d: %v", s, err)
		}
		c.Batch.Packs(func(no meta.PackNo, p meta.PackRecord) bool {
			n++
			if p.Epoch != uint32(e) {
				w.t.Errorf("slot %d: pack %d is of epoch %d", s, no, p.Epoch)
			}
			return true
		})
	}
	return n
}

// headersOnce finds no header of an object, and so no salt, twice.
func (w *world) headersOnce() {
	w.t.Helper()
	seen := map[string]string{}
	for _, n := range w.objects.Names() {
		b, err := w.objects.Get(w.t.Context(), n, 0, -1)
		if err != nil || len(b) < crypt.HeaderSize || strings.Contains(n, "/h/") {
			continue
		}
		h := string(b[len(b)-crypt.HeaderSize:])
		if other, ok := seen[h]; ok {
			w.t.Errorf("%s and %s have one salt", n, other)
		}
		seen[h] = n
	}
}

// sent has a machine's packs in the store, and their commit not.
func sent(w *world, m *machine) {
	w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Prefix(w.prefix("l")))
	as(m, write("a", big), write("b", "inline"), refuses(func(m *machine) error {
		ctx, cancel := context.WithCancel(context.Background())
		m.step = func(name string) {
			if name == "sync.put" {
				cancel()
			}
		}
		defer func() { m.step = nil }()
		if err := m.v.pinOld(ctx, 0); err != nil {
			return err
		}
		return m.v.sync.Publish(ctx)
	}, context.Canceled))
}

// The epoch turns on another machine while this one has packs of all kinds: closed,
// sent and not committed, open in memory.
func TestEpochTurnsElsewhere(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, w *world, desk *machine){
		"closed packs, off line": func(t *testing.T, w *world, desk *machine) {
			as(desk, write("a", big), fsync("a"), write("b", "inline"), fsync("b"))
			desk.crash()
		},
		"closed and open packs, mounted": func(t *testing.T, w *world, desk *machine) {
			as(desk, write("a", big), fsync("a"), write("b", "inline"))
		},
		"packs that were sent": func(t *testing.T, w *world, desk *machine) {
			sent(w, desk)
		},
		"packs that were sent, and killed": func(t *testing.T, w *world, desk *machine) {
			sent(w, desk)
			desk.crash()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			desk, thief := w.machine("desktop"), w.machine("thief")
			as(thief, write("x", "0"), lock)
			as(desk, write("y", "0"), drained)
			prepare(t, w, desk)
			as(w.laptop, remove(2), write("z", "1"), lock)
			turned := w.load().Chain.Slot
			as(desk, drained, read("a", big), read("b", "inline"), lock)
			if n := w.packsUnder(2, turned-1); n == 0 {
				t.Error("no pack was published")
			}
			w.headersOnce()
			as(desk, read("a", big), read("b", "inline"), read("z", "1"), lock)
			as(w.machine("third"), read("a", big), read("b", "inline"), read("x", "0"), read("y", "0"), read("z", "1"))
			w.checkChain(3 - 1)
		})
	}
}

// The machine is killed at each step of sending what was sealed before the epoch
// turned.
func TestKilledWhileSealingAgain(t *testing.T) {
	w := newWorld(t)
	thief, m := w.machine("thief"), w.machine("desktop")
	as(thief, write("x", "0"), lock)
	as(m, write("y", "0"), drained, write("a", big), fsync("a"), write("b", "inline"), fsync("b"))
	m.crash()
	as(w.laptop, remove(2), lock)

	type crash struct {
		step, state string
		objects     store.Bucket
	}
	var mu sync.Mutex // guards left and met; packs are sent at the same time
	var left []crash
	met := map[string]bool{}
	m.step = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		met[step] = true
		c := crash{step: step, state: filepath.Join(t.TempDir(), "state")}
		copyFolder(t, m.state(), c.state)
		c.objects = w.objects.Clone() // the later one: what was on its way may arrive
		left = append(left, c)
	}
	as(m, drained)
	m.step = nil
	m.crash()
	for _, s := range pack.ResealSteps {
		if !met[s] {
			t.Errorf("step %s was not met", s)
		}
	}
	for _, c := range left {
		restore(t, c.state, m.state())
		m.bucket = c.objects
		as(m, read("a", big), read("b", "inline"), lock)
		as(m, read("a", big), read("b", "inline"))
		if n := m.number(); n != 3 {
			t.Errorf("killed at %s it became device %d", c.step, n)
		}
		m.crash()
		other := w.machine("other")
		other.bucket = c.objects
		as(other, read("a", big), read("b", "inline"))
		other.crash()
	}
	if len(left) < 10 {
		t.Errorf("only %d steps", len(left))
	}
}

// A removal that is killed at any step is done, or not begun, and whoever goes on sees
// to the hint.
func TestKilledWhileRemoving(t *testing.T) {
	w := newWorld(t)
	desk, m := w.machine("desktop"), w.laptop
	as(desk, write("x", "0"), lock)
	as(m, write("y", "0"), lock)

	type crash struct {
		step, state string
		objects     *mem.Bucket
	}
	var mu sync.Mutex // guards left
	var left []crash
	snap := func(step string) {
		mu.Lock()
		defer mu.Unlock()
		c := crash{step: step, state: filepath.Join(t.TempDir(), "state")}
		copyFolder(t, m.state(), c.state)
		c.objects = w.objects.Clone()
		left = append(left, c)
	}
	m.mustOpen()
	m.step = snap
	w.faults.Add(
		fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
			snap("before the ledger")
			defer snap("behind the ledger")
			return r.Do(ctx)
		}).Prefix(w.prefix("a")),
		fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
			defer snap("behind the hint")
			return r.Do(ctx)
		}).Prefix(w.prefix("k")),
	)
	as(m, remove(2))
	m.step = nil
	m.crash()
	if len(left) < 8 {
		t.Fatalf("only %d steps", len(left))
	}
	for _, again := range []bool{true, false} {
		for _, c := range left {
			restore(t, c.state, m.state())
			m.bucket = c.objects.Clone()
			if again {
				as(m, remove(2)) // the command once more
			} else {
				m.mustOpen()
				if err := m.v.sync.Owed(t.Context()); err != nil {
					t.Errorf("killed at %s: %v", c.step, err)
				}
			}
			_, gone := m.removedDevice(2)
			led := m.ledTo()
			if again && (!gone || !led) || gone && !led {
				t.Errorf("killed at %s, command again %v: removed %v, a hint leads there %v", c.step, again, gone, led)
			}
			m.crash()
		}
	}
}

// removedDevice looks into the ledger that the machine knows.
func (m *machine) removedDevice(no int) (Device, bool) {
	m.t.Helper()
	l, err := m.v.Devices(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, d := range l {
		if d.No == no {
			return d, d.Removed > 0
		}
	}
	return Device{}, false
}

// ledTo says whether the newest hint in the store names the ledger that m knows.
func (m *machine) ledTo() bool {
	m.t.Helper()
	l, err := m.v.loadChain(context.Background(), false)
	if err != nil {
		m.t.Fatal(err)
	}
	page, err := m.bucket.List(context.Background(), chain.HintPrefix(l.Chain.Volume), "", 1)
	if err != nil || len(page) == 0 {
		m.t.Fatalf("%d hints, %v", len(page), err)
	}
	object, err := m.bucket.Get(context.Background(), page[0].Name, 0, -1)
	if err != nil {
		m.t.Fatal(err)
	}
	sealed, err := chain.ParseHint(object)
	if err != nil {
		m.t.Fatal(err)
	}
	key, ok := l.Chain.EpochKey(sealed.Epoch)
	if !ok {
		m.t.Fatalf("a hint of epoch %d", sealed.Epoch)
	}
	h, err := sealed.Open(l.Chain.Volume, key)
	return err == nil && h.Ledger.Head == l.Chain.Ledger.Head()
}

// What a device works with goes along with its next change, and makes none by itself.
func TestProgramIsNoted(t *testing.T) {
	w := newWorld(t)
	desk, phone := w.machine("desktop"), w.machine("phone")
	works := func(m *machine, version, binary string) {
		p := meta.Program{Version: version, Hash: sha256.Sum256([]byte(binary))}
		m.set = func(o *Options) { o.Program = func() (meta.Program, bool) { return p, true } }
	}
	works(w.laptop, "v1", "good")
	works(desk, "v1", "good")
	works(phone, "v1", "other")
	for _, m := range []*machine{w.laptop, desk, phone} {
		as(m, write(m.name, "1"), lock)
	}
	slots := len(w.names("l"))
	works(desk, "v2", "new")
	as(desk, read("laptop", "1"), lock)
	if n := len(w.names("l")); n != slots {
		t.Errorf("%d slots after reading, %d before", n, slots)
	}
	list := func() map[string]Device {
		as(w.laptop, lock)
		w.laptop.mustOpen()
		l, err := w.laptop.v.Devices(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]Device{}
		for _, d := range l {
			out[d.Name] = d
		}
		return out
	}
	w.laptop.mustOpen()
	l := list()
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	if d := l["laptop"]; !d.This || d.No != 1 || d.Program != "v1" || d.Hash != sum("good") || d.Odd || d.EnrolledAt.IsZero() || d.Seen == 0 || d.SeenAt.IsZero() {
		t.Errorf("laptop %+v", d)
	}
	if d := l["desktop"]; d.This || d.Program != "v1" || d.Odd || d.Enrolled == 0 {
		t.Errorf("desktop %+v", d)
	}
	if d := l["phone"]; !d.Odd || d.Hash != sum("other") {
		t.Errorf("phone %+v", d)
	}
	as(desk, write("more", "2"), lock)
	if n := len(w.names("l")); n != slots+1 {
		t.Errorf("%d slots after one change, want %d", n, slots+1)
	}
	if d := list()["desktop"]; d.Program != "v2" || d.Odd {
		t.Errorf("desktop %+v", d)
	}
	// A machine without history, and one that folds, know the same.
	as(w.laptop, func(m *machine) error { return m.v.sync.Fold(context.Background()) }, lock)
	if d := list()["phone"]; d.Program != "v1" || d.Seen == 0 || d.SeenAt.IsZero() {
		t.Errorf("phone from a checkpoint: %+v", d)
	}
}

func TestRenameDevice(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("a", "1"), drained)
	as(w.laptop, func(m *machine) error { return m.v.RenameDevice(t.Context(), 2, "Küche") },
		func(m *machine) error { return m.v.RenameDevice(t.Context(), 1, "Flur") })
	for no, want := range map[int]string{1: "Flur", 2: "Küche"} {
		if d, _ := w.laptop.removedDevice(no); d.Name != want {
			t.Errorf("device %d is called %q", no, d.Name)
		}
	}
	if s := w.laptop.v.Status(); s.DeviceName != "Flur" {
		t.Errorf("this machine is called %q", s.DeviceName)
	}
	for no, want := range map[int]error{9: publish.ErrDevice, 0: publish.ErrDevice, 1 << 16: publish.ErrDevice} {
		if err := w.laptop.v.RenameDevice(t.Context(), no, "x"); !errors.Is(err, want) {
			t.Errorf("device %d: %v", no, err)
		}
		if err := w.laptop.v.RemoveDevices(t.Context(), []int{no}); !errors.Is(err, want) {
			t.Errorf("device %d: %v", no, err)
		}
	}
	if err := w.laptop.v.RenameDevice(t.Context(), 2, "a/b"); !errors.Is(err, chain.ErrDeviceName) {
		t.Errorf("a bad name: %v", err)
	}
	for no, name := range map[int]string{1: "Küche", 2: "Flur"} {
		if err := w.laptop.v.RenameDevice(t.Context(), no, name); !errors.Is(err, publish.ErrNamed) {
			t.Errorf("device %d as the other one is called: %v", no, err)
		}
		if d, _ := w.laptop.removedDevice(no); d.Name == name {
			t.Errorf("both are called %q", name)
		}
	}
	if err := w.laptop.v.RemoveDevices(t.Context(), []int{1}); !errors.Is(err, publish.ErrDevice) {
		t.Errorf("itself: %v", err)
	}
	as(w.laptop, lock)
	as(desk, write("b", "2"), drained, lock)
	as(desk, read("b", "2"))
	if s := desk.v.Status(); s.DeviceName != "Küche" {
		t.Errorf("that machine calls itself %q", s.DeviceName)
	}
}

// A store that hides the removal from a machine, and takes its commit for the same
// slot: the first message of the other history that comes through shows it.
func TestRemovalIsHidden(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("a", "1"), lock)
	hidden := w.objects.Clone()
	as(w.laptop, remove(2), write("b", "2"), lock)
	desk.bucket = hidden
	as(desk, write("c", "3"), drained, write("d", "4"), drained)
	// From here on it is shown what all others see.
	for _, n := range w.objects.Names() {
		if b, err := w.objects.Get(t.Context(), n, 0, -1); err == nil {
			hidden.Overwrite(n, b)
		}
	}
	as(desk, write("e", "5"))
	if err := drained(desk); err == nil {
		t.Error("it goes on")
	}
	as(desk, read("c", "3"))
	desk.crash()
	if err := desk.open(); err == nil {
		t.Error("it is mounted, as if nothing were")
		desk.crash()
	}
	desk.v = nil
	// Nothing of it is anywhere.
	as(w.machine("third"), read("b", "2"), missing("c"), missing("d"))
}
