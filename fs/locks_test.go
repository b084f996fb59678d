package fs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

const (
	shared    = false
	exclusive = true
)

// ranged is a request of owner for the bytes from start to end, through a handle
// of the owner's number.
func ranged(owner, start, end uint64, ex bool) lock {
	return lock{owner: owner, fh: owner, start: start, end: end, exclusive: ex}
}

func whole(owner uint64, ex bool) lock { return ranged(owner, 0, 1<<63-1, ex) }

// TestLocksAgainstAModel does random things with few bytes and few owners and
// compares with a table of who holds which byte.
func TestLocksAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const size, owners = 12, 4
	f := lockFile{7, rangeLocks}
	var table locks
	var model [size][owners + 1]byte // 0 nothing, 1 shared, 2 exclusive
	for range 50000 {
		l := ranged(1+r.Uint64N(owners), r.Uint64N(size), 0, r.IntN(2) == 0)
		l.end = l.start + r.Uint64N(size-l.start)
		bytes := func(fn func(b *[owners + 1]byte)) {
			for i := l.start; i <= l.end; i++ {
				fn(&model[i])
			}
		}
		free := true
		bytes(func(b *[owners + 1]byte) {
			for o, held := range b {
				if uint64(o) != l.owner && (held == 2 || held == 1 && l.exclusive) {
					free = false
				}
			}
		})
		set := func(to byte) { bytes(func(b *[owners + 1]byte) { b[l.owner] = to }) }
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			err := table.lock(f, l, false, nil)
			if free != (err == nil) || !free && !errors.Is(err, errLocked) {
				t.Fatalf("lock %+v: %v; the model says free: %v", l, err, free)
			}
			if free && l.exclusive {
				set(2)
			} else if free {
				set(1)
			}
		case 4, 5:
			table.unlock(f, l)
			set(0)
		case 6:
			table.closed(f.ino, 99, l.owner)
			for i := range model {
				model[i][l.owner] = 0
			}
		case 7:
			by, blocked := table.test(f, l)
			if blocked == free {
				t.Fatalf("test %+v says blocked: %v; the model says free: %v", l, blocked, free)
			}
			if blocked && (!by.excludes(l) || model[max(by.start, l.start)][by.owner] == 0) {
				t.Fatalf("test %+v names %+v", l, by)
			}
		}
		check(t, &table, f, func(i, owner uint64) byte { return model[i][owner] }, size, owners)
	}
}

// check compares every byte with the model, and wants no two locks that could be
// one.
func check(t *testing.T, table *locks, f lockFile, model func(i, owner uint64) byte, size, owners uint64) {
	t.Helper()
	var held []lock
	if tab := table.files[f]; tab != nil {
		held = tab.held
		if len(held) == 0 {
			t.Fatal("an empty table is kept")
		}
	}
	for i := range size {
		for o := uint64(1); o <= owners; o++ {
			var got byte
			for _, h := range held {
				if h.owner == o && h.start <= i && i <= h.end {
					got++
					if h.exclusive {
						got++
					}
				}
			}
			if got != model(i, o) {
				t.Fatalf("byte %d of owner %d is %d, want %d: %+v", i, o, got, model(i, o), held)
			}
		}
	}
	for i, a := range held {
		for _, b := range held[i+1:] {
			if a.owner == b.owner && a.exclusive == b.exclusive && (a.end+1 == b.start || b.end+1 == a.start) {
				t.Fatalf("two locks that touch: %+v", held)
			}
		}
	}
}

// waits starts a request that is expected to wait, and returns where its outcome
// will be.
func waits(t *testing.T, table *locks, f lockFile, l lock, cancel <-chan struct{}) <-chan error {
	t.Helper()
	out := make(chan error, 1)
	go func() { out <- table.lock(f, l, true, cancel) }()
	synctest.Wait()
	select {
	case err := <-out:
		t.Fatalf("lock %+v did not wait: %v", l, err)
	default:
	}
	return out
}

// outcome is what a request has come to by now.
func outcome(out <-chan error) string {
	synctest.Wait()
	select {
	case err := <-out:
		return fmt.Sprint(err)
	default:
		return "waits"
	}
}

func TestLocksAreGrantedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		f := lockFile{7, rangeLocks}
		if err := table.lock(f, ranged(1, 0, 99, exclusive), true, nil); err != nil {
			t.Fatal(err)
		}
		a := waits(t, &table, f, ranged(2, 0, 9, exclusive), nil)
		b := waits(t, &table, f, ranged(3, 5, 20, exclusive), nil)
		c := waits(t, &table, f, ranged(4, 50, 60, shared), nil)
		d := waits(t, &table, f, ranged(5, 55, 70, shared), nil)
		table.unlock(f, ranged(1, 0, 99, shared))
		got := []string{outcome(a), outcome(b), outcome(c), outcome(d)}
		if want := []string{"<nil>", "waits", "<nil>", "<nil>"}; !slices.Equal(got, want) {
			t.Errorf("after the unlock: %v, want %v", got, want)
		}
		table.closed(f.ino, 2, 2)
		if got := outcome(b); got != "<nil>" {
			t.Errorf("after the close: %s", got)
		}
	})
}

func TestLocksThatBecomeSharedLetOthersIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		f := lockFile{7, rangeLocks}
		if err := table.lock(f, ranged(1, 0, 9, exclusive), true, nil); err != nil {
			t.Fatal(err)
		}
		a := waits(t, &table, f, ranged(2, 0, 9, shared), nil)
		if err := table.lock(f, ranged(1, 0, 9, shared), true, nil); err != nil {
			t.Fatal(err)
		}
		if got := outcome(a); got != "<nil>" {
			t.Errorf("the reader gets %s", got)
		}
	})
}

func TestInterruptedLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		f, cancel := lockFile{7, wholeLocks}, make(chan struct{})
		if err := table.lock(f, whole(1, exclusive), true, nil); err != nil {
			t.Fatal(err)
		}
		a := waits(t, &table, f, whole(2, exclusive), cancel)
		close(cancel)
		if got := outcome(a); got != context.Canceled.Error() {
			t.Errorf("the interrupted one gets %s", got)
		}
		table.released(f.ino, 1)
		if len(table.files) != 0 {
			t.Errorf("left: %+v", table.files)
		}
	})
}

func TestDeadlockOfRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		one, two, three := lockFile{1, rangeLocks}, lockFile{2, rangeLocks}, lockFile{3, rangeLocks}
		for owner, f := range []lockFile{1: one, 2: two, 3: three} {
			if owner == 0 {
				continue
			}
			if err := table.lock(f, ranged(uint64(owner), 0, 9, exclusive), true, nil); err != nil {
				t.Fatal(err)
			}
		}
		a := waits(t, &table, two, ranged(1, 0, 9, shared), nil)
		b := waits(t, &table, three, ranged(2, 0, 9, shared), nil)
		if err := table.lock(one, ranged(3, 5, 5, shared), true, nil); !errors.Is(err, errDeadlock) {
			t.Errorf("the third of a ring gets %v", err)
		}
		// Who does not wait only hears that it is locked.
		if err := table.lock(one, ranged(3, 5, 5, shared), false, nil); !errors.Is(err, errLocked) {
			t.Errorf("one who does not wait gets %v", err)
		}
		table.closed(three.ino, 3, 3)
		table.closed(two.ino, 2, 2)
		if got := []string{outcome(a), outcome(b)}; !slices.Equal(got, []string{"<nil>", "<nil>"}) {
			t.Errorf("the others get %v", got)
		}
	})
}

// Two readers that both want to write wait for one another.
func TestDeadlockOfTwoUpgrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		f := lockFile{7, rangeLocks}
		for owner := uint64(1); owner <= 2; owner++ {
			if err := table.lock(f, ranged(owner, 0, 9, shared), true, nil); err != nil {
				t.Fatal(err)
			}
		}
		a := waits(t, &table, f, ranged(1, 0, 9, exclusive), nil)
		if err := table.lock(f, ranged(2, 0, 9, exclusive), true, nil); !errors.Is(err, errDeadlock) {
			t.Errorf("the second upgrade gets %v", err)
		}
		table.unlock(f, ranged(2, 0, 9, shared))
		if got := outcome(a); got != "<nil>" {
			t.Errorf("the first upgrade gets %s", got)
		}
	})
}

// flock(2) gives the old lock back before it asks for the new one, so two that
// upgrade do not wait for one another.
func TestUpgradesOfWholeLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		f := lockFile{7, wholeLocks}
		for owner := uint64(1); owner <= 2; owner++ {
			if err := table.lock(f, whole(owner, shared), true, nil); err != nil {
				t.Fatal(err)
			}
		}
		a := waits(t, &table, f, whole(1, exclusive), nil)
		b := waits(t, &table, f, whole(2, exclusive), nil)
		// b gave back what a waited for, and waits for a now.
		if got := []string{outcome(a), outcome(b)}; !slices.Equal(got, []string{"<nil>", "waits"}) {
			t.Fatalf("the upgrades come to %v", got)
		}
		table.released(f.ino, 1)
		if got := outcome(b); got != "<nil>" {
			t.Errorf("the second comes to %s", got)
		}
	})
}

// close(2) does not wait for the RELEASE that takes the lock. Who asks without
// waiting right after it waits for that a little, and only then.
func TestALockWhoseReleaseIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table locks
		f := lockFile{7, wholeLocks}
		ask := func(owner uint64) (time.Duration, error) {
			start := time.Now()
			err := table.lock(f, whole(owner, exclusive), false, nil)
			return time.Since(start), err
		}
		if _, err := ask(1); err != nil {
			t.Fatal(err)
		}
		if after, err := ask(2); !errors.Is(err, errLocked) || after != 0 {
			t.Errorf("of a lock that stays: %v after %v", err, after)
		}
		// A duplicate of the descriptor was closed, the lock stays.
		table.closed(f.ino, 1, 100)
		if after, err := ask(2); !errors.Is(err, errLocked) || after != lockGrace {
			t.Errorf("of a lock that might go: %v after %v", err, after)
		}
		go func() {
			time.Sleep(lockGrace / 2)
			table.released(f.ino, 1)
		}()
		if after, err := ask(2); err != nil || after != lockGrace/2 {
			t.Errorf("of a lock that goes: %v after %v", err, after)
		}
	})
}

func TestKindsAndInodesAreApart(t *testing.T) {
	var table locks
	for _, f := range []lockFile{{1, rangeLocks}, {1, wholeLocks}, {2, rangeLocks}} {
		if err := table.lock(f, whole(uint64(f.ino)*10+uint64(f.kind), exclusive), false, nil); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
	for ino := range meta.Ino(3) {
		for fh := range uint64(30) {
			table.released(ino, fh)
		}
	}
	if len(table.files) != 0 {
		t.Errorf("left: %+v", table.files)
	}
}

// What is open and becomes another file takes its locks along, and those who wait for
// one; others keep theirs.
func TestLocksMove(t *testing.T) {
	var l locks
	was, is := lockFile{7, rangeLocks}, lockFile{9, rangeLocks}
	none := make(chan struct{})
	ours := lock{owner: 1, fh: 1, start: 0, end: 9, exclusive: true}
	theirs := lock{owner: 2, fh: 2, start: 20, end: 29, exclusive: true}
	for _, x := range []lock{ours, theirs} {
		if err := l.lock(was, x, false, none); err != nil {
			t.Fatal(err)
		}
	}
	waits := lock{owner: 1, fh: 1, start: 20, end: 29, exclusive: true}
	got := make(chan error)
	go func() { got <- l.lock(was, waits, true, none) }()
	for waiting := 0; waiting == 0; {
		l.mu.Lock()
		waiting = len(l.files[was].waiting)
		l.mu.Unlock()
	}
	l.move(map[uint64]bool{1: true}, 7, 9)
	if err := <-got; err != nil {
		t.Errorf("who waited for what was there: %v", err)
	}
	other := lock{owner: 3, fh: 3, start: 5, end: 5, exclusive: true}
	if _, blocked := l.test(was, other); blocked {
		t.Error("the lock is where it was")
	}
	for _, at := range []uint64{5, 25} {
		if _, blocked := l.test(is, lock{owner: 3, start: at, end: at}); !blocked {
			t.Errorf("byte %d is not locked where it went", at)
		}
	}
	if _, blocked := l.test(was, lock{owner: 3, start: 25, end: 25}); !blocked {
		t.Error("another's lock went along")
	}
	l.released(9, 1)
	l.released(7, 2)
	if len(l.files) != 0 {
		t.Errorf("%d tables are left", len(l.files))
	}
}
