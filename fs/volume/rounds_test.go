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

// Ordinary use of a drive by two machines, one at a time and both at once, with kills at every step, lost answers, clocks
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
	a := &usage{t: t, w: w, r: r, acked: map[string]string{}, now: time.Now()}
	a.machines = []*machine{w.laptop, w.machine("desk")}
	for _, m := range a.machines {
		m.fold = 8 + r.IntN(20)
		m.set = func(o *Options) { o.Clock = func() time.Time { return a.now } }
	}
	for i := range rounds {
		a.round(i)
	}
	for _, m := range a.machines {
		l := a.alive(m)
		l.open()
		l.settled()
	}
	third := w.machine("third")
	third.ro, third.unlock = true, w.newest()
	a.alive(third).open()
	for name, content := range a.acked {
		as(third, read(name, content))
	}
	t.Logf("%d files, %d kills, %d lost answers, %d times one saw what the other did meanwhile, slot %d, %d headers", len(a.acked), a.kills, a.lost, a.followed, third.v.view.Slot(), len(w.headers()))
	if rounds >= 60 && (a.kills == 0 || a.lost == 0 || a.followed == 0) {
		t.Error("nothing happened; the test is wrong")
	}
}

// usage is a drive in ordinary use.
type usage struct {
	t        *testing.T
	w        *world
	r        *rand.Rand
	machines []*machine
	now      time.Time
	acked    map[string]string // what was synced, by file; each machine has files of its own
	kills    int
	lost     int
	followed int // looks that found what the other did while both were mounted
	at       int
}

// round is a while at one machine, which ends in a kill or in a lock. In half of them the
// other is mounted as well, and at work.
func (a *usage) round(i int) {
	a.at = i
	which := a.r.IntN(2)
	m, other := a.machines[which], a.machines[1-which]
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
	l := a.alive(m)
	lives := []*lifetime{l}
	if a.r.IntN(2) == 0 {
		o := a.alive(other)
		o.open()
		lives = append(lives, o)
	}
	var mu sync.Mutex
	m.step = func(string) {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == -1 {
			l.kill()
		}
	}
	l.open()
	for range 1 + a.r.IntN(4) {
		for _, l := range lives {
			l.act()
		}
	}
	if len(lives) > 1 {
		for _, l := range lives {
			l.look()
		}
	}
	if a.r.IntN(3) > 0 {
		l.settled()
	}
	m.step = nil
	for _, l := range lives {
		l.m.crash()
		if l.grave != "" {
			l.m.restore(l.grave)
			a.kills++
		}
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

// lifetime is one life of a machine: a context and a line that end with a kill.
type lifetime struct {
	*usage
	m     *machine
	ctx   context.Context
	end   context.CancelFunc
	line  *line
	grave string // what a kill left of its state folder; empty: it lives
}

func (a *usage) alive(m *machine) *lifetime {
	l := &lifetime{usage: a, m: m, line: &line{Bucket: a.w.faults}}
	l.ctx, l.end = context.WithCancel(context.Background())
	m.bucket = l.line
	return l
}

// kill is the moment of a kill: what lies in the state folder now is what will be there,
// and nothing reaches the store any more.
func (l *lifetime) kill() {
	l.line.cut.Store(true)
	l.grave = l.t.TempDir()
	copyFolder(l.t, l.m.state(), l.grave)
	l.end()
	if l.m.v != nil {
		l.m.v.kill()
	}
}

// killed says whether the machine is dead, so that what it says is nobody's word.
func (l *lifetime) killed() bool { return l.ctx.Err() != nil }

// open mounts; that must always work, but for a store that gave no answer.
func (l *lifetime) open() {
	l.t.Helper()
	for try := 0; ; try++ {
		err := l.m.open()
		if err == nil || l.killed() {
			break
		}
		if errors.Is(err, ErrRollback) || errors.Is(err, ErrFork) || try == 5 {
			l.t.Fatalf("round %d, %s: %v", l.at, l.m.name, err)
		}
	}
	if l.m.v != nil {
		l.calm()
	}
}

// calm finds no alarm.
func (l *lifetime) calm() {
	l.t.Helper()
	if l.killed() {
		return
	}
	if s := l.m.v.Status(); s.Stopped != "" || len(s.Damaged) > 0 {
		l.t.Fatalf("round %d, %s: %q, damaged %v", l.at, l.m.name, s.Stopped, s.Damaged)
	}
	if log := l.m.log.String(); strings.Contains(log, "two histories") || strings.Contains(log, "missing commits") {
		l.t.Fatalf("round %d, %s: %s", l.at, l.m.name, log)
	}
}

// act is a program at work.
func (l *lifetime) act() {
	l.t.Helper()
	if l.killed() {
		return
	}
	name := fmt.Sprintf("%s-%d", l.m.name, l.r.IntN(8))
	content := fmt.Sprintf("%d %s", l.at, strings.Repeat("x", l.r.IntN(2000)))
	delete(l.acked, name) // until it is synced it may be this or that
	err := write(name, content)(l.m)
	if err == nil {
		err = fsync(name)(l.m)
	}
	switch {
	case l.killed():
		return
	case err == nil:
		l.acked[name] = content
	case errors.Is(err, ErrEnroll) || errors.Is(err, meta.ErrUnknown):
	default:
		l.t.Fatalf("round %d, %s: %v", l.at, l.m.name, err)
	}
	if l.r.IntN(3) == 0 {
		// An answer may be lost: it is tried again.
		if l.m.v.pinOld(l.ctx, 0) == nil {
			_ = l.m.v.sync.Publish(l.ctx)
		}
		l.calm()
	}
}

// look follows what the other did meanwhile.
func (l *lifetime) look() {
	l.t.Helper()
	if l.killed() {
		return
	}
	was := l.m.v.view.Slot()
	_ = l.m.v.sync.CatchUp(l.ctx)
	if l.m.v.view.Slot() > was {
		l.followed++
	}
	l.calm()
}

// settled locks with everything in the store.
func (l *lifetime) settled() {
	l.t.Helper()
	l.calm()
	if l.killed() {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Minute) // longer than any machine takes
	defer cancel()
	err := l.m.v.Shutdown(ctx)
	l.m.v = nil
	if err != nil && !l.killed() {
		l.t.Fatalf("round %d, %s is locked: %v", l.at, l.m.name, err)
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
