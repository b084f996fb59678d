package view

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// TestAgainstPlainMap runs random histories of operations, own slots and slots
// of another machine.
func TestAgainstPlainMap(t *testing.T) {
	n := seed(t)
	for run := range uint64(6) {
		w := newWorld(t, n, run)
		for step := range 600 {
			switch w.rng.IntN(20) {
			case 0, 1:
				w.settle()
			case 2:
				w.follow()
			case 3, 4:
				w.ranges()
			case 5:
				w.fold()
			default:
				w.execute()
			}
			if step%5 == 0 {
				w.compare()
			}
		}
		w.compare()
		w.replay()
	}
}

// replay builds another view from what the chain and the journal would hold.
func (w *world) replay() {
	w.t.Helper()
	usage, err := count(w.base)
	must(w.t, err)
	again := New(NewConfirmed(w.slot, w.base, usage))
	for i := 0; i < len(w.ops); {
		// Several may stand for one operation since a Follow.
		at, steps := w.ops[i].Stamp, []meta.Change(nil)
		for ; i < len(w.ops) && w.ops[i].Stamp == at; i++ {
			if w.ops[i].Op != nil {
				steps = append(steps, w.ops[i].Op)
			}
		}
		_, err := again.Resume(steps, 0, at)
		must(w.t, err)
	}
	if again.Dump() != w.view.Dump() {
		w.t.Fatal("the map after a replay is another")
	}
	if again.Usage() != w.view.Usage() {
		w.t.Fatalf("usage after a replay %+v, before %+v", again.Usage(), w.view.Usage())
	}
}

func mkfile(no meta.OpNo, name string) (*meta.Make, meta.Stamp) {
	ref := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, uint64(no))}
	return &meta.Make{Parent: meta.RootRef, Name: []byte(name), Ref: ref, Kind: meta.File, Perm: 0o644},
		meta.Stamp{Device: 1, No: no, Time: meta.Time{Sec: 5}}
}

// A commit of ours that is found in its slot at mount was executed by nobody
// here: all of it is new to the map, and to its totals.
func TestSettleWhatWasNotExecuted(t *testing.T) {
	w := newWorld(t, 1, 1)
	op, at := mkfile(1, "a")
	b, err := op.Apply(w.base, at)
	must(t, err)
	w.view.Settle(2, 1, b, meta.Delta{Inodes: 1})
	w.all.Apply(b)
	w.slot = 2
	w.compare()
}

func TestExecuteRefuses(t *testing.T) {
	w := newWorld(t, 1, 1)
	a, at := mkfile(5, "a")
	_, err := w.view.Execute(a, at)
	must(t, err)
	before := w.view.Dump()
	for name, c := range map[string]struct {
		name string
		no   meta.OpNo
	}{
		"a number that was used":   {"b", 5},
		"a number that went by":    {"b", 4},
		"an operation not allowed": {"a", 6},
	} {
		op, at := mkfile(c.no, c.name)
		if _, err := w.view.Execute(op, at); err == nil {
			t.Errorf("%s: no error", name)
		}
		if w.view.Dump() != before || w.view.Pending().Len() != 1 {
			t.Errorf("%s: left a trace", name)
		}
	}
	// What changes nothing takes no number.
	b, err := w.view.Execute(&meta.PunchHole{Ref: a.Ref, Off: 10, Len: 5}, meta.Stamp{Device: 1, No: 6})
	if err != nil || !b.Empty() || w.view.Pending().Len() != 1 {
		t.Errorf("an operation without effect: %v, %d pending", err, w.view.Pending().Len())
	}
}

func TestTake(t *testing.T) {
	w := newWorld(t, 1, 1)
	if took := w.view.Take(9, 1<<20); took.Ops.Len() != 0 || took.Batch != nil {
		t.Error("something to take")
	}
	for no := range meta.OpNo(4) {
		op, at := mkfile(no+1, string(rune('a'+no)))
		_, err := w.view.Execute(op, at)
		must(t, err)
	}
	for _, c := range []struct {
		name  string
		last  meta.OpNo
		limit int
		want  int
	}{
		{"none so old", 0, 1 << 20, 0},
		{"up to a number", 2, 1 << 20, 2},
		{"up to one that is not there", 9, 1 << 20, 4},
		{"one at least", 4, 0, 1},
	} {
		took := w.view.Take(c.last, c.limit)
		if took.Ops.Len() != c.want || (took.Batch == nil) != (c.want == 0) || took.Usage.Inodes != int64(c.want) {
			t.Errorf("%s: %d, want %d", c.name, took.Ops.Len(), c.want)
		}
	}
	if w.view.Pending().Len() != 4 {
		t.Error("taking settled")
	}
}

// An operation that another machine's slot made void still stands in the way of
// later numbers.
func TestFollowKeepsWhatHasNoEffectAnyMore(t *testing.T) {
	w := newWorld(t, 1, 1)
	chmod := &meta.Setxattr{Ref: meta.RootRef, Name: []byte("user.x"), Value: []byte("1")}
	_, err := w.view.Execute(chmod, meta.Stamp{Device: 1, No: 1, Time: meta.Time{Sec: 7}})
	must(t, err)
	b, err := chmod.Apply(w.base, meta.Stamp{Device: 2, No: 1, Time: meta.Time{Sec: 7}})
	must(t, err)
	_, err = w.view.Follow([]Slot{{2, b, meta.Delta{}}}, meta.RebaseOptions{}, forgotten)
	if err != nil || w.view.Pending().Len() != 1 {
		t.Fatalf("%v, %d pending", err, w.view.Pending().Len())
	}
	took := w.view.Take(1, 1<<20)
	w.view.Settle(3, took.Ops.First().No, took.Batch, took.Usage)
	if w.view.Pending().Len() != 0 {
		t.Error("not settled")
	}
}

// broken are tables that fail where they are told to.
type broken struct {
	*metatest.Map
	scan, get error
}

func (b *broken) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	if b.scan != nil && from[0] == 'x' {
		return b.scan
	}
	return b.Map.Scan(from, to, fn)
}

func (b *broken) Get(key []byte) ([]byte, error) {
	if b.get != nil && key[0] == 'i' {
		return nil, b.get
	}
	return b.Map.Get(key)
}

// Tables that cannot be read leave the view as it was, and no operation is taken for
// one that failed.
func TestTablesFail(t *testing.T) {
	tables := &broken{Map: new(metatest.Map)}
	tables.Apply(meta.InitBatch(meta.Time{Sec: 1}, 0, 0))
	first, at := mkfile(1, "a")
	b, err := first.Apply(tables, at)
	must(t, err)
	tables.Apply(b)
	write := &meta.Write{Ref: first.Ref}
	for i := range uint64(9) {
		write.Extents = append(write.Extents, meta.Extent{Off: 100 * i, Len: 10, Pack: meta.MakePack(1, i+1)})
	}
	b, err = write.Apply(tables, meta.Stamp{Device: 1, No: 2})
	must(t, err)
	tables.Apply(b)
	v := New(NewConfirmed(2, tables, meta.Usage{Inodes: 2, Bytes: 810}))
	_, err = v.Execute(&meta.Setattr{Ref: first.Ref, Valid: meta.SetPerm, Perm: 0o600}, meta.Stamp{Device: 1, No: 3})
	must(t, err)
	other, at := mkfile(9, "other")
	at.Device = 2
	foreign, err := other.Apply(v.merged(), at)
	must(t, err)

	before, usage := v.Dump(), v.Usage()
	far := fmt.Errorf("a table: %w", meta.ErrUnknown)
	for name, try := range map[string]func() error{
		"follow": func() error {
			tables.get = far
			_, err := v.Follow([]Slot{{3, foreign, meta.Delta{}}}, meta.RebaseOptions{}, forgotten)
			return err
		},
		"execute, scanned": func() error {
			tables.scan = far
			_, err := v.Execute(&meta.Unlink{Parent: meta.RootRef, Name: []byte("a"), Ref: first.Ref}, meta.Stamp{Device: 1, No: 4})
			return err
		},
		"execute, read": func() error {
			tables.get = far
			op, at := mkfile(4, "b")
			_, err := v.Execute(op, at)
			return err
		},
	} {
		if err := try(); !errors.Is(err, far) {
			t.Errorf("%s: %v", name, err)
		}
		tables.get, tables.scan = nil, nil
		if v.Dump() != before || v.Usage() != usage || v.Pending().Len() != 1 || v.Slot() != 2 {
			t.Errorf("%s: left a trace", name)
		}
	}
}

// The state may outlive the commit whose bytes a decoded batch points into.
func TestConfirmedKeepsNothingOfTheBatch(t *testing.T) {
	key, value := meta.SnapshotKey([]byte("s")), []byte("value")
	c := NewConfirmed(0, nil, meta.Usage{})
	c.Apply(1, &meta.Batch{Puts: []meta.KV{{Key: key, Value: value}}}, meta.Delta{})
	clear(key[1:])
	clear(value)
	if got, err := c.Get(meta.SnapshotKey([]byte("s"))); err != nil || string(got) != "value" {
		t.Errorf("%q, %v", got, err)
	}
}

// Readers see a map that does not change under them, while it changes.
func TestReadersBesideWriters(t *testing.T) {
	w := newWorld(t, seed(t), 0)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := w.view.Read(func(r meta.Reader) error {
					if first := dump(r); dump(r) != first {
						t.Error("the map changed under a reader")
					}
					_, err := meta.GetInode(r, meta.RootRef)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				took := w.view.Take(1<<40, 1000)
				if (took.Ops.Len() == 0) != (took.Batch == nil) {
					t.Error("operations without a batch")
				}
				for p := range w.view.Pending().All() {
					if p.Stamp.No == 0 {
						t.Error("an operation without a number")
					}
				}
				_, _ = w.view.Usage(), w.view.Slot()
			}
		})
	}
	for range 400 {
		switch w.rng.IntN(15) {
		case 0:
			w.settle()
		case 1:
			w.follow()
		default:
			w.execute()
		}
	}
	close(stop)
	readers.Wait()
	w.compare()
}

// BenchmarkExecute is what creating a file costs the view.
func BenchmarkExecute(b *testing.B) {
	w := newWorld(b, 1, 1)
	b.ReportAllocs()
	no := meta.OpNo(0)
	for b.Loop() {
		no++
		op, at := mkfile(no, strconv.Itoa(int(no)))
		if _, err := w.view.Execute(op, at); err != nil {
			b.Fatal(err)
		}
		if no%1000 == 0 {
			took := w.view.Take(no, 1<<30)
			w.view.Settle(uint64(no), no, took.Batch, took.Usage)
		}
	}
}
