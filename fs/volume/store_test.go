package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// Every answer that can be lost, at every kind of object that a machine writes.
func TestLostAnswers(t *testing.T) {
	for _, kind := range []string{"l", "p", "k", "a"} {
		for name, action := range map[string]fault.Action{
			"answer lost":          fault.LostAnswer,
			"arrives late":         fault.Late,
			"own success is a 412": fault.Twice,
			"never arrived":        fault.Fail(store.ErrUnavailable),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					m := w.machine("desktop") // writes all kinds: it has to be enrolled
					w.faults.Add(fault.On(fault.Put, 1, action).Prefix(w.prefix(kind)))
					m.run()
					as(m, write("a", big), fsync("a"))
					was := m.tree()
					if err := m.v.WaitStored(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.faults.Deliver(t.Context())
					as(m, write("b", "1"), lock)
					as(w.laptop, read("a", big), read("b", "1"), unlink("b"))
					if root := strings.SplitAfterN(was, "\n", 2)[1]; !strings.Contains(w.laptop.tree(), root) {
						t.Errorf("laptop sees\n%swant\n%s", w.laptop.tree(), root)
					}
					w.checkOps(1)
				})
			})
		}
	}
}

// prefix is where the objects of a kind lie.
func (w *world) prefix(kind string) string { return "v0/s/" + w.vol.String() + "/" + kind + "/" }

// checkOps loads the chain and expects no more device than enrolled.
func (w *world) checkOps(enrolled meta.Device) {
	w.t.Helper()
	l := w.load()
	if l.Trouble != nil || len(l.Damaged) > 0 {
		w.t.Errorf("chain: %v, damaged %v", l.Trouble, l.Damaged)
	}
	if n := l.Chain.Ledger.HighestDevice(); n != 1+enrolled {
		w.t.Errorf("%d devices, want %d", n, 1+enrolled)
	}
}

// load reads the chain as a machine without memory does.
func (w *world) load() *publish.Loaded {
	w.t.Helper()
	m := w.machine("auditor")
	m.ro = true
	m.mustOpen()
	l, err := publish.Load(context.Background(), publish.LoadOptions{
		Bucket: w.objects, Volume: w.vol, Identity: m.v.o.Drive.Identity(),
		Tables: m.v.tables, Keys: &publish.Keys{}, Memory: m.v.memory, Log: m.v.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// A look that fails after a 412 must not lead to a second commit for the slot.
func TestOneCommitForOneSlot(t *testing.T) {
	w := newWorld(t)
	slots, second := w.prefix("l"), string(chain.SlotName(w.vol, 2))
	w.faults.Add(
		fault.On(fault.Put, 1, fault.Twice).Prefix(slots),
		// It is looked who took the slot, in vain, and again.
		fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Prefix(second),
		fault.On(fault.Get, 2, fault.FlipBit(1000)).Prefix(second),
	)
	as(w.laptop, write("a", "1"),
		refuses(drained, store.ErrUnavailable), // no answer
		write("b", "2"),
		refuses(drained, store.ErrUnavailable), // a bad answer
		drained, read("a", "1"), lock)
	if n := len(w.names("l")); n != 3 {
		t.Errorf("%d slots", n)
	}
	as(w.machine("desktop"), read("a", "1"), read("b", "2"))
	puts := map[string]bool{}
	for _, c := range w.faults.Log() {
		if c.Op == fault.Put && strings.HasPrefix(c.Name, slots) {
			puts[fmt.Sprint(c.Name, c.Size)] = true
		}
	}
	if len(puts) != 2 { // by laptop; slot 1 was made without faults
		t.Errorf("commits that were sent: %v", puts)
	}
}

func TestLostSlotIsFollowed(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(w.laptop, write("old", "x"), drained)
	as(desk, write("theirs", "2"))
	var heard []string
	w.laptop.v.Watch(ear(func(c Change) {
		for _, n := range c.Names {
			heard = append(heard, string(n.Name))
		}
	}))
	as(w.laptop, write("mine", big))
	as(desk, drained)
	as(w.laptop, drained, read("theirs", "2"), read("mine", big), lock)
	if !slices.Contains(heard, "theirs") {
		t.Errorf("told of %v", heard)
	}
	as(desk, write("more", "3"), lock)
	as(desk, read("mine", big), read("theirs", "2"), read("more", "3"), read("old", "x"))
	w.checkOps(1)
}

func TestLostSlotUploadsNoPackTwice(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(desk, write("theirs", "2"))
	as(w.laptop, write("mine", big))
	w.faults.Add(fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		if err := drained(desk); err != nil {
			t.Error(err)
		}
		return r.Do(ctx)
	}).Prefix(w.prefix("l")))
	as(w.laptop, drained, lock)
	sent := map[string]int{}
	for _, c := range w.faults.Log() {
		if c.Op == fault.Put && strings.HasPrefix(c.Name, w.prefix("p")) {
			sent[c.Name]++
		}
	}
	for name, n := range sent {
		if n > 1 {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
}

// beside reads what lies beside a path since machine device was second to use it.
func beside(path, device, content string) act {
	return func(m *machine) error {
		return read(fmt.Sprintf("%s (conflict, %s, %s)", path, device, time.Now().UTC().Format(time.DateOnly)), content)(m)
	}
}

// Two machines that make the same name both keep what they wrote, and nobody is stuck.
func TestConflictKeepsBoth(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	as(w.laptop, write("x", "0"), drained)
	as(desk, write("y", "0"))
	as(w.laptop, write("a", "mine"), fsync("a"))
	as(desk, write("a", "theirs"), drained)
	as(w.laptop, drained, read("a", "theirs"), beside("a", "laptop", "mine"))
	if s := w.laptop.v.Status(); !s.Stored || s.PendingOps != 0 || s.Stopped != "" {
		t.Errorf("status %+v", s)
	}
	as(w.laptop, lock, read("a", "theirs"), beside("a", "laptop", "mine"))
	as(desk, lock, read("a", "theirs"), beside("a", "laptop", "mine"))
	w.checkOps(1)
}

// What waits is executed again after a kill as it was before: on the state that it was
// made on, in the form that it had got.
func TestConflictSurvivesKills(t *testing.T) {
	w := newWorld(t)
	desk, m := w.machine("desktop"), w.laptop
	as(m, write("x", "0"), mkdir("d"), write("d/f", "base"), drained)
	as(desk, read("x", "0"), mkdir("mine"), drained)
	as(m, write("a", "mine"), write("d/f", big), fsync("d/f"))
	as(desk, write("a", "theirs"), write("d/f", "their f"), drained)
	as(m, func(m *machine) error { return m.v.sync.CatchUp(context.Background()) }, read("a", "theirs"), beside("a", "laptop", "mine"), beside("d/f", "laptop", big),
		write("a (conflict, laptop, "+time.Now().UTC().Format(time.DateOnly)+")", "mine, again"), fsync("a"))
	want := m.tree()
	m.crash()
	m.mustOpen()
	if got := m.tree(); got != want {
		t.Errorf("after a kill it sees\n%s\nbefore it saw\n%s", got, want)
	}
	m.crash()
	as(desk, mkdir("more"), write("more/x", "1"), drained)
	as(m, read("more/x", "1"), beside("a", "laptop", "mine, again"), drained, beside("d/f", "laptop", big), read("d/f", "their f"), lock)
	as(desk, lock, beside("a", "laptop", "mine, again"), beside("d/f", "laptop", big))
}

// A state folder that was copied while conflicts waited in it goes on as a new device,
// with all that they kept.
func TestConflictInACopiedState(t *testing.T) {
	w := newWorld(t)
	desk, m := w.machine("desktop"), w.laptop
	as(m, write("f", "base"), drained)
	as(desk, write("mine", "1"), drained)
	as(m, write("f", "mine"), write("a", "mine"), fsync("a"), fsync("f"))
	as(desk, write("f", "theirs"), write("a", "theirs"), drained)
	as(m, func(m *machine) error { return m.v.sync.CatchUp(context.Background()) })
	m.crash()
	phone := w.machine("phone")
	copyFolder(t, m.state(), phone.state())
	as(desk, write("news", "2"), drained)
	as(phone, read("f", "theirs"), beside("f", "laptop", "mine"), beside("a", "laptop", "mine"), read("news", "2"), lock)
	as(desk, lock, beside("f", "laptop", "mine"), beside("a", "laptop", "mine"))
}

// What was written to a file that another machine deletes is neither dropped nor
// in the way of everything else.
func TestWriteToFileDeletedElsewhere(t *testing.T) {
	w := newWorld(t)
	m, desk := w.laptop, w.machine("desktop")
	as(m, write("a", "old"), lock)
	as(desk, unlink("a"))
	m.mustOpen()
	_, _, a, err := m.find("a")
	if err != nil {
		t.Fatal(err)
	}
	h, err := m.v.Open(context.Background(), a.Ref, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.v.Write(t.Context(), h, 0, []byte("new")); err != nil {
		t.Fatal(err)
	}
	as(desk, drained)
	as(m, mkdir("d"), func(m *machine) error { return m.v.persist() },
		func(m *machine) error { return m.v.sync.Publish(context.Background()) }, // without the floating bytes
		read("a", "new"), write("b", "1"))
	if err := m.v.Flush(context.Background(), h); err != nil {
		t.Errorf("close: %v", err)
	}
	as(m, read("a", "new"), lock, read("a", "new"), read("b", "1"))
	if got := m.conflicts(); !slices.Equal(got, []meta.ConflictKind{meta.ConflictRevived}) {
		t.Errorf("nobody is told: %v", got)
	}
}

func TestJunkInSlotIsSkipped(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"))
	w.objects.Overwrite(chain.SlotName(w.vol, 2), []byte("junk"))
	w.objects.Overwrite(chain.SlotName(w.vol, 3), make([]byte, 3<<20))
	as(w.laptop, drained, write("b", "2"), lock)
	desk := w.machine("desktop")
	as(desk, read("a", "1"), read("b", "2"), write("c", "3"), lock)
	as(w.laptop, read("c", "3"))
}

func TestRacedEnrolment(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	b.mustOpen()
	w.faults.Add(fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		as(b, mkdir("b"))
		return r.Do(ctx)
	}).Prefix(w.prefix("l")))
	as(a, mkdir("a"), drained)
	as(b, drained)
	if x, y := a.v.Status().Device, b.v.Status().Device; x != 3 || y != 2 {
		t.Errorf("devices %d and %d", x, y)
	}
	as(a, lock)
	as(b, lock)
	w.checkOps(2)
}

// A program that is interrupted while its machine is enrolled leaves a commit
// whose outcome is not known. The next change goes on with it.
func TestInterruptedEnrolment(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	m.mustOpen()
	ctx, cancel := context.WithCancel(t.Context())
	w.faults.Add(fault.On(fault.Put, 1, func(_ context.Context, r fault.Request) fault.Answer {
		cancel()
		return fault.LostAnswer(context.Background(), r)
	}).Prefix(w.prefix("l")))
	_, err := m.v.Make(ctx, meta.RootRef, []byte("a"), Node{Kind: meta.Dir, Perm: 0o755}, false)
	if !errors.Is(err, ErrEnroll) || !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	as(m, mkdir("a"), lock)
	w.checkOps(1)
}

func TestShutdownEndsEnrolment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.machine("desktop")
		m.run()
		w.faults.Add(fault.On(fault.Put, 0, fault.Hang))
		got := make(chan error, 1)
		go func(v *Volume) {
			_, err := v.Make(context.Background(), meta.RootRef, []byte("a"), Node{Kind: meta.Dir}, false)
			got <- err
		}(m.v)
		synctest.Wait()
		if err := m.shut(time.Minute); err != nil {
			t.Errorf("lock: %v", err)
		}
		if err := <-got; !errors.Is(err, ErrEnroll) {
			t.Errorf("mkdir: %v", err)
		}
	})
}

// What a store does to an object, and the named consequence.
func TestDamagedPack(t *testing.T) {
	other := strings.Repeat("other", len(big)/5)
	for name, harm := range map[string]func(w *world, victim, foreign string){
		"missing": func(w *world, victim, _ string) { _ = w.objects.Delete(context.Background(), victim) },
		"one bit": func(w *world, victim, _ string) { w.change(victim, func(b []byte) []byte { b[7] ^= 4; return b }) },
		"cut":     func(w *world, victim, _ string) { w.change(victim, func(b []byte) []byte { return b[:len(b)-1] }) },
		"empty":   func(w *world, victim, _ string) { w.objects.Overwrite(victim, nil) },
		"swapped": func(w *world, victim, _ string) {
			for _, n := range w.names("p") {
				if n != victim {
					w.objects.Overwrite(victim, w.object(n))
				}
			}
		},
		"another volume's": func(w *world, victim, foreign string) { w.objects.Overwrite(victim, []byte(foreign)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, stranger := newWorld(t), newWorld(t)
			w.laptop.near = 64 << 20
			as(stranger.laptop, write("a", big), lock)
			as(w.laptop, write("a", big), drained)
			victim := w.names("p")[0]
			as(w.laptop, write("b", other), lock)
			harm(w, victim, string(stranger.object(stranger.names("p")[0])))
			m := w.machine("desktop")
			as(m, refuses(read("a", big), pack.ErrDamaged), read("b", other))
			if s := m.v.Status(); !slices.Contains(s.Damaged, victim) {
				t.Errorf("damaged: %v, want %s", s.Damaged, victim)
			}
			if log := m.log.String(); !strings.Contains(log, victim) {
				t.Errorf("the log does not name it: %s", log)
			}
			// The rest goes on, and a machine that has a copy still reads it.
			as(m, write("c", "1"), lock)
			as(w.laptop, read("a", big), read("c", "1"))
		})
	}
}

func (w *world) object(name string) []byte {
	w.t.Helper()
	b, err := w.objects.Get(context.Background(), name, 0, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) change(name string, how func([]byte) []byte) {
	w.t.Helper()
	w.objects.Overwrite(name, how(w.object(name)))
}

func TestDamagedCommit(t *testing.T) {
	for name, harm := range map[string]func(w *world, victim string){
		"missing": func(w *world, victim string) { _ = w.objects.Delete(context.Background(), victim) },
		"one bit": func(w *world, victim string) { w.change(victim, func(b []byte) []byte { b[7] ^= 4; return b }) },
		"cut":     func(w *world, victim string) { w.change(victim, func(b []byte) []byte { return b[:len(b)/2] }) },
		"empty":   func(w *world, victim string) { w.objects.Overwrite(victim, nil) },
		"swapped": func(w *world, victim string) { w.objects.Overwrite(victim, w.object(chain.SlotName(w.vol, 1))) },
	} {
		for _, slot := range []chain.Slot{2, 3} {
			t.Run(fmt.Sprintf("%s, slot %d of 3", name, slot), func(t *testing.T) {
				w := newWorld(t)
				as(w.laptop, write("a", "1"), drained, write("b", "2"), lock)
				victim := chain.SlotName(w.vol, slot)
				harm(w, victim)
				// Who has seen more refuses to go back, and says what is missing.
				if err := w.laptop.open(); !errors.Is(err, ErrRollback) || slot == 2 && !strings.Contains(err.Error(), victim) {
					t.Errorf("laptop: %v", err)
				}
				// Who has not sees what was before, and writes nothing after a hole.
				m := w.machine("desktop")
				as(m, missing("b"))
				if slot == 3 {
					as(m, read("a", "1"))
					return
				}
				as(m, missing("a"), refuses(mkdir("c"), publish.ErrRollback))
				if s := m.v.Status(); s.Stopped == "" || !slices.Contains(s.Damaged, victim) {
					t.Errorf("status %+v", s)
				}
			})
		}
	}
}

func TestDamagedHintOrLedger(t *testing.T) {
	for _, kind := range []string{"k", "a"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			first := w.names(kind)[0]
			as(w.machine("desktop"), write("a", "1"), lock) // enrolment wrote new ones
			for _, n := range w.names(kind) {
				if n != first {
					w.change(n, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
				}
			}
			as(w.machine("third"), read("a", "1"), write("b", "2"), lock)
			for _, n := range w.names(kind) {
				w.objects.Overwrite(n, []byte("junk"))
			}
			if kind == "a" {
				// A hint holds a small ledger itself.
				as(w.machine("fourth"), read("a", "1"))
				return
			}
			if err := w.machine("fourth").open(); !errors.Is(err, publish.ErrNoKey) {
				t.Errorf("without any: %v", err)
			}
		})
	}
}

// A machine without memory has only the word of the newest hint.
func TestHiddenSlotsAfterHint(t *testing.T) {
	w := newWorld(t)
	as(w.machine("desktop"), mkdir("a"), lock)
	for _, n := range w.names("l")[:2] {
		_ = w.objects.Delete(t.Context(), n)
	}
	m := w.machine("third")
	as(m, missing("a"), refuses(mkdir("b"), publish.ErrRollback))
}

// After a restart, too, a copy lies beside the file that it is a copy of: the journal says
// where that was.
func TestConflictAfterARestart(t *testing.T) {
	w := newWorld(t)
	desk, m := w.machine("desktop"), w.laptop
	as(m, mkdir("d"), mkdir("d/e"), write("d/e/f", "base"), drained)
	as(desk, write("mine", "1"), drained)
	as(m, rewrite("d/e/f", "mine"), fsync("d/e/f"))
	m.crash()
	as(desk, rewrite("d/e/f", "theirs"), drained)
	as(m, read("d/e/f", "theirs"), beside("d/e/f", "laptop", "mine"), lock)
	as(desk, lock, beside("d/e/f", "laptop", "mine"))
}
