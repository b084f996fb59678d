package volume

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
)

// Open reads the chain, checks it against what this machine remembers, and
// executes again what the journal holds. Until Run or Shutdown is called nothing
// is published, but a commit that was on its way when the machine stopped, and
// the machine's own number when it has to have a new one.
func Open(ctx context.Context, o Options) (*Volume, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
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
		held:    map[meta.Ino]*opened{},
		former:  former{ref: map[meta.Ino]meta.Ref{}},
		orphans: map[meta.Ino]*orphan{},
		decided: map[meta.Ino]bool{},
	}
	v.equals.v = v
	v.life, v.kill = context.WithCancel(context.Background())
	if err := v.load(ctx); err != nil {
		v.kill()
		if v.journal != nil {
			// Nothing was acknowledged; what it held it holds still.
			_ = v.journal.Close()
		}
		v.closeNear()
		if v.state != nil {
			v.state.Wipe()
		}
		return nil, err
	}
	if o.Drive.Headers != "" {
		v.notes.warn("headers", errors.New(o.Drive.Headers))
	}
	if err := o.Drive.KeepHeader(o.State); err != nil {
		v.log.Warn("header not kept", "err", err)
	}
	return v, nil
}

// load makes the parts, each from those before it.
func (v *Volume) load(ctx context.Context) error {
	u := v.o.Drive
	st, fresh, err := state.Open(v.o.State, u.Root(), u.ID, v.o.DeviceName, u.Previous()...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	v.state = st
	v.slots = publish.OpenLocalSlots(filepath.Join(v.o.State, slotsDir), v.log)
	v.hints = publish.NewPassedHints(v.log, v.misled)
	v.openRoom()
	v.openCommits()
	if err := v.openCache(); err != nil {
		return err
	}
	whole := v.distrusted()
	loaded, err := v.loadChain(ctx, whole)
	if errors.Is(err, block.ErrDamaged) && !whole {
		v.log.Error("a table is damaged; all commits are read instead", "err", err)
		whole = true
		loaded, err = v.loadChain(ctx, whole)
	}
	if err != nil {
		return err
	}
	if loaded, err = v.face(ctx, loaded, whole); err != nil {
		return err
	}
	if err := v.alarmed(loaded); err != nil {
		return err
	}
	if err := v.writing(loaded, fresh); err != nil {
		return err
	}
	if v.o.check {
		return errChecked
	}
	v.notes.slots(loaded)
	v.view = view.New(loaded.Confirmed)
	if _, err := meta.GetInode(loaded.Confirmed, meta.RootRef); errors.Is(err, meta.ErrNotExist) {
		return fmt.Errorf("%w: its first commit is missing or damaged: %s", ErrRollback, chain.SlotName(u.Main().ID, 1))
	}
	if err := v.openJournal(ctx, loaded, fresh); err != nil {
		return err
	}
	// Only now: the journal may have asked how the chain went further back.
	for _, name := range loaded.Unled {
		v.notes.damage(name)
	}
	v.recallAll(loaded)
	// What this machine has seen it never takes back, even if it only reads.
	if h := loaded.Chain.Remember(); h != v.state.Head() && !v.older {
		if err := v.state.Remember(h, 0); err != nil {
			v.log.Warn("newest slot not remembered", "slot", uint64(h.Slot), "err", err)
		}
	}
	return nil
}

// loadChain follows the chain, with whole from slot 1, and sees that the root folder can
// be read.
func (v *Volume) loadChain(ctx context.Context, whole bool) (*publish.Loaded, error) {
	vol := v.o.Drive.Main().ID
	settled, err := v.state.Settled()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	v.begun = nil
	l, err := publish.Load(ctx, publish.LoadOptions{
		Bucket: v.bucket, Volume: vol, Identity: v.o.Drive.Identity(),
		Tables: v.tables, Keys: v.keys, Memory: v.memory, Log: v.log, Whole: whole,
		Slots: v.slots, Wrong: v.wrongFolds(), Hints: v.hints, Settled: append(settled, v.lost...), Keep: v.met, Passing: v.o.Passing,
	})
	if errors.Is(err, publish.ErrElsewhere) {
		return nil, fmt.Errorf("%s opens, and %w", v.o.Drive.HeaderName(), err)
	}
	if err != nil {
		return nil, err
	}
	err = v.near(ctx, func() error {
		_, err := meta.GetInode(l.Confirmed, meta.RootRef)
		return err
	})
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return nil, fmt.Errorf("read the root folder: %w", err)
	}
	return l, nil
}

// openCache opens what keeps sealed bytes near, and what reads objects through it.
// Without a usable folder the volume works without a cache, and says so.
func (v *Volume) openCache() error {
	u, vol := v.o.Drive, v.o.Drive.Main().ID
	_, secret := v.state.Journal()
	c, err := cache.Off(), v.o.NoCache
	if v.o.CacheSize > 0 && err == nil {
		c, err = cache.Open(cache.Options{
			Dir:    filepath.Join(v.o.Cache, "blocks"),
			Key:    secret.Derive("hushfs/cache-index", nil, 32),
			Seal:   func(id [16]byte) cache.Sealer { return crypt.NewLocal(secret, "hushfs/cache-value", id[:]) },
			Owner:  u.ID.String() + "-" + hex.EncodeToString(secret.Derive("hushfs/cache-owner", nil, 16)),
			Limit:  v.o.CacheSize,
			Floor:  cacheFloor,
			Others: v.others,
			Log:    v.log,
			Step:   v.o.Step,
		})
	}
	if err != nil {
		v.log.Warn("the cache cannot be used; everything comes from the store", "err", pathless(err))
		v.notes.warn("cache", fmt.Errorf("the cache cannot be used, and everything is fetched from the store: %w", pathless(err)))
		c = cache.Off()
	}
	v.cache, v.keys, v.memory = c, &publish.Keys{}, table.NewMemory(tableMemory)
	v.tables = block.New(block.Options{
		Bucket: v.bucket,
		Cache:  v.cache,
		Volume: vol,
		Key:    v.keys.Key,
		Place:  func(o block.Object) string { return chain.TableName(vol, o.Name) },
		Bad:    v.damaged,
		Mended: v.whole,
		Memory: sealedMemory,
	})
	return nil
}

const (
	// cacheFloor is how much of the disk the cache leaves free.
	cacheFloor = 1 << 30

	// tableMemory is how many bytes of tables are kept ready to be looked up, and
	// sealedMemory how many as they come from the cache and the store.
	tableMemory  = 24 << 20
	sealedMemory = 8 << 20
)

// closeNear closes what openCache and wire opened.
func (v *Volume) closeNear() {
	if v.reader != nil {
		v.reader.Close()
	}
	if v.tables != nil {
		v.tables.Close()
		if err := v.cache.Close(); err != nil {
			v.log.Warn("cache not closed", "err", pathless(err)) // the next mount begins with an empty one
		}
	}
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
