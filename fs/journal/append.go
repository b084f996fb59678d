package journal

import "fmt"

// Append writes records to the end of the journal, in one write, and returns the
// position that Sync takes. They survive the end of the process now, and a power
// cut when Sync has returned. The records and their bytes are not kept.
//
// After an error none of them counts, though a crash soon after may still bring
// the first of them back. ErrFull: the disk is full. ErrOrder: an operation does
// not come after those before. ErrTooLarge, ErrMalformed: nothing was written.
func (j *Journal) Append(recs ...Record) (pos uint64, err error) {
	pos, err = j.append(j.geo.reserve, recs...)
	if err == nil {
		pos, err = j.indexed(pos, recs)
	}
	if err != nil {
		return 0, fmt.Errorf("append to journal: %w", err)
	}
	return pos, nil
}

// The index says of which inodes operations are, twice of each: so when a page is
// lost it can be said what was in it.
const (
	indexEvery = 32 // operations
	indexMax   = 2 * indexEvery
)

// indexed appends an index record when one is due. It returns the end of the journal.
func (j *Journal) indexed(pos uint64, recs []Record) (uint64, error) {
	j.mu.Lock()
	for i := range recs {
		if r := &recs[i]; r.Kind == KindOp {
			j.recent = append(j.recent, IndexEntry{r.Op.No, r.Op.Inode})
			j.unindexed++
		}
	}
	if n := len(j.recent) - max(indexMax, min(j.unindexed, 16*indexMax)); n > 0 {
		j.recent = append(j.recent[:0:0], j.recent[n:]...)
	}
	due := j.unindexed >= indexEvery
	index := Record{Kind: kindIndex, index: j.recent}
	j.mu.Unlock()
	if !due {
		return pos, nil
	}
	end, err := j.append(j.geo.reserve, index)
	if err != nil {
		// What was appended counts, and a caller that is told otherwise appends it again.
		j.log.Debug("index not appended", "err", err)
		return pos, nil
	}
	j.mu.Lock()
	j.unindexed = 0
	j.mu.Unlock()
	return end, nil
}

// append leaves so many bytes of what is allocated alone.
func (j *Journal) append(spare int64, recs ...Record) (uint64, error) {
	entries, need, err := encode(recs)
	if err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.room(need, spare); err != nil {
		return 0, err
	}
	return j.write(entries)
}

// encode gives the entries of records and their bytes in a file.
func encode(recs []Record) ([]entry, int64, error) {
	entries := make([]entry, len(recs))
	need := int64(0)
	for i := range recs {
		plain, err := newPlain(&recs[i])
		if err != nil {
			return nil, 0, err
		}
		if need += int64(recordClear + localOverhead + len(plain)); need > MaxAppend+recordFixed {
			return nil, 0, ErrTooLarge
		}
		entries[i] = entry{plain: plain, rec: recs[i]}
		entries[i].rec.Op.Op, entries[i].rec.Op.Inline, entries[i].rec.Attempt.Object = nil, nil, nil
	}
	return entries, need, nil
}

// room sees to it that the current file can take so many bytes and has spare
// ones behind. mu is held, and let go while somebody syncs.
func (j *Journal) room(need, spare int64) error {
	for {
		switch w := j.cur; {
		case j.closed:
			return ErrClosed
		case j.broken != nil:
			return j.broken
		case w == nil:
			if err := j.start(j.before); err != nil {
				return err
			}
		case (j.failing || j.torn) && j.turn != nil:
			j.wait(j.turn)
		case j.failing || j.torn:
			if err := j.abandon(); err != nil {
				return err
			}
		case w.off+need+spare <= w.alloc:
			return nil
		case w.off+need+spare <= j.geo.file:
			if err := j.extend(w.off + need + spare); err != nil {
				return err
			}
		case w.index == 0:
			return ErrTooLarge // no file has room for it
		case j.turn != nil:
			j.wait(j.turn)
		case j.durable < j.seq:
			// The header of the next file says how many records this one has: they must be there before it is.
			if err := j.lead().err; err != nil {
				return err
			}
		default:
			j.opts.Step(stepRotate)
			held := j.held
			j.held = nil
			if err := j.start(w.end()); err != nil {
				j.held = held
				return err
			}
		}
	}
}

// write puts entries at the end of the current file, which has room. mu is held.
func (j *Journal) write(entries []entry) (uint64, error) {
	last := max(j.live.lastOp, j.live.settled)
	for i := range entries {
		if r := &entries[i].rec; r.Kind == KindOp {
			if r.Op.No <= last {
				return 0, ErrOrder
			}
			last = r.Op.No
		}
	}
	before := *j.cur
	w := j.cur
	buf := j.buf[:0]
	for i := range entries {
		entries[i].seq = j.seq + uint64(i) + 1
		buf = w.add(buf, &entries[i])
	}
	if j.buf = buf; cap(buf) > 1<<20 {
		j.buf = nil
	}
	j.opts.Step(stepWrite)
	if _, err := w.f.WriteAt(buf, before.off); err != nil {
		*w = before
		// What was written of them must not be found whole. The file is left even if this succeeds:
		// the zeros may reach the disk later than what they cover.
		_, _ = w.f.WriteAt(make([]byte, len(buf)), before.off)
		j.torn = true
		return 0, full(err)
	}
	j.opts.Step(stepWritten)
	j.seq += uint64(len(entries))
	for i := range entries {
		j.live.note(&entries[i].rec, w.info)
	}
	j.held = append(j.held, entries...)
	return j.seq, nil
}
