package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// Attacks on folds and checkpoints that once worked, by the store, by a writer, or by bad
// luck alone. Each comment says what came of it then.

// signed notes what was put into each slot, and withholds tables.
type signed struct {
	store.Bucket
	far atomic.Bool
	mu  sync.Mutex
	put map[string]map[string]bool
}

func (b *signed) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if strings.Contains(name, "/l/") {
		b.mu.Lock()
		if b.put == nil {
			b.put = map[string]map[string]bool{}
		}
		if b.put[name] == nil {
			b.put[name] = map[string]bool{}
		}
		b.put[name][string(data)] = true
		b.mu.Unlock()
	}
	return b.Bucket.PutIfAbsent(ctx, name, data)
}

func (b *signed) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if b.far.Load() && strings.Contains(name, "/t/") {
		return nil, store.ErrUnavailable
	}
	return b.Bucket.Get(ctx, name, off, n)
}

// A lost slot whose winner cannot be followed, since tables are far, is signed for
// again with each try.
func TestFoldAttackTwoCommitsForOneSlot(t *testing.T) {
	w := newWorld(t)
	b := &signed{Bucket: w.objects}
	w.laptop.bucket = b
	as(w.laptop, write("a", "1"), drained)
	desktop := w.machine("desktop")
	as(desktop, write("b", "1"), drained)
	as(w.laptop, mkdir("mine"))
	as(desktop, commits("c", 9), folded, mkdir("x"), drained)
	b.far.Store(true)
	for range 4 {
		t.Log(drained(w.laptop))
	}
	for name, bodies := range b.put {
		if len(bodies) > 1 {
			t.Errorf("the laptop signed and sent %d different commits for %s", len(bodies), name[len(name)-4:])
		}
	}
}

// A pack that is in the chain, but under a checkpoint that is far, is put into the
// chain again; the commit is junk and the machine stops, mount after mount.
func TestFoldAttackPackTwice(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f1", "1"), write("f2", "1"), drained)
	ctx := t.Context()
	for i := range 300 { // inodes enough that packs come in a table of their own
		target := make([]byte, 2000)
		_, _ = rand.Read(target)
		for j := range target {
			target[j] = target[j]&0x7f | 1
		}
		_, err := w.laptop.v.Make(ctx, meta.RootRef, fmt.Appendf(nil, "s%d", i), Node{Kind: meta.Symlink, Perm: 0o777, Target: target}, false)
		if err != nil {
			t.Fatal(err)
		}
	}
	as(w.laptop, drained)
	v := w.laptop.v
	_, _, f1, _ := w.laptop.find("f1")
	_, _, f2, _ := w.laptop.find("f2")
	if err := v.Write(ctx, f1.Ref, 0, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := v.pinOld(ctx, 0); err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{})
	wrote, kept := false, false
	w.laptop.step = func(name string) {
		switch {
		case name == "journal.write" && !wrote: // somebody writes meanwhile
			wrote = true
			if err := v.Write(ctx, f2.Ref, 0, []byte("two")); err != nil {
				t.Error(err)
			}
			if err := v.pinOld(ctx, 0); err != nil {
				t.Error(err)
			}
		case name == "sync.put" && !kept: // and makes it durable
			kept = true
			if err := v.persist(); err != nil {
				t.Error(err)
			}
		case name == "sync.taken":
			close(reached)
			select {}
		}
	}
	go func() { _ = v.sync.Publish(ctx) }()
	<-reached
	w.laptop.step = nil
	w.laptop.crash()
	w.laptop.step = nil
	desktop := w.machine("desktop")
	as(desktop, commits("c", 9), folded, lock)
	t.Log(len(w.names("t")), "tables")
	for range 2 {
		w.laptop.mustOpen()
		t.Log("local packs:", len(w.laptop.v.packs.Locals()), "pending:", w.laptop.v.view.Pending().Len())
		err := drained(w.laptop)
		stopped, _ := w.laptop.v.sync.Trouble()
		t.Logf("publish: %v; stopped: %s", err, stopped)
		if err != nil {
			t.Error(err)
		}
		w.laptop.crash()
	}
}

// Shutting down waits for ever for a fold that the store does not answer.
func TestFoldAttackShutdownHangs(t *testing.T) {
	w := newWorld(t)
	w.laptop.fold = 3
	as(w.laptop, commits("a", 4))
	merged := make(chan struct{})
	var once sync.Once
	folding := false
	w.laptop.step = func(name string) {
		folding = folding || name == "fold.merged"
		if folding && name == "sync.put" {
			once.Do(func() {
				w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Onwards()) // the network goes
				close(merged)
			})
		}
	}
	w.laptop.run()
	<-merged
	done := make(chan error, 1)
	go func() { done <- w.laptop.shut(2 * time.Second) }()
	select {
	case err := <-done:
		t.Log(err)
	case <-time.After(time.Minute):
		t.Error("Shutdown was given 2 s, and hangs after a minute")
		w.faults.Clear()
		<-done
	}
}

// A checkpoint that its own author no longer takes is announced for ever.
// And one without steps makes an honest machine that comes back cry rollback.
func TestFoldAttackManyCommits(t *testing.T) {
	w := newWorld(t)
	desktop := w.machine("desktop")
	as(w.laptop, write("a", "1"), drained)
	as(desktop, write("b", "1"), lock)
	n := 0
	one := func() {
		n++
		as(w.laptop, mkdir(fmt.Sprint("d", n)), drained)
	}
	for range chain.MaxSteps - 6 {
		one()
	}
	before := len(w.names("l"))
	met := false
	w.laptop.step = func(name string) {
		if name == "fold.merged" && !met {
			met = true
			for range 9 { // others go on while this machine folds
				one()
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := w.laptop.v.sync.Fold(ctx)
	w.laptop.step = nil
	if more := len(w.names("l")) - before - 9; more > 1 {
		t.Errorf("in 3 s the checkpoint was announced %d times (%v)", more, err)
	}
	// A fold in peace.
	w.laptop.crash()
	w.laptop.mustOpen()
	as(w.laptop, one1(one), folded, lock)
	if err := desktop.open(); err != nil {
		t.Errorf("a machine that comes back to an intact store: %v", err)
	}
}

func one1(fn func()) act { return func(*machine) error { fn(); return nil } }

// seen is the chain in a bucket as a machine loads it.
func seen(w *world, b store.Bucket, m *machine) *publish.Loaded {
	w.t.Helper()
	u, err := drive.FromHandover(m.unlock)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := publish.Load(w.t.Context(), publish.LoadOptions{
		Bucket: b, Volume: w.vol, Identity: u.Identity(),
		Tables: m.v.tables, Keys: m.v.keys, Memory: m.v.memory, Log: m.v.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// forge puts a checkpoint of the newest slot into a chain, or with nil an empty commit,
// as a device that may write.
func forge(w *world, b store.Bucket, m *machine, change func(k *chain.Checkpoint)) *chain.Sealed {
	w.t.Helper()
	l := seen(w, b, m)
	with := chain.Content{}
	if change != nil {
		k := l.Chain.Checkpoint()
		k.Usage = l.Confirmed.Usage()
		k.Tables = table.AppendRuns(nil, nil)
		change(k)
		with.Checkpoint = k
	}
	dev, no, _ := m.v.state.Device()
	with.First = l.Chain.LastOp[no] + 1
	with.Last = with.First - 1
	c, err := l.Chain.Build(l.Next, dev, no, time.Now(), with)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := b.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, c.Slot), c.Object); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// lead writes a hint of the chain in a bucket.
func lead(w *world, b store.Bucket, m *machine) {
	w.t.Helper()
	dev, no, _ := m.v.state.Device()
	if _, err := publish.WriteHint(w.t.Context(), b, seen(w, b, m).Chain, dev, no, nil); err != nil {
		w.t.Fatal(err)
	}
}

// Whoever may write makes machines that know better drop what they know.
func TestFoldAttackFalseCheckpoint(t *testing.T) {
	w := newWorld(t)
	evil := w.machine("evil")
	as(w.laptop, write("precious", "1"), drained)
	as(evil, write("e", "1"), drained)
	forge(w, w.objects, evil, func(*chain.Checkpoint) {})
	if err := w.laptop.v.sync.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := w.laptop.find("precious"); err != nil {
		t.Errorf("precious, which nobody deleted: %v", err)
	}
}

// A false operation number in a checkpoint parts those who begin with it from
// those who followed.
func TestFoldAttackForkByCheckpoint(t *testing.T) {
	w := newWorld(t)
	evil := w.machine("evil")
	as(w.laptop, write("precious", "1"), drained)
	_, laptop, _ := w.laptop.v.state.Device()
	as(evil, write("e", "1"), drained)
	as(w.laptop, commits("a", 1))
	as(evil, commits("f", 9), folded)
	var runs []byte
	{ // the tables are right, and so is all but one number
		l := seen(w, w.objects, evil)
		object := w.object(chain.SlotName(w.vol, l.Chain.Announced().Slot))
		runs = mustJudge(w, w.objects, evil, l.Chain.Announced().Slot, object).Checkpoint.Tables
	}
	forge(w, w.objects, evil, func(k *chain.Checkpoint) { k.LastOp[laptop] += 7; k.Tables = runs })
	lead(w, w.objects, evil)
	as(w.laptop, write("mine", "1"), drained) // valid for who followed
	third := w.machine("third")
	third.mustOpen()
	t.Log("third:", third.log.String())
	err := write("its", "1")(third)
	if err == nil {
		err = drained(third)
	}
	t.Log("third writes:", err)
	if err := w.laptop.v.sync.CatchUp(t.Context()); err != nil {
		t.Errorf("the laptop, which did nothing wrong: %v", err)
	}
	if _, _, _, err := third.find("mine"); err != nil {
		t.Errorf("an acknowledged file of the laptop, on a new machine: %v", err)
	}
}

func mustJudge(w *world, b store.Bucket, m *machine, at chain.Slot, object []byte) *chain.Commit {
	w.t.Helper()
	u, err := drive.FromHandover(m.unlock)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := publish.Load(w.t.Context(), publish.LoadOptions{
		Bucket: until{b, w.vol.String(), at}, Volume: w.vol, Identity: u.Identity(),
		Tables: m.v.tables, Keys: m.v.keys, Memory: m.v.memory, Log: m.v.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	j := l.Chain.Judge(at, object, nil)
	if j.Commit == nil || j.Commit.Checkpoint == nil {
		w.t.Fatal(j.Reason)
	}
	return j.Commit
}

// until hides hints and the slots from one on.
type until struct {
	store.Bucket
	vol string
	at  chain.Slot
}

func (b until) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	l, err := b.Bucket.List(ctx, prefix, after, max)
	var kept []store.Info
	for _, i := range l {
		if n := i.Name[strings.LastIndexByte(i.Name, '/')+1:]; strings.Contains(i.Name, "/k/") && n != "ffffffffffffffff" {
			continue
		} else if strings.Contains(i.Name, "/l/") && n <= fmt.Sprintf("%016x", ^uint64(0)-uint64(b.at)) {
			continue
		}
		kept = append(kept, i)
	}
	return kept, err
}

// A writer and the store together roll back a machine that remembers: nothing binds
// the checkpoint that Before leads to to the one that names it.
func TestFoldAttackRollbackThroughBefore(t *testing.T) {
	w := newWorld(t)
	evil, tool, sleeper := w.machine("evil"), w.machine("tool"), w.machine("sleeper")
	as(evil, write("e", "1"), drained)
	as(tool, write("t", "1"), drained, lock)
	as(sleeper, write("s", "1"), drained)
	old := w.objects.Clone()
	as(w.laptop, write("revoked", "1"), drained)
	as(sleeper, drained)
	if err := sleeper.v.sync.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	as(sleeper, read("revoked", "1"))
	head := sleeper.v.state.Head()
	as(sleeper, lock)
	// On the true history, a checkpoint of what the sleeper remembers.
	for seen(w, w.objects, evil).Chain.Slot < head.Slot {
		forge(w, w.objects, evil, nil)
	}
	truth := forge(w, w.objects, evil, func(*chain.Checkpoint) {})
	// On the old one, other commits, and a checkpoint that says it comes after that.
	for seen(w, old, evil).Chain.Slot < truth.Slot+2 {
		forge(w, old, evil, nil)
	}
	tool.bucket = old
	as(tool, folded)
	at := seen(w, old, evil).Chain.Announced().Slot
	b, err := old.Get(t.Context(), chain.SlotName(w.vol, at), 0, chain.MaxCommit)
	if err != nil {
		t.Fatal(err)
	}
	runs := mustJudge(w, old, evil, at, b).Checkpoint.Tables
	forge(w, old, evil, func(k *chain.Checkpoint) {
		k.Tables = runs
		k.Steps, k.Base, k.Before = nil, k.Link, chain.Link{Slot: truth.Slot, ID: truth.ID}
	})
	lead(w, old, evil)
	old.Overwrite(chain.SlotName(w.vol, truth.Slot), truth.Object)
	sleeper.bucket = old
	err = sleeper.open()
	t.Log(err)
	if !errors.Is(err, ErrRollback) && !errors.Is(err, ErrFork) {
		t.Errorf("the store shows a history without slot %d, which this machine remembers: %v", head.Slot, err)
	}
}

// Bytes that were taken cannot even go to the journal after a fold, while the
// store is away: what the machine knew it knows no more.
func TestFoldAttackFsyncOffline(t *testing.T) {
	w := newWorld(t)
	b := &signed{Bucket: w.objects}
	w.laptop.bucket = b
	as(w.laptop, write("a", "1"), commits("b", 9))
	_, _, a, err := w.laptop.find("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.laptop.v.Write(t.Context(), a.Ref, 0, []byte("new")); err != nil {
		t.Fatal(err)
	}
	as(w.laptop, folded)
	b.far.Store(true)
	if err := w.laptop.v.Fsync(t.Context(), a.Ref); err != nil {
		t.Errorf("fsync of bytes that the journal could take: %v", err)
	}
	err = w.laptop.shut(2 * time.Second)
	var left *Undrained
	if errors.As(err, &left) && left.Lost > 0 {
		t.Errorf("lost at lock: %v", err)
	}
}

// A table that the store took and does not have ends the volume for everybody,
// with all commits there and the folder's own copy in memory.
func TestFoldAttackLostTable(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), commits("b", 9))
	w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrExist)).Prefix(w.prefix("t")).Onwards())
	if err := folded(w.laptop); err != nil {
		t.Logf("fold: %v", err)
	}
	w.faults.Clear()
	if err := read("a", "1")(w.laptop); err != nil {
		t.Errorf("who folded: %v", err)
	}
	w.laptop.crash()
	if err := w.laptop.open(); err != nil {
		t.Errorf("who folded, mounted anew: %v", err)
	}
	m := w.machine("new")
	if err := m.open(); err != nil {
		t.Errorf("a new machine: %v", err)
	}
}

// One old announcing commit that cannot be had keeps a machine out that was away,
// although all that it needs is there.
func TestFoldAttackOldAnnouncementGone(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(m, write("mine", "1"), lock)
	as(w.laptop, commits("a", 9), folded)
	at := seen(w, w.objects, w.laptop).Chain.Announced().Slot
	as(w.laptop, commits("b", 9), folded)
	m.bucket = &without{w.objects, chain.SlotName(w.vol, at)}
	if err := m.open(); err != nil {
		t.Errorf("mount: %v", err)
	}
}

// without has all objects but one.
type without struct {
	store.Bucket
	name string
}

func (b *without) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if name == b.name {
		return nil, store.ErrNotExist
	}
	return b.Bucket.Get(ctx, name, off, n)
}
