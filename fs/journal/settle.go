package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

const (
	carryAbove = 4    // files, before an old one is emptied by repeating its packs
	carryPacks = 1024 // most packs that are repeated for one file
	dropPacks  = 8192 // most packs in one record
)

// Settle says that a slot of ours is in the chain: operations up to r.Last and
// the packs r.Packs are needed no more, and every attempt up to r.Slot is
// decided. When it returns, this is durable, so the pack files may go, and files
// of nothing but dead records were removed. It works on a full disk as long as
// that frees anything.
func (j *Journal) Settle(r SettledRecord) error {
	if err := j.bury(Settled(r)); err != nil {
		return fmt.Errorf("settle slot %d in journal: %w", r.Slot, err)
	}
	return nil
}

// DropPacks says that no operation refers to these closed packs any more, as
// when a temporary file is gone: they are not uploaded, and Open does not return
// them. When it returns, this is durable, so the pack files may go.
func (j *Journal) DropPacks(nos ...meta.PackNo) error {
	for some := range slices.Chunk(nos, dropPacks) {
		if err := j.bury(Dropped(DroppedRecord{Packs: some})); err != nil {
			return fmt.Errorf("drop packs from journal: %w", err)
		}
	}
	return nil
}

// bury appends and syncs a record that makes others dead, and removes what can go.
func (j *Journal) bury(r Record) error {
	j.removing.Lock()
	defer j.removing.Unlock()
	pos, err := j.append(0, r)
	if errors.Is(err, ErrFull) {
		// What the record says is true without it. Were the machine to stop between here and the
		// record, some dead records would be returned once more, their packs still being there.
		j.mu.Lock()
		j.live.note(&r, nil)
		j.mu.Unlock()
		j.removeDead()
		pos, err = j.append(0, r)
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	err = j.syncTo(pos)
	j.mu.Unlock()
	if err != nil {
		return err
	}
	j.removeDead()
	for j.carry() {
		j.removeDead()
	}
	return nil
}

// removeDead removes dead files, from the oldest on. removing is held.
//
// It stops at the first that is needed, or fails: a younger one may hold the
// record that makes something in it dead.
func (j *Journal) removeDead() {
	for {
		j.mu.Lock()
		if j.closed || len(j.live.files) == 0 || j.cur != nil && j.live.files[0] == j.cur.info || !j.live.dead(j.live.files[0]) {
			j.mu.Unlock()
			return
		}
		oldest := j.live.files[0]
		var err error
		if len(j.live.files) == 1 { // j.cur is nil
			err = j.dropMark()
		}
		j.mu.Unlock()
		// mu is not held, since this takes as long as a sync; only removing lets files leave.
		if err == nil {
			err = j.unlink(oldest)
		}
		j.mu.Lock()
		if err == nil {
			j.live.files = j.live.files[1:]
		}
		j.mu.Unlock()
		if err != nil {
			j.log.Warn("journal file not removed", "file", oldest.number, "err", err)
			return
		}
	}
}

// removeOldest removes the oldest file; mu and removing are held, or nobody has the journal yet.
func (j *Journal) removeOldest() error {
	if err := j.unlink(j.live.files[0]); err != nil {
		return err
	}
	j.live.files = j.live.files[1:]
	return nil
}

// unlink removes one file and makes that durable before the next may follow:
// files never vanish out of order.
func (j *Journal) unlink(f *fileInfo) error {
	j.opts.Step(stepRemove)
	if err := j.folder.Remove(opsName(f.number)); err != nil {
		return err
	}
	j.opts.Step(stepRemoved)
	return j.folder.Sync()
}

// carry repeats the pack records of the oldest file when nothing else keeps it,
// so that one long-lived pack does not keep all that came after. It tells
// whether something was repeated. removing is held.
func (j *Journal) carry() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	const size = recordFixed + 64
	// room lets go of mu, but only more can die meanwhile: no pack enters an old file.
	if !j.carriable() || j.room(int64(j.live.files[0].packs*size), j.geo.reserve) != nil || !j.carriable() {
		return false
	}
	var recs []Record
	for _, p := range j.live.packs {
		if p.in == j.live.files[0] {
			recs = append(recs, Record{Kind: kindCarried, Pack: p.PackRecord})
		}
	}
	slices.SortFunc(recs, func(a, b Record) int { return cmp.Compare(a.Pack.No, b.Pack.No) })
	j.opts.Step(stepCarry)
	entries, _, err := encode(recs)
	if err != nil {
		return false
	}
	pos, err := j.write(entries)
	if err == nil {
		err = j.syncTo(pos)
	}
	if err != nil {
		j.log.Warn("packs not carried", "file", j.live.files[0].number, "err", err)
	}
	return err == nil
}

// carriable tells whether carry has something to do. mu is held.
func (j *Journal) carriable() bool {
	if j.closed || len(j.live.files) <= carryAbove {
		return false
	}
	f := j.live.files[0]
	return f.maxOp <= j.live.settled && !j.live.pinned(f) && f.attempts == 0 && f.packs > 0 && f.packs <= carryPacks
}
