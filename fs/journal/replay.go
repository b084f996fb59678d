package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
)

// head is a file as its name and header show it.
type head struct {
	number uint64
	key    fileKey
	prev   link
	chain  tag
	err    error // why neither copy of the header opens
}

// replay reads the folder, keeps damaged files aside and removes dead ones.
// Nothing is touched before all was read.
func (j *Journal) replay() (*Waiting, *Report, error) {
	// The last process may have ended between a removal and its sync; the next removal must not overtake it.
	if err := j.folder.Sync(); err != nil {
		return nil, nil, err
	}
	names, err := j.folder.List()
	if err != nil {
		return nil, nil, err
	}
	report := &Report{}
	var heads []*head
	var leftovers []string
	j.next = 1
	for _, name := range names {
		if _, ok := parseName(name, newName); ok {
			leftovers = append(leftovers, name)
		} else if n, ok := parseName(name, asideName); ok {
			report.Aside = append(report.Aside, name)
			j.next = max(j.next, n+1)
		} else if n, ok := parseName(name, opsName); ok {
			heads = append(heads, &head{number: n})
			j.next = max(j.next, n+1)
		}
	}
	slices.SortFunc(heads, func(a, b *head) int { return compareNumbers(a.number, b.number) })
	if err := j.readHeads(heads); err != nil {
		return nil, nil, err
	}
	chain, strays := chainOf(heads)
	synced, err := j.readMark()
	if err != nil {
		return nil, nil, err
	}
	found, damaged, err := j.readFiles(chain, synced, report)
	if err != nil {
		return nil, nil, err
	}
	if last := len(heads) - 1; synced.file > 0 && (last < 0 || heads[last].number < synced.file) {
		report.Damaged = append(report.Damaged, Damage{File: synced.file, Lost: int(max(synced.count, 1))})
		j.next = max(j.next, synced.file+1)
	}
	for _, h := range strays {
		report.Damaged = append(report.Damaged, Damage{File: h.number, Lost: lostOf(h, chain)})
	}
	slices.SortFunc(report.Damaged, func(a, b Damage) int { return compareNumbers(a.File, b.File) })
	if err := j.keepAside(strays, damaged, report); err != nil {
		return nil, nil, err
	}
	for _, name := range leftovers {
		if err := j.folder.Remove(name); err != nil {
			return nil, nil, err
		}
	}
	for len(j.live.files) > 0 && j.live.dead(j.live.files[0]) {
		if oldest := j.live.files[0]; len(j.live.files) == 1 && synced.file <= oldest.number {
			err = j.dropMark()
		}
		if err == nil {
			err = j.removeOldest()
		}
		if err != nil {
			j.log.Warn("journal file not removed", "file", j.live.files[0].number, "err", err)
			break
		}
	}
	return found.alive(j.live, j.folder), report, nil
}

func compareNumbers(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// readHeads opens all headers. When none opens although some look like ours,
// the key is not theirs: an error, lest a journal be taken for damaged.
func (j *Journal) readHeads(heads []*head) error {
	var opened, foreign, newer bool
	for _, h := range heads {
		f, err := j.folder.Open(opsName(h.number))
		if err != nil {
			return err
		}
		b := make([]byte, headerEnd)
		n, err := f.ReadAt(b, 0)
		f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for at := 0; at == 0 || h.err != nil && at < headerEnd; at += headerBlock {
			c := b[min(at, n):n]
			h.key, h.prev, h.chain, h.err = openHeader(j.opts.Key, j.opts.ID, h.number, c)
			foreign = foreign || errors.Is(h.err, ErrForeign)
			newer = newer || len(c) > len(magic) && bytes.HasPrefix(c, []byte(magic[:7])) && c[7] > '0' && c[7] <= '9'
		}
		opened = opened || h.err == nil
	}
	switch {
	case opened || len(heads) == 0:
		return nil
	case foreign:
		return ErrForeign
	case newer:
		return ErrNewer
	}
	return nil
}

// chainOf finds the files that are one journal, ascending: the newest one and those
// that each names as the one before it. Where one is not there, or its header is lost,
// the chain goes on with the next older one that can be read. The others are strays.
func chainOf(heads []*head) (chain, strays []*head) {
	before := uint64(math.MaxUint64) // the file that comes next must not be newer
	for _, h := range slices.Backward(heads) {
		if h.err != nil || h.number > before {
			strays = append(strays, h)
			continue
		}
		chain = append(chain, h)
		before = h.prev.file
	}
	slices.Reverse(chain)
	slices.Reverse(strays)
	return chain, strays
}

// lostOf is how many records a stray is known to have had: as many as the file says
// that follows it.
func lostOf(h *head, chain []*head) int {
	for _, c := range chain {
		if c.prev.file == h.number {
			return int(c.prev.count)
		}
	}
	return 1
}

// readFiles reads a chain of files. It returns what it found and the files that lost
// records.
func (j *Journal) readFiles(chain []*head, synced mark, report *Report) (found *finding, damaged []*head, err error) {
	found = &finding{plain: make([]byte, 0, maxSealed)}
	for i, h := range chain {
		var cut *link
		if i+1 < len(chain) && chain[i+1].prev.file == h.number {
			cut = &chain[i+1].prev
		}
		if i > 0 && h.prev.file != chain[i-1].number && j.missing(h.prev.file) {
			report.Damaged = append(report.Damaged, Damage{File: h.prev.file, Lost: int(h.prev.count)})
		}
		info := &fileInfo{number: h.number}
		j.live.files = append(j.live.files, info)
		found.files = append(found.files, &waitingFile{number: h.number, key: h.key})
		c, err := j.readFile(h, cut, found, func(r *Record, at ref) {
			j.live.note(r, info)
			found.note(r, at)
			switch r.Kind {
			case kindIndex:
				report.index(r.index)
			case KindSettled:
				report.Slot = max(report.Slot, r.Settled.Slot)
			}
		})
		if err != nil {
			return nil, nil, err
		}
		info.size = c.size
		j.before = c.end
		if i == len(chain)-1 && h.number == synced.file && c.lost == 0 && c.end.count < synced.count {
			c.lost, c.torn = int(synced.count-c.end.count), false // it was cut off, or its end damaged
		}
		if c.lost > 0 {
			report.Damaged = append(report.Damaged, Damage{File: h.number, Kept: c.kept, Behind: c.n - c.kept, Lost: c.lost})
			damaged = append(damaged, h)
		}
		report.Torn = c.torn
	}
	if len(report.Damaged) == 0 {
		report.Inodes = nil
	}
	return found, damaged, nil
}

// missing tells whether there is no file of that number at all.
func (j *Journal) missing(number uint64) bool {
	f, err := j.folder.Open(opsName(number))
	if err != nil {
		return true
	}
	f.Close()
	return false
}

// content is what one file holds.
type content struct {
	note func(r *Record, at ref) // is called for each record, which keeps nothing of it
	n    int                     // records
	kept int                     // of these, before the first damage
	end  link                    // where the next file is to say that this one ends
	size int64
	torn bool
	lost int // records that were synced, and are not whole
}

// maxRead is more than any file has: one that is full, repeated in the next, and one Append.
const maxRead = 24 << 20

// readFile reads a file up to where the next one says that it ends, or, without
// a next one, as far as it goes.
func (j *Journal) readFile(h *head, cut *link, w *finding, note func(r *Record, at ref)) (content, error) {
	c := content{note: note, end: link{file: h.number, chain: h.chain}}
	f, err := j.folder.Open(opsName(h.number))
	if err != nil {
		return c, err
	}
	defer f.Close()
	if cut == nil {
		// What the last process left unsynced is read here, and must not be lost after it was acted on.
		if err := f.Settle(); err != nil {
			return c, err
		}
	}
	if c.size, err = f.Size(); err != nil {
		return c, err
	}
	size := int(min(c.size, maxRead))
	w.buf = slices.Grow(w.buf[:0], size)[:size]
	end, err := f.ReadAt(w.buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return c, err
	}
	b := w.buf[min(end, headerEnd):end]
	for cut == nil || c.end.count < cut.count {
		s, err := h.key.open(w.plain[:0], b, c.end.count)
		if err != nil || s.prev != c.end.chain {
			break
		}
		s.at = end - len(b)
		if err := c.add(&s); err != nil {
			return c, err
		}
		b = b[s.size:]
	}
	c.kept = c.n
	switch {
	case cut != nil && c.end == *cut:
	case cut != nil:
		found := h.key.behind(b, end, c.end.count)
		err = c.salvage(found, cut.count)
		c.lost = max(1, int(cut.count)-c.n)
		c.end = *cut
	case !zero(b):
		found := h.key.behind(b, end, c.end.count)
		synced := c.end.count
		for i := range found {
			synced = max(synced, found[i].durable)
		}
		if c.torn = synced == c.end.count; c.torn {
			break
		}
		err = c.salvage(found, synced)
		c.lost = max(1, int(synced)-c.n)
		if err == nil {
			err = c.goOn(found, synced)
		}
	}
	return c, err
}

// add takes the record that comes next.
func (c *content) add(s *sealed) error {
	r, err := decodePayload(s.kind, s.payload)
	if err != nil {
		// It carries our tag, so it is no accident of the disk.
		return fmt.Errorf("file %d, record %d: %w", c.end.file, s.index, err)
	}
	c.note(&r, ref{at: uint32(s.at), size: uint32(s.size), index: s.index})
	c.n++
	c.end.count, c.end.chain = s.index+1, s.tag
	return nil
}

// salvage takes the records behind a damage that are below limit, and so were
// acknowledged.
func (c *content) salvage(found []sealed, limit uint32) error {
	for i := range found {
		if found[i].index >= limit {
			break
		}
		if err := c.add(&found[i]); err != nil {
			return err
		}
	}
	return nil
}

// goOn takes the records from number next on, as long as they go on without a gap, as
// at the end of any file: they were not known to be synced.
func (c *content) goOn(found []sealed, next uint32) error {
	joined := c.end.count == next
	c.end.count = next
	for i := range found {
		s := &found[i]
		if s.index < next {
			continue
		}
		if s.index != c.end.count || joined && s.prev != c.end.chain {
			break
		}
		if err := c.add(s); err != nil {
			return err
		}
		joined = true
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// scanTries bounds the openings that bytes made to look like records can cost.
const scanTries = 4096

// behind finds the whole records behind the end of the good ones, from number next on.
// What is between them is lost, if one of them says that it was synced; otherwise it is
// a torn end, since what was not synced reaches the disk in any order. The file's bytes
// end at the offset end.
func (k fileKey) behind(b []byte, end int, next uint32) (found []sealed) {
	for tries := 0; len(b) >= recordFixed; b = b[1:] {
		index, n := be.Uint32(b[4:]), be.Uint32(b)
		if index < next || index-next > uint32(maxRead/recordFixed) || n < localOverhead+recordPlain || n > maxSealed {
			continue
		}
		s, err := k.open(nil, b, index)
		if err != nil {
			if tries++; tries > scanTries {
				return found
			}
			continue
		}
		if last := len(found) - 1; last >= 0 && found[last].index+1 == index && found[last].tag != s.prev {
			continue // of another history than the one before it
		}
		s.at = end - len(b)
		found = append(found, s)
		next = index + 1
		b = b[s.size-1:]
	}
	return found
}

// keepAside moves the files of which nothing can be read out of the way, the newest
// first. A file that lost records stays as long as others in it are needed, with a
// second name.
func (j *Journal) keepAside(strays, damaged []*head, report *Report) error {
	changed := false
	for _, h := range damaged {
		j.opts.Step(stepAside)
		name := asideName(h.number)
		if err := j.folder.Link(opsName(h.number), name); err == nil {
			report.Aside, changed = append(report.Aside, name), true
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, h := range slices.Backward(strays) {
		j.opts.Step(stepAside)
		name := asideName(h.number)
		if err := j.folder.Rename(opsName(h.number), name); err != nil {
			return err
		}
		report.Aside, changed = append(report.Aside, name), true
	}
	if !changed {
		return nil
	}
	slices.Sort(report.Aside)
	return j.folder.Sync()
}
