package pack

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

func TestAppendSplits(t *testing.T) {
	for _, c := range []struct {
		name   string
		before int
		n      int
		want   []Loc
	}{
		{"nothing", 0, 0, nil},
		{"one byte", 0, 1, []Loc{{1, 0, 1}}},
		{"one byte behind another", 1, 1, []Loc{{1, 1, 1}}},
		{"all but one byte", 0, Size - 1, []Loc{{1, 0, Size - 1}}},
		{"a full pack", 0, Size, []Loc{{1, 0, Size}}},
		{"a full pack and a byte", 0, Size + 1, []Loc{{1, 0, Size}, {2, 0, 1}}},
		{"the last byte", Size - 1, 1, []Loc{{1, Size - 1, 1}}},
		{"over the end", Size - 1, 2, []Loc{{1, Size - 1, 1}, {2, 0, 1}}},
		{"behind a full pack", Size, 1, []Loc{{2, 0, 1}}},
		{"three packs", 5, 2*Size + 7, []Loc{{1, 5, Size - 5}, {2, 0, Size}, {3, 0, 12}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 0)
			first := random(c.before, 1)
			at := w.append(first)
			data := random(c.n, 2)
			got := w.append(data)
			for i := range got {
				got[i].Pack = meta.PackNo(got[i].Pack.Counter())
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i := range got {
				got[i].Pack = meta.MakePack(1, uint64(got[i].Pack))
			}
			w.back(data, got)
			w.back(first, at)
			if w.w.Bytes() != int64(c.before+c.n) {
				t.Errorf("%d bytes, want %d", w.w.Bytes(), c.before+c.n)
			}
		})
	}
}

func TestPeek(t *testing.T) {
	w := newWorld(t, 0)
	data := random(1000, 1)
	at := w.append(data)[0]
	for _, c := range []struct {
		name   string
		pack   meta.PackNo
		off, n int
		want   bool
	}{
		{"all", at.Pack, 0, 1000, true},
		{"the last byte", at.Pack, 999, 1, true},
		{"one too many", at.Pack, 1, 1000, false},
		{"behind the end", at.Pack, 1001, 0, false},
		{"another pack", at.Pack + 1, 0, 1, false},
	} {
		dst := make([]byte, c.n)
		if got := w.w.Peek(Loc{Pack: c.pack, Off: uint32(c.off)}, dst); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		} else if got && !bytes.Equal(dst, data[c.off:c.off+c.n]) {
			t.Errorf("%s: other bytes", c.name)
		}
	}
	must(t, w.w.Close(at.Pack))
	if w.w.Peek(at, make([]byte, 1)) {
		t.Error("a closed pack is in memory")
	}
}

func TestClose(t *testing.T) {
	w := newWorld(t, 0)
	data := random(100_000, 1)
	no := w.append(data)[0].Pack
	if w.w.Durable(no) {
		t.Error("durable before it was closed")
	}
	for range 3 {
		must(t, w.w.Close(no))
	}
	must(t, w.w.Close(no+100))
	if len(w.closed) != 1 || !w.w.Durable(no) || w.w.Err() != nil {
		t.Fatalf("closed %d times, %v", len(w.closed), w.w.Err())
	}
	i, ok := w.w.Local(no)
	if !ok || i != w.closed[0] || i.Length != 100_000 || i.Epoch != testEpoch {
		t.Errorf("%+v", i)
	}
	object := w.object(i)
	if int64(len(object)) != i.ObjectSize() {
		t.Errorf("file of %d bytes, want %d", len(object), i.ObjectSize())
	}
	content, tail, err := crypt.OpenPack(w.key, testVolume, object, i.Length)
	if err != nil || tail.Name() != i.Name || !bytes.Equal(content, data) {
		t.Errorf("the object: %v", err)
	}
	if !slices.Equal(w.steps, Steps) {
		t.Errorf("steps %v, want %v", w.steps, Steps)
	}
	if next := w.append([]byte("x"))[0]; next.Pack == no || next.Off != 0 {
		t.Errorf("a closed pack goes on: %v", next)
	}
	must(t, w.w.Forget(no))
	must(t, w.w.Forget(no))
	if _, ok := w.w.Local(no); ok || len(files(t, w.dir)) != 0 {
		t.Error("forgotten and still there")
	}
	w.w.Adopt(i)
	if l := w.w.Locals(); len(l) != 1 || l[0] != i {
		t.Errorf("adopted: %v", l)
	}
}

// An open pack without a byte cannot be sealed, and need not be.
func TestCloseOfAnEmptyPack(t *testing.T) {
	w := newWorld(t, 1)
	must(t, w.w.begin(background, false))
	no, n, since := w.w.Open()
	if no == 0 || n != 0 || since.IsZero() {
		t.Fatalf("%d, %d bytes, %v", no, n, since)
	}
	must(t, w.w.Close(no))
	if at := w.append([]byte("x"))[0]; at.Pack != no {
		t.Errorf("it was lost: %v", at)
	}
}

func TestNumberRefused(t *testing.T) {
	w := newWorld(t, 1)
	next, bad := w.w.o.Next, errors.New("no number")
	w.w.o.Next = func() (meta.PackNo, error) { return 0, bad }
	for range 3 { // no token is lost
		if _, err := w.w.Append(background, []byte("x")); !errors.Is(err, bad) {
			t.Fatal(err)
		}
	}
	w.w.o.Next = next
	w.append([]byte("x"))
}

// Whatever fails, no salt seals two plaintexts, and what was told to be closed is
// what lies there.
func TestEverySealIsUnique(t *testing.T) {
	w := newWorld(t, 3)
	seen := salts{}
	write, fail := w.w.write, 0
	w.w.write = func(path string, b []byte) error {
		seen.add(t, b)
		if fail++; fail%3 != 0 {
			return syscall.EIO
		}
		return write(path, b)
	}
	for i := range 20 {
		no := w.append(random(1000, 7))[0].Pack // the same bytes each time
		for w.w.Close(no) != nil {
			if i%2 == 0 {
				// More bytes meanwhile, for another pack.
				w.append([]byte("more"))
			}
		}
	}
	if len(seen) != len(w.closed) || len(seen) < 20 {
		t.Errorf("%d objects, %d closed", len(seen), len(w.closed))
	}
	names := map[crypt.Name]bool{}
	for _, i := range w.closed {
		if names[i.Name] {
			t.Error("two packs with one name")
		}
		names[i.Name] = true
		seen.add(t, w.object(i))
	}
}

// A pack whose file is complete is not written again when the journal failed: it
// may have taken the record all the same.
func TestClosedFails(t *testing.T) {
	w := newWorld(t, 1)
	writes := 0
	write := w.w.write
	w.w.write = func(path string, b []byte) error { writes++; return write(path, b) }
	w.refuse = syscall.ENOSPC
	data := random(5000, 1)
	at := w.append(data)
	for range 3 {
		if err := w.w.Close(at[0].Pack); !errors.Is(err, syscall.ENOSPC) || !errors.Is(w.w.Err(), syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	if w.w.Durable(at[0].Pack) {
		t.Error("durable without a record")
	}
	w.back(data, at)
	w.refuse = nil
	must(t, w.w.Close(at[0].Pack))
	if writes != 1 || w.w.Err() != nil {
		t.Errorf("written %d times, %v", writes, w.w.Err())
	}
	w.back(data, at)
}

// A device that is really full, and a folder that is not there.
func TestDiskErrors(t *testing.T) {
	w := newWorld(t, 1)
	data := random(200_000, 1)
	at := w.append(data)
	path := Path(w.dir, at[0].Pack)
	must(t, os.Symlink("/dev/full", path))
	if err := w.w.Close(at[0].Pack); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("half a file still takes room")
	}
	w.back(data, at)
	aside := w.dir + "-aside"
	must(t, os.Rename(w.dir, aside))
	if err := w.w.Close(at[0].Pack); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no folder: %v", err)
	}
	// All buffers are taken and cannot be emptied: no waiting.
	if _, err := w.w.Append(background, data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("append: %v", err)
	}
	must(t, os.Rename(aside, w.dir))
	must(t, w.w.Close(at[0].Pack))
	w.back(data, at)
	w.append(data)
}

// Without Run, Append writes full packs itself.
func TestDiskFullWithoutRun(t *testing.T) {
	w := newWorld(t, 2)
	write := w.w.write
	w.w.write = func(string, []byte) error { return syscall.ENOSPC }
	for range 3 {
		if _, err := w.w.Append(background, make([]byte, Size)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	w.w.write = write
	must(t, w.w.Close(meta.MakePack(1, 1)))
	// What failed before is written on the way.
	data := random(3*Size, 1)
	w.back(data, w.append(data))
	if w.w.Err() != nil {
		t.Error(w.w.Err())
	}
}

// With Run, a full disk is tried again and nothing is lost.
func TestDiskFullAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		var mu sync.Mutex
		full, seen := true, salts{}
		write := w.w.write
		w.w.write = func(path string, b []byte) error {
			mu.Lock()
			defer mu.Unlock()
			seen.add(t, b)
			if full {
				return syscall.ENOSPC
			}
			return write(path, b)
		}
		ctx, cancel := context.WithCancel(background)
		ended := make(chan error)
		go func() { ended <- w.w.Run(ctx) }()
		synctest.Wait()

		data := random(2*Size+100, 1)
		at := w.append(data)
		synctest.Wait()
		// Close fails too, and does not take the pack from those who try again.
		if err := w.w.Close(at[2].Pack); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("close: %v", err)
		}
		began := time.Now()
		if _, err := w.w.Append(ctx, []byte("more")); !errors.Is(err, syscall.ENOSPC) || time.Since(began) != 0 {
			t.Errorf("append: %v after %v", err, time.Since(began))
		}
		time.Sleep(10 * retryEvery)
		if !errors.Is(w.w.Err(), syscall.ENOSPC) || w.w.Bytes() != int64(len(data)) {
			t.Errorf("%v, %d bytes", w.w.Err(), w.w.Bytes())
		}
		w.back(data, at)

		mu.Lock()
		full = false
		mu.Unlock()
		time.Sleep(3 * retryEvery)
		synctest.Wait()
		if w.w.Err() != nil || len(w.w.Locals()) != 3 || len(seen) != 3 {
			t.Errorf("after the recovery: %v, %d of 3 packs, %d objects", w.w.Err(), len(w.w.Locals()), len(seen))
		}
		w.back(data, at)
		w.append([]byte("more"))
		cancel()
		must(t, <-ended)
	})
}

// Append waits for a buffer, not longer than its context.
func TestAppendWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		gate := make(chan struct{})
		write := w.w.write
		w.w.write = func(path string, b []byte) error {
			<-gate
			return write(path, b)
		}
		run, stop := context.WithCancel(background)
		ended := make(chan error)
		go func() { ended <- w.w.Run(run) }()
		synctest.Wait()
		data := random(Size, 1)
		at := w.append(data)

		ctx, cancel := context.WithCancel(background)
		waited := make(chan error)
		for range 3 {
			go func() {
				_, err := w.w.Append(ctx, random(smallMax+1, 2))
				waited <- err
			}()
		}
		time.Sleep(5 * retryEvery)
		cancel()
		for range 3 {
			if err := <-waited; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		}
		go func() {
			_, err := w.w.Append(background, []byte("x"))
			waited <- err
		}()
		synctest.Wait()
		close(gate)
		must(t, <-waited)
		w.back(data, at)
		stop()
		must(t, <-ended)
	})
}

// Small data does not wait for the packs of large: one more is for it, and only one.
func TestSmallDoesNotWaitForLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		gate := make(chan struct{})
		write := w.w.write
		w.w.write = func(path string, b []byte) error {
			<-gate
			return write(path, b)
		}
		run, stop := context.WithCancel(background)
		ended := make(chan error)
		go func() { ended <- w.w.Run(run) }()
		synctest.Wait()
		large := random(2*Size, 1)
		at := w.append(large)
		waited := make(chan error)
		go func() {
			_, err := w.w.Append(background, large[:smallMax+1])
			waited <- err
		}()
		synctest.Wait()

		began := time.Now()
		var small []byte
		var locs []Loc
		for i := range uint64(Size / smallMax) {
			data := random(smallMax, i)
			small, locs = append(small, data...), append(locs, w.append(data)...)
		}
		if time.Since(began) != 0 {
			t.Errorf("small data waited for %v", time.Since(began))
		}
		w.back(small, locs)
		if n := w.w.Bytes(); n != 3*Size || w.w.Durable(locs[0].Pack) {
			t.Errorf("%d bytes in memory, want %d", n, 3*Size)
		}
		go func() {
			_, err := w.w.Append(background, []byte("more than there is room for"))
			waited <- err
		}()
		time.Sleep(5 * retryEvery)
		select {
		case err := <-waited:
			t.Errorf("memory has no limit: %v", err)
		default:
		}
		close(gate)
		must(t, <-waited)
		must(t, <-waited)
		synctest.Wait()
		if l := w.w.Locals(); len(l) != 3 {
			t.Errorf("%d packs are closed, want 3", len(l))
		}
		w.back(small, locs)
		w.back(large, at)
		stop()
		must(t, <-ended)
	})
}

// A pack of small data that is not full is closed as any other.
func TestCloseOfThePackBeside(t *testing.T) {
	w := newWorld(t, 1)
	w.w.setRunning(true) // nobody takes from the queue
	large := random(Size, 1)
	at := w.append(large)
	small := w.append([]byte("small"))
	if small[0].Pack == at[0].Pack || small[0].Off != 0 {
		t.Fatalf("small data lies at %v", small)
	}
	must(t, w.w.Close(small[0].Pack))
	if !w.w.Durable(small[0].Pack) || w.w.Durable(at[0].Pack) {
		t.Error("another pack was closed than the one that was to be")
	}
	again := w.append([]byte("again"))
	if again[0].Pack == small[0].Pack {
		t.Error("a closed pack goes on")
	}
	w.back([]byte("again"), again)
	must(t, w.w.Close(at[0].Pack))
	w.back(large, at)
}

// Packs that Run leaves in its queue do not stop those who append after it.
func TestAppendAfterRun(t *testing.T) {
	w := newWorld(t, 2)
	w.w.setRunning(true) // nobody takes from the queue
	data := random(2*Size, 1)
	at := w.append(data)
	w.w.setRunning(false)
	if len(w.w.Locals()) != 0 {
		t.Fatal("somebody wrote them")
	}
	more := random(2*Size, 2)
	w.back(more, w.append(more))
	w.back(data, at)
	for _, l := range at {
		must(t, w.w.Close(l.Pack))
	}
	w.back(data, at)
}

// Everything at once: several write, one closes, one publishes, all read.
func TestConcurrentAppendCloseRead(t *testing.T) {
	w := newWorld(t, 3)
	ctx, cancel := context.WithCancel(background)
	var workers, writing sync.WaitGroup
	workers.Go(func() {
		if err := w.w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	workers.Go(func() { // publishes what is closed
		for {
			for _, i := range w.w.Locals() {
				w.publish(i, i.No%2 == 0)
			}
			if ctx.Err() != nil {
				return
			}
		}
	})
	for g := range 4 {
		writing.Go(func() {
			type piece struct {
				data []byte
				locs []Loc
			}
			var mine []piece
			for i := range 25 {
				data := random(1+(g*7919+i*104729)%700_000, uint64(g*100+i))
				locs, err := w.w.Append(ctx, data)
				if err != nil {
					t.Error(err)
					return
				}
				mine = append(mine, piece{data, locs})
				if i%8 == g {
					for range 2 {
						if err := w.w.Close(locs[0].Pack); err != nil {
							t.Error(err)
						}
					}
				}
				old := mine[i/2]
				w.back(old.data, old.locs)
			}
			for _, p := range mine {
				w.back(p.data, p.locs)
			}
		})
	}
	writing.Wait()
	cancel()
	workers.Wait()
	if len(w.bad) > 0 {
		t.Errorf("damaged: %v", w.bad)
	}
	seen := salts{}
	for _, name := range w.mem.Names() {
		b, err := w.mem.Get(background, name, 0, -1)
		must(t, err)
		seen.add(t, b)
	}
	if len(seen) != len(w.mem.Names()) {
		t.Error("two objects are one")
	}
}

func BenchmarkAppend(b *testing.B) {
	w := newWorld(b, 0)
	ctx, cancel := context.WithCancel(background)
	var run sync.WaitGroup
	run.Go(func() { _ = w.w.Run(ctx) })
	data := random(1<<20, 1)
	b.Run("1 MiB", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.w.Append(ctx, data); err != nil {
				b.Fatal(err)
			}
			for _, i := range w.w.Locals() {
				must(b, w.w.Forget(i.No))
			}
		}
	})
	cancel()
	run.Wait()
}
