package volume

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// filler puts junk into a slot, sooner than PutIfAbsent does.
type filler interface {
	fill(slot chain.Slot, object []byte) error
}

// hasty puts files into the folder of a store without waiting for the disk.
type hasty struct {
	path string
	vol  crypt.VolumeID
}

func (h hasty) fill(slot chain.Slot, object []byte) error {
	return os.WriteFile(filepath.Join(h.path, chain.SlotName(h.vol, slot)), object, 0o600)
}

// shelf keeps the objects of slots in a row, in which a million take little room and no
// time. Others are in the bucket behind it.
type shelf struct {
	store.Bucket

	mu    sync.Mutex // guards the fields below
	vol   crypt.VolumeID
	slots []stood // by slot
}

type stood struct {
	object []byte
	put    int64 // nanoseconds since 1970; 0: nothing is there
}

// at is where a slot stands, which is made with room; nil: none does.
func (b *shelf) at(name string, room bool) *stood {
	slot, ok := chain.ParseSlotName(b.vol, name)
	if !ok || slot > 1<<24 {
		return nil
	}
	for room && int(slot) >= len(b.slots) {
		b.slots = append(b.slots, make([]stood, 1024+len(b.slots)/4)...)
	}
	if int(slot) >= len(b.slots) {
		return &stood{}
	}
	return &b.slots[slot]
}

// takeOver has the slots of a volume stand here from now on, also those that there are.
func (b *shelf) takeOver(vol crypt.VolumeID) error {
	there, err := b.Bucket.List(context.Background(), chain.SlotPrefix(vol), "", 0)
	if err != nil {
		return err
	}
	for _, i := range there {
		object, err := b.Bucket.Get(context.Background(), i.Name, 0, -1)
		if err != nil {
			return err
		}
		b.vol = vol
		slot, _ := chain.ParseSlotName(vol, i.Name)
		if err := b.fill(slot, object); err != nil {
			return err
		}
		b.vol = crypt.VolumeID{}
	}
	b.vol = vol
	return nil
}

func (b *shelf) fill(slot chain.Slot, object []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.at(chain.SlotName(b.vol, slot), true) = stood{object, time.Now().UnixNano()}
	return nil
}

func (b *shelf) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.at(name, true)
	switch {
	case s == nil:
		return b.Bucket.PutIfAbsent(ctx, name, data)
	case s.put != 0:
		return store.ErrExist
	}
	*s = stood{append([]byte(nil), data...), time.Now().UnixNano()}
	return ctx.Err()
}

func (b *shelf) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.at(name, false)
	switch {
	case s == nil:
		return b.Bucket.Get(ctx, name, off, length)
	case s.put == 0:
		return nil, store.ErrNotExist
	}
	size := int64(len(s.object))
	if off < 0 {
		off = max(0, size+off)
	}
	off = min(off, size)
	end := size
	if length >= 0 {
		end = min(size, off+length)
	}
	return append([]byte{}, s.object[off:end]...), ctx.Err()
}

func (b *shelf) List(ctx context.Context, prefix, after string, most int) (page []store.Info, err error) {
	if prefix != chain.SlotPrefix(b.vol) {
		return b.Bucket.List(ctx, prefix, after, most)
	}
	if most <= 0 {
		most = store.DefaultList
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	high := len(b.slots) - 1
	if slot, ok := chain.ParseSlotName(b.vol, after); ok {
		high = min(high, int(min(slot, 1<<30))-1)
	}
	for ; high > 0 && len(page) < most; high-- {
		if s := b.slots[high]; s.put != 0 {
			page = append(page, store.Info{Name: chain.SlotName(b.vol, chain.Slot(high)), Size: int64(len(s.object)), Modified: time.Unix(0, s.put)})
		}
	}
	return page, ctx.Err()
}

func (b *shelf) Delete(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.at(name, false)
	if s == nil {
		return b.Bucket.Delete(ctx, name)
	}
	*s = stood{}
	return ctx.Err()
}
