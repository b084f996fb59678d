package chain

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Link is a slot and the id of the commit in it.
type Link struct {
	Slot Slot
	ID   ID
}

// Step is a commit without its content: what its id is computed from, given the id
// before it.
type Step struct {
	Slot                 Slot
	HeaderHash, BodyHash [32]byte
}

// Checkpoint says that the tables which it names hold all that the batches up to a
// slot have written. It stands in a commit of a later slot, whose author vouches for
// it: the announcing commit. A machine without memory begins there.
//
// What is in it besides the tables makes the rest of history dispensable: where the
// operations of each device stand, and the steps by which the ids of the commits since
// the last checkpoint can be computed, so that a machine that comes back can show
// that its head is an ancestor. Before leads to the steps before those.
//
// Whether a checkpoint is true is no part of a commit's validity, since not every
// machine could say. Who cannot tell, or finds it wrong, goes on without it.
type Checkpoint struct {
	Link
	Usage  meta.Usage
	LastOp map[meta.Device]meta.OpNo
	Seen   map[meta.Device]Seen // of the same devices
	Before Link                 // the announcing commit of the checkpoint before; slot 0 when there is none
	Base   Link                 // where the steps begin: a checkpoint's link, or slot 0 and the volume id
	Steps  []Step               // from Base, ascending; empty unless they end in this very checkpoint
	Tables []byte               // fs/table, AppendRuns
}

const (
	// MaxSteps is how many steps a checkpoint has at most. Where there are more
	// commits it has none, and its base is itself.
	MaxSteps = 4096

	// MaxTables is the limit of Checkpoint.Tables in bytes.
	MaxTables = 512 << 10

	stepSize = 8 + 32 + 32

	// stepsKept is how many commits above the newest checkpoint a state knows one by
	// one. Older ones it could not find again in a checkpoint.
	stepsKept = 1 << 16
)

// encode returns slot u64, id 32, inodes u64, bytes u64, number of devices u16
// (device u16, operation u64, slot u64, time i64 each, ascending), before (slot u64, id 32), base (the
// same), number of steps u16 (slot u64, header hash 32, body hash 32 each), tables to
// the end.
func (k *Checkpoint) encode() []byte {
	b := appendLink(nil, k.Link)
	b = binary.BigEndian.AppendUint64(b, k.Usage.Inodes)
	b = binary.BigEndian.AppendUint64(b, k.Usage.Bytes)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.LastOp)))
	for _, d := range slices.Sorted(maps.Keys(k.LastOp)) {
		b = binary.BigEndian.AppendUint16(b, uint16(d))
		b = binary.BigEndian.AppendUint64(b, uint64(k.LastOp[d]))
		b = binary.BigEndian.AppendUint64(b, uint64(k.Seen[d].Slot))
		b = binary.BigEndian.AppendUint64(b, uint64(k.Seen[d].Time))
	}
	b = appendLink(appendLink(b, k.Before), k.Base)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Steps)))
	for _, s := range k.Steps {
		b = binary.BigEndian.AppendUint64(b, uint64(s.Slot))
		b = append(append(b, s.HeaderHash[:]...), s.BodyHash[:]...)
	}
	return append(b, k.Tables...)
}

func appendLink(dst []byte, l Link) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(l.Slot)), l.ID[:]...)
}

func (d *decoder) link() Link { return Link{Slot(d.u64()), d.hash()} }

// decodeCheckpoint reads what encode wrote. The tables alias b.
func decodeCheckpoint(b []byte) (*Checkpoint, error) {
	d := decoder{b: b}
	k := &Checkpoint{Link: d.link(), Usage: meta.Usage{Inodes: d.u64(), Bytes: d.u64()}}
	n := int(d.u16())
	k.LastOp, k.Seen = make(map[meta.Device]meta.OpNo), make(map[meta.Device]Seen)
	for i, last := 0, meta.Device(0); i < n && !d.bad; i++ {
		no, op := meta.Device(d.u16()), meta.OpNo(d.u64())
		seen := Seen{Slot(d.u64()), int64(d.u64())}
		d.must((i == 0 || no > last) && op <= meta.MaxOpNo && seen.Slot <= k.Slot)
		k.LastOp[no], k.Seen[no], last = op, seen, no
	}
	k.Before, k.Base = d.link(), d.link()
	steps := int(d.u16())
	d.must(steps <= MaxSteps && len(d.b) >= steps*stepSize)
	if !d.bad && steps > 0 {
		k.Steps = make([]Step, steps)
	}
	last := k.Base.Slot
	for i := range k.Steps {
		s := Step{Slot(d.u64()), d.hash(), d.hash()}
		d.must(s.Slot > last)
		k.Steps[i], last = s, s.Slot
	}
	d.must(k.Slot > 0 && last == k.Slot && len(d.b) <= MaxTables)
	// Without steps the base is the checkpoint itself.
	d.must(steps > 0 || k.Base == k.Link)
	d.must(k.Before.Slot > 0 || k.Before == Link{})
	k.Tables = d.rest()
	if err := d.done(); err != nil {
		return nil, fmt.Errorf("%w: checkpoint", err)
	}
	return k, nil
}

// IDs returns the ids of the commits from the base on, base and checkpoint included,
// or ErrForged when the steps do not lead from one to the other.
func (k *Checkpoint) IDs(v crypt.VolumeID) (map[Slot]ID, error) {
	ids := map[Slot]ID{k.Base.Slot: k.Base.ID}
	at := k.Base.ID
	for _, s := range k.Steps {
		at = CommitID(v, s.Slot, at, s.HeaderHash, s.BodyHash)
		ids[s.Slot] = at
	}
	if at != k.ID || k.Base.Slot == 0 && k.Base.ID != rootID(v) {
		return nil, fmt.Errorf("%w: the steps of a checkpoint lead elsewhere", ErrForged)
	}
	return ids, nil
}

// NewStateAt returns the state after the slot of a checkpoint, which announcing holds.
// The ledger and key are as for NewState.
func NewStateAt(v crypt.VolumeID, key *crypt.Key, l *Ledger, announcing *Commit) (*State, error) {
	k := announcing.Checkpoint
	s, err := newState(v, key, l, k.Slot)
	if err != nil {
		return nil, err
	}
	if _, err := k.IDs(v); err != nil {
		return nil, err
	}
	s.Slot, s.Head, s.LastOp, s.seen = k.Slot, k.ID, maps.Clone(k.LastOp), maps.Clone(k.Seen)
	s.folded(Link{announcing.Slot, announcing.ID}, k)
	return s, nil
}

// Announced returns the commit that announced the newest checkpoint that the state
// has passed or begun with; slot 0 when there is none.
func (s *State) Announced() Link { return s.announced }

// Folded returns the link of that checkpoint; slot 0 and the volume id when there is
// none.
func (s *State) Folded() Link { return s.base }

// Above is how many commits lie above the newest checkpoint.
func (s *State) Above() int { return len(s.steps) + s.dropped }

// CheckFold says whether the checkpoint of a commit that the state moved over fits the
// commits that it saw: ids, operations and sums; else ErrForged. What the tables hold is
// for the caller to know.
func (s *State) CheckFold(k *Checkpoint) error {
	n := s.stepsTo(k.Slot)
	if n == 0 || s.steps[n-1].Slot != k.Slot || s.steps[n-1].id != k.ID {
		return fmt.Errorf("%w: a checkpoint of slot %d, which holds another commit", ErrForged, k.Slot)
	}
	if _, err := k.IDs(s.Volume); err != nil {
		return err
	}
	if s.dropped > 0 {
		return nil // their operations are not known one by one any more
	}
	ops, seen, usage := maps.Clone(s.baseOps), maps.Clone(s.baseSeen), s.baseUsage
	for _, p := range s.steps[:n] {
		ops[p.device], seen[p.device], usage = p.last, Seen{p.Slot, p.time}, usage.Plus(p.usage)
	}
	if !maps.Equal(ops, k.LastOp) || !maps.Equal(seen, k.Seen) || usage != k.Usage {
		return fmt.Errorf("%w: the operations or sums of a checkpoint are not those of the chain", ErrForged)
	}
	return nil
}

// Fold makes the checkpoint of a commit that the state moved over, and that CheckFold
// accepts, the one that it begins with. An older one than the newest changes nothing.
func (s *State) Fold(c *Commit) error {
	k := c.Checkpoint
	if k == nil || k.Slot <= s.base.Slot {
		return nil
	}
	if err := s.CheckFold(k); err != nil {
		return err
	}
	s.folded(Link{c.Slot, c.ID}, k)
	return nil
}

func (s *State) folded(announcing Link, k *Checkpoint) {
	s.announced, s.base, s.steps = announcing, k.Link, slices.Clone(s.steps[s.stepsTo(k.Slot):])
	s.baseOps, s.baseSeen, s.baseUsage, s.dropped = maps.Clone(k.LastOp), maps.Clone(k.Seen), k.Usage, 0
}

// stepsTo is how many of the steps lead to slots up to one.
func (s *State) stepsTo(at Slot) int {
	n, found := slices.BinarySearchFunc(s.steps, at, func(p passed, at Slot) int { return cmp.Compare(p.Slot, at) })
	if found {
		n++
	}
	return n
}

// passed is a commit that the state moved over.
type passed struct {
	Step
	id     ID
	device meta.Device
	last   meta.OpNo
	time   int64
	usage  meta.Delta
}

// pass keeps what a later checkpoint will need of a commit.
func (s *State) pass(c *Commit) {
	if len(s.steps) == stepsKept {
		s.dropped += len(s.steps)
		s.steps = nil
	}
	s.steps = append(s.steps, passed{Step{c.Slot, c.HeaderHash, c.BodyHash}, c.ID, c.Device, c.Last, c.Time.UnixNano(), c.Usage})
}

// Checkpoint returns the checkpoint of the state's slot, to be completed with what it
// holds and where.
func (s *State) Checkpoint() *Checkpoint {
	k := &Checkpoint{
		Link:   Link{s.Slot, s.Head},
		LastOp: maps.Clone(s.LastOp),
		Seen:   maps.Clone(s.seen),
		Before: s.announced,
		Base:   s.base,
	}
	if s.Above() > MaxSteps {
		k.Base = k.Link
		return k
	}
	for _, p := range s.steps {
		k.Steps = append(k.Steps, p.Step)
	}
	return k
}
