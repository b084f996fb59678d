package journal

import (
	"errors"
	"fmt"
)

// geometry says how files grow, in bytes.
type geometry struct {
	file    int64 // a file is left for the next when it would grow beyond
	growth  int64 // zeros are written ahead in steps of this, so that a sync has no block to allocate
	reserve int64 // of what is allocated, for records that free space when the disk is full
}

var standard = geometry{file: 8 << 20, growth: 1 << 20, reserve: 64 << 10}

// block is what a disk may lose as a whole when one byte of it is written.
const block = 4096

// writer is the file that records go to.
type writer struct {
	f       file
	key     fileKey
	info    *fileInfo
	off     int64  // end of the records
	alloc   int64  // end of the zeros
	index   uint32 // of the next record
	durable uint32 // records synced
	chain   tag    // of the last record, or of the header
}

// entry is a record that may have to be written again.
type entry struct {
	seq   uint64
	plain []byte
	rec   Record // for liveness; without its bytes
	index uint32
	prev  tag
	end   int64
}

// add seals an entry behind buf, whose end will lie at w.off.
func (w *writer) add(buf []byte, e *entry) []byte {
	start := len(buf)
	e.index, e.prev = w.index, w.chain
	buf, w.chain = w.key.seal(buf, e.plain, w.index, w.durable, w.chain)
	w.index++
	w.off += int64(len(buf) - start)
	e.end = w.off
	return buf
}

// end is where the file ends for good, if it is left now.
func (w *writer) end() link { return link{file: w.key.number, count: w.index, chain: w.chain} }

// start makes the next file and writes to it from now on. It repeats what is
// held; when start returns nil, all that was ever appended is durable.
//
// The repeated records are synced before the file gets its name: from then on
// its header cuts them off the file before. mu is held, no sync is in flight.
func (j *Journal) start(prev link) error {
	j.opts.Step(stepCreate)
	number := j.next
	key, header := newHeader(j.opts.Key, j.opts.ID, number, prev)
	w := &writer{key: key, info: &fileInfo{number: number}, off: headerEnd, chain: tag(header[len(header)-tagSize:])}
	buf := make([]byte, headerEnd, j.geo.growth)
	copy(buf, header)
	copy(buf[headerBlock:], header)
	held := make([]entry, len(j.held))
	for i := range held {
		held[i] = j.held[i]
		buf = w.add(buf, &held[i])
	}
	w.durable = w.index
	w.alloc = roundUp(w.off+j.geo.reserve, j.geo.growth)
	w.info.size = w.alloc
	buf = append(buf, make([]byte, w.alloc-w.off)...)

	f, err := j.folder.Create(newName(number))
	if err != nil {
		return full(err)
	}
	j.opts.Step(stepHeader)
	_, err = f.WriteAt(buf, 0)
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		j.opts.Step(stepRename)
		err = j.folder.Rename(newName(number), opsName(number))
		if err != nil && !isFull(err) {
			j.broken = ErrBroken // it may have its name or not
		}
	}
	if err != nil {
		f.Close()
		if j.broken == nil {
			_ = j.folder.Remove(newName(number)) // it would be removed by the next Open
		}
		return full(err)
	}
	j.opts.Step(stepFolder)
	if err := j.folder.Sync(); err != nil {
		// Were the old file written on and the name to survive, its records would be cut off.
		f.Close()
		j.broken = ErrBroken
		return err
	}
	j.opts.Step(stepCreated)

	w.f = f
	if j.cur != nil {
		j.cur.f.Close() // all that counts in it is synced or repeated
	}
	j.live.files = append(j.live.files, w.info)
	for i := range held {
		j.live.note(&held[i].rec, w.info)
	}
	j.next++
	j.cur, j.held, j.durable = w, held, j.seq
	j.torn, j.failing = false, false
	j.release()
	j.setMark()
	return nil
}

// release forgets the records that no later write can harm any more: those
// which end before the block that the next one goes to. mu is held.
func (j *Journal) release() {
	safe := 0
	for safe < len(j.held) && j.held[safe].seq <= j.durable && j.held[safe].end <= j.cur.off/block*block {
		safe++
	}
	if safe > 0 {
		j.held = append(j.held[:0:0], j.held[safe:]...)
	}
}

// abandon leaves a file that failed. mu is held, no sync is in flight.
func (j *Journal) abandon() error {
	j.opts.Step(stepAbandon)
	prev := j.cur.end()
	if len(j.held) > 0 {
		prev.count, prev.chain = j.held[0].index, j.held[0].prev
	}
	number := j.cur.key.number
	if err := j.start(prev); err != nil {
		return err
	}
	j.log.Warn("journal file abandoned", "file", number, "next", j.cur.key.number, "repeated", j.cur.index)
	return nil
}

// extend writes zeros ahead until the file has room up to end. mu is held.
func (j *Journal) extend(end int64) error {
	j.opts.Step(stepExtend)
	w := j.cur
	alloc := min(roundUp(end, j.geo.growth), j.geo.file)
	if _, err := w.f.WriteAt(make([]byte, alloc-w.alloc), w.alloc); err != nil {
		j.torn = !isFull(err)
		return full(err)
	}
	w.info.size += alloc - w.alloc
	w.alloc = alloc
	return nil
}

// full names want of space as such.
func full(err error) error {
	if isFull(err) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
