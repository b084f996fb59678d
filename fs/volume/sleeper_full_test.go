package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/journal"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// fullDisks are ways in which there is no room while a machine does something.
var fullDisks = map[string]func(m *machine, do func() error) error{
	"no room in the journal": func(m *machine, do func() error) error {
		_, secret := m.v.state.Journal()
		shut, _, _, err := journal.Open(m.t.TempDir(), journal.Options{Key: secret})
		if err != nil {
			return err
		}
		defer func(was *journal.Journal) { m.v.journal = was }(m.v.journal)
		m.v.journal = shut
		return errors.Join(shut.Close(), refuses(act(func(*machine) error { return do() }), journal.ErrClosed)(m))
	},
	"no room in the state": func(m *machine, do func() error) error {
		in := filepath.Join(m.state(), "state.new")
		if err := os.Mkdir(in, 0o700); err != nil {
			return err
		}
		err := do()
		if err == nil {
			return errors.New("the state was written")
		}
		return os.Remove(in)
	},
}

// A machine that slept with a commit on its way, while others trimmed, and whose disk is
// full for a moment when it comes back: the commit goes into no slot that was trimmed, and
// when there is room the machine goes on.
func TestSleeperWithAFullDisk(t *testing.T) {
	for full, whileFull := range fullDisks {
		for arrived, fate := range map[string]fault.Action{"never arrived": fault.Fail(store.ErrUnavailable), "had arrived": fault.LostAnswer} {
			for _, then := range []string{"goes on", "is killed"} {
				t.Run(full+", its commit "+arrived+", and it "+then, func(t *testing.T) {
					later(t, func(t *testing.T) {
						w := newWorld(t)
						w.laptop.trim = publish.TrimOptions{Keep: 5}
						m := w.machine("desktop")
						line := fault.Wrap(w.objects)
						m.bucket = line
						as(w.laptop, commits("a", 12), folded)
						as(m, write("mine", "1"), drained, write("late", "2"), fsync("late"))
						line.Add(fault.On(fault.Put, 1, fate).Prefix(w.prefix("l")), fault.On(fault.Put, 2, fault.Fail(store.ErrUnavailable)).Prefix(w.prefix("l")).Onwards(),
							fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Prefix(w.prefix("l")).Onwards()) // nor is it found there
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						if err := m.v.sync.Publish(ctx); err == nil {
							t.Fatal("it was published")
						}
						line.Clear()
						as(m, write("more", "5")) // is done again on what is there then
						rounds(w, w.laptop, "b", 4, 9)
						sleeps(34*day, m)
						rounds(w, w.laptop, "c", 2, 9)
						as(w.laptop, trimmed(-1))
						before := w.slots()

						as(m, func(m *machine) error {
							return whileFull(m, func() error { return upToDate(m) })
						})
						if then == "is killed" {
							m.crash()
						}
						as(m, upToDate, write("after", "3"), drained)
						for _, s := range w.slots() {
							if s < before[len(before)-1] && !slices.Contains(before, s) {
								t.Errorf("something was put into slot %d, which was trimmed", s)
							}
						}
						if s := m.v.Status(); s.Stopped != "" {
							t.Errorf("stopped: %s", s.Stopped)
						}
						as(w.laptop, upToDate, read("late", "2"), read("after", "3"))
						m.crash()
						as(m, write("last", "4"), drained)
						as(w.laptop, upToDate)
						if got, want := m.tree(), w.laptop.tree(); got != want {
							t.Errorf("it has\n%s\nand the others\n%s", got, want)
						}
					})
				})
			}
		}
	}
}

// A machine whose disk was full when it showed what others wrote remembers that as soon as
// there is room, although nothing new comes.
func TestFollowsOnAFullDisk(t *testing.T) {
	for full, whileFull := range fullDisks {
		t.Run(full, func(t *testing.T) {
			w := newWorld(t)
			m := w.machine("desktop")
			as(w.laptop, write("a", "1"), drained)
			as(m, upToDate, write("mine", "2"))
			as(w.laptop, write("b", "3"), drained)
			as(m, func(m *machine) error {
				return whileFull(m, func() error { return upToDate(m) })
			}, upToDate, read("b", "3"))
			if got, want := m.v.state.Head().Slot, w.slots()[len(w.slots())-1]; got != want {
				t.Errorf("slot %d is remembered, want %d", got, want)
			}
		})
	}
}
