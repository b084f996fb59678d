package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// looking is an object that is being looked into.
type looking struct {
	*auditor
	ctx   context.Context
	at    place
	sight store.Sight
	whole []byte // all of a small envelope, once it was got
}

const (
	sealedSegment = crypt.SegmentSize + crypt.Overhead
	runSegments   = 32        // that are got in one go: 2 MiB
	drawnSegments = 4         // of a large object, when not all are read
	smallObject   = 256 << 10 // bytes that are got in one go
)

func (l *looking) find(kind Finds, format string, args ...any) {
	l.auditor.find(kind, l.sight.Name, format, args...)
}

func (l *looking) get(off, length int64) ([]byte, error) {
	var b []byte
	err := again(l.ctx, func() (err error) {
		b, err = l.o.Place.Get(l.ctx, l.sight.Name, off, length)
		return err
	})
	l.count(len(b))
	return b, err
}

// chance tests bytes that must not be told from chance.
func (l *looking) chance(what string, b []byte) bool {
	if why := l.tests.look(b); why != "" {
		l.find(NotChance, "%s can be told from sealed data: %s", what, why)
		return false
	}
	return true
}

// envelope looks into a sealed object, or into that part of one which begins at from.
func (l *looking) envelope(from int64) error {
	size := l.sight.Size - from
	padded, sized := paddedIn(size)
	most := crypt.TailSize(crypt.MaxContent)
	if sized && size > smallObject {
		most = crypt.TailSize(padded)
	} else if sized {
		most = size // all of it
	}
	begin := max(from, l.sight.Size-most)
	end, err := l.get(begin, most)
	if err != nil {
		return err
	}
	tail, err := crypt.ParseTail(end)
	if err != nil {
		return l.shapeless(err)
	}
	if want := l.typ(); tail.Type() != want {
		l.find(BadShape, "its envelope says %s, its name %s", tail.Type(), want)
	}
	if sized && tail.Segments() != crypt.Segments(padded) {
		l.find(BadShape, "its envelope says that it has %d segments, and its size that there are %d", tail.Segments(), crypt.Segments(padded))
		sized = false
	}
	if l.at.name != nil && tail.Name() != *l.at.name {
		l.find(BadName, "it is called otherwise than its contents: it was renamed, or altered")
	}
	raw := end[len(end)-tail.Size():]
	l.salt(raw)
	l.mu.Lock()
	if v := l.report.Learned.volume(l.at); v != nil {
		v.epoch(uint32(tail.Epoch()), l.sight.Modified)
	}
	l.mu.Unlock()
	header := raw[len(raw)-crypt.HeaderSize:]
	l.chance("what its envelope says", slices.Concat(raw[:len(raw)-crypt.HeaderSize-4], header[12:]))
	if !sized {
		return nil // where the segments lie is not known
	}
	if begin == from && sized {
		l.whole = end
	}
	return l.segments(from, padded, tail)
}

// typ is what the object must be sealed as.
func (l *looking) typ() crypt.Type {
	if l.at.kind == Hint {
		return crypt.TypeHint
	}
	return envelopes[l.at.kind].typ
}

// shapeless tells of an object that does not end as an envelope does.
func (l *looking) shapeless(why error) error {
	if errors.Is(why, crypt.ErrVersion) {
		l.find(BadShape, "its envelope is of a newer version than this program knows")
		return nil
	}
	start, err := l.get(0, startSize)
	if err != nil {
		return err
	}
	l.find(BadShape, "it has no envelope of hushfs; %s", l.tests.looksLike(start))
	return nil
}

// salt looks for a salt that was there before: what is sealed twice under one salt can
// be opened by whoever knows one of the two.
func (l *looking) salt(tail []byte) {
	at := len(tail) - crypt.HeaderSize + 12
	half := [16]byte(tail[at:])
	l.mu.Lock()
	_, twice := l.salts[half]
	l.salts[half] = struct{}{}
	l.mu.Unlock()
	if twice {
		l.find(SameSalt, "another object has the same salt: one of them is a copy, or two were sealed under one key")
	}
}

// segments looks at the sealed bytes: all, or some of a large object.
func (l *looking) segments(from, padded int64, tail *crypt.Tail) error {
	n := tail.Segments()
	var wanted []int
	for i := range n {
		if l.o.Data || n <= drawnSegments {
			wanted = append(wanted, i)
		}
	}
	if wanted == nil {
		wanted = []int{0, n - 1}
		for i := 2; i < drawnSegments; i++ {
			wanted = append(wanted, int(l.lot(l.sight.Name, i)%uint64(n)))
		}
		slices.Sort(wanted)
		wanted = slices.Compact(wanted)
	}
	altered := false
	for len(wanted) > 0 {
		run := 1
		for run < len(wanted) && run < runSegments && wanted[run] == wanted[0]+run {
			run++
		}
		off, _ := crypt.SegmentRange(padded, wanted[0])
		last, length := crypt.SegmentRange(padded, wanted[run-1])
		sealed := l.whole[min(off, int64(len(l.whole))):min(last+length, int64(len(l.whole)))]
		if l.whole == nil {
			var err error
			if sealed, err = l.get(from+off, last+length-off); err != nil {
				return err
			}
		}
		for i := wanted[0]; i <= wanted[run-1]; i++ {
			segment := sealed[min(len(sealed), (i-wanted[0])*sealedSegment):]
			segment = segment[:min(len(segment), sealedSegment)]
			if tail.Verify(i, segment) != nil && !altered {
				altered = true
				l.find(Altered, "its bytes are not those that its end names, in segment %d", i)
			}
			if i == 0 {
				if what := signed(segment, true); what != "" {
					l.find(Signed, "it begins as %s does", what)
				}
			}
			if !l.chance(fmt.Sprintf("segment %d", i), segment) {
				return nil // one is enough
			}
		}
		wanted = wanted[run:]
	}
	return nil
}

// hint looks into a hint: boxes for those who have no key yet, and an envelope.
func (l *looking) hint() error {
	if l.sight.Size > chain.MaxHint {
		l.find(BadSize, "its %d bytes are more than a hint may have", l.sight.Size)
		return nil
	}
	object, err := l.get(0, chain.MaxHint)
	if err != nil {
		return err
	}
	h, err := chain.ParseHint(object)
	if err != nil {
		l.find(BadShape, "it is no hint; %s", l.tests.looksLike(object[:min(len(object), startSize)]))
		return nil
	}
	const head = 8 + 4 + 32 + 2 // up to the boxes, see docs/format.md
	l.mu.Lock()
	if v := l.report.Learned.volume(l.at); v != nil {
		v.Boxes = max(v.Boxes, h.Boxes())
	}
	l.mu.Unlock()
	boxes := object[head : head+h.Boxes()*identity.BoxSize]
	l.chance("the check value of its key", h.Check[:])
	before := []byte(nil)
	for box := range slices.Chunk(boxes, identity.BoxSize) {
		if bytes.Compare(before, box) > 0 {
			l.find(BadShape, "its boxes are not in order, which tells in which they were made")
			break
		}
		before = box
	}
	for box := range slices.Chunk(boxes, identity.BoxSize) {
		// Box by box, since ciphertexts of ML-KEM are not quite even: many of them
		// together would show it.
		if !l.chance("a box", box) {
			break
		}
	}
	sealed := int64(head + len(boxes))
	if _, ok := paddedIn(l.sight.Size - sealed); !ok {
		l.find(BadSize, "the %d bytes behind its boxes are no size class of hushfs", l.sight.Size-sealed)
	}
	return l.envelope(sealed)
}

// header looks into a drive header, of which much stands in clear.
func (l *looking) header() error {
	if l.sight.Size > keyslot.MaxSize {
		l.find(BadSize, "its %d bytes are more than a header may have", l.sight.Size)
		return nil
	}
	object, err := l.get(0, keyslot.MaxSize)
	if err != nil {
		return err
	}
	h, err := keyslot.DecodeObject(l.sight.Name, object)
	if err != nil {
		l.find(BadShape, "it is no header of a drive (%v); %s", err, l.tests.looksLike(object[:min(len(object), startSize)]))
		return nil
	}
	l.chance("its keyring", h.Keyring)
	l.chance("its MAC and the drive's id", slices.Concat(h.MAC[:], h.Drive[:]))
	for i, s := range h.Slots {
		const sealed = 32 + 48 // commitment and wrapped key, at the end of the known types
		if s.Type == keyslot.TypePassphrase || s.Type == keyslot.TypeWords {
			l.chance(fmt.Sprintf("slot %d", i), s.Body[len(s.Body)-sealed:])
		}
	}
	l.ways(h)
	return nil
}

// ways notes what a header shows.
func (l *looking) ways(h *keyslot.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := &l.report.Learned
	if id := keyslot.DriveIDFull(h.Drive); !slices.Contains(seen.Drives, id) && len(seen.Drives) < maxDrives {
		seen.Drives = append(seen.Drives, id)
	}
	if h.Counter < l.best || seen.Ways != nil && h.Counter == l.best {
		return
	}
	l.best, seen.Ways = h.Counter, nil
	for _, s := range h.Slots {
		w := Way{Type: fmt.Sprintf("type %d", s.Type), Created: time.Unix(s.Created, 0).UTC(), Label: s.Label}
		switch s.Type {
		case keyslot.TypePassphrase:
			w.Type = "passphrase"
			if salt := s.Body; len(salt) >= 24 {
				w.Type = fmt.Sprintf("passphrase, Argon2id %d MiB", binary.BigEndian.Uint32(salt[16:])>>10)
			}
		case keyslot.TypeWords:
			w.Type = "recovery words"
		}
		seen.Ways = append(seen.Ways, w)
	}
}
