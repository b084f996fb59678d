package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
func (j *Journal) replay() ([]Record, *Report, error) {
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
	recs, good, linkAside, err := j.readFiles(heads, report)
	if err != nil {
		return nil, nil, err
	}
	if err := j.keepAside(heads[good:], linkAside, report); err != nil {
		return nil, nil, err
	}
	for _, name := range leftovers {
		if err := j.folder.Remove(name); err != nil {
			return nil, nil, err
		}
	}
	for len(j.live.files) > 0 && j.live.dead(j.live.files[0]) {
		if err := j.removeOldest(); err != nil {
			j.log.Warn("journal file not removed", "file", j.live.files[0].number, "err", err)
			break
		}
	}
	return packsFirst(recs), report, nil
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

// readFiles reads records up to the first damage. It returns those alive, how
// many files are joined without a gap, and the damaged one among them.
func (j *Journal) readFiles(heads []*head, report *Report) (recs []Record, good int, damaged *head, err error) {
	for i, h := range heads {
		if h.err != nil || i > 0 && h.prev.file != heads[i-1].number {
			break
		}
		var cut *link
		if i+1 < len(heads) && heads[i+1].err == nil && heads[i+1].prev.file == h.number {
			cut = &heads[i+1].prev
		}
		c, err := j.readFile(h, cut)
		if err != nil {
			return nil, 0, nil, err
		}
		good = i + 1
		info := &fileInfo{number: h.number, size: c.size}
		j.live.files = append(j.live.files, info)
		for k := range c.recs {
			j.live.note(&c.recs[k], info)
		}
		recs = slices.DeleteFunc(append(recs, c.recs...), func(r Record) bool { return !j.live.alive(&r) })
		j.before = c.end
		if c.lost > 0 {
			report.Damaged = append(report.Damaged, Damage{File: h.number, Kept: int(c.end.count), Lost: c.lost})
			damaged = h
			break
		}
		report.Torn = c.torn
	}
	for i := good; i < len(heads); i++ {
		d := Damage{File: heads[i].number, Lost: 1}
		if i+1 < len(heads) && heads[i+1].err == nil && heads[i+1].prev.file == heads[i].number {
			d.Lost = int(heads[i+1].prev.count)
		} else if heads[i].err == nil {
			c, err := j.readFile(heads[i], nil)
			if err != nil {
				return nil, 0, nil, err
			}
			d.Lost = int(c.end.count) + c.lost
		}
		report.Damaged = append(report.Damaged, d)
	}
	return recs, good, damaged, nil
}

// content is what one file holds up to its end or the first damage.
type content struct {
	recs []Record
	end  link
	size int64
	torn bool
	lost int // at least
}

// maxRead is more than any file has: one that is full, repeated in the next, and one Append.
const maxRead = 24 << 20

// readFile reads a file up to where the next one says that it ends, or, without
// a next one, as far as it goes.
func (j *Journal) readFile(h *head, cut *link) (content, error) {
	c := content{end: link{file: h.number, chain: h.chain}}
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
	b := make([]byte, min(c.size, maxRead))
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return c, err
	} else {
		b = b[min(n, headerEnd):n]
	}
	for cut == nil || c.end.count < cut.count {
		s, err := h.key.open(b, c.end.count)
		if err != nil || s.prev != c.end.chain {
			break
		}
		r, err := decodePayload(s.kind, s.payload)
		if err != nil {
			// It carries our tag, so it is no accident of the disk.
			return c, fmt.Errorf("file %d, record %d: %w", h.number, c.end.count, err)
		}
		c.recs = append(c.recs, r)
		c.end.count++
		c.end.chain = s.tag
		b = b[s.size:]
	}
	switch {
	case cut != nil && c.end == *cut:
	case cut != nil:
		c.lost = max(1, int(cut.count)-int(c.end.count))
	case !zero(b):
		c.lost = h.key.lost(b, c.end.count)
		c.torn = c.lost == 0
	}
	return c, nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// scanTries bounds the openings that bytes made to look like records can cost.
const scanTries = 4096

// lost looks for whole records behind the end of the good ones, and returns how
// many records, from number next on, one of them says were synced before it was
// written. None: a torn end, since what was not synced reaches the disk in any order.
func (k fileKey) lost(b []byte, next uint32) int {
	lost := 0
	for tries := 0; len(b) >= recordFixed; b = b[1:] {
		index, n := be.Uint32(b[4:]), be.Uint32(b)
		if index < next || index-next > uint32(maxRead/recordFixed) || n < localOverhead+recordPlain || n > maxSealed {
			continue
		}
		if tries++; tries > scanTries {
			return max(lost, 1)
		}
		if s, err := k.open(b, index); err == nil {
			lost = max(lost, int(s.durable)-int(next))
			b = b[s.size-1:]
		}
	}
	return lost
}

// keepAside moves the files that could not be joined out of the way, the newest
// first, so that a crash in between leaves a state like the one found. The file
// that is damaged behind its good records stays, with a second name: the next
// file's header will say where it ends.
func (j *Journal) keepAside(cutOff []*head, damaged *head, report *Report) error {
	changed := false
	if damaged != nil {
		j.opts.Step(stepAside)
		name := asideName(damaged.number)
		if err := j.folder.Link(opsName(damaged.number), name); err == nil {
			report.Aside, changed = append(report.Aside, name), true
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, h := range slices.Backward(cutOff) {
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

// packsFirst puts the packs before the operations that name them: a pack that
// was sealed anew or carried stands behind them in the files.
func packsFirst(recs []Record) []Record {
	sorted := make([]Record, 0, len(recs))
	seen := make(map[uint64]bool)
	for _, r := range recs {
		if r.Kind == KindPack || r.Kind == kindCarried {
			if !seen[uint64(r.Pack.No)] {
				sorted = append(sorted, Packed(r.Pack))
			}
			seen[uint64(r.Pack.No)] = true
		}
	}
	for _, r := range recs {
		if r.Kind != KindPack && r.Kind != kindCarried {
			sorted = append(sorted, r)
		}
	}
	return sorted
}
