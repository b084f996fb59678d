package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// wire makes the parts that work on the journal o.
func (v *Volume) wire(l *publish.Loaded, o *old) {
	v.journal, v.epochs = o.journal, o.keys
	for _, p := range o.packs {
		if v.older || v.behind != nil || len(o.keys.of(p.Epoch)) > 0 {
			continue // the chain may have another key of an epoch of that number
		}
		if err := v.keepEpoch(p.Epoch); err != nil {
			v.log.Warn("key of an epoch not kept beside the journal", "epoch", uint32(p.Epoch), "err", err)
		}
	}
	v.nextOp = max(o.last, l.Chain.LastOp[v.device]) + 1
	v.synced = v.nextOp - 1
	v.packs = pack.NewWriter(pack.Options{
		Dir:      packDir(o.dir),
		Key:      l.Chain.Key,
		Volume:   l.Chain.Volume,
		Epoch:    l.Chain.Epoch,
		Current:  v.keys.Current,
		Next:     v.nextPack,
		Closed:   v.closed,
		Resealed: v.resealed,
		Step:     v.o.Step,
	}, o.packs)
	v.beside.Store(&localFiles{v.journal, v.packs})
	v.reader = pack.NewReader(pack.ReaderOptions{
		Writer: v.packs,
		Bucket: v.bucket,
		Cache:  v.cache,
		Key:    v.keys.Key,
		Volume: l.Chain.Volume,
		Name:   func(n crypt.Name) string { return chain.PackName(l.Chain.Volume, n) },
		Find:   v.findPack,
		Bad:    v.damaged,
		Mended: v.whole,
		Lost:   v.lostKeys,
	})
	v.wireSync(l, packDir(o.dir))
}

// wireSync makes what publishes and follows, beginning with the state of l, which the
// view shows.
func (v *Volume) wireSync(l *publish.Loaded, packs string) {
	v.sync = publish.New(publish.Options{
		Bucket:   v.bucket,
		Chain:    l.Chain,
		View:     v.view,
		Journal:  v.journal,
		Packs:    v.packs,
		PackDir:  packs,
		State:    v.state,
		Identity: v.o.Drive.Identity(),
		Cache:    v.cache,
		Tables:   v.tables,
		Keys:     v.keys,
		Memory:   v.memory,
		Persist:  v.persist,
		Reading:  v.o.ReadOnly,
		Still:    v.still,
		Gather:   v.gather,
		Across:   v.across,
		Rebase:   v.rebase,
		Replace:  v.replace,
		Switch:   v.switched,
		Evidence: v.evidence,
		Keep:     v.recallable,
		Eager:    func() bool { return v.room.look(0) != ample },
		Log:      v.log,
		Step:     v.o.Step,

		Clock:       v.o.Clock,
		Uptime:      v.o.Uptime,
		FoldCommits: v.o.FoldCommits,
		Poll:        v.o.Poll,
		Slots:       v.slots,
		Trim:        v.o.Trim,
		Wrong:       v.wrongFold,
		Untrimmed:   v.untrimmed,
		Holed:       v.holed,
		Quiet:       v.quiet,
	}, l, l.Chain.LastOp[v.device])
	v.locks.uptime = v.sync.Uptime
}

// closed records a pack whose file is complete and synced. A device that was removed
// publishes none: what came inline and filled it stays where it was, and the next mount
// removes a file that no record names.
func (v *Volume) closed(i pack.Info) error {
	if v.removed != nil {
		return nil
	}
	if err := v.keepEpoch(i.Epoch); err != nil {
		return err
	}
	_, err := v.journal.Append(journal.Packed(journal.PackRecord{
		No: i.No, Name: i.Name, Length: uint32(i.Length), Epoch: i.Epoch, Size: i.ObjectSize(),
	}))
	return err
}

// local is how many bytes of the disk the journal and the packs that wait in it take.
// The cache asks for it at any time, also while the volume is being opened.
func (v *Volume) local() int64 {
	b := v.beside.Load()
	if b == nil {
		return 0
	}
	_, n := b.journal.Size()
	there, coming := b.packs.Disk()
	return n + there + coming + v.spare.bytes()
}

// localFiles are what lies on the disk beside the cache.
type localFiles struct {
	journal *journal.Journal
	packs   *pack.Writer
}

// findPack reads the record of a pack from the view.
func (v *Volume) findPack(no meta.PackNo) (i pack.Info, err error) {
	err = v.view.Read(func(r meta.Reader) error {
		b, err := r.Get(meta.PackKey(no))
		if errors.Is(err, meta.ErrAbsent) {
			if lent, ok := v.equals.pack(no); ok {
				i = lent
				return nil
			}
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

// knownPack is findPack, by the store when it is not near.
func (v *Volume) knownPack(ctx context.Context, no meta.PackNo) (i pack.Info, err error) {
	err = v.near(ctx, func() error {
		i, err = v.findPack(no)
		return err
	})
	return i, err
}

// damaged remembers an object that is missing or does not verify.
func (v *Volume) damaged(object string, err error) {
	if v.notes.damage(object) {
		v.log.Error("object is damaged", "object", object, "err", err)
	}
	if _, ok := chain.ParseTableName(v.o.Drive.Main().ID, object); ok {
		v.distrust()
	}
}

// whole forgets an object that was damaged, and is what it was.
func (v *Volume) whole(object string) {
	if v.notes.whole(object) {
		v.log.Info("object is whole again", "object", object)
	}
}

// still calls fn with the packs that open files and floating data need, once no bytes
// that were written before are on their way to an extent. Those that are written
// meanwhile lie in no pack that was closed before.
func (v *Volume) still(fn func(needed map[meta.PackNo]bool) error) error {
	v.landing.pass()
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
