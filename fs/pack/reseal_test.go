package pack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// A turning world is one whose epoch turns; journal is what is recorded of its packs.
type turning struct {
	*world
	keys    map[crypt.Epoch]*crypt.Key
	now     crypt.Epoch
	journal map[meta.PackNo]Info
	fail    error  // of the journal
	stop    string // step at which the process is killed
}

var errKilled = errors.New("killed")

func newTurning(t *testing.T) *turning {
	w := &turning{world: newWorld(t, 2), keys: map[crypt.Epoch]*crypt.Key{}, now: testEpoch, journal: map[meta.PackNo]Info{}}
	w.keys[testEpoch] = w.key
	o := &w.w.o
	o.Current = func() (*crypt.Key, crypt.Epoch) { return w.keys[w.now], w.now }
	o.Closed = func(i Info) error { w.journal[i.No] = i; return nil }
	o.Resealed = func(i Info) error {
		if w.fail != nil {
			return w.fail
		}
		w.journal[i.No] = i
		return nil
	}
	step := o.Step
	o.Step = func(name string) {
		if name == w.stop {
			panic(errKilled)
		}
		step(name)
	}
	w.r.o.Key = func(e crypt.Epoch) (*crypt.Key, bool) { k, ok := w.keys[e]; return k, ok }
	w.r.Close()
	w.r = NewReader(w.r.o)
	t.Cleanup(w.r.Close)
	return w
}

// turn opens the next epoch.
func (w *turning) turn() {
	w.now++
	w.keys[w.now] = crypt.NewKey()
}

// closed writes a closed pack of n bytes.
func (w *turning) closedPack(n int) (Info, []byte) {
	w.t.Helper()
	data := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
	locs, err := w.w.Append(background, data)
	must(w.t, err)
	must(w.t, w.w.Close(locs[0].Pack))
	i, ok := w.w.Local(locs[0].Pack)
	if !ok {
		w.t.Fatal("it is not closed")
	}
	return i, data
}

func (w *turning) reads(no meta.PackNo, want []byte) {
	w.t.Helper()
	got := make([]byte, len(want))
	if err := w.r.ReadAt(background, Loc{Pack: no}, got); err != nil || !bytes.Equal(got, want) {
		w.t.Errorf("pack %d reads otherwise: %v", no, err)
	}
}

func TestPacksAreSealedUnderThePresentEpoch(t *testing.T) {
	w := newTurning(t)
	i, _ := w.closedPack(100)
	w.turn()
	j, _ := w.closedPack(100)
	if i.Epoch != testEpoch || j.Epoch != testEpoch+1 {
		t.Errorf("epochs %d and %d", i.Epoch, j.Epoch)
	}
}

func TestReseal(t *testing.T) {
	for _, n := range []int{1, crypt.SegmentSize - 1, crypt.SegmentSize, crypt.SegmentSize + 1, 300_000} {
		w := newTurning(t)
		i, data := w.closedPack(n)
		before, err := os.ReadFile(Path(w.dir, i.No))
		must(t, err)
		if same, err := w.w.Reseal(i, w.key); err != nil || same != i {
			t.Errorf("within its epoch: %+v, %v", same, err)
		}
		w.turn()
		w.reads(i.No, data)
		j, err := w.w.Reseal(i, w.key)
		must(t, err)
		if j.No != i.No || j.Length != i.Length || j.Epoch != w.now || j.Name == i.Name || w.journal[i.No] != j {
			t.Errorf("%+v became %+v, recorded as %+v", i, j, w.journal[i.No])
		}
		after, err := os.ReadFile(Path(w.dir, i.No))
		must(t, err)
		if bytes.Equal(before[len(before)-crypt.HeaderSize:], after[len(after)-crypt.HeaderSize:]) {
			t.Error("one header, and so one salt, for two objects")
		}
		content, tail, err := crypt.OpenPack(w.keys[w.now], testVolume, after, i.Length)
		if err != nil || tail.Name() != j.Name || !bytes.Equal(content, data) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if _, _, err := crypt.OpenPack(w.key, testVolume, after, i.Length); err == nil {
			t.Error("the key of before opens it")
		}
		w.reads(i.No, data)
		if _, ok := w.w.File(i.Name); ok {
			t.Error("the old name leads to the new file")
		}
		if left, _ := filepath.Glob(filepath.Join(w.dir, "*"+anew)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if _, err := w.w.Reseal(i, w.key); !errors.Is(err, ErrUnknown) {
			t.Errorf("the old description again: %v", err)
		}
	}
}

func TestResealOfWhatIsDamaged(t *testing.T) {
	w := newTurning(t)
	i, data := w.closedPack(1000)
	w.turn()
	b, err := os.ReadFile(Path(w.dir, i.No))
	must(t, err)
	b[10]++
	must(t, os.WriteFile(Path(w.dir, i.No), b, 0o600))
	if _, err := w.w.Reseal(i, w.key); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed byte: %v", err)
	}
	b[10]--
	must(t, os.WriteFile(Path(w.dir, i.No), b, 0o600))
	if _, err := w.w.Reseal(i, crypt.NewKey()); !errors.Is(err, ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	if w.journal[i.No] != i {
		t.Error("it was recorded")
	}
	w.reads(i.No, data)
}

// Killed at any step, or with a journal that fails, the file that the journal names is
// there afterwards, and whole.
func TestResealIsKilled(t *testing.T) {
	for _, step := range append([]string{"pack.write", "pack.written", "pack.synced", "journal"}, ResealSteps...) {
		t.Run(step, func(t *testing.T) {
			w := newTurning(t)
			i, data := w.closedPack(200_000)
			w.turn()
			if w.stop = step; step == "journal" {
				w.fail = errors.New("disk full")
				if _, err := w.w.Reseal(i, w.key); !errors.Is(err, w.fail) {
					t.Fatal(err)
				}
				w.reads(i.No, data)
				w.journal[i.No] = w.left(i) // the record came to the disk after all
				if _, err := w.w.Reseal(i, w.key); !errors.Is(err, w.fail) {
					t.Fatal(err)
				}
			} else {
				w.killed(func() { _, _ = w.w.Reseal(i, w.key) })
			}
			must(t, Recover(w.dir, []Info{w.journal[i.No]}))
			named := w.journal[i.No]
			b, err := os.ReadFile(Path(w.dir, i.No))
			must(t, err)
			content, tail, err := crypt.OpenPack(w.keys[named.Epoch], testVolume, b, named.Length)
			if err != nil || tail.Name() != named.Name || !bytes.Equal(content, data) {
				t.Errorf("the file is not the one of epoch %d that the journal names: %v", named.Epoch, err)
			}
			if left, _ := filepath.Glob(filepath.Join(w.dir, "*"+anew)); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// left describes the new file of a pack.
func (w *turning) left(i Info) Info {
	w.t.Helper()
	b, err := os.ReadFile(Path(w.dir, i.No) + anew)
	must(w.t, err)
	tail, err := crypt.ParseTail(b)
	must(w.t, err)
	return Info{No: i.No, Name: tail.Name(), Length: i.Length, Epoch: tail.Epoch()}
}

// killed runs do up to the step at which it is stopped.
func (w *turning) killed(do func()) {
	w.t.Helper()
	defer func() {
		if recover() == nil {
			w.t.Fatalf("step %q was not met", w.stop)
		}
	}()
	do()
}

// Readers find each byte while its pack is sealed anew over and over.
func TestReadersWhileResealing(t *testing.T) {
	w := newTurning(t)
	i, data := w.closedPack(150_000)
	no := i.No
	var mu sync.RWMutex // guards keys and now
	current := w.w.o.Current
	w.w.o.Current = func() (*crypt.Key, crypt.Epoch) { mu.RLock(); defer mu.RUnlock(); return current() }
	w.r.o.Key = func(e crypt.Epoch) (*crypt.Key, bool) {
		mu.RLock()
		defer mu.RUnlock()
		k, ok := w.keys[e]
		return k, ok
	}
	w.r.Close()
	w.r = NewReader(w.r.o)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					w.reads(no, data)
				}
			}
		})
	}
	for range 60 {
		old := w.keys[i.Epoch]
		mu.Lock()
		w.turn()
		mu.Unlock()
		next, err := w.w.Reseal(i, old)
		must(t, err)
		i = next
	}
	close(done)
	wg.Wait()
	if len(w.bad) > 0 {
		t.Errorf("reported as damaged: %v", w.bad)
	}
}
