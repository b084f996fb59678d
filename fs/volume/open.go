package volume

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
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
	v.life, v.kill = context.WithCancel(context.Background())
	if err := v.load(ctx); err != nil {
		v.kill()
		if v.journal != nil {
			// Nothing was acknowledged; what it held it holds still.
			_ = v.journal.Close()
		}
		if v.state != nil {
			v.state.Wipe()
		}
		return nil, err
	}
	if err := o.Drive.KeepHeader(o.State); err != nil {
		v.log.Warn("header not kept", "err", err)
	}
	return v, nil
}

// load makes the parts, each from those before it.
func (v *Volume) load(ctx context.Context) error {
	u, vol := v.o.Drive, v.o.Drive.Main()
	st, fresh, err := state.Open(v.o.State, u.Root(), u.ID, v.o.DeviceName, u.Previous()...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	v.state = st
	loaded, err := publish.Load(ctx, v.bucket, vol.ID, u.Identity(), v.log)
	if err != nil {
		return err
	}
	if err := v.checkHeads(loaded, vol.MinSlot, vol.MinCommit); err != nil {
		return err
	}
	if err := v.alarmed(loaded); err != nil {
		return err
	}
	for _, d := range loaded.Damaged {
		v.notes.damage(d)
	}
	if v.view, err = view.New(loaded.Confirmed); err != nil {
		return err
	}
	if _, err := meta.GetInode(loaded.Confirmed, meta.RootRef); err != nil {
		return fmt.Errorf("%w: its first commit is missing or damaged: %s", ErrRollback, chain.SlotName(vol.ID, 1))
	}
	size := v.o.CacheSize
	if size == 0 {
		size = defaultCache(v.o.Cache)
	}
	if v.cache, err = cache.OpenFiles(filepath.Join(v.o.Cache, "packs"), size); err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	if err := v.openJournal(ctx, loaded, fresh); err != nil {
		return err
	}
	// What this machine has seen it never takes back, even if it only reads.
	if h := loaded.Chain.Remember(); h != v.state.Head() {
		if err := v.state.Remember(h, 0); err != nil {
			v.log.Warn("newest slot not remembered", "slot", uint64(h.Slot), "err", err)
		}
	}
	return nil
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
