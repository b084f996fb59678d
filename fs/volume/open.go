package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// Open reads the chain, checks it against what this machine remembers, and
// executes again what the journal holds. Until Run is called nothing is
// published.
func Open(ctx context.Context, o Options) (_ *Volume, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	v := &Volume{
		o:       o,
		log:     o.Log,
		bucket:  &counted{Bucket: o.Bucket},
		dirty:   map[meta.Ino]*dirty{},
		open:    map[meta.Ino]*opened{},
		orphans: map[meta.Ino]*orphan{},
	}
	vol := o.Drive.Main()
	st, fresh, err := state.Open(o.State, o.Drive.Root(), o.Drive.ID, o.DeviceName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	v.state = st
	loaded, err := publish.Load(ctx, v.bucket, vol.ID, o.Drive.Identity(), v.log)
	if err != nil {
		return nil, err
	}
	if err := v.checkHeads(loaded, vol.MinSlot, vol.MinCommit); err != nil {
		return nil, err
	}
	for _, d := range loaded.Damaged {
		v.notes.damage(d)
	}
	if v.view, err = view.New(loaded.Confirmed); err != nil {
		return nil, err
	}
	size := o.CacheSize
	if size == 0 {
		size = defaultCache(o.Cache)
	}
	if v.cache, err = cache.OpenFiles(filepath.Join(o.Cache, "packs"), size); err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	if err := v.openJournal(ctx, loaded, fresh); err != nil {
		return nil, err
	}
	if err := o.Drive.KeepHeader(o.State); err != nil {
		v.log.Warn("header not kept", "err", err)
	}
	return v, nil
}

// defaultCache is the lesser of 10 GiB and 20 % of the free disk.
func defaultCache(dir string) int64 {
	const most = 10 << 30
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return most
	}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return most
	}
	return min(most, int64(st.Bavail)*st.Bsize/5)
}

// checkHeads refuses a store that shows less, or another history, than this
// machine saw, or than the keyring says there is at least.
func (v *Volume) checkHeads(l *publish.Loaded, minSlot uint64, minID [32]byte) error {
	heads := []chain.Head{v.state.Head(), {Slot: chain.Slot(minSlot), ID: minID}}
	for _, h := range heads {
		if h.Slot == 0 {
			continue
		}
		id, ok := l.IDs[h.Slot]
		switch {
		case ok && id == h.ID:
		case ok:
			return fmt.Errorf("%w: slot %d holds another commit", ErrFork, h.Slot)
		default:
			err := fmt.Errorf("%w: it has commits up to slot %d, this machine saw slot %d", ErrRollback, l.Chain.Slot, h.Slot)
			if len(l.Damaged) > 0 {
				err = fmt.Errorf("%w; damaged or missing: %s", err, l.Damaged[0])
			}
			return err
		}
	}
	return nil
}

// packDir and journalDir are where the journal called id lies.
func (v *Volume) journalDir(id [16]byte) string {
	return filepath.Join(v.o.State, fmt.Sprintf("journal-%x", id))
}

func packDir(journal string) string { return filepath.Join(journal, "packs") }

// openJournal opens the journal and everything that hangs on it, as the device
// that this machine is, or becomes.
func (v *Volume) openJournal(ctx context.Context, l *publish.Loaded, fresh state.Fresh) error {
	id, secret := v.state.Journal()
	old, err := v.readJournal(id, secret)
	if err != nil {
		return err
	}
	_, number, _ := v.state.Device()
	if why := v.copied(l, old, number, fresh); why != "" {
		v.log.Warn("becoming a new device", "reason", why)
		return v.renew(ctx, l, old)
	}
	v.device = number
	v.wire(l, old)
	if err := v.attempts(ctx, old); err != nil {
		return err
	}
	return v.replay(old, l.Chain.LastOp[number])
}

// old is a journal that was read, and what it holds.
type old struct {
	dir     string
	journal *journal.Journal
	ops     []journal.OpRecord
	packs   []pack.Info
	attempt *journal.AttemptRecord
	last    meta.OpNo // newest operation that it knows of
}

// readJournal opens the journal called id; one that is not there is empty.
func (v *Volume) readJournal(id [16]byte, secret *crypt.Key) (*old, error) {
	o := &old{dir: v.journalDir(id), last: v.state.Known()}
	if err := os.MkdirAll(packDir(o.dir), 0o700); err != nil {
		return nil, err
	}
	j, recs, report, err := journal.Open(o.dir, journal.Options{Key: secret, ID: id, Log: v.log, Step: v.o.Step})
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	o.journal = j
	for _, d := range report.Damaged {
		v.notes.warn("journal", fmt.Errorf("file %d was damaged on the local disk: %d records kept, %d or more lost", d.File, d.Kept, d.Lost))
	}
	for _, r := range recs {
		switch r.Kind {
		case journal.KindOp:
			o.ops = append(o.ops, r.Op)
			o.last = max(o.last, r.Op.No)
		case journal.KindPack:
			o.packs = append(o.packs, pack.Info{No: r.Pack.No, Name: r.Pack.Name, Length: int64(r.Pack.Length), Epoch: r.Pack.Epoch})
		case journal.KindAttempt:
			o.attempt = &r.Attempt
			o.last = max(o.last, r.Attempt.Last)
		case journal.KindSettled:
			o.last = max(o.last, r.Settled.Last)
			if o.attempt != nil && o.attempt.Slot <= r.Settled.Slot {
				o.attempt = nil
			}
		case journal.KindLost:
			if o.attempt != nil && o.attempt.Slot == r.Lost.Slot {
				o.attempt = nil
			}
		}
	}
	return o, v.keepPacks(o)
}

// keepPacks removes pack files that no record names: they were not complete, so
// nothing in them was acknowledged, or they are in the store.
func (v *Volume) keepPacks(o *old) error {
	whole := map[string]int64{}
	for _, p := range o.packs {
		whole[filepath.Base(pack.Path("", p.No))] = p.ObjectSize()
	}
	entries, err := os.ReadDir(packDir(o.dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		size, ok := whole[e.Name()]
		if !ok {
			if err := os.Remove(filepath.Join(packDir(o.dir), e.Name())); err != nil {
				return err
			}
			continue
		}
		if i, err := e.Info(); err != nil || i.Size() != size {
			v.notes.warn("journal", errors.New("a pack file was damaged on the local disk"))
		}
		delete(whole, e.Name())
	}
	for name := range whole {
		v.log.Error("pack file is missing from the journal", "file", name)
		v.notes.warn("journal", errors.New("a pack file is missing from the local disk"))
	}
	return nil
}

// copied says why the state cannot be this machine's own: then its numbers may
// be in use elsewhere too.
func (v *Volume) copied(l *publish.Loaded, o *old, number meta.Device, fresh state.Fresh) string {
	switch {
	case fresh == state.Moved:
		return string(state.Moved)
	case number == 0:
		return ""
	case l.Chain.LastOp[number] > o.last:
		return "the chain has operations of this device that its journal does not know"
	}
	return ""
}

// wire makes the parts that work on the journal o.
func (v *Volume) wire(l *publish.Loaded, o *old) {
	v.journal = o.journal
	v.nextOp = max(o.last, l.Chain.LastOp[v.device]) + 1
	v.packs = pack.NewWriter(pack.Options{
		Dir:    packDir(o.dir),
		Key:    l.Chain.Key,
		Volume: l.Chain.Volume,
		Epoch:  l.Chain.Epoch,
		Next:   v.state.NextPack,
		Closed: v.closed,
		Step:   v.o.Step,
	}, o.packs)
	v.reader = pack.NewReader(pack.ReaderOptions{
		Writer: v.packs,
		Bucket: v.bucket,
		Cache:  v.cache,
		Key:    l.Chain.Key,
		Volume: l.Chain.Volume,
		Name:   func(n crypt.Name) string { return chain.PackName(l.Chain.Volume, n) },
		Find:   v.findPack,
		Bad:    v.damaged,
	})
	v.sync = publish.New(publish.Options{
		Bucket:   v.bucket,
		Chain:    l.Chain,
		View:     v.view,
		Journal:  v.journal,
		Packs:    v.packs,
		PackDir:  packDir(o.dir),
		State:    v.state,
		Identity: v.o.Drive.Identity(),
		Cache:    v.cache,
		Persist:  v.persist,
		Still:    v.still,
		Changed:  v.changed,
		Log:      v.log,
		Step:     v.o.Step,
	}, l, l.Chain.LastOp[v.device])
}

// closed records a pack whose file is complete and synced.
func (v *Volume) closed(i pack.Info) error {
	_, err := v.journal.Append(journal.Packed(journal.PackRecord{
		No: i.No, Name: i.Name, Length: uint32(i.Length), Epoch: i.Epoch, Size: i.ObjectSize(),
	}))
	return err
}

// findPack reads the record of a pack from the view.
func (v *Volume) findPack(no meta.PackNo) (i pack.Info, err error) {
	err = v.view.Read(func(r meta.Reader) error {
		b, err := r.Get(meta.PackKey(no))
		if errors.Is(err, meta.ErrAbsent) {
			return pack.ErrUnknown
		}
		if err != nil {
			return err
		}
		rec, err := meta.DecodePackRecord(b)
		if err != nil {
			return err
		}
		i = pack.Info{No: no, Name: rec.Name, Length: int64(rec.Length), Epoch: crypt.Epoch(rec.Epoch)}
		return nil
	})
	return i, err
}

// damaged remembers an object that is missing or does not verify.
func (v *Volume) damaged(object string, err error) {
	if v.notes.damage(object) {
		v.log.Error("object is damaged", "object", object, "err", err)
	}
}

// still calls fn with the packs that open files and floating data need, while
// no written bytes are on their way to an extent.
func (v *Volume) still(fn func(needed map[meta.PackNo]bool) error) error {
	v.landing.Lock()
	defer v.landing.Unlock()
	needed := map[meta.PackNo]bool{}
	v.mu.Lock()
	for _, d := range v.dirty {
		for _, e := range d.extents {
			needed[e.Pack] = true
		}
	}
	var err error
	for _, o := range v.orphans {
		err = errors.Join(err, o.packs(needed))
	}
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return fn(needed)
}

// packs adds the packs that the orphan's extents name.
func (o *orphan) packs(needed map[meta.PackNo]bool) error {
	n, err := meta.GetInode(o.m, o.ref)
	if err != nil || n.Kind != meta.File {
		return err
	}
	return meta.Extents(o.m, o.ref, n, 0, n.Size, func(e meta.Extent) bool {
		needed[e.Pack] = true
		return true
	})
}
