package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

const day = 24 * time.Hour

// later runs a test on a clock that only sleeping moves. All that signs, and the store,
// go by it.
func later(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

// sleeps lets time go by for everybody, and tells these machines that they slept.
func sleeps(d time.Duration, asleep ...*machine) {
	time.Sleep(d)
	for _, m := range asleep {
		m.slept.Add(int64(d))
	}
}

// trimmed trims all that there is to trim, and wants so many objects to go.
func trimmed(want int) act {
	return func(m *machine) error {
		n := 0
		for {
			did, err := m.v.sync.Trim(m.t.Context(), 7)
			if err != nil {
				return err
			}
			if n += did.Deleted; !did.More {
				break
			}
		}
		if want >= 0 && n != want {
			return fmt.Errorf("%d objects were deleted, want %d", n, want)
		}
		return nil
	}
}

// upToDate follows what there is.
func upToDate(m *machine) error { return m.v.sync.CatchUp(m.t.Context()) }

// rounds makes commits and folds them, so many times, a day each.
func rounds(w *world, m *machine, name string, n, each int) {
	w.t.Helper()
	for i := range n {
		as(m, commits(fmt.Sprintf("%s%d.", name, i), each), folded)
		time.Sleep(day)
	}
}

// slots lists the slots that are in the store, ascending.
func (w *world) slots() (l []chain.Slot) {
	for _, n := range w.names("l") {
		if s, ok := chain.ParseSlotName(w.vol, n); ok {
			l = append(l, s)
		}
	}
	slices.Reverse(l)
	return l
}

func TestTrim(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		w.laptop.trim = publish.TrimOptions{Keep: 20}
		rounds(w, w.laptop, "a", 5, 9)
		before := w.slots()
		as(w.laptop, trimmed(0)) // all of it is young
		sleeps(12 * day)
		as(w.laptop, write("fresh", "1"), drained)
		// Two rounds are 14 days old, the head is at slot 52, and commits that announce stay.
		as(w.laptop, trimmed(-1))
		left := w.slots()
		gone := slices.DeleteFunc(slices.Clone(before), func(s chain.Slot) bool { return slices.Contains(left, s) })
		if len(gone) == 0 || gone[0] != 1 || gone[len(gone)-1]+20 > left[len(left)-1] {
			t.Errorf("gone are %v of %v", gone, before)
		}
		sleeps(30 * day)
		as(w.laptop, write("fresh", "2"), drained, trimmed(-1))
		want := w.laptop.tree()
		left = w.slots()
		if n := left[len(left)-1] - 20; !slices.Contains(left, n) || slices.Contains(left, 2) {
			t.Errorf("left are %v", left)
		}
		// Again it finds nothing, also after a new start.
		as(w.laptop, trimmed(0), lock, trimmed(0))

		m := w.machine("desktop")
		m.mustOpen()
		if got := m.tree(); got != want {
			t.Errorf("a new machine sees\n%s\nwant\n%s", got, want)
		}
		if s := m.v.Status(); s.Stopped != "" || len(s.Damaged) > 0 || len(s.Warnings) > 0 {
			t.Errorf("its status: %+v", s)
		}
		as(m, read("a0.3", "3"), write("d", "3"), drained, folded, lock)
		as(w.laptop, write("e", "4"), drained, read("d", "3"))
	})
}

// What is young by the store's clock stays, whatever is signed; what is young by its
// signature stays too.
func TestTrimBothDates(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, commits("a", 30), folded, commits("b", 9), folded, write("c", "1"), drained)
		// This machine takes today for next month.
		w.laptop.trim = publish.TrimOptions{Keep: 5, Now: func() time.Time { return time.Now().Add(30 * day) }}
		as(w.laptop, lock, trimmed(0))
		sleeps(30 * day)
		as(w.laptop, write("c", "2"), drained)
		// This one takes it for last month.
		w.laptop.trim.Now = func() time.Time { return time.Now().Add(-30 * day) }
		as(w.laptop, lock, trimmed(0))
		w.laptop.trim.Now = nil
		as(w.laptop, lock, trimmed(31))
	})
}

// A machine that may not delete says so once, and that is all.
func TestTrimDenied(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		w.laptop.trim = publish.TrimOptions{Keep: 5}
		rounds(w, w.laptop, "a", 4, 9)
		sleeps(30 * day)
		w.laptop.bucket = fault.Wrap(w.objects, fault.On(fault.Delete, 1, fault.Fail(store.ErrDenied)).Onwards())
		as(w.laptop, lock, write("b", "1"), drained, trimmed(0), trimmed(0))
		if s := w.laptop.v.Status(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "does not let") {
			t.Errorf("warnings: %q", s.Warnings)
		}
		if n := strings.Count(w.laptop.log.String(), "not trimmed"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		as(w.laptop, write("c", "2"), drained)
	})
}

// Whoever dies while it trims leaves the rest to the next.
func TestTrimGoesOn(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		w.laptop.trim = publish.TrimOptions{Keep: 5}
		m := w.machine("desktop")
		m.trim = w.laptop.trim
		rounds(w, w.laptop, "a", 4, 9)
		sleeps(30 * day)
		as(m, write("b", "1"), drained)
		as(w.laptop, write("c", "1"), drained)
		if did, err := w.laptop.v.sync.Trim(t.Context(), 4); err != nil || did.Deleted != 4 || !did.More {
			t.Fatalf("%+v, %v", did, err)
		}
		w.laptop.crash()
		as(m, trimmed(-1))
		if slices.Contains(w.slots(), 5) || slices.Contains(w.slots(), 15) {
			t.Errorf("left are %v", w.slots())
		}
		as(w.laptop, read("b", "1"), trimmed(0))
		as(w.machine("third"), read("a1.3", "3"), read("c", "1"))
	})
}

// A machine that slept while others folded and trimmed goes on where they are: what it
// had not published is there, and nothing lies in a slot that was trimmed.
func TestSleeperReturns(t *testing.T) {
	for _, how := range []string{
		"suspended", "suspended with nothing to say", "suspended while it sent", "suspended when it had sent",
		"switched off", "switched off while it sent", "switched off when it had sent", "killed",
	} {
		t.Run(how, func(t *testing.T) {
			later(t, func(t *testing.T) {
				w := newWorld(t)
				w.laptop.trim = publish.TrimOptions{Keep: 5}
				m, line := w.machine("desktop"), fault.Wrap(w.objects)
				m.bucket = line
				as(w.laptop, commits("a", 12), folded, mkdir("dir"), write("dir/x", "theirs"), write("both", "old"), drained)
				as(m, write("mine", "1"), drained, read("both", "old"))
				if how != "suspended with nothing to say" {
					as(m, write("late", "2"), write("dir/y", "here"), write("both", "mine"), fsync("both"), fsync("late"), fsync("dir/y"))
				}
				if strings.HasSuffix(how, "sent") {
					// The answer to a commit never comes: the store has it, or has not.
					ctx, cancel := context.WithCancel(t.Context())
					line.Add(fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
						if strings.Contains(how, "had") {
							r.Do(ctx)
						}
						cancel()
						return fault.Answer{Err: store.ErrUnavailable}
					}).Prefix(w.prefix("l")).Onwards())
					if err := m.v.sync.Publish(ctx); err == nil {
						t.Fatal("it was published")
					}
				}
				if strings.HasPrefix(how, "switched off") || how == "killed" {
					m.crash()
				}
				as(w.laptop, write("both", "theirs"), drained)
				rounds(w, w.laptop, "b", 4, 9)
				as(w.laptop, rename("dir", "moved"), drained)
				sleeps(30*day, m)
				rounds(w, w.laptop, "c", 2, 9)
				as(w.laptop, trimmed(-1))
				if how == "killed" { // and it lost what it kept
					_ = os.RemoveAll(filepath.Join(m.state(), "slots"))
				}
				before := w.slots()
				if slices.Contains(before, 16) {
					t.Fatalf("nothing was trimmed: %v", before)
				}
				line.Clear() // of what failed
				as(m, write("after", "3"), drained, read("c1.3", "3"), read("mine", "1"), read("after", "3"))
				for _, s := range w.slots() {
					if s < before[len(before)-1] && !slices.Contains(before, s) {
						t.Errorf("something was put into slot %d, which was trimmed", s)
					}
				}
				as(w.laptop, write("x", "y"), drained)
				as(m, write("z", "y"), drained)
				as(w.laptop, upToDate)
				if got, want := m.tree(), w.laptop.tree(); got != want {
					t.Errorf("%s sees\n%s\nand the other\n%s", m.name, got, want)
				}
				tree := w.laptop.everything()
				for _, content := range []string{"2", "here", "mine", "theirs"} {
					if how != "suspended with nothing to say" && !strings.Contains(tree, "="+content+"\n") {
						t.Errorf("%q is nowhere:\n%s", content, tree)
					}
				}
			})
		})
	}
}

// A store that was set back is none that was trimmed, and another history is none to go
// on from.
func TestSleeperAndLiars(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.machine("desktop")
		as(w.laptop, commits("a", 12), folded)
		old := w.objects.Clone()
		as(m, write("mine", "1"), drained)
		// Another history, in which the others went on from before this machine's commit.
		other := w.machine("other")
		other.bucket, other.trim = old, publish.TrimOptions{Keep: 5}
		as(other, write("their", "1"), drained)
		other.t = t
		for i := range 4 {
			as(other, commits(fmt.Sprint("b", i, "."), 9), folded)
			time.Sleep(day)
		}
		time.Sleep(30 * day)
		as(other, write("x", "1"), drained, trimmed(-1))
		m.slept.Add(int64(35 * day))
		moved := &swapped{Bucket: old}
		m.v.bucket.Bucket = moved
		commits := func() int {
			return len(slices.DeleteFunc(old.Names(), func(n string) bool { return !strings.Contains(n, "/l/") }))
		}
		before := commits()
		if err := write("late", "2")(m); err != nil {
			t.Fatal(err)
		}
		if err := drained(m); !errors.Is(err, publish.ErrFork) && !errors.Is(err, publish.ErrAsleep) && !errors.Is(err, publish.ErrRollback) {
			t.Errorf("published with %v", err)
		}
		if n := commits(); n != before {
			t.Errorf("%d commits were put", n-before)
		}
	})
}

// swapped is a store in the place of another.
type swapped struct{ store.Bucket }

// everything is the content of all files, a line each.
func (m *machine) everything() string {
	var b strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		_, _, a, err := m.find(strings.TrimSuffix(dir, "/"))
		if dir == "" {
			a, err = m.v.Attr(m.t.Context(), meta.RootRef)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		list, err := m.v.List(m.t.Context(), a.Ref)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range list {
			name := dir + string(e.Name)
			_, _, a, err := m.find(name)
			if err != nil {
				m.t.Fatal(err)
			}
			if a.Inode.Kind == meta.Dir {
				walk(name + "/")
				continue
			}
			c, err := m.content(a)
			if err != nil {
				m.t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s=%s\n", name, c)
		}
	}
	walk("")
	return b.String()
}
