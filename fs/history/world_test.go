package history

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store/mem"
)

// world is a drive in memory whose commits are made one by one, by devices whose keys
// the test has.
type world struct {
	t       testing.TB
	objects *mem.Bucket
	unlock  []byte
	vol     crypt.VolumeID
	owner   *identity.Identity
	blocks  *block.Reader
	memory  *table.Memory

	chain     *chain.State
	confirmed *view.Confirmed
	tables    *table.Set
	inos      uint64
	past      map[chain.Slot]*chain.State // before the commit of each slot
}

// device is a machine of a member.
type device struct {
	*identity.Device
	no   meta.Device
	name string
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB) (*world, *device) {
	t.Helper()
	w := &world{t: t, objects: mem.New(), memory: table.NewMemory(1 << 20), inos: 1 << 20, past: map[chain.Slot]*chain.State{}}
	dir, pass := filepath.Join(t.TempDir(), "state"), []byte("open sesame")
	_, err := drive.Create(t.Context(), w.objects, drive.CreateOptions{
		Passphrase: pass, KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "laptop",
		StateDir: func(drive.ID) (string, error) { return dir, nil },
	})
	must(t, err)
	u, err := drive.Unlock(t.Context(), w.objects, drive.UnlockOptions{Passphrase: pass})
	must(t, err)
	w.unlock, w.vol, w.owner = u.Handover(), u.Main().ID, u.Identity()
	st, _, err := state.Open(dir, u.Root(), u.ID, "laptop")
	must(t, err)
	dev, no, name := st.Device()
	keys := &publish.Keys{}
	w.blocks = block.New(block.Options{
		Bucket: w.objects, Cache: cache.Off(), Volume: w.vol, Key: keys.Key, Bad: func(string, error) {},
		Place: func(o block.Object) string { return chain.TableName(w.vol, o.Name) },
	})
	t.Cleanup(w.blocks.Close)
	l, err := publish.Load(t.Context(), publish.LoadOptions{
		Bucket: w.objects, Volume: w.vol, Identity: w.owner, Tables: w.blocks, Keys: keys, Memory: w.memory, Log: discard,
	})
	must(t, err)
	w.chain, w.confirmed, w.tables = l.Chain, l.Confirmed, table.NewSet(nil, publish.Source{Blocks: w.blocks}, w.memory)
	return w, &device{dev, no, name}
}

// at is the time that devices claim for a slot.
func at(s chain.Slot) time.Time { return time.Unix(1_700_000_000+int64(s)*60, 0).UTC() }

// put makes a commit and moves over it.
func (w *world) put(d *device, with chain.Content) chain.Link {
	w.t.Helper()
	slot := w.chain.Slot + 1
	for {
		if _, err := w.objects.Get(w.t.Context(), w.slot(slot), 0, 1); err != nil {
			break // what is there is none of the chain
		}
		slot++
	}
	w.past[slot] = w.chain.Clone()
	if with.First == 0 {
		with.First = w.chain.LastOp[d.no] + 1
		with.Last = with.First - 1
	}
	c, err := w.chain.Build(slot, d.Device, d.no, at(slot), with)
	must(w.t, err)
	must(w.t, w.objects.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, c.Slot), c.Object))
	j := w.chain.Judge(slot, c.Object, nil)
	if j.Verdict != chain.Valid {
		w.t.Fatalf("slot %d: %v: %s", slot, j.Verdict, j.Reason)
	}
	must(w.t, w.chain.Advance(j.Commit))
	w.confirmed.Apply(uint64(slot), j.Commit.Batch, j.Commit.Usage)
	return chain.Link{Slot: slot, ID: c.ID}
}

// do makes a commit of operations, each of which sees what those before it did.
func (w *world) do(d *device, ops ...func(w *world) meta.Op) chain.Link {
	w.t.Helper()
	first := w.chain.LastOp[d.no] + 1
	before, now := w.confirmed.Clone(), w.confirmed
	w.confirmed = now.Clone()
	all, slot := &meta.Builder{}, w.chain.Slot+1
	for i, op := range ops {
		o := op(w)
		t := at(slot)
		var b *meta.Batch
		must(w.t, publish.Retry(w.t.Context(), func() (err error) {
			b, err = o.Apply(w.confirmed, meta.Stamp{Device: d.no, No: first + meta.OpNo(i), Time: meta.Time{Sec: t.Unix()}})
			return err
		}))
		all.Add(b)
		w.confirmed.Apply(w.confirmed.Slot(), b, meta.Delta{})
	}
	w.confirmed = now
	b := all.Batch()
	var usage meta.Delta
	must(w.t, publish.Retry(w.t.Context(), func() (err error) {
		usage, err = meta.DeltaOf(before, b)
		return err
	}))
	return w.put(d, chain.Content{First: first, Last: first + meta.OpNo(len(ops)) - 1, Batch: b, Usage: usage})
}

// ref is what a path stands for now.
func (w *world) ref(p string) meta.Ref {
	w.t.Helper()
	at := meta.RootRef
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if part == "" {
			continue
		}
		must(w.t, publish.Retry(w.t.Context(), func() error {
			d, err := meta.Lookup(w.confirmed, at.Ino, []byte(part))
			if err == nil {
				at = d.Ref
			}
			return err
		}))
	}
	return at
}

func (w *world) split(p string) (meta.Ref, []byte) { return w.ref(path.Dir(p)), []byte(path.Base(p)) }

func create(p string, kind meta.Kind) func(w *world) meta.Op {
	return func(w *world) meta.Op {
		dir, name := w.split(p)
		w.inos++
		o := &meta.Make{Parent: dir, Name: name, Ref: meta.Ref{Home: dir.Ino, Ino: meta.MakeIno(1, w.inos)}, Kind: kind, Perm: 0o755, UID: 1000, GID: 1000}
		if kind == meta.Symlink {
			o.Target = []byte("x")
		}
		return o
	}
}

func mkdir(p string) func(w *world) meta.Op { return create(p, meta.Dir) }
func mk(p string) func(w *world) meta.Op    { return create(p, meta.File) }

func write(p string, size uint64) func(w *world) meta.Op {
	return func(w *world) meta.Op { return &meta.Truncate{Ref: w.ref(p), Size: size} }
}

func mv(from, to string, replaces ...string) func(w *world) meta.Op {
	return func(w *world) meta.Op {
		dir, name := w.split(from)
		newDir, newName := w.split(to)
		o := &meta.Rename{Parent: dir, Name: name, NewParent: newDir, NewName: newName, Ref: w.ref(from)}
		for _, p := range replaces {
			ref := w.ref(p)
			o.Replaced = &ref
		}
		return o
	}
}

func ln(from, to string) func(w *world) meta.Op {
	return func(w *world) meta.Op {
		dir, name := w.split(to)
		return &meta.Link{Ref: w.ref(from), Parent: dir, Name: name}
	}
}

func rm(p string) func(w *world) meta.Op {
	return func(w *world) meta.Op {
		dir, name := w.split(p)
		return &meta.Unlink{Parent: dir, Name: name, Ref: w.ref(p)}
	}
}

func rmdir(p string) func(w *world) meta.Op {
	return func(w *world) meta.Op {
		dir, name := w.split(p)
		return &meta.Rmdir{Parent: dir, Name: name, Ref: w.ref(p)}
	}
}

func chmod(p string, perm uint16) func(w *world) meta.Op {
	return func(w *world) meta.Op { return &meta.Setattr{Ref: w.ref(p), Valid: meta.SetPerm, Perm: perm} }
}

func xattr(p, name string) func(w *world) meta.Op {
	return func(w *world) meta.Op {
		return &meta.Setxattr{Ref: w.ref(p), Name: []byte(name), Value: []byte("v")}
	}
}

// enroll makes another device of the owner.
func (w *world) enroll(name string) *device {
	w.t.Helper()
	dev := identity.NewDevice()
	d := &device{dev, w.chain.Ledger.HighestDevice() + 1, name}
	rec, err := w.chain.Ledger.NewDeviceRecord(w.owner, w.chain.Slot+1, d.no, dev.Public(), name)
	must(w.t, err)
	w.put(d, chain.Content{First: 1, Records: []chain.Record{rec}})
	return d
}

// fold makes the tables of the newest slot, announces them, and writes a hint. change
// alters what is announced, or what goes into the tables.
func (w *world) fold(d *device, entry func(*table.Entry), change func(*chain.Checkpoint)) chain.Link {
	w.t.Helper()
	k := w.chain.Checkpoint()
	k.Usage = w.confirmed.Usage()
	ctx := w.t.Context()
	changes := w.confirmed.Changes(func(err error) error { return publish.Bring(ctx, err) })
	entries := func(yield func(table.Entry, error) bool) {
		for c, err := range changes {
			e := table.Entry{Key: c.Key, Value: c.Value, Dead: c.Deleted}
			if entry != nil {
				entry(&e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
	runs, err := table.Fold(ctx, w.tables.Runs(), entries, table.FoldOptions{
		Plan: table.MakePlan(w.tables.Runs(), uint64(w.confirmed.Bytes())), Src: publish.Source{Blocks: w.blocks}, Epoch: w.chain.Epoch,
		Write: func(ctx context.Context, content []byte) (crypt.Name, error) {
			object, name, err := crypt.NewSealer(w.chain.Key, w.vol, crypt.TypeTable, w.chain.Epoch).Seal(nil, content)
			if err != nil {
				return name, err
			}
			return name, w.objects.PutIfAbsent(ctx, chain.TableName(w.vol, name), object)
		},
	})
	must(w.t, err)
	k.Tables = table.AppendRuns(nil, runs)
	if change != nil {
		change(k)
	}
	l := w.put(d, chain.Content{Checkpoint: k})
	w.tables = table.NewSet(runs, publish.Source{Blocks: w.blocks}, w.memory)
	w.confirmed.Rebase(uint64(k.Slot), w.tables)
	if err := w.foldState(k, l); err != nil && change == nil && entry == nil {
		w.t.Fatal(err)
	}
	w.hint(d)
	return l
}

// foldState has the chain begin with a checkpoint.
func (w *world) foldState(k *chain.Checkpoint, l chain.Link) error {
	object, err := w.objects.Get(w.t.Context(), chain.SlotName(w.vol, l.Slot), 0, -1)
	if err != nil {
		return err
	}
	c, err := w.chain.Open(l.Slot, object)
	if err != nil {
		return err
	}
	return w.chain.Fold(c)
}

func (w *world) hint(d *device) {
	w.t.Helper()
	_, err := publish.WriteHint(w.t.Context(), w.objects, w.chain, d.Device, d.no, nil)
	must(w.t, err)
}

// open reads the drive as a machine does that has never seen it.
func (w *world) open() *History {
	w.t.Helper()
	u, err := drive.FromHandover(w.unlock)
	must(w.t, err)
	h, err := Open(w.t.Context(), Options{Bucket: w.objects, Drive: u})
	must(w.t, err)
	w.t.Cleanup(h.Close)
	return h
}

func (w *world) verify() *Verified {
	w.t.Helper()
	v, err := w.open().Verify(w.t.Context())
	must(w.t, err)
	return v
}

func (w *world) slot(s chain.Slot) string { return chain.SlotName(w.vol, s) }

func (w *world) get(name string) []byte {
	w.t.Helper()
	b, err := w.objects.Get(w.t.Context(), name, 0, -1)
	must(w.t, err)
	return b
}

func (w *world) delete(s chain.Slot) { must(w.t, w.objects.Delete(w.t.Context(), w.slot(s))) }

// lines are the entries of a walk, each as one string.
func (w *world) lines(o Walk) []string {
	w.t.Helper()
	var out []string
	must(w.t, w.open().Each(w.t.Context(), o, func(e Entry) bool {
		out = append(out, line(e))
		return true
	}))
	return out
}

func line(e Entry) string {
	var b bytes.Buffer
	b.WriteString(strings.TrimSpace(e.DeviceName) + ":")
	for _, c := range e.Changes {
		b.WriteString(" " + string(c.What) + " " + c.Path)
		if c.From != "" {
			b.WriteString(" from " + c.From)
		}
		if c.Detail != "" {
			b.WriteString(" (" + c.Detail + ")")
		}
		b.WriteString(";")
	}
	for _, l := range e.Leases {
		fmt.Fprintf(&b, " lease %s %s %d;", l.What, l.Path, l.Device)
	}
	if e.Locks > 0 {
		fmt.Fprintf(&b, " %d locks;", e.Locks)
	}
	for _, n := range e.Ledger {
		b.WriteString(" " + n.What + " " + n.Name + ";")
	}
	if e.Checkpoint > 0 {
		b.WriteString(" checkpoint;")
	}
	return strings.TrimSuffix(b.String(), ";")
}

func reversed(l []string) []string {
	l = slices.Clone(l)
	slices.Reverse(l)
	return l
}

var discard = slog.New(slog.DiscardHandler)

// stranger is a key that is no device's.
func (w *world) stranger() *identity.Device { return identity.NewDevice() }
