package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// salvage judges operations that follow a gap in the journal: some before them were
// damaged on the local disk, and nobody knows what those did.
//
// What adds to the tree is executed. What changes the content of a file is executed
// when the file has the content that the program saw, which the operation says. A file
// gets another name only when its content is known to be whole, since a program that
// renames it counts on that; and what removes a file, only when the file was made
// after the gap, since its bytes may be the last of what is lost. A whole file takes the
// place of an older one, as its program meant. What is not executed
// loses nothing: a file that it would have removed stays, and bytes that it would have
// written go to a file of their own.
type salvage struct {
	gaps   bool              // there was one
	whole  map[meta.Ino]bool // files whose content is what the program knew
	born   map[meta.Ino]bool // inodes made since the newest gap
	undone map[meta.Ino]int  // by inode, operations that were not executed
	pieces []refuge          // what those wrote
	open   map[meta.Ino]int  // by inode, the one that further bytes belong to
	lost   []meta.OpNo
	behind int // operations behind a gap that were executed
}

// refuge is what operations that were not executed wrote to one inode, one after the
// other.
type refuge struct {
	ino  meta.Ino
	from meta.OpNo // the first of them
	dirty
}

// lostMost is how many numbers of lost operations are kept, and inodes told.
const (
	lostMost = 1 << 20
	toldMost = 20
)

// gap says that operations from first on, below next, are lost.
func (s *salvage) gap(first, next meta.OpNo) {
	s.gaps = true
	s.whole, s.born = map[meta.Ino]bool{}, map[meta.Ino]bool{}
	if s.undone == nil {
		s.undone, s.open = map[meta.Ino]int{}, map[meta.Ino]int{}
	}
	for ; first < next && len(s.lost) < lostMost; first++ {
		s.lost = append(s.lost, first)
	}
}

// errTorn: an operation behind a gap may need what is lost.
var errTorn = errors.New("what it needs may be lost")

// allows says whether op may be executed on the map that r reads.
func (s *salvage) allows(r meta.Reader, op meta.Op) error {
	ok := true
	var err error
	switch o := op.(type) {
	case *meta.Make, *meta.Setattr, *meta.Setxattr, *meta.Removexattr, *meta.Rmdir:
	case *meta.Write:
		ok = o.Observed != 0 || s.whole[o.Ref.Ino]
	case *meta.Clone:
		ok = o.Observed != 0 || s.whole[o.Ref.Ino]
	case *meta.Truncate:
		ok = o.Observed != 0 || s.whole[o.Ref.Ino]
	case *meta.PunchHole:
		ok = o.Observed != 0 || s.whole[o.Ref.Ino]
	case *meta.Link:
		ok, err = s.sound(r, o.Ref)
	case *meta.Unlink:
		ok, err = s.spare(r, o.Ref)
	case *meta.Rename:
		ok, err = s.sound(r, o.Ref)
		if ok && err == nil && o.Flags&meta.Exchange != 0 && o.Replaced != nil {
			ok, err = s.sound(r, *o.Replaced)
		}
	default:
		ok = false
	}
	if err == nil && !ok {
		err = errTorn
	}
	return err
}

// sound says whether an inode is no file, or one whose content is whole.
func (s *salvage) sound(r meta.Reader, ref meta.Ref) (bool, error) {
	if s.whole[ref.Ino] {
		return true, nil
	}
	n, err := meta.GetInode(r, ref)
	return err == nil && n.Kind != meta.File, err
}

// spare says whether an inode may lose a name.
func (s *salvage) spare(r meta.Reader, ref meta.Ref) (bool, error) {
	if s.born[ref.Ino] {
		return true, nil
	}
	n, err := meta.GetInode(r, ref)
	return err == nil && n.Nlink > 1, err
}

// done notes an operation that was executed.
func (s *salvage) done(op meta.Op) {
	if !s.gaps {
		return
	}
	s.behind++
	ref := subject(op)
	switch op.(type) {
	case *meta.Make:
		s.whole[ref.Ino], s.born[ref.Ino] = true, true
	case *meta.Write, *meta.Truncate, *meta.PunchHole, *meta.Clone:
		s.whole[ref.Ino] = true
	}
}

// refused notes an operation that was not executed, and keeps the bytes that it brings.
func (s *salvage) refused(op meta.Op, no meta.OpNo) {
	ino := subject(op).Ino
	s.undone[ino]++
	if _, cuts := op.(*meta.Truncate); cuts {
		delete(s.open, ino) // what comes now is no part of what came before
	}
	delete(s.whole, ino)
	delete(s.born, ino)
	extents := meta.Contents(op)
	if len(extents) == 0 {
		return
	}
	i, ok := s.open[ino]
	if !ok {
		i = len(s.pieces)
		s.open[ino] = i
		s.pieces = append(s.pieces, refuge{ino: ino, from: no})
	}
	for _, e := range extents {
		s.pieces[i].add(e)
	}
}

// subject is the inode that an operation changes.
func subject(op meta.Change) meta.Ref {
	switch o := op.(type) {
	case *meta.Make:
		return o.Ref
	case *meta.Write:
		return o.Ref
	case *meta.Clone:
		return o.Ref
	case *meta.Truncate:
		return o.Ref
	case *meta.PunchHole:
		return o.Ref
	case *meta.Setattr:
		return o.Ref
	case *meta.Setxattr:
		return o.Ref
	case *meta.Removexattr:
		return o.Ref
	case *meta.Link:
		return o.Ref
	case *meta.Unlink:
		return o.Ref
	case *meta.Rmdir:
		return o.Ref
	case *meta.Rename:
		return o.Ref
	case *meta.Mend:
		return o.Ref
	}
	return meta.Ref{}
}

// rescueTorn puts the bytes of operations that were not executed into files of the root
// folder: recovered-, the inode, the operation. An earlier mount may have done so.
func (v *Volume) rescueTorn(ctx context.Context, s *salvage) error {
	for i := range s.pieces {
		p := &s.pieces[i]
		if err := v.rescuePiece(ctx, p); err != nil {
			return fmt.Errorf("recover what was written to inode %d: %w", p.ino, err)
		}
	}
	if len(s.pieces) == 0 {
		return nil
	}
	return v.persist()
}

func recoveredName(p *refuge) []byte {
	return fmt.Appendf(nil, "recovered-%x-%d", uint64(p.ino), p.from)
}

func (v *Volume) rescuePiece(ctx context.Context, p *refuge) error {
	name := recoveredName(p)
	if v.rescued(name, 1+(len(p.extents)+extentsMax-1)/extentsMax) {
		return nil
	}
	ino, err := v.state.NextIno()
	if err != nil {
		return err
	}
	ref := meta.Ref{Home: meta.Root, Ino: ino}
	return v.locked(ctx, func() error {
		err := v.execute(&meta.Make{Parent: meta.RootRef, Name: name, Ref: ref, Kind: meta.File, Perm: 0o600, UID: v.o.UID, GID: v.o.GID})
		if errors.Is(err, meta.ErrExist) {
			d, err := v.lookup(meta.RootRef, name)
			if err != nil {
				return err
			}
			n, err := v.stored(d.Ref)
			if err != nil || n.Kind != meta.File || n.Size >= p.size {
				return err
			}
			ref = d.Ref // it had come no further
		} else if err != nil {
			return err
		}
		for some := range slices.Chunk(p.extents, extentsMax) {
			if err := v.execute(&meta.Write{Ref: ref, Extents: some, Size: some[len(some)-1].End()}); err != nil {
				return err
			}
		}
		return nil
	})
}

// rescued says whether an earlier mount made the file called name with so many
// operations. What a program did with it since is not undone.
func (v *Volume) rescued(name []byte, ops int) bool {
	var made meta.Ino
	for p := range v.view.Pending().All() {
		if m, ok := p.Op.(*meta.Make); ok && m.Parent == meta.RootRef && bytes.Equal(m.Name, name) {
			made = m.Ref.Ino
		}
		if made != 0 && subject(p.Op).Ino == made {
			ops--
		}
	}
	return made != 0 && ops <= 0
}

// tell says what was lost, in the log and in the status.
func (s *salvage) tell(v *Volume, o *old) {
	if !s.gaps && len(o.report.Damaged) == 0 {
		return
	}
	what := "the journal was damaged on the local disk"
	if v.astray && len(o.report.Damaged) == 0 {
		what = "the changes that waited here were made on a state that the store has no more"
	}
	inodes, unknown := map[meta.Ino]bool{}, 0
	for _, no := range s.lost {
		if ino, ok := o.report.Inodes[no]; ok && ino != 0 {
			inodes[meta.Ino(ino)] = true
		} else {
			unknown++
		}
	}
	undone := 0
	for _, n := range s.undone {
		undone += n
	}
	saved := map[meta.Ino]bool{}
	for _, p := range s.pieces {
		saved[p.ino] = true
	}
	lost, not := slices.Sorted(maps.Keys(inodes)), slices.Sorted(maps.Keys(s.undone))
	v.log.Error(what, "lost", len(s.lost), "records lost", recordsLost(o.report), "inodes", told(lost), "of unknown inodes", unknown,
		"executed behind", s.behind, "not executed", undone, "of inodes", told(not), "recovered", told(slices.Sorted(maps.Keys(saved))))
	var text bytes.Buffer
	if n := recordsLost(o.report); len(s.lost) == 0 && n > 0 {
		fmt.Fprintf(&text, "%s. Lost: up to %d of the newest changes", what, n)
	} else {
		fmt.Fprintf(&text, "%s. Lost: %d changes", what, len(s.lost))
	}
	if len(lost) > 0 {
		fmt.Fprintf(&text, ", of inodes %s", told(lost))
	}
	if unknown > 0 && len(lost) > 0 {
		fmt.Fprintf(&text, ", and %d of unknown ones", unknown)
	}
	fmt.Fprintf(&text, ". Of those behind them %d are kept", s.behind)
	if undone > 0 {
		fmt.Fprintf(&text, "; %d may need what is lost and were not executed, of inodes %s", undone, told(not))
	}
	if len(saved) > 0 {
		fmt.Fprintf(&text, "; what these wrote lies in the root folder as recovered-…, of inodes %s", told(slices.Sorted(maps.Keys(saved))))
	}
	if len(o.report.Damaged) > 0 {
		text.WriteString(". The damaged files stay in the journal folder as damaged-…")
	}
	v.notes.warn("damage", errors.New(text.String()))
}

// recordsLost is how many records of the journal are not whole.
func recordsLost(r *journal.Report) (n int) {
	for _, d := range r.Damaged {
		n += d.Lost
	}
	return n
}

// told lists inode numbers, the first of many.
func told(l []meta.Ino) string {
	var text []string
	for _, ino := range l[:min(len(l), toldMost)] {
		text = append(text, fmt.Sprint(uint64(ino)))
	}
	if n := len(l) - toldMost; n > 0 {
		text = append(text, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(text, ", ")
}

// unrecorded finds, after damage, the packs whose files are there and whose records are
// lost: of those that an operation names. The file says all but how much of it is
// padding, and what nothing refers to does no harm.
func unrecorded(o *old) error {
	if len(o.report.Damaged) == 0 {
		return nil
	}
	known := map[meta.PackNo]bool{}
	for _, p := range o.packs {
		known[p.No] = true
	}
	named, err := packsIn(o.waiting)
	if err != nil {
		return err
	}
	for _, no := range named {
		if known[no] {
			continue
		}
		known[no] = true
		b, err := os.ReadFile(pack.Path(packDir(o.dir), no))
		if err != nil {
			continue // it came inline, is in the store, or is gone too
		}
		t, err := crypt.ParseTail(b)
		if err != nil || t.Type() != crypt.TypePack {
			continue
		}
		p := pack.Info{No: no, Name: t.Name(), Epoch: t.Epoch(), Length: int64(len(b)-t.Size()) - int64(t.Segments())*crypt.Overhead}
		if p.Length > 0 && p.ObjectSize() == int64(len(b)) {
			o.packs = append(o.packs, p)
		}
	}
	return nil
}

// packsIn lists the packs that operations name, each once.
func packsIn(w *journal.Waiting) (l []meta.PackNo, err error) {
	seen := map[meta.PackNo]bool{}
	for r, err := range w.Ops(0) {
		if err != nil {
			return nil, err
		}
		op, err := meta.DecodeOp(r.Op)
		if err != nil {
			continue
		}
		for _, e := range meta.Contents(op) {
			if !seen[e.Pack] {
				seen[e.Pack] = true
				l = append(l, e.Pack)
			}
		}
	}
	return l, nil
}
