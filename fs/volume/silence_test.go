package volume

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

// freezer is a store that shows a machine no more than there was at a moment, and takes
// what that machine writes.
type freezer struct {
	store.Bucket
	frozen atomic.Pointer[mem.Bucket] // nil: it shows all
}

func (b *freezer) now() store.Bucket {
	if f := b.frozen.Load(); f != nil {
		return f
	}
	return b.Bucket
}

func (b *freezer) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	return b.now().PutIfAbsent(ctx, name, data)
}

func (b *freezer) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return b.now().Get(ctx, name, off, n)
}

func (b *freezer) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	return b.now().List(ctx, prefix, after, max)
}

// listener is a machine that asks for what others write, for days, and writes nothing.
type listener struct {
	*machine
	store *freezer
	end   func()
	wrong atomic.Int64 // nanoseconds by which its clock is
}

func (w *world) listener(name string) *listener {
	m := w.machine(name)
	l := &listener{machine: m, store: &freezer{Bucket: m.bucket}}
	m.bucket = l.store
	m.set = func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(time.Duration(l.wrong.Load())) } }
	return l
}

// listen follows, and does nothing else of what a mount does each second.
func (l *listener) listen() {
	l.t.Helper()
	l.mustOpen()
	ctx, cancel := context.WithCancel(l.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = l.v.sync.Follow(ctx)
	}()
	l.end = func() { cancel(); <-ended }
}

// again unmounts and mounts.
func (l *listener) again() {
	l.t.Helper()
	l.end()
	l.machine.crash()
	l.listen()
}

// daily has a machine write once a day, for days, and others hear of it.
func daily(w *world, m *machine, days int) {
	w.t.Helper()
	for range days {
		time.Sleep(day / 2)
		as(m, write("diary", fmt.Sprint(time.Now())), drained)
		time.Sleep(day / 2)
	}
	synctest.Wait()
}

// silence is what a status says of the silence of others, and for how many days.
func (m *machine) silence() (text string, days int) {
	s := m.v.Status()
	for _, w := range s.Warnings {
		if strings.HasPrefix(w, others+": ") {
			text = w
		}
	}
	return text, s.QuietDays
}

// isSilent finds whether a machine says that nothing of others comes.
func (m *machine) isSilent(want bool) {
	m.t.Helper()
	text, days := m.silence()
	if (text != "") != want || (days > 0) != want {
		m.t.Fatalf("%d days, %q", days, text)
	}
}

// A store that keeps to itself what others write is noticed by a machine that asked for
// days in vain, in each mount, once a day in the log; and as soon as it shows something
// all is well.
func TestFrozenStore(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("read-only %v", readOnly), func(t *testing.T) {
			later(t, func(t *testing.T) {
				w := newWorld(t)
				as(w.laptop, write("a", "1"), drained)
				desk := w.listener("desk")
				if desk.ro = readOnly; !readOnly {
					as(desk.machine, write("desk", "1"), drained)
				}
				desk.listen()
				defer func() { desk.end() }()
				daily(w, w.laptop, 3)
				desk.again() // what is known of those days is kept
				daily(w, w.laptop, 4)
				newest := desk.v.view.Slot()
				desk.store.frozen.Store(w.objects.Clone())
				daily(w, w.laptop, 4)
				desk.isSilent(false)
				daily(w, w.laptop, 3)
				desk.isSilent(true)
				text, days := desk.silence()
				if want := fmt.Sprintf("on %d days", days); days < 5 || days > 6 || !strings.Contains(text, want) || !strings.Contains(text, fmt.Sprintf("slot %d,", newest)) || !strings.Contains(text, "hushfs heads") {
					t.Errorf("%d days: %q", days, text)
				}
				if n := strings.Count(desk.log.String(), "nothing new of other machines comes"); n != days-4 {
					t.Errorf("the log says it %d times on %d days", n, days-4)
				}
				desk.again()
				desk.isSilent(false) // it has not asked yet
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				desk.isSilent(true)
				if !readOnly {
					// What this machine writes is nobody else's news.
					daily(w, desk.machine, 3)
					desk.isSilent(true)
					return
				}
				desk.store.frozen.Store(nil)
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				desk.isSilent(false)
				if !strings.Contains(desk.log.String(), "come again") {
					t.Error("the log does not say that it is over")
				}
				daily(w, w.laptop, 2)
				desk.isSilent(false)
			})
		})
	}
}

// Nothing is said where nothing is remarkable: nobody else wrote daily, the machine or
// the store was away, or the clock is wrong.
func TestNoFalseSilence(t *testing.T) {
	for name, c := range map[string]func(w *world, desk *listener){
		"one device alone": func(w *world, desk *listener) {
			alone := newWorld(w.t)
			desk.end()
			desk.machine.crash()
			desk.unlock, desk.dir, desk.store.Bucket = alone.unlock, alone.laptop.dir, alone.objects
			desk.listen()
			daily(w, desk.machine, 8)
			time.Sleep(20 * day)
		},
		"they write now and then": func(w *world, desk *listener) {
			for range 5 {
				daily(w, w.laptop, 1)
				time.Sleep(3 * day)
			}
			time.Sleep(10 * day)
		},
		"the store was away": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			w.faults.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)))
			time.Sleep(20 * day)
			w.faults.Clear()
			time.Sleep(day)
		},
		"the store is there for an hour a day": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			for range 12 {
				w.faults.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)))
				time.Sleep(23 * time.Hour)
				w.faults.Clear()
				time.Sleep(time.Hour)
			}
		},
		"the store was set back, which is said": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			w.without(w.names("l")[0])
			time.Sleep(8 * day)
		},
		"this machine was away": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			desk.end()
			desk.machine.crash()
			time.Sleep(20 * day)
			desk.listen()
			time.Sleep(4 * day)
		},
		"it was away while they wrote on": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			desk.end()
			desk.machine.crash()
			daily(w, w.laptop, 8)
			desk.listen()
			time.Sleep(5 * day)
		},
		"a clock that jumps": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			for i := range 19 {
				jump := time.Duration(1+i%7) * day
				if i%2 == 0 {
					jump = -2 * jump
				}
				desk.wrong.Add(int64(jump))
				time.Sleep(time.Hour)
			}
		},
		"the device that wrote is removed": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			_, no, _ := w.laptop.v.state.Device()
			as(desk.machine, func(m *machine) error { return m.v.RemoveDevices(m.t.Context(), []int{int(no)}) })
			time.Sleep(20 * day)
		},
		"who wrote handed the writing to this machine": func(w *world, desk *listener) {
			daily(w, w.laptop, 8)
			as(w.laptop, func(m *machine) error {
				_, err := m.v.HandOver(m.t.Context(), publish.Heir{Name: "desk"})
				return err
			})
			time.Sleep(20 * day)
		},
	} {
		t.Run(name, func(t *testing.T) {
			later(t, func(t *testing.T) {
				w := newWorld(t)
				as(w.laptop, write("a", "1"), drained)
				desk := w.listener("desk")
				as(desk.machine, write("desk", "1"), drained)
				desk.listen()
				defer func() { desk.end() }()
				c(w, desk)
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				desk.isSilent(false)
				if log := desk.log.String(); strings.Contains(log, "nothing new of other machines") {
					t.Error(log)
				}
			})
		})
	}
}

// It is asked too where each look finds something, as on a drive that others use all day.
func TestSilenceOfABusyDrive(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "1"), drained)
		desk := w.listener("desk")
		as(desk.machine, write("desk", "1"), drained)
		desk.listen()
		defer func() { desk.end() }()
		time.Sleep(10 * time.Minute) // nobody uses it: it looks once a minute
		before := desk.v.state.Silence().Asked
		for range 60 {
			as(w.laptop, write("diary", fmt.Sprint(time.Now())), drained)
			time.Sleep(time.Minute / 2)
		}
		synctest.Wait()
		if asked := desk.v.state.Silence().Asked - before; asked < 25*time.Minute || asked > 35*time.Minute {
			t.Errorf("in half an hour it asked for %v", asked)
		}
	})
}
