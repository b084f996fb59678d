package volume

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// does executes an operation as this machine.
func does(op func(v *Volume) (meta.Op, error)) act {
	return func(m *machine) error {
		return m.v.changing(m.t.Context(), func() error {
			o, err := op(m.v)
			if err == nil {
				err = m.v.execute(o)
			}
			return err
		})
	}
}

// leases has a machine lease a file or folder.
func leases(path string) act {
	return func(m *machine) error {
		dir, name, a, err := m.find(path)
		if err != nil {
			return err
		}
		below, err := m.v.below(m.t.Context(), a.Ref)
		if err != nil {
			return err
		}
		return does(func(v *Volume) (meta.Op, error) {
			return &meta.SetLease{Act: meta.LeaseTake, Ref: a.Ref, Until: v.view.Slot() + meta.LeaseTerm, Parent: dir, Name: name, Below: below}, nil
		})(m)
	}
}

// locksIt has a machine lock a file for itself alone.
func locksIt(path string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err != nil {
			return err
		}
		return does(func(v *Volume) (meta.Op, error) {
			return &meta.SetLock{Ino: a.Ref.Ino, Lock: meta.Lock{Mode: meta.LockExclusive, Until: v.view.Slot() + meta.LockTerm}}, nil
		})(m)
	}
}

// withholds are the ways in which another machine keeps this one from changing d/f.txt.
var withholds = []struct {
	name string
	do   act
}{{"a lease", leases("d/f.txt")}, {"a lease of the folder", leases("d")}, {"a lock", locksIt("d/f.txt")}}

// eachWithheld runs cases, each with one of these ways; with HUSHFS_WITHHELD=all with each.
func eachWithheld(t *testing.T, cases []string, run func(t *testing.T, withhold act, when string)) {
	all := os.Getenv("HUSHFS_WITHHELD") == "all"
	for i, when := range cases {
		for j, how := range withholds {
			if all || (i+1)%len(withholds) == j {
				t.Run(how.name+" "+when, func(t *testing.T) { run(t, how.do, when) })
			}
		}
	}
}

// synced brings what was written to a handle to the disk.
func synced(as meta.Ref) act {
	return func(m *machine) error { return m.v.Fsync(m.t.Context(), as) }
}

// closes is close(2) of a handle, and its end.
func closes(as meta.Ref) act {
	return func(m *machine) error {
		err := m.v.Flush(m.t.Context(), as)
		m.v.Release(as)
		return err
	}
}

// timed is the SETATTR by which the kernel tells the times of what it wrote.
func timed(as meta.Ref, sec int64) act {
	return func(m *machine) error {
		at := meta.Time{Sec: sec}
		return m.v.Setattr(m.t.Context(), as, meta.Setattr{Valid: meta.SetMtime | meta.SetCtime, Mtime: at, Ctime: at})
	}
}

// Bytes that a program wrote through a handle that is older than what it knows of another
// machine's lease, or lock, are in a copy, whenever they come, and hold up nobody.
func TestWrittenToWhatIsWithheld(t *testing.T) {
	scripts := map[string]func(h meta.Ref) (before, after []act){
		"before it was known":  func(h meta.Ref) (before, after []act) { return []act{puts(h, 0, "XX")}, nil },
		"and in the journal":   func(h meta.Ref) (before, after []act) { return []act{puts(h, 0, "XX"), synced(h)}, nil },
		"after it was known":   func(h meta.Ref) (before, after []act) { return nil, []act{puts(h, 0, "XX")} },
		"after, in two pieces": func(h meta.Ref) (before, after []act) { return nil, []act{puts(h, 0, "X"), synced(h), puts(h, 1, "X")} },
		"before and after":     func(h meta.Ref) (before, after []act) { return []act{puts(h, 0, "X")}, []act{puts(h, 1, "X")} },
		"times before bytes":   func(h meta.Ref) (before, after []act) { return nil, []act{timed(h, 1234), puts(h, 0, "XX")} },
		"with times, closed": func(h meta.Ref) (before, after []act) {
			return nil, []act{puts(h, 0, "XX"), timed(h, 1234), func(m *machine) error { return m.v.Flush(m.t.Context(), h) }}
		},
	}
	eachWithheld(t, slices.Sorted(maps.Keys(scripts)), func(t *testing.T, withhold act, when string) {
		laptop, desk := two(t, "base")
		h := desk.opens("d/f.txt", true)
		before, after := scripts[when](h)
		as(desk, before...)
		as(laptop, withhold, drained)
		as(desk, caughtUp)
		as(desk, after...)
		as(desk, shows(h, "XXse"), synced(h), read("d/f.txt", "base"))
		name := desk.copyOf("d", "f.txt")
		as(desk, read(name, "XXse"))
		if got := desk.conflicts(); !slices.Equal(got, []meta.ConflictKind{meta.ConflictCopy}) {
			t.Errorf("conflicts: %v", got)
		}
		if strings.Contains(when, "times") {
			if _, _, a, err := desk.find(name); err != nil || a.Inode.Mtime.Sec != 1234 {
				t.Errorf("the copy is of %v: %v", a.Inode.Mtime, err)
			}
		}
		// It goes on, in both directions.
		as(desk, puts(h, 4, "!"), synced(h), write("mine/x", "1"), drained)
		as(laptop, caughtUp, read(name, "XXse!"), read("mine/x", "1"), rewrite("d/f.txt", "the holder's"), drained)
		as(desk, caughtUp, read("d/f.txt", "the holder's"), shows(h, "XXse!"))
		was := desk.tree()
		desk.crash()
		desk.mustOpen()
		if got := desk.tree(); got != was {
			t.Errorf("mounted anew it sees\n%s\nbefore it saw\n%s", got, was)
		}
		as(desk, write("mine/y", "2"), drained)
		as(laptop, caughtUp, read("mine/y", "2"), read("d/f.txt", "the holder's"))
		if list, _ := laptop.list("d"); len(list) != 2 {
			t.Errorf("left in the folder: %q", list)
		}
	})
}

// So it is where the machine is killed in each of these states, and finds what it wrote in
// its journal.
func TestWithheldSurvivesKills(t *testing.T) {
	scripts := map[string]func(withhold act, laptop, desk *machine, h meta.Ref){
		"not known yet": func(withhold act, laptop, desk *machine, h meta.Ref) {
			as(desk, puts(h, 0, "XX"), synced(h))
			as(laptop, withhold, drained)
		},
		"known, and executed again": func(withhold act, laptop, desk *machine, h meta.Ref) {
			as(desk, puts(h, 0, "XX"), synced(h))
			as(laptop, withhold, drained)
			as(desk, caughtUp)
		},
		"known before": func(withhold act, laptop, desk *machine, h meta.Ref) {
			as(laptop, withhold, drained)
			as(desk, caughtUp, puts(h, 0, "XX"), synced(h))
		},
		"written and changed since": func(withhold act, laptop, desk *machine, h meta.Ref) {
			as(laptop, withhold, drained)
			as(desk, caughtUp, puts(h, 0, "XX"), synced(h))
			as(laptop, rewrite("d/f.txt", "theirs"), drained)
		},
	}
	eachWithheld(t, slices.Sorted(maps.Keys(scripts)), func(t *testing.T, withhold act, when string) {
		laptop, desk := two(t, "base")
		scripts[when](withhold, laptop, desk, desk.opens("d/f.txt", true))
		desk.crash()
		as(desk, caughtUp, read(desk.copyOf("d", "f.txt"), "XXse"))
		desk.crash()
		as(desk, read(desk.copyOf("d", "f.txt"), "XXse"), drained)
		as(laptop, caughtUp, read(desk.copyOf("d", "f.txt"), "XXse"), rewrite("d/f.txt", "mine"), drained)
		as(desk, caughtUp, read("d/f.txt", "mine"), lock)
	})
}

// What comes between the moment at which all was made operations and the one at which a
// lease is shown is met where it is made one, whether it is open still or closed.
func TestFloatsWhenALeaseComes(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", (inlineMax+4096)/16)
	for name, data := range map[string]string{"little": "XX", "much": long} {
		for _, open := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, open %v", name, open), func(t *testing.T) {
				laptop, desk := two(t, "base")
				h := desk.opens("d/f.txt", true)
				as(laptop, leases("d/f.txt"), drained)
				ref := desk.v.at(h)
				desk.v.mu.Lock()
				n, err := desk.v.inode(ref)
				desk.v.mu.Unlock()
				if err != nil {
					t.Fatal(err)
				}
				as(desk, caughtUp)
				locs, landed, err := desk.v.takeIn(t.Context(), []byte(data))
				if err != nil {
					t.Fatal(err)
				}
				d := &dirty{ref: ref, base: n.Version, first: time.Now(), last: now(), closed: !open}
				off := uint64(0)
				for _, l := range locs {
					d.add(meta.Extent{Off: off, Len: uint64(l.Len), Pack: l.Pack, PackOff: l.Off})
					off += uint64(l.Len)
				}
				desk.v.mu.Lock()
				desk.v.dirty[ref.Ino] = d
				desk.v.mu.Unlock()
				landed()
				if !open {
					desk.v.Release(h)
				}
				want := data
				if len(want) < 4 {
					want += "base"[len(want):]
				}
				as(laptop, rewrite("d/f.txt", "theirs"), drained)
				if err := desk.v.ripen(t.Context(), 0); err != nil {
					t.Error(err)
				}
				as(desk, caughtUp, drained, read(desk.copyOf("d", "f.txt"), want), read("d/f.txt", "theirs"))
				if open {
					as(desk, shows(h, want), puts(h, 0, "!"), shows(h, "!"+want[1:]), closes(h))
				}
				as(desk, lock)
			})
		}
	}
}

// A machine that has to become another device has no lease any more, but what it wrote
// under the one that it had is kept.
func TestLeaseOfACopiedState(t *testing.T) {
	for _, how := range withholds {
		t.Run(how.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.laptop
			as(m, mkdir("d"), write("d/f.txt", "base"), drained, how.do, drained, rewrite("d/f.txt", "mine"), write("d/new", "1"), fsync("d/f.txt"))
			m.crash()
			phone := w.machine("phone")
			copyFolder(t, m.state(), phone.state())
			as(phone, write("x", "1"), drained, read("d/new", "1"), read("d/f.txt", "base"))
			name := ""
			list, _ := phone.list("d")
			for _, n := range list {
				if strings.HasPrefix(n, "f (conflict, ") {
					name = "d/" + n
				}
			}
			as(phone, read(name, "mine"), lock, read(name, "mine"), lock)
			as(w.machine("third"), read(name, "mine"), read("d/f.txt", "base"))
		})
	}
}

// So it shows at once, and not only when it has followed what is in the store: the store may
// go away before that, at any request.
func TestLeaseOfACopiedStateOffLine(t *testing.T) {
	for _, how := range withholds {
		t.Run(how.name, func(t *testing.T) {
			offline := 0
			var missed atomic.Bool
			missed.Store(true)
			for k := 1; missed.Load(); k++ {
				w := newWorld(t)
				m := w.laptop
				as(m, mkdir("d"), write("d/f.txt", "base"), drained, how.do, drained, rewrite("d/f.txt", "mine"), fsync("d/f.txt"))
				m.crash()
				phone := w.machine("phone")
				copyFolder(t, m.state(), phone.state())
				missed.Store(false)
				gone := func(context.Context, fault.Request) fault.Answer {
					missed.Store(true)
					return fault.Answer{Err: store.ErrUnavailable}
				}
				w.faults.Add(fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
					w.faults.Add(fault.On(fault.Get, k, gone).Prefix(w.prefix("l")).Onwards())
					return fault.Pass(ctx, r)
				}).Prefix(w.prefix("l")))
				if err := phone.open(); err != nil {
					if !missed.Load() {
						t.Fatal(err)
					}
					continue // it opens when the store is back
				}
				if missed.Load() {
					offline++
				}
				as(phone, read("d/f.txt", "base"))
				phone.crash()
			}
			if offline == 0 {
				t.Error("it never opened without having followed")
			}
		})
	}
}
