package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/retry"
)

// Every operation is tried with every fault of the store, at the first request of its
// kind, at the second, at every other one and at all of them, through the same package
// retry that a mount has, by a virtual clock. The answer is right or an error that has a
// name; a call for which a program waits ends in its time; what is near goes on as if
// nothing were; and when the fault is over, a new machine sees all that was
// acknowledged, whole. HUSHFS_FAULTS=all tries each pair at each occurrence, without it
// each pair is tried at one of the four.

// accident is what a store does wrong with requests of one kind.
type accident struct {
	name string
	op   fault.Op
	do   fault.Action

	// harms: what it spoilt stays so when it is over. Nobody can bring that back but
	// who has a copy; it must be said, and must not pass for anything else.
	harms bool
}

var accidents = []accident{
	{"unavailable", fault.Put, fault.Fail(fmt.Errorf("%w: by the test", store.ErrUnavailable)), false},
	{"hangs", fault.Put, fault.Hang, false},
	{"slow", fault.Put, fault.Slow(5 * time.Second), false},
	{"answer lost", fault.Put, fault.LostAnswer, false},
	{"arrives late", fault.Put, fault.Late, false},
	{"own success is a 412", fault.Put, fault.Twice, false},
	{"412 for a free name", fault.Put, fault.Taken, false},
	{"slow down", fault.Put, fault.SlowDown, false},
	{"no bucket", fault.Put, fault.NoBucket, false},
	{"denied", fault.Put, fault.Forbidden, false},
	{"full", fault.Put, fault.Full, false},
	{halfArrives, fault.Put, fault.Partial, true},
	{"acknowledged and not stored", fault.Put, fault.Missing, true},
	{"one bit is stored wrong", fault.Put, fault.FlipBit(4321), true},
	{"stored too short", fault.Put, fault.Truncate(-1), true},

	{"unavailable", fault.Get, fault.Fail(fmt.Errorf("%w: by the test", store.ErrUnavailable)), false},
	{"hangs", fault.Get, fault.Hang, false},
	{"slow", fault.Get, fault.Slow(5 * time.Second), false},
	{"no bucket", fault.Get, fault.NoBucket, false},
	{"denied", fault.Get, fault.Forbidden, false},
	{"one bit is wrong", fault.Get, fault.FlipBit(4321), false},
	{"cut off", fault.Get, fault.Truncate(-1), false},
	{"empty", fault.Get, fault.Truncate(0), false},
	{"not found", fault.Get, fault.Missing, false},
	{"another object's bytes", fault.Get, another, false},

	{"unavailable", fault.List, fault.Fail(fmt.Errorf("%w: by the test", store.ErrUnavailable)), false},
	{"hangs", fault.List, fault.Hang, false},
	{"slow", fault.List, fault.Slow(5 * time.Second), false},
	{"denied", fault.List, fault.Forbidden, false},
	{"nothing", fault.List, fault.Missing, false},
	{"without the newest", fault.List, fault.Without(1), false},
	{"ends early", fault.List, fault.Truncate(1), false},
	{"twice each", fault.List, fault.Duplicate, false},
	{"backwards", fault.List, fault.Backwards, false},
}

const halfArrives = "half arrives"

// another gives the bytes of the next object of the same kind.
func another(ctx context.Context, r fault.Request) fault.Answer {
	kind := r.Name[:strings.LastIndexByte(r.Name, '/')+1]
	if i := strings.Index(kind, "/p/"); i >= 0 {
		kind = kind[:i+3] // packs lie in 256 folders
	}
	other := r
	other.Op, other.Name, other.After, other.Max = fault.List, kind, r.Name, 1
	if next := other.Do(ctx); len(next.Infos) > 0 {
		r.Name = next.Infos[0].Name
		return r.Do(ctx)
	}
	other.After = ""
	if first := other.Do(ctx); len(first.Infos) > 0 {
		r.Name = first.Infos[0].Name
	}
	return r.Do(ctx)
}

// occurrence says which of the requests meet the accident.
type occurrence struct {
	name string
	rule func(fault.Rule) fault.Rule
	nth  int
}

func same(r fault.Rule) fault.Rule { return r }

var occurrences = []occurrence{
	{"first", same, 1},
	{"all", same, 0},
	{"second", same, 2},
	{"every other", func(r fault.Rule) fault.Rule { return r.Each(2) }, 1},
}

// deeds are the operations, and what is to be found when they have succeeded.
type faultOp struct {
	name string
	kind opKind

	prepare act           // before the fault; nil: the machine is mounted
	do      act           // under the fault
	found   act           // true once do succeeded; nil: nothing to look for
	world   func(*faulty) // instead of a machine that worked with the drive before
}

type opKind uint8

const (
	waited opKind = iota // a program waits for it: it ends in its time
	near                 // it needs no store: it succeeds at once
	behind               // in the background: it ends when the fault is over, if not before
)

var faultOps = []faultOp{
	{name: "mount", prepare: nothing, do: func(m *machine) error { return m.open() }, found: read("d/small", "small")},
	{name: "mount on a new machine", world: (*faulty).stranger, prepare: nothing, do: func(m *machine) error { return m.open() }, found: read("d/small", "small")},
	{name: "mount read-only", prepare: nothing, do: func(m *machine) error { m.ro = true; return m.open() }, found: read("d/small", "small")},
	{name: "mount with a journal", prepare: series(write("w", big), fsync("w"), mkdir("w2"), persisted, crashed),
		do: func(m *machine) error { return m.open() }, found: series(read("w", big), isThere("w2"))},
	{name: "mount with a commit on its way", prepare: onItsWay, do: func(m *machine) error { return m.open() }, found: read("w", "way")},
	{name: "mount of a copied state", world: (*faulty).twin, prepare: nothing, do: func(m *machine) error { return m.open() }, found: series(read("copied", "copied"), read("original", "1"))},
	{name: "lookup", do: isThere("d/small")},
	{name: "lookup of what is not there", do: isAbsent("d/none")},
	{name: "readdir", do: lists("d", "e", "small")},
	{name: "read", do: read("big", big)},
	{name: "read of a small file", do: read("d/small", "small")},
	{name: "write and fsync", kind: near, prepare: isAbsent("w"), do: series(write("w", big), fsync("w")), found: read("w", big)},
	{name: "create and rename", kind: near, prepare: series(isThere("e"), isAbsent("f"), isAbsent("g")),
		do: series(write("f", "new"), rename("f", "g"), rename("e", "f"), fsync("g"), persisted), found: series(read("g", "new"), isThere("f"), isAbsent("e"))},
	{name: "enroll", world: (*faulty).stranger, prepare: series(mounted, isAbsent("n")), do: mkdir("n"), found: isThere("n")},
	{name: "publish", kind: behind, prepare: series(write("w", "new"), mkdir("w2")), do: stored, found: series(read("w", "new"), isThere("w2"))},
	{name: "upload", kind: behind, prepare: write("w", huge), do: stored, found: read("w", huge)},
	{name: "follow", kind: behind, prepare: write("w", "new"), world: (*faulty).others, do: stored, found: series(read("w", "new"), read("theirs", "theirs"))},
	{name: "fold", kind: behind, prepare: series(commits("c", 3)), do: folded, found: read("c2", "2")},
	{name: "unmount", kind: behind, prepare: series(write("w", big), mkdir("w2")), do: lock, found: series(read("w", big), isThere("w2"))},
}

// huge is more than one pack.
var huge = strings.Repeat("many bytes of a large file, ", 5<<20/28)

func nothing(*machine) error { return nil }

func mounted(m *machine) error { m.mustOpen(); return nil }

func series(acts ...act) act {
	return func(m *machine) error {
		for _, a := range acts {
			if err := a(m); err != nil {
				return err
			}
		}
		return nil
	}
}

func persisted(m *machine) error {
	return errors.Join(m.v.pinOld(context.Background(), 0), m.v.persist())
}

func crashed(m *machine) error { m.crash(); return nil }

func stored(m *machine) error { return m.v.WaitStored(context.Background()) }

func isThere(path string) act {
	return func(m *machine) error { _, _, _, err := m.find(path); return err }
}

// isAbsent is missing, with the error of whatever else goes wrong.
func isAbsent(path string) act {
	return func(m *machine) error {
		_, _, _, err := m.find(path)
		if err == nil {
			return fmt.Errorf("%s is there", path)
		}
		if errors.Is(err, meta.ErrNotExist) {
			return nil
		}
		return err
	}
}

func lists(path string, want ...string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err != nil {
			return err
		}
		all, err := m.v.List(context.Background(), a.Ref)
		if err != nil {
			return err
		}
		var got []string
		for _, e := range all {
			got = append(got, string(e.Name))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("%s holds %q, want %q", path, got, want)
		}
		return nil
	}
}

// onItsWay crashes after a commit was written down and before its answer came.
func onItsWay(m *machine) error {
	if err := series(write("w", "way"), fsync("w"))(m); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m.step = func(name string) {
		if name == "sync.put" {
			cancel()
		}
	}
	err := m.v.sync.Publish(ctx)
	m.step = nil
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the commit is not on its way: %w", err)
	}
	m.crash()
	return nil
}

// base is a drive with files, folded once and with a commit above.
type base struct {
	objects *mem.Bucket
	unlock  []byte
	vol     crypt.VolumeID
}

func newBase(t *testing.T) (b base) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), write("d/small", "small"), mkdir("d/e"), write("big", big), write("e", "to be renamed"), commits("a", 4), folded, write("late", "late"), lock)
		b = base{objects: w.objects, unlock: w.unlock, vol: w.vol}
	})
	return b
}

// faulty is one trial.
type faulty struct {
	*world
	base base
	m    *machine
}

func (b base) faulty(t *testing.T) *faulty {
	w := &world{t: t, objects: b.objects.Clone(), unlock: b.unlock, vol: b.vol}
	w.faults = fault.Wrap(w.objects)
	f := &faulty{world: w, base: b}
	f.m = f.machine("desktop")
	bucket := f.m.bucket
	f.m.bucket = f.objects
	as(f.m, write("mine", "mine"), lock)
	f.m.bucket = bucket
	return f
}

// machine is one that reaches the store as a mount does.
func (f *faulty) machine(name string) *machine {
	m := f.world.machine(name)
	m.bucket = retry.Wrap(f.faults, retry.Options{Once: retry.Prefixes(f.prefix("l"))})
	return m
}

// stranger puts a machine that never saw the drive in the place of the other.
func (f *faulty) stranger() { f.m = f.machine("stranger") }

// twin makes the machine's state a copy whose original went on with the drive.
func (f *faulty) twin() {
	original := f.world.machine("original")
	original.bucket = f.objects
	copyFolder(f.t, f.m.state(), original.state())
	as(original, write("original", "1"), lock)
	as(f.m, write("copied", "copied"), fsync("copied"))
	f.m.crash()
}

// others has another machine take the slot that is next.
func (f *faulty) others() {
	other := f.world.machine("other")
	other.bucket = f.objects
	f.m.mustOpen()
	as(other, write("theirs", "theirs"), lock)
}

// named are the errors that a call may fail with while the store does wrong.
var named = []error{
	store.ErrUnavailable, store.ErrDenied, store.ErrFull, store.ErrTimeout, store.ErrNotExist, context.DeadlineExceeded,
	block.ErrDamaged, table.ErrDamaged, pack.ErrDamaged, meta.ErrUnknown, ErrEnroll, ErrUndrained, ErrRollback, ErrFork,
	publish.ErrRollback, publish.ErrFork, publish.ErrNoKey, publish.ErrElsewhere, crypt.ErrForged, chain.ErrMalformed,
}

func isNamed(err error) bool {
	return slices.ContainsFunc(named, func(n error) bool { return errors.Is(err, n) })
}

const (
	// callLimit is in which a call ends for which a program waits: a few requests of 15 s
	// each, and their bytes.
	callLimit = 3 * time.Minute

	// mendLimit is in which all is in the store after the fault: an upload that hangs is
	// given up after what its bytes take at 2 KiB/s.
	mendLimit = 3 * time.Hour
)

func TestEveryOperationWithEveryFault(t *testing.T) {
	t.Parallel()
	b := newBase(t)
	all := os.Getenv("HUSHFS_FAULTS") == "all"
	for i, op := range faultOps {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			for j, a := range accidents {
				for k, o := range occurrences {
					if !all && k != (i+j)%len(occurrences) {
						continue
					}
					t.Run(fmt.Sprintf("%v %s, %s", a.op, a.name, o.name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { b.faulty(t).try(op, a, o) })
					})
				}
			}
		})
	}
}

// try is one trial.
func (f *faulty) try(op faultOp, a accident, o occurrence) {
	t := f.t
	if op.world != nil {
		op.world(f)
	}
	m := f.m
	if op.prepare == nil {
		op.prepare = mounted
	} else if op.kind != waited || op.world == nil {
		op.prepare = series(mounted, op.prepare)
	}
	if op.name == "mount" || op.name == "mount read-only" {
		op.prepare = nothing
	}
	if err := op.prepare(m); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	if op.kind == behind {
		m.run()
	}
	f.faults.Add(o.rule(fault.On(a.op, o.nth, a.do)))
	began := time.Now()
	result := make(chan error, 1)
	go func() { result <- op.do(m) }()
	var err error
	over := false
	select {
	case err = <-result:
		over = true
	case <-time.After(callLimit):
	}
	took := time.Since(began)
	f.faults.Clear()
	switch {
	case over:
	case op.kind != behind:
		t.Fatalf("it hangs")
	default:
		f.operate(a)
		select {
		case err = <-result:
		case <-time.After(mendLimit):
			t.Fatalf("it hangs, and the fault is over: %+v", m.v.Status())
		}
	}
	f.faults.Deliver(context.Background())
	f.operate(a)
	time.Sleep(2 * time.Second) // a reader asks every second whether the store is back
	switch {
	case op.kind == near && (err != nil || took > time.Second):
		t.Errorf("it needs no store: %v after %v", err, took)
	case err != nil && !isNamed(err):
		t.Errorf("an error without a name: %v", err)
	case err != nil && errors.Is(err, meta.ErrNotExist):
		t.Errorf("what is there seems absent: %v", err)
	}
	f.converges(op, a, err)
}

// operate removes halves of packs, as a person does whom the status tells of them:
// nobody can put the whole one where they lie.
func (f *faulty) operate(a accident) {
	if a.name != halfArrives {
		return
	}
	for _, c := range f.faults.Log() {
		if c.Op == fault.Put && c.Err != nil && strings.HasPrefix(c.Name, f.prefix("p")) {
			if err := f.objects.Delete(context.Background(), c.Name); err != nil {
				f.t.Error(err)
			}
		}
	}
}

// converges sees that all is well now that the fault is over, err being what the
// operation came to.
func (f *faulty) converges(op faultOp, a accident, err error) {
	t, m := f.t, f.m
	m.ro = false
	if m.v == nil || m.v.o.ReadOnly || m.v.Status().Stopped != "" {
		// A mount that was refused, or said that nothing more is sent, is made anew.
		if m.v != nil {
			if serr := m.shut(time.Minute); serr != nil && !errors.Is(serr, ErrUndrained) {
				t.Errorf("lock: %v", serr)
			}
		}
		if oerr := m.open(); oerr != nil {
			f.harmed(m, a, "mount", oerr)
			return
		}
	}
	look := func() {
		if err == nil && op.found != nil {
			f.harmed(m, a, "found", op.found(m))
		}
		for path, content := range f.known(op, a) {
			f.harmed(m, a, "read "+path, read(path, content)(m))
		}
	}
	if !a.harms {
		look()
	}
	if t.Failed() {
		return
	}
	if m.stop == nil {
		m.run()
	}
	f.harmed(m, a, "write", write("after", "x")(m))
	ctx, cancel := context.WithTimeout(context.Background(), mendLimit)
	defer cancel()
	if werr := m.v.WaitStored(ctx); werr != nil {
		f.harmed(m, a, "wait", werr)
		_ = m.shut(time.Second)
		return
	}
	if a.harms {
		look() // what a lie has led to is found when the next commit is sent
	}
	if s := m.v.Status(); !a.harms && (s.Offline != "" || s.Stopped != "" || len(s.Damaged) > 0 && a.op == fault.Put) {
		t.Errorf("status when all is well: %+v", s)
	}
	want := ""
	if !a.harms {
		want = m.tree()
	}
	if lerr := m.shut(mendLimit); lerr != nil {
		f.harmed(m, a, "lock", lerr)
		return
	}
	n := f.world.machine("new")
	n.bucket = f.objects
	if oerr := n.open(); oerr != nil {
		f.harmed(n, a, "a new machine mounts", oerr)
		return
	}
	if !a.harms {
		if got := n.tree(); got != want {
			t.Errorf("a new machine sees\n%s\nwant\n%s", got, want)
		}
	}
	f.harmed(n, a, "a new machine reads", read("after", "x")(n))
	if err == nil && op.found != nil {
		f.harmed(n, a, "a new machine", op.found(n))
	}
	if aerr := n.shut(time.Minute); aerr != nil {
		t.Errorf("a new machine locks: %v", aerr)
	}
}

// known are the files that were there before, as far as the machine must see them.
func (f *faulty) known(op faultOp, a accident) map[string]string {
	known := map[string]string{"d/small": "small", "big": big, "mine": "mine", "late": "late", "a3": "3"}
	if op.world != nil && a.op == fault.List {
		// Who never saw the drive takes a list for whole that leaves the newest out, and
		// finds that when it writes.
		delete(known, "mine")
		delete(known, "late")
	}
	return known
}

// harmed reports an error at a machine, unless the accident left harm and it is said:
// by the error, or by the status where what is shown is the state before the harm.
func (f *faulty) harmed(m *machine, a accident, what string, err error) {
	f.t.Helper()
	switch {
	case err == nil:
	case !a.harms:
		f.t.Errorf("%s: %v", what, err)
	case errors.Is(err, meta.ErrNotExist):
		if s := m.v.Status(); s.Stopped == "" && len(s.Damaged) == 0 {
			f.t.Errorf("%s, after harm that nobody was told of: %v", what, err)
		}
	case !isNamed(err):
		f.t.Errorf("%s, after harm: %v", what, err)
	}
}
