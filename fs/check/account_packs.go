package check

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// share is a run of a file in a pack: 40 bytes, since all of a drive may be asked for.
type share struct {
	pack meta.PackNo
	ino  meta.Ino
	off  uint64
	len  uint32
	at   uint32 // in the pack
}

// accountPacks tells of the wanted packs, some at a time: as many as have filesAtOnce
// files.
func (a *accountant) accountPacks(ctx context.Context) error {
	if len(a.packs) == 0 {
		return nil
	}
	rows := map[crypt.Name][]*packRow{}
	wanted := map[meta.PackNo]bool{}
	for i := range a.checker.packs.rows {
		r := &a.checker.packs.rows[i]
		rows[r.name] = append(rows[r.name], r)
	}
	for _, i := range a.packs {
		n, _ := chain.ParsePackName(a.vol, i.Name)
		for _, r := range rows[n] {
			wanted[r.no] = true
		}
	}
	shares, retired, err := a.shares(ctx, wanted)
	if err != nil {
		return err
	}
	dead := map[meta.PackNo]bool{}
	for no := range wanted {
		if _, ok := firstShare(shares, no); !ok {
			dead[no] = true
		}
	}
	ends, err := a.ends(ctx, dead)
	if err != nil {
		return err
	}
	for len(a.packs) > 0 {
		var some []Account
		files := map[meta.Ino]bool{}
		for len(a.packs) > 0 && len(files) < filesAtOnce {
			i := a.packs[0]
			a.packs = a.packs[1:]
			n, _ := chain.ParsePackName(a.vol, i.Name)
			at := a.pack(i, rows[n], shares, retired, ends)
			for _, f := range at.Files {
				files[meta.Ino(f.Inode)] = true
			}
			some = append(some, at)
		}
		if err := a.nameCarried(ctx, some, files); err != nil {
			return err
		}
		for _, at := range some {
			if err := a.out(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// shares are the runs of all files in the wanted packs, sorted by pack, inode and
// offset, and the slots in which packs were retired.
func (a *accountant) shares(ctx context.Context, wanted map[meta.PackNo]bool) ([]share, map[meta.PackNo]chain.Slot, error) {
	var all []share
	add := func(ino meta.Ino, e meta.Extent) {
		if wanted[e.Pack] {
			all = append(all, share{e.Pack, ino, e.Off, uint32(e.Len), e.PackOff})
		}
	}
	err := a.scan(ctx, kindOf(meta.InodeKey(meta.RootRef)), func(k, v []byte) error {
		ref, err := meta.ParseInodeKey(k)
		if err != nil {
			return nil
		}
		if i, err := meta.DecodeInode(v); err == nil && !i.Indexed {
			for _, e := range i.Extents {
				add(ref.Ino, e)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	err = a.scan(ctx, kindOf(meta.ExtentKey(meta.Root, 1)), func(k, v []byte) error {
		ino, end, err := meta.ParseExtentKey(k)
		if err != nil {
			return nil
		}
		if n := a.nodes.get(ino); n == nil || !n.is(nodeIndexed) {
			return nil // of no file
		}
		if e, err := meta.DecodeExtent(end, v); err == nil {
			add(ino, e)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	retired := map[meta.PackNo]chain.Slot{}
	err = a.scan(ctx, kindOf(meta.RetiredKey(1)), func(k, v []byte) error {
		if no, err := meta.ParseRetiredKey(k); err == nil && wanted[no] {
			if slot, err := meta.DecodeRetired(v); err == nil {
				retired[no] = chain.Slot(slot)
			}
		}
		return nil
	})
	slices.SortFunc(all, func(x, y share) int {
		return cmp.Or(cmp.Compare(x.pack, y.pack), cmp.Compare(x.ino, y.ino), cmp.Compare(x.off, y.off))
	})
	return all, retired, err
}

func firstShare(all []share, no meta.PackNo) (int, bool) {
	return slices.BinarySearchFunc(all, no, func(s share, no meta.PackNo) int { return cmp.Compare(s.pack, no) })
}

// pack accounts for one.
func (a *accountant) pack(i store.Info, rows []*packRow, shares []share, retired map[meta.PackNo]chain.Slot, ends map[meta.PackNo]end) Account {
	at := Account{Object: i.Name, Size: i.Size, Modified: i.Modified, Kind: "pack", State: Unneeded, Since: &Since{Time: i.Modified}}
	if len(rows) == 0 {
		at.Detail = "pack that no commit names: its upload was not followed by one, since the machine was interrupted or sealed the bytes again; or the commit is still to come"
		return at
	}
	for _, r := range rows {
		at.Length = max(at.Length, uint64(r.length))
		first, ok := firstShare(shares, r.no)
		if !ok {
			continue
		}
		last := first
		for last < len(shares) && shares[last].pack == r.no {
			last++
		}
		at.carry(shares[first:last])
	}
	r := rows[0]
	device := r.no.Device()
	what := fmt.Sprintf("pack %d of device %d, epoch %d", r.no, device, r.epoch)
	if at.Files != nil {
		at.use(true, InUse, "%s: files have %d of its %d bytes", what, at.Used, at.Length)
		return at
	}
	e := ends[r.no]
	at.Slot = uint64(e.slot)
	at.Since = &Since{Slot: uint64(e.slot), Before: e.before, Time: e.time}
	at.Detail = what + ": no file has bytes in it any more"
	switch {
	case e.never:
		at.Since = &Since{Slot: uint64(e.slot), Time: e.time}
		at.Detail = what + ": no file ever had bytes in it"
	case e.before:
		at.Detail += fmt.Sprintf(", and had none at slot %d, where the history in the store begins", e.slot)
	}
	if slot, ok := retired[r.no]; ok {
		at.Detail += fmt.Sprintf("; it was retired in slot %d, and may be deleted", slot)
	}
	return at
}

// carry adds runs of one pack number, sorted by file.
func (at *Account) carry(shares []share) {
	type span struct{ from, to uint32 }
	var covered []span
	for _, s := range shares {
		covered = append(covered, span{s.at, s.at + s.len})
		if n := len(at.Files); n == 0 || at.Files[n-1].Inode != uint64(s.ino) {
			at.Files = append(at.Files, Carried{Inode: uint64(s.ino)})
		}
		f := &at.Files[len(at.Files)-1]
		if n := len(f.Bytes); n > 0 && f.Bytes[n-1].Offset+f.Bytes[n-1].Length == s.off {
			f.Bytes[n-1].Length += uint64(s.len)
		} else if n < rangesShown {
			f.Bytes = append(f.Bytes, Bytes{s.off, uint64(s.len)})
		}
	}
	// Two files may share bytes.
	slices.SortFunc(covered, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	reach := uint32(0)
	for _, s := range covered {
		if s.to > reach {
			at.Used += uint64(s.to - max(s.from, reach))
			reach = s.to
		}
	}
}

// nameCarried fills in the paths of files.
func (a *accountant) nameCarried(ctx context.Context, some []Account, files map[meta.Ino]bool) error {
	if len(files) == 0 {
		return nil
	}
	n := &naming{c: a.checker, names: map[meta.Ino][]nameAt{}, dirs: map[meta.Ino]string{}}
	for i := range files {
		n.names[i] = nil
	}
	if err := n.collect(ctx); err != nil {
		return err
	}
	for _, at := range some {
		for i := range at.Files {
			at.Files[i].Paths = n.paths(meta.Ino(at.Files[i].Inode))
		}
	}
	return nil
}

// end is since when nobody needs a pack.
type end struct {
	slot   chain.Slot
	time   time.Time
	never  bool // no file ever had bytes in it; slot is that of its record
	before bool // slot is the first that the store has, and the pack was garbage then
}

// ends goes through the commits from the oldest that is there, for packs of which no
// file has bytes any more: the last commit that took away what lay in one is since when.
func (a *accountant) ends(ctx context.Context, dead map[meta.PackNo]bool) (map[meta.PackNo]end, error) {
	found := map[meta.PackNo]end{}
	valid := a.books.valid
	if len(dead) == 0 || len(valid) == 0 {
		return found, nil
	}
	oldest := valid[len(valid)-1]
	whole := true // the history in the store begins where the drive does
	w := &watch{dead: dead, keys: map[string]map[string][]meta.PackNo{}, count: map[meta.PackNo]int{}, found: found}
	for i := len(valid) - 1; i >= 0; {
		var run []chain.Slot
		for ; i >= 0 && len(run) < atOnce; i-- {
			run = append(run, valid[i])
		}
		objects, err := a.commits(ctx, run)
		if err != nil {
			return nil, err
		}
		for j, slot := range run {
			if objects[j] == nil {
				continue
			}
			c, err := a.state.Open(slot, objects[j])
			if err != nil {
				continue
			}
			if slot == oldest {
				whole = c.Prev == chain.ID(a.vol)
			}
			w.apply(c)
		}
	}
	for no := range dead {
		if e, ok := found[no]; !ok || e.never && !whole && e.slot == 0 {
			found[no] = end{slot: oldest, before: true, time: a.commitTime(ctx, oldest)}
		}
	}
	return found, nil
}

// watch follows which keys of the map name the packs that are dead at the end.
type watch struct {
	dead  map[meta.PackNo]bool
	keys  map[string]map[string][]meta.PackNo // by the first bytes that a range has in common, keys and the packs that their values name
	count map[meta.PackNo]int                 // keys that name a pack
	found map[meta.PackNo]end
}

// apply takes over a commit. An inode names packs by its extents, and so does a key of
// an extent.
func (w *watch) apply(c *chain.Commit) {
	at := end{slot: c.Slot, time: c.Time.UTC()}
	drop := func(key string) {
		head := headOf(key)
		for _, no := range w.keys[head][key] {
			if w.count[no]--; w.count[no] == 0 {
				w.found[no] = at
			}
		}
		if delete(w.keys[head], key); len(w.keys[head]) == 0 {
			delete(w.keys, head)
		}
	}
	for _, r := range c.Batch.Ranges {
		for key := range w.keys[headOf(string(r.From))] {
			if bytes.Compare([]byte(key), r.From) >= 0 && bytes.Compare([]byte(key), r.To) < 0 {
				drop(key)
			}
		}
	}
	for _, key := range c.Batch.Deletes {
		drop(string(key))
	}
	for _, kv := range c.Batch.Puts {
		named := w.named(kv)
		for _, no := range named {
			w.count[no]++ // before those that go, so that a rewrite does not count as the end
		}
		drop(string(kv.Key))
		if key := string(kv.Key); len(named) > 0 {
			head := headOf(key)
			if w.keys[head] == nil {
				w.keys[head] = map[string][]meta.PackNo{}
			}
			w.keys[head][key] = named
		}
	}
	c.Batch.Packs(func(no meta.PackNo, _ meta.PackRecord) bool {
		if _, ok := w.found[no]; w.dead[no] && !ok && w.count[no] == 0 {
			w.found[no] = end{slot: at.slot, time: at.time, never: true}
		}
		return true
	})
}

// headOf is the letter and the number with which all keys of one range begin.
func headOf(key string) string { return key[:min(len(key), 9)] }

// named are the dead packs that a value names.
func (w *watch) named(kv meta.KV) (all []meta.PackNo) {
	add := func(e meta.Extent) {
		if w.dead[e.Pack] {
			all = append(all, e.Pack)
		}
	}
	if _, err := meta.ParseInodeKey(kv.Key); err == nil {
		if i, err := meta.DecodeInode(kv.Value); err == nil {
			for _, e := range i.Extents {
				add(e)
			}
		}
	} else if _, stop, err := meta.ParseExtentKey(kv.Key); err == nil {
		if e, err := meta.DecodeExtent(stop, kv.Value); err == nil {
			add(e)
		}
	}
	return all
}
