package volume

import (
	"sync"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// ahead watches what is read, and has fetched what will be read next: of a file
// that is read forward, backward or in equal steps what comes next, and of many
// small files the packs in which they lie. Each file may be read at several
// places at a time. The zero value is ready.
//
// What is fetched ahead is a guess, so it never delays a read: no lock is held
// and nothing is waited for, and what cannot be fetched is forgotten.
type ahead struct {
	mu    sync.Mutex // guards the fields below
	files map[meta.Ino]*watched
	packs map[meta.PackNo]*touched

	whole time.Time   // when a pack was fetched whole last
	last  meta.PackNo // which
}

// watched is a file that is being read.
type watched struct {
	streams []*stream // last used first
	used    time.Time
}

// stream is one reading that goes on from where it was. All in bytes of the file.
type stream struct {
	at, n uint64 // the last read
	start uint64 // where the first began
	head  uint64 // how far it has come; going backward, how far down
	edge  uint64 // how far was asked for
	step  int64  // from one read to the next; 0 while each goes on where one ended
	asked uint64 // steps ahead that were asked for, where what lies between them is not
	hits  int    // reads that went on
	used  time.Time
}

const (
	windowMin = 1 << 20
	windowMax = 16 << 20
	// windowAll bounds what is ahead of all readers. It is less than the reader of
	// packs keeps in memory.
	windowAll = 24 << 20

	// pieceMin is how much is fetched at a time, but at the end of a file; a read
	// asks for pieceMax at most.
	pieceMin = 1 << 20
	pieceMax = 4 << 20
	// pieceWhole is from what piece on, and from how much of a pack, it is fetched whole.
	pieceWhole = pieceMax / 2

	// jitter is how far from where a stream was a read may lie that goes on with
	// it: the kernel has several on their way, and they come in any order.
	jitter = 1 << 20

	stepMax   = 16 << 20  // between two reads of a stream
	stepDense = 128 << 10 // what is skipped in a step and fetched nevertheless
	stepsMax  = 16        // reads ahead of one that skips more

	filesMax   = 64
	streamsMax = 4
	extentsTop = 128 // extents of one piece

	// idle is when what lies ahead of a reader no longer counts, since it has
	// stopped or memory has gone over it.
	idle = 2 * time.Second
)

// span is a part of a file that is to be fetched.
type span struct{ from, to uint64 }

// read notes a read of a file of size bytes. It returns the stream of which it is
// a part, and what is to be fetched now.
func (a *ahead) read(ino meta.Ino, off, n, size uint64) (*stream, []span) {
	if size <= pieceMin/4 {
		return nil, nil // it comes with a request or two anyway
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.file(ino).follow(off, n)
	switch {
	case s.hits == 0, s.hits == 1 && distance(s.start, s.head) < stepDense:
		return s, nil
	case s.sparse():
		return s, s.nextSteps(size)
	}
	return s, s.nextPiece(size, a.window(s))
}

// refused notes that of what was to be fetched only what lies before at could be
// asked for.
func (a *ahead) refused(s *stream, what span, at uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.step < 0 {
		s.edge = max(s.edge, what.to) // what is next lies at its end
	} else {
		s.edge = min(s.edge, max(at, s.head))
	}
}

// file returns what is known of a file; a is locked.
func (a *ahead) file(ino meta.Ino) *watched {
	w := a.files[ino]
	if w == nil {
		if a.files == nil {
			a.files = map[meta.Ino]*watched{}
		}
		if len(a.files) == filesMax {
			var oldest meta.Ino
			for i, o := range a.files {
				if oldest == 0 || o.used.Before(a.files[oldest].used) {
					oldest = i
				}
			}
			delete(a.files, oldest)
		}
		w = &watched{}
		a.files[ino] = w
	}
	w.used = time.Now()
	return w
}

// window is how far ahead s may be: twice what it has read, and no more than the
// others leave of what all may have; a is locked.
func (a *ahead) window(s *stream) uint64 {
	left := uint64(windowAll)
	for _, w := range a.files {
		for _, o := range w.streams {
			if o != s && !o.sparse() && s.used.Sub(o.used) < idle {
				left -= min(left, distance(o.head, o.edge))
			}
		}
	}
	return min(left, windowMax, max(windowMin, 2*distance(s.start, s.head)))
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// follow finds the stream that a read goes on with, or makes one.
func (w *watched) follow(off, n uint64) *stream {
	for i, s := range w.streams {
		if s.goesOn(off) {
			copy(w.streams[1:], w.streams[:i])
			w.streams[0] = s
			s.advance(off, n)
			return s
		}
	}
	s := &stream{at: off, n: n, start: off, head: off + n, edge: off + n, used: w.used}
	if step := w.step(off); step != 0 {
		s.step, s.hits = step, 2
		s.start = w.streams[1].at
		if step < 0 {
			s.start, s.head, s.edge = s.start+w.streams[1].n, off, off
		}
		w.streams = w.streams[2:] // they were its beginning
	}
	if len(w.streams) >= streamsMax {
		w.streams = w.streams[:streamsMax-1]
	}
	w.streams = append([]*stream{s}, w.streams...)
	return s
}

// step is by how much each of the last two reads and one at off are apart; 0
// when that is not the same twice.
func (w *watched) step(off uint64) int64 {
	if len(w.streams) < 2 || w.streams[0].hits+w.streams[1].hits > 0 {
		return 0
	}
	a, b := w.streams[0].at, w.streams[1].at
	step := int64(off - a)
	if step != int64(a-b) || step > stepMax || step < -stepMax {
		return 0
	}
	return step
}

func (s *stream) goesOn(off uint64) bool {
	if s.step != 0 {
		return off == s.at+uint64(s.step)
	}
	slack := uint64(0)
	if s.hits >= 2 {
		slack = jitter
	}
	return distance(off, s.head) <= slack
}

func (s *stream) advance(off, n uint64) {
	s.at, s.n, s.used = off, n, time.Now()
	s.hits++
	s.asked -= min(s.asked, 1)
	if s.step < 0 {
		s.head = off
		s.edge = min(s.edge, off)
		return
	}
	s.head = max(s.head, off+n)
	s.edge = max(s.edge, s.head)
}

// sparse tells whether so much is skipped in each step that it is not to be fetched.
func (s *stream) sparse() bool {
	return uint64(max(s.step, -s.step)) > s.n+stepDense
}

// nextPiece is what to fetch of a file of size bytes to be window ahead.
func (s *stream) nextPiece(size, window uint64) []span {
	piece := min(max(pieceMin, window/4), pieceMax)
	if s.step < 0 {
		to := s.head - min(s.head, window)
		if s.edge <= to || s.edge-to < piece && to > 0 {
			return nil
		}
		p := span{max(to, s.edge-min(s.edge, piece)), s.edge}
		s.edge = p.from
		return []span{p}
	}
	to := min(s.head+window, size)
	if s.edge >= to || to-s.edge < piece && to < size {
		return nil
	}
	p := span{s.edge, min(to, s.edge+piece)}
	s.edge = p.to
	return []span{p}
}

// nextSteps are the next reads that were not asked for, two at most.
func (s *stream) nextSteps(size uint64) (next []span) {
	for len(next) < 2 && s.asked < uint64(min(s.hits, stepsMax)) {
		at := int64(s.at) + int64(s.asked+1)*s.step
		if at < 0 || uint64(at) >= size {
			break
		}
		s.asked++
		next = append(next, span{uint64(at), min(uint64(at)+s.n, size)})
	}
	return next
}

// touched is a pack of which small files were read.
type touched struct {
	files [scanFiles]meta.Ino
	n     int // of files
	used  time.Time
	whole bool // it was fetched
}

const (
	// scanFiles is how many small files of one pack are read, shortly after each
	// other, until the others are thought to be wanted too.
	scanFiles = 3
	scanSize  = 1 << 20 // bytes of a small file
	packsMax  = 64
)

// scan notes that a small file in a pack was read, and returns the packs that are
// to be fetched whole because files are read one after the other.
func (a *ahead) scan(ino meta.Ino, no meta.PackNo) []meta.PackNo {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	t := a.pack(no, now)
	known := false
	for _, i := range t.files[:t.n] {
		known = known || i == ino
	}
	if !known && t.n < scanFiles {
		t.files[t.n] = ino
		t.n++
	}
	going := !a.whole.IsZero() && now.Sub(a.whole) < idle
	if t.whole || t.n < scanFiles && !going {
		return nil
	}
	t.whole = true
	next := going && no == a.last+1
	a.whole, a.last = now, no
	if next {
		return []meta.PackNo{no, no + 1} // they were written in this order
	}
	return []meta.PackNo{no}
}

// pack returns what is known of a pack, if that is not too long ago; a is locked.
func (a *ahead) pack(no meta.PackNo, now time.Time) *touched {
	t := a.packs[no]
	if t == nil || now.Sub(t.used) >= idle {
		if a.packs == nil {
			a.packs = map[meta.PackNo]*touched{}
		}
		if t == nil && len(a.packs) == packsMax {
			var oldest meta.PackNo
			for n, o := range a.packs {
				if oldest == 0 || o.used.Before(a.packs[oldest].used) {
					oldest = n
				}
			}
			delete(a.packs, oldest)
		}
		t = &touched{}
		a.packs[no] = t
	}
	t.used = now
	return t
}

// prefetch has fetched what will be read after a read of n bytes at off.
func (v *Volume) prefetch(ref meta.Ref, off, n, size uint64) {
	s, what := v.ahead.read(ref.Ino, off, n, size)
	for _, p := range what {
		if at := v.fetchSpan(ref, p, off+n); at < p.to {
			v.ahead.refused(s, p, at)
		}
	}
}

// fetchSpan asks for a part of a file. It returns the end of what need not be
// asked for again. A little more is asked for where a pack ends soon behind the
// part, and whole packs where the file goes on in them for long: the kernel does
// not write files in their order, so what comes next lies in two or three packs
// by turns.
func (v *Volume) fetchSpan(ref meta.Ref, p span, read uint64) uint64 {
	runs, _, err := v.extents(ref, p.from, p.to+pieceMax)
	if err != nil {
		return p.from
	}
	wanted := map[meta.PackNo]uint64{} // bytes
	if p.from != read && p.to-p.from >= pieceWhole {
		for _, e := range runs {
			wanted[e.Pack] += e.Len
		}
	}
	at := p.from
	for i, e := range runs {
		if e.Off >= p.to {
			break
		}
		if i == extentsTop || i > 0 && e.Pack != runs[i-1].Pack && at-p.from >= (p.to-p.from)/2 {
			return at // a pack is begun with more of it
		}
		end := e.End()
		if wanted[e.Pack] >= pieceWhole {
			if got := v.reader.PrefetchAll(e.Pack); got < int64(e.PackOff)+int64(e.Len) {
				return e.Off
			}
			at = end
			continue
		}
		if end > p.to && end-p.to >= p.to-p.from {
			end = p.to
		}
		from := pack.Loc{Pack: e.Pack, Off: e.PackOff, Len: uint32(end - e.Off)}
		if e.Off == read {
			// Its first bytes may come with those that are being read, and who reads
			// those is not to wait for more.
			skip := min(-from.Off%crypt.SegmentSize, from.Len)
			from.Off, from.Len = from.Off+skip, from.Len-skip
			e.Off += uint64(skip)
		}
		if got := v.reader.Prefetch(from); got < int64(from.Len) {
			return e.Off + uint64(got)
		}
		at = end
	}
	return max(at, p.to)
}

// scanned has fetched the packs of a small file that was read, if many are.
func (v *Volume) scanned(ref meta.Ref, runs []meta.Extent, size uint64) {
	if size > scanSize || len(runs) == 0 {
		return
	}
	for _, no := range v.ahead.scan(ref.Ino, runs[0].Pack) {
		v.reader.PrefetchAll(no)
	}
}
