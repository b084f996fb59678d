package volume

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	publish "github.com/hushfs/hushfs/fs/sync"
)

// clockSteps are by how much a clock is wrong when a machine wakes: of one whose battery is
// dead, or whose clock another system, or a server, has set meanwhile.
var clockSteps = map[string]time.Duration{
	"days back": -10 * day, "days ahead": 10 * day, "years back": -20 * 365 * day, "years ahead": 20 * 365 * day,
}

// stepped gives a machine a clock that can be made wrong.
func (m *machine) stepped() (wrong *atomic.Int64) {
	wrong = new(atomic.Int64)
	m.set = func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(time.Duration(wrong.Load())) } }
	return wrong
}

// suspends lets a machine sleep: the time by which it waits stands still, what counts sleep
// goes on, and its clock is set.
func (m *machine) suspends(d time.Duration, wrong *atomic.Int64, step time.Duration) {
	m.slept.Add(int64(d))
	wrong.Store(int64(step))
}

// calm finds that a machine says nothing strange.
func (m *machine) calm() {
	m.t.Helper()
	if s := m.v.Status(); s.Stopped != "" || s.Offline != "" || len(s.Damaged) > 0 || len(s.Warnings) > 0 || s.QuietDays > 0 {
		m.t.Errorf("the %s says %q, %q, %q, %q, %d quiet days", m.name, s.Stopped, s.Offline, s.Damaged, s.Warnings, s.QuietDays)
	}
	for _, bad := range []string{"two histories", "missing commits", "set back", "slept"} {
		if log := m.log.String(); strings.Contains(log, bad) {
			m.t.Errorf("the log of the %s says %q:\n%s", m.name, bad, log)
		}
	}
}

// Whatever became of the clock of a machine while it was asleep: within a minute, or at
// once if it is told that it is awake, it shows what others wrote, what waited and what is
// written now is sent, and it asks no more than ever.
func TestClockStepsInASuspend(t *testing.T) {
	for name, step := range clockSteps {
		for _, d := range []time.Duration{20 * time.Minute, 5 * day} {
			for _, told := range []bool{false, true} {
				if told && d < day {
					continue // as the other
				}
				t.Run(fmt.Sprintf("%s, after %s, told %v", name, d, told), func(t *testing.T) {
					later(t, func(t *testing.T) {
						w := newWorld(t)
						desk := w.machine("desktop")
						wrong := w.laptop.stepped()
						as(w.laptop, write("a", "1"), drained)
						as(desk, write("d", "1"), drained)
						w.laptop.run()
						defer w.laptop.halt()
						time.Sleep(5 * time.Minute)
						as(w.laptop, write("before", "1"), fsync("before")) // waits when the lid is closed
						synctest.Wait()

						as(desk, write("d", "2"), drained, write("new", "1"), drained)
						w.laptop.suspends(d, wrong, step)
						w.asked()
						bound := pollIdleBound
						if told {
							w.laptop.v.Resumed()
							bound = time.Second
						}
						time.Sleep(bound)
						synctest.Wait()
						as(w.laptop, read("d", "2"), read("new", "1"), write("after", "1"))
						time.Sleep(sendBound)
						synctest.Wait()
						as(desk, upToDate, read("before", "1"), read("after", "1"))
						if s := w.laptop.v.Status(); !s.Stored {
							t.Errorf("%d operations wait", s.PendingOps)
						}
						w.laptop.calm()
						desk.calm()
						time.Sleep(10 * time.Minute)
						synctest.Wait()
						if n, _ := w.asked(); n > 150 {
							t.Errorf("%d requests in ten minutes", n)
						}
						w.laptop.calm()
					})
				})
			}
		}
	}
}

const (
	// pollIdleBound is how old what a machine in no use shows may be, sendBound how long
	// what was written may wait on one that is mounted.
	pollIdleBound = 61 * time.Second
	sendBound     = 12 * time.Second
)

// A store that was set back while a machine slept is found out as soon, whatever its
// clock says then.
func TestClockStepsAndSetback(t *testing.T) {
	for name, step := range clockSteps {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, desk := idleWorld(t)
				wrong := desk.stepped()
				desk.run()
				defer desk.halt()
				time.Sleep(3 * time.Minute)
				w.without(w.names("l")[0])
				desk.suspends(20*time.Minute, wrong, step)
				time.Sleep(pollIdleBound)
				synctest.Wait()
				if s := desk.v.Status(); !strings.Contains(s.Stopped, "missing commits") {
					t.Errorf("status says %q", s.Stopped)
				}
			})
		})
	}
}

// One that slept while others trimmed goes on where they are, whatever its clock says:
// what waited is sent, and nothing is put where commits were.
func TestClockStepsAndTrim(t *testing.T) {
	for _, name := range []string{"years back", "days ahead"} {
		t.Run(name, func(t *testing.T) {
			step := clockSteps[name]
			later(t, func(t *testing.T) {
				w := newWorld(t)
				w.laptop.trim = publish.TrimOptions{Keep: 5}
				m := w.machine("desktop")
				wrong := m.stepped()
				as(w.laptop, commits("a", 12), folded)
				as(m, write("mine", "1"), drained, write("late", "2"), fsync("late"))
				rounds(w, w.laptop, "b", 4, 9)
				time.Sleep(30 * day)
				m.suspends(34*day, wrong, step)
				rounds(w, w.laptop, "c", 2, 9)
				as(w.laptop, trimmed(-1))
				before := w.slots()
				as(m, write("after", "3"), drained, read("c1.3", "3"), read("late", "2"))
				for _, s := range w.slots() {
					if s < before[0] {
						t.Errorf("something was put into slot %d, and the first that is left is %d", s, before[0])
					}
				}
				// Nothing that is young goes by its clock either.
				left := w.slots()
				m.trim = publish.TrimOptions{Keep: 5}
				as(m, folded, lock, trimmed(0))
				if now := w.slots(); now[0] != left[0] {
					t.Errorf("slots from %d on, before from %d on", now[0], left[0])
				}
				as(w.laptop, upToDate, read("late", "2"), read("after", "3"))
				if s := m.v.Status(); s.Stopped != "" {
					t.Error(s.Stopped)
				}
			})
		})
	}
}
