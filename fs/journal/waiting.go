package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// Waiting is what Open found in a journal that is still needed. A journal may hold
// gigabytes of file bytes: Waiting knows where each record lies, and reads it when it is
// asked for. Whoever goes on to settle operations asks for later ones only: the files of
// those that are settled go.
type Waiting struct {
	folder folder
	packs  []PackRecord
	files  []*waitingFile // oldest first
	last   meta.OpNo
}

// waitingFile is a file and the records in it that are needed, but for those of packs.
type waitingFile struct {
	number uint64
	key    fileKey
	refs   []ref
}

// ref is where a record lies in a file.
type ref struct {
	no       meta.OpNo // of an operation, or that a place is of
	at, size uint32
	index    uint32
	kind     Kind
}

// Last is the number of the newest operation; 0 when there is none.
func (w *Waiting) Last() meta.OpNo { return w.last }

// Count is how many operations there are after the number after.
func (w *Waiting) Count(after meta.OpNo) (n int) {
	for _, f := range w.files {
		for _, r := range f.refs {
			if r.kind == KindOp && r.no > after {
				n++
			}
		}
	}
	return n
}

// Ops reads the operations after the number after, in the order in which they came. The
// first error ends it.
func (w *Waiting) Ops(after meta.OpNo) iter.Seq2[OpRecord, error] {
	return func(yield func(OpRecord, error) bool) {
		for r, err := range w.read(func(r ref) bool { return r.kind == KindOp && r.no > after }) {
			if !yield(r.Op, err) {
				return
			}
		}
	}
}

// Others reads the records that are no operations: packs neither settled nor dropped,
// then, in the order in which they came, attempts whose slot is not decided, what was
// followed, and places. The first error ends it.
func (w *Waiting) Others() iter.Seq2[Record, error] {
	return w.packsFirst(func(r ref) bool { return r.kind != KindOp })
}

// packsFirst puts the packs before the operations that name them: a pack that
// was sealed anew or carried stands behind them in the files.
func (w *Waiting) packsFirst(which func(ref) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, p := range w.packs {
			if !yield(Packed(p), nil) {
				return
			}
		}
		w.read(which)(yield)
	}
}

// read reads records, one at a time. They own their bytes.
func (w *Waiting) read(which func(ref) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, f := range w.files {
			if slices.ContainsFunc(f.refs, which) && !f.read(w.folder, which, yield) {
				return
			}
		}
	}
}

// read reads records of one file and says whether there is to be more.
func (f *waitingFile) read(from folder, which func(ref) bool, yield func(Record, error) bool) bool {
	in, err := from.Open(opsName(f.number))
	if err != nil {
		yield(Record{}, fmt.Errorf("read journal: %w", err))
		return false
	}
	defer in.Close()
	var sealed []byte
	for _, r := range f.refs {
		if !which(r) {
			continue
		}
		sealed = slices.Grow(sealed[:0], int(r.size))[:r.size]
		rec, err := f.record(in, sealed, r)
		if err != nil {
			yield(Record{}, fmt.Errorf("read journal: file %d, record %d: %w", f.number, r.index, err))
			return false
		}
		if !yield(rec, nil) {
			return false
		}
	}
	return true
}

func (f *waitingFile) record(in file, b []byte, r ref) (Record, error) {
	if n, err := in.ReadAt(b, int64(r.at)); n < len(b) && err != nil && !errors.Is(err, io.EOF) {
		return Record{}, err
	}
	s, err := f.key.open(nil, b, r.index)
	if err != nil {
		return Record{}, err // it was whole when the journal was opened
	}
	return decodePayload(s.kind, s.payload)
}

// finding is what is found while a journal is opened.
type finding struct {
	Waiting
	packed   []PackRecord // in the order in which they came, needed or not
	attempts []foundAttempt
	plain    []byte // of the record that is being read
	buf      []byte // of the file
}

// foundAttempt is an attempt among the refs of a file.
type foundAttempt struct {
	in   *waitingFile
	at   int
	what Record // without the object
}

// note takes in a record of the newest file, of which it keeps nothing but where it is.
func (w *finding) note(r *Record, at ref) {
	in := w.files[len(w.files)-1]
	switch at.kind = r.Kind; r.Kind {
	case KindPack, kindCarried:
		w.packed = append(w.packed, r.Pack)
		return
	case KindOp:
		at.no = r.Op.No
	case KindPlace:
		at.no = r.Place.No
	case KindFollowed:
	case KindAttempt:
		what := *r
		what.Attempt.Object = nil
		w.attempts = append(w.attempts, foundAttempt{in, len(in.refs), what})
	default:
		return
	}
	in.refs = append(in.refs, at)
}

// alive leaves what is still needed, in files that are still there.
func (w *finding) alive(l *liveness, from folder) *Waiting {
	for _, a := range w.attempts {
		if !l.alive(&a.what) {
			a.in.refs[a.at].kind = 0
		}
	}
	there := map[uint64]bool{}
	for _, f := range l.files {
		there[f.number] = true
	}
	out := &Waiting{folder: from}
	for _, f := range w.files {
		if !there[f.number] {
			continue
		}
		f.refs = slices.Clip(slices.DeleteFunc(f.refs, func(r ref) bool {
			return r.kind == 0 || (r.kind == KindOp || r.kind == KindPlace) && r.no <= l.settled
		}))
		for _, r := range f.refs {
			if r.kind == KindOp {
				out.last = max(out.last, r.no)
			}
		}
		if len(f.refs) > 0 {
			out.files = append(out.files, f)
		}
	}
	seen := map[meta.PackNo]bool{}
	for _, p := range w.packed {
		if r := Packed(p); l.alive(&r) && !seen[p.No] {
			out.packs = append(out.packs, p)
			seen[p.No] = true
		}
	}
	return out
}
