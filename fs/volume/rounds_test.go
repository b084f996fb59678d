package volume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// roundsEnv is how many rounds TestNoFalseAlarm has; roundsSeed repeats one.
const (
	roundsEnv  = "HUSHFS_ROUNDS"
	roundsSeed = "HUSHFS_ROUNDS_SEED"
)

func number(t *testing.T, env string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}

// Ordinary use of a drive by two machines, with kills at every step, lost answers, clocks
// that jump by days, sleep, folding, and unmounts that raise the minimum head, is never
// taken for a rollback or a fork, by those machines or by one without memory; and all
// that was synced is there.
func TestNoFalseAlarm(t *testing.T) {
	rounds := int(number(t, roundsEnv, 60))
	seed := uint64(1)
	if os.Getenv(roundsEnv) != "" {
		seed = rand.Uint64()
	}
	seed = number(t, roundsSeed, seed)
	t.Logf("%d rounds; the same again: %s=%d", rounds, roundsSeed, seed)
	r := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(t)
	w.laptop.near = 64 << 20
	a := &usage{t: t, w: w, r: r, rounds: rounds, acked: map[string]string{}, now: time.Now()}
	a.machines = []*machine{w.laptop, w.machine("desk")}
	for _, m := range a.machines {
		m.fold = 8 + r.IntN(20)
		m.set = func(o *Options) { o.Clock = func() time.Time { return a.now } }
	}
	for i := range rounds {
		a.round(i)
	}
	for _, m := range a.machines {
		a.alive(m)
		a.open(m)
		a.settled(m)
	}
	third := w.machine("third")
	third.ro, third.unlock = true, w.newest()
	a.open(third)
	for name, content := range a.acked {
		as(third, read(name, content))
	}
	t.Logf("%d files, %d kills, %d lost answers, slot %d, %d headers", len(a.acked), a.kills, a.lost, third.v.view.Slot(), len(w.headers()))
	if rounds >= 60 && (a.kills == 0 || a.lost == 0) {
		t.Error("nothing happened; the test is wrong")
	}
}

// usage is a drive in ordinary use.
type usage struct {
	t        *testing.T
	w        *world
	r        *rand.Rand
	machines []*machine
	rounds   int
	now      time.Time
	acked    map[string]string // what was synced, by file; each machine has files of its own
	kills    int
	lost     int
	at       int

	ctx   context.Context // of the machine that is in use
	end   context.CancelFunc
	line  *line
	grave string // what a kill left of its state folder; empty: it lives
}

// round is a while at one machine, which ends in a kill or in a lock.
func (a *usage) round(i int) {
	a.at = i
	m := a.machines[a.r.IntN(len(a.machines))]
	switch a.r.IntN(6) {
	case 0:
		a.now = a.now.Add(time.Duration(a.r.Int64N(int64(10 * 24 * time.Hour))))
	case 1:
		a.now = a.now.Add(-time.Duration(a.r.Int64N(int64(10 * 24 * time.Hour))))
	case 2:
		m.slept.Add(a.r.Int64N(int64(3 * 24 * time.Hour)))
	case 3:
		a.now = time.Now().AddDate(a.r.IntN(120)-60, 0, 0) // not a walk: it ends in no year that a clock cannot show
	}
	if i%20 == 10 || a.r.IntN(8) == 0 {
		a.w.faults.Add(fault.On(fault.Put, 1+a.r.IntN(4), fault.LostAnswer))
		a.lost++
	}
	left := -1
	if a.r.IntN(2) == 0 {
		left = a.r.IntN(60)
	}
	if a.r.IntN(5) == 0 {
		m.unlock = a.w.newest() // with the minimum head that somebody wrote there
	}
	a.alive(m)
	var mu sync.Mutex
	m.step = func(string) {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == -1 {
			a.kill(m)
		}
	}
	a.open(m)
	for range 1 + a.r.IntN(4) {
		a.act(m)
	}
	if a.r.IntN(3) > 0 {
		a.settled(m)
	}
	m.step = nil
	m.crash()
	if a.grave != "" {
		m.restore(a.grave)
		a.grave = ""
		a.kills++
	}
}

// line is a machine's way to the store, which ends with the machine.
type line struct {
	store.Bucket
	cut atomic.Bool
}

func (l *line) PutIfAbsent(ctx context.Context, name string, b []byte) error {
	if l.cut.Load() {
		return store.ErrUnavailable
	}
	return l.Bucket.PutIfAbsent(ctx, name, b)
}

// alive gives a machine a life: a context and a line that end with a kill.
func (a *usage) alive(m *machine) {
	a.ctx, a.end = context.WithCancel(context.Background())
	a.line = &line{Bucket: a.w.faults}
	m.bucket = a.line
}

// kill is the moment of a kill: what lies in the state folder now is what will be there,
// and nothing reaches the store any more.
func (a *usage) kill(m *machine) {
	a.line.cut.Store(true)
	a.grave = a.t.TempDir()
	copyFolder(a.t, m.state(), a.grave)
	a.end()
	if m.v != nil {
		m.v.kill()
	}
}

// killed says whether the machine of this round is dead, so that what it says is nobody's
// word.
func (a *usage) killed() bool { return a.ctx != nil && a.ctx.Err() != nil }

// open mounts; that must always work, but for a store that gave no answer.
func (a *usage) open(m *machine) {
	a.t.Helper()
	if m.v != nil {
		return
	}
	for try := 0; ; try++ {
		err := m.open()
		if err == nil || a.killed() {
			break
		}
		if errors.Is(err, ErrRollback) || errors.Is(err, ErrFork) || try == 5 {
			a.t.Fatalf("round %d, %s: %v", a.at, m.name, err)
		}
	}
	if m.v != nil {
		a.calm(m)
	}
}

// calm finds no alarm.
func (a *usage) calm(m *machine) {
	a.t.Helper()
	if a.killed() {
		return
	}
	if s := m.v.Status(); s.Stopped != "" || len(s.Damaged) > 0 {
		a.t.Fatalf("round %d, %s: %q, damaged %v", a.at, m.name, s.Stopped, s.Damaged)
	}
	if log := m.log.String(); strings.Contains(log, "two histories") || strings.Contains(log, "missing commits") {
		a.t.Fatalf("round %d, %s: %s", a.at, m.name, log)
	}
}

// act is a program at work.
func (a *usage) act(m *machine) {
	a.t.Helper()
	if a.killed() {
		return
	}
	name := fmt.Sprintf("%s-%d", m.name, a.r.IntN(8))
	content := fmt.Sprintf("%d %s", a.at, strings.Repeat("x", a.r.IntN(2000)))
	delete(a.acked, name) // until it is synced it may be this or that
	err := write(name, content)(m)
	if err == nil {
		err = fsync(name)(m)
	}
	switch {
	case a.killed():
		return
	case err == nil:
		a.acked[name] = content
	case errors.Is(err, ErrEnroll) || errors.Is(err, meta.ErrUnknown):
	default:
		a.t.Fatalf("round %d, %s: %v", a.at, m.name, err)
	}
	if a.r.IntN(3) == 0 {
		// An answer may be lost: it is tried again.
		if m.v.pinOld(a.ctx, 0) == nil {
			_ = m.v.sync.Publish(a.ctx)
		}
		a.calm(m)
	}
}

// settled locks with everything in the store.
func (a *usage) settled(m *machine) {
	a.t.Helper()
	a.calm(m)
	if a.killed() {
		return
	}
	ctx, cancel := context.WithTimeout(a.ctx, 10*time.Minute) // longer than any machine takes
	defer cancel()
	err := m.v.Shutdown(ctx)
	m.v = nil
	if err != nil && !a.killed() {
		a.t.Fatalf("round %d, %s is locked: %v", a.at, m.name, err)
	}
}

func (w *world) headers() (l []string) {
	for _, n := range w.objects.Names() {
		if strings.HasPrefix(n, "v0/h/") {
			l = append(l, n)
		}
	}
	return l
}

// The clock of a machine decides nothing between machines.
func TestClocksAreNotBelieved(t *testing.T) {
	for name, clock := range map[string]func(n int) time.Time{
		"at the beginning":     func(int) time.Time { return time.Unix(0, 0) },
		"before the beginning": func(int) time.Time { return time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC) },
		"centuries ahead":      func(int) time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) },
		"running backwards":    func(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -n) },
		"jumping":              func(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate((n%3-1)*40, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			desk := w.machine("desk")
			n := 0
			w.laptop.set = func(o *Options) {
				o.Clock = func() time.Time { n++; return clock(n) }
			}
			w.laptop.near = 64 << 20
			for i := range 2 {
				as(w.laptop, write(fmt.Sprint("l", i), "1"), lock)
				w.laptop.slept.Add(int64(48 * time.Hour))
				as(desk, read(fmt.Sprint("l", i), "1"), write(fmt.Sprint("d", i), "1"), lock)
				as(w.laptop, read(fmt.Sprint("d", i), "1"), lock)
			}
			old := w.objects.Clone()
			as(w.laptop, write("more", "1"), lock)
			w.laptop.bucket = old
			if s := w.laptop.setBack(); s.Missing.Slots != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}

// A machine without memory is protected by what others wrote into the drive's header.
func TestMinimumProtectsANewMachine(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), lock)
	old := w.objects.Clone()
	w.laptop.set = func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(25 * time.Hour) } }
	as(w.laptop, write("a", "2"), lock)
	if n := len(w.headers()); n != 3 {
		t.Fatalf("%d headers", n)
	}
	pass := w.newest()
	m := w.machine("new")
	m.unlock = pass
	m.bucket = old
	s := m.setBack()
	if s.By != Keyring || s.Seen.Slot != 3 || s.Store.Slot != 2 || s.Missing.Slots != 1 || s.Missing.Unknown != 1 {
		t.Errorf("%v: %+v", s, s)
	}
	if !strings.Contains(s.Error(), "the drive's header saw slot 3") {
		t.Error(s)
	}
	// Another history of the same length.
	fork := w.machine("fork")
	fork.bucket = old
	as(fork, write("b", "1"), lock)
	if s := m.setBack(); !s.Fork || s.By != Keyring {
		t.Errorf("%v", s)
	}
	m.bucket = w.faults
	as(m, read("a", "2"), write("b", "1"), lock)

	// A machine that refuses, or that only reads, raises nothing.
	before := len(w.headers())
	m.ro = true
	m.set = func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(100 * time.Hour) } }
	as(m, read("b", "1"), lock)
	if n := len(w.headers()); n != before {
		t.Errorf("%d headers, not %d", n, before)
	}
}

// A minimum that was given up refuses nobody, and is lowered by the next unmount.
func TestMinimumThatWasGivenUp(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), lock)
	old := w.objects.Clone()
	w.laptop.set = func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(25 * time.Hour) } }
	as(w.laptop, write("a", "2"), drained, write("a", "3"), drained, write("a", "4"), drained, write("a", "5"), drained, lock)
	pass := w.newest()
	// The commits alone are older: the header is there.
	for _, n := range w.names("l") {
		if _, err := old.Get(t.Context(), n, 0, 1); err != nil {
			if err := w.objects.Delete(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	fresh := w.machine("new")
	fresh.unlock = pass
	if s := fresh.setBack(); s.By != Keyring {
		t.Errorf("%v", s)
	}
	w.laptop.set = nil
	w.laptop.unlock = pass
	w.laptop.mustAccept()
	w.laptop.crash()
	as(fresh, read("a", "1"), write("b", "1"), lock)
	if h := w.look(w.objects, t.TempDir()); h.Setback != nil {
		t.Errorf("%v", h.Setback)
	}
	last := w.machine("last")
	last.unlock = w.newest()
	as(last, read("a", "1"), read("b", "1"), lock)
	u, err := drive.FromHandover(last.unlock)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Wipe()
	if min, head := u.Main().MinSlot, w.look(w.objects, t.TempDir()).Store.Slot; min == 0 || min > uint64(head) {
		t.Errorf("minimum %d, head %d", min, head)
	}
	as(w.laptop, read("b", "1"), lock)
}

// newest unlocks with the newest header in the store.
func (w *world) newest() []byte {
	w.t.Helper()
	u, err := drive.Unlock(w.t.Context(), w.objects, drive.UnlockOptions{Passphrase: []byte("open sesame")})
	if err != nil {
		w.t.Fatal(err)
	}
	defer u.Wipe()
	return u.Handover()
}
