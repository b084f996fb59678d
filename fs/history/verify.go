package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// Finding is something in the history that is not as its devices signed it.
type Finding struct {
	Slot   uint64 `json:"slot"`
	Object string `json:"object"`
	Fault  Fault  `json:"fault"`
	Detail string `json:"detail"`
}

// Fault is what is wrong.
type Fault string

// The faults.
const (
	Missing    Fault = "missing"    // the commit is not in the store
	Altered    Fault = "altered"    // what lies there is not the commit that was written, and nobody's
	Exchanged  Fault = "exchanged"  // another commit lies there, well signed
	Forked     Fault = "fork"       // a device signed it for this slot on another past
	Forged     Fault = "forged"     // it is in the chain, and breaks a rule or is not signed by who may
	Checkpoint Fault = "checkpoint" // it announces a checkpoint that does not say what the commits say
	Ledger     Fault = "ledger"     // the list of devices and epochs is not the one that the commits made
	Older      Fault = "older"      // the store shows an older or another history than the drive's header demands
)

// Verified is what was looked at.
type Verified struct {
	Drive       string    `json:"drive"`
	Head        uint64    `json:"head"`
	HeadCommit  string    `json:"head_commit"`
	Begins      uint64    `json:"begins"`      // what is below was trimmed; 1: nothing was
	Commits     int       `json:"commits"`     // whose signature, id and rules were verified
	Signed      int       `json:"signed_only"` // whose signature and id alone could be: what they build on is missing
	Checkpoints int       `json:"checkpoints"` // whose tables are what the commits say
	Unjudged    int       `json:"unjudged"`    // that cannot be followed, by devices that were enrolled where they cannot be
	Unproven    int       `json:"unproven"`    // checkpoints whose commits are trimmed or damaged, so that nothing can tell
	Records     int       `json:"records"`     // of the ledger, from the first
	Dead        int       `json:"dead_slots"`  // hold nobody's commit, and everybody skips them
	Findings    []Finding `json:"findings"`    // by slot
	More        int       `json:"more_findings"`
}

// maxFindings bounds a report: a store that lost everything has findings without end.
const maxFindings = 10_000

// verifier is a verification at work.
type verifier struct {
	*History
	out *Verified
}

// Verify looks at every commit that is there: its signature, by a device that was one
// then; its place behind the commit before; its id, by the steps of the checkpoint above
// it; the ledger from its first record; the rules that every machine holds a commit to;
// and of each checkpoint that its operations, sums and tables are what the one before
// it and the commits between them make. It reads all tables of all checkpoints.
//
// Errors are the store's, or chain.ErrVersion where a newer program has gone on, and end
// it. What it finds is no error.
func (h *History) Verify(ctx context.Context) (*Verified, error) {
	v := &verifier{h, &Verified{
		Drive: h.o.Drive.ID.String(), Head: uint64(h.state.Slot), HeadCommit: h.state.Head.String(), Begins: uint64(h.begins),
		Records: h.state.Ledger.Len(), Findings: []Finding{},
	}}
	if err := v.end(ctx); err != nil {
		return nil, err
	}
	v.kept()
	if err := v.least(ctx); err != nil {
		return nil, err
	}
	if err := h.stretches(ctx, func(s *stretch) (bool, error) { return true, v.stretch(ctx, s) }); err != nil {
		return nil, err
	}
	slices.SortStableFunc(v.out.Findings, func(a, b Finding) int { return cmp.Compare(a.Slot, b.Slot) })
	return v.out, nil
}

func (v *verifier) find(slot chain.Slot, f Fault, format string, args ...any) {
	if len(v.out.Findings) >= maxFindings {
		v.out.More++
		return
	}
	v.out.Findings = append(v.out.Findings, Finding{uint64(slot), chain.SlotName(v.vol, slot), f, fmt.Sprintf(format, args...)})
}

// end tells why the chain could not be followed further, and verifies what lies above its
// head by signature alone.
func (v *verifier) end(ctx context.Context) error {
	l, told := v.loaded, map[chain.Slot]bool{}
	if errors.Is(l.Trouble, chain.ErrVersion) {
		return l.Trouble
	}
	for _, name := range l.Damaged {
		slot, ok := chain.ParseSlotName(v.vol, name)
		if !ok || slot < v.state.Slot || len(told) > 0 {
			continue // skipped by everybody, the commits above going on over it; or see beyond
		}
		told[slot] = true
		if slot == l.Next && l.Trouble != nil {
			v.find(slot, Missing, "the commit is not there, and one above it is")
		} else {
			v.find(slot, Altered, "what lies there is nobody's commit; if it was one, what it said is not shown any more, and what came after cannot be followed")
		}
	}
	if l.Trouble == nil && len(told) == 0 {
		return nil
	}
	if len(told) == 0 {
		fault := Forged
		switch {
		case errors.Is(l.Trouble, publish.ErrFork):
			fault = Forked
		case errors.Is(l.Trouble, publish.ErrRollback):
			fault = Missing
		}
		v.find(l.Next, fault, "the chain goes no further: %v", l.Trouble)
		told[l.Next] = true
		if fault == Forked && l.Next > 1 {
			v.find(l.Next-1, Exchanged, "the commit of slot %d was signed on another than this one: one of the two was exchanged", l.Next)
		}
	}
	return v.beyond(ctx, told)
}

// beyond looks at what lies above the head. No machine follows it, but who made it can
// be told.
func (v *verifier) beyond(ctx context.Context, told map[chain.Slot]bool) error {
	var junk []chain.Slot // one finding, however much somebody put there
	for run := range slices.Chunk(v.aboveHead, 4*atOnce) {
		places := make([]place, len(run))
		for i, s := range run {
			places[i].slot, places[i].ends = s, len(v.aboveHead) > deadFew
		}
		if err := v.fetch(ctx, places); err != nil {
			return err
		}
		for i := range places {
			p := &places[i]
			switch {
			case p.commit != nil && v.signer(p) != "":
				v.out.Signed++
			case p.commit != nil && !v.known(p.commit.Device):
				v.out.Unjudged++
			case !told[p.slot]:
				junk = append(junk, p.slot)
			}
		}
	}
	if n := len(junk) - 1; n == 0 {
		v.find(junk[0], Altered, "what lies there is nobody's commit")
	} else if n > 0 {
		v.find(junk[0], Altered, "what lies there is nobody's commit, nor what lies in %d more slots up to %d", n, junk[n])
	}
	return nil
}

func (v *verifier) known(no meta.Device) bool {
	_, ok := v.state.Ledger.Device(no)
	_, was := v.state.Ledger.Removed(no)
	return ok || was
}

// leastKept is how many of the newest commits nobody may trim.
const leastKept = 256

// kept tells of commits that are missing and that nobody may have trimmed.
func (v *verifier) kept() {
	if v.begins > 1 && v.state.Slot-v.begins+1 < leastKept {
		v.find(v.begins-1, Missing, "it is not there, nor are those before it, and the newest %d commits are never trimmed", leastKept)
	}
}

// least holds the chain to the oldest state that the drive's header accepts.
func (v *verifier) least(ctx context.Context) error {
	main := v.o.Drive.Main()
	if main.MinSlot == 0 {
		return nil
	}
	id, ok, err := v.loaded.ID(ctx, chain.Slot(main.MinSlot))
	if err == nil && (!ok || id != main.MinCommit) && !v.loaded.Chain.Ledger.GaveUp(chain.Slot(main.MinSlot), main.MinLedger) {
		v.find(chain.Slot(main.MinSlot), Older, "the drive's header demands another commit here, or a longer history")
	}
	return err
}

// stretch verifies what lies between two checkpoints.
func (v *verifier) stretch(ctx context.Context, s *stretch) error {
	if s.lost.Slot > 0 {
		v.find(s.lost.Slot, Checkpoint, "the commit that announces the checkpoint is missing or damaged; what lies under it is verified without it")
	}
	v.out.Dead += s.dead
	st, err := v.start(s)
	if err != nil {
		v.find(s.top.Slot, Checkpoint, "the stretch below cannot be begun: %v", err)
		return nil
	}
	state, whole := v.below(s, false), s.base != nil || v.begins == 1
	for i := range s.places {
		p := &s.places[i]
		switch {
		case !p.known:
			if err := v.dead(ctx, s, i, st, state, whole); err != nil {
				return err
			}
		case !p.whole():
			v.broken(s, i)
			whole = false
		case !whole:
			v.alone(p)
		default:
			if whole, err = v.next(ctx, p, st, state); err != nil {
				return err
			}
		}
	}
	v.linked(s)
	if s.fold == nil {
		return nil
	}
	if !whole {
		v.out.Unproven++
		return nil
	}
	return v.checkpoint(ctx, s, st, state)
}

// start is the chain as of the checkpoint that a stretch begins with.
func (v *verifier) start(s *stretch) (st *chain.State, err error) {
	if s.base != nil {
		st, err = chain.NewStateAt(v.vol, v.state.Key, v.state.Ledger, s.base)
	} else {
		st, err = chain.NewState(v.vol, v.state.Key, v.state.Ledger)
	}
	if err == nil {
		st.Identity = v.o.Drive.Identity()
	}
	return st, err
}

// next moves over a commit as every machine did when it was new.
func (v *verifier) next(ctx context.Context, p *place, st *chain.State, state *view.Confirmed) (whole bool, err error) {
	j, err := v.judge(ctx, p, st, state)
	if damaged(err) {
		// Which packs there are stands in tables that cannot be read.
		v.find(p.slot, Checkpoint, "the tables below it are missing or damaged: %v", err)
		v.alone(p)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if j.Verdict != chain.Valid {
		v.find(p.slot, Forged, "it is in the chain, and no machine would take it: %s: %s", j.Verdict, j.Reason)
		return false, nil
	}
	if err := st.Advance(j.Commit); err != nil {
		return false, err
	}
	state.Apply(uint64(p.slot), j.Commit.Batch, j.Commit.Usage)
	v.out.Commits++
	// A checkpoint under which no machine begins stands for nothing, and tells of a
	// machine that cannot count, or that lies.
	if k := j.Commit.Checkpoint; k != nil && k.Slot > st.Folded().Slot {
		if err := st.CheckFold(k); err != nil {
			v.find(p.slot, Checkpoint, "the checkpoint of slot %d: %v", k.Slot, err)
		} else if k.Slot > v.state.Folded().Slot && v.loaded.Trouble == nil {
			v.find(p.slot, Checkpoint, "the checkpoint of slot %d: its tables do not hold what the commits wrote, and every machine passes it over", k.Slot)
		}
	}
	return true, nil
}

func (v *verifier) judge(ctx context.Context, p *place, st *chain.State, state meta.Reader) (j chain.Judgement, err error) {
	err = publish.Retry(ctx, func() error {
		k := packs{state: state}
		j = st.Judge(p.slot, p.object, &k)
		return k.err
	})
	return j, err
}

// alone verifies a commit by its signature and id: what it builds on is not there.
func (v *verifier) alone(p *place) {
	if _, err := chain.OpenSigned(v.vol, v.state.Key, v.state.Ledger, chain.Link{Slot: p.slot, ID: p.id}, p.object); err != nil {
		v.find(p.slot, Forged, "it is in the chain, and not signed by who may: %v", err)
		return
	}
	v.out.Signed++
}

// broken tells of a slot in which the chain's commit is not.
func (v *verifier) broken(s *stretch, i int) {
	p := &s.places[i]
	switch {
	case s.fold != nil && p.object == nil && p.slot < v.begins:
		// Trimmed, as the oldest commits may be.
	case p.object == nil:
		v.find(p.slot, Missing, "the commit is not there")
	case p.commit == nil:
		v.find(p.slot, Altered, "what lies there is not the commit that was written")
	default:
		fault, by := Exchanged, v.signer(p)
		switch {
		case by == "":
			fault, by = Altered, "nobody who may"
		case p.commit.Prev != v.under(s, i):
			fault = Forked
		}
		v.find(p.slot, fault, "another commit lies there, signed by %s: %v, and the chain has %v", by, p.commit.ID, p.id)
	}
}

// under is the id of the chain's commit below a place.
func (v *verifier) under(s *stretch, i int) chain.ID {
	for _, p := range slices.Backward(s.places[:i]) {
		if p.known {
			return p.id
		}
	}
	return v.from(s.base).ID
}

// signer is the device that signed what lies in a slot; empty: none.
func (v *verifier) signer(p *place) string {
	c := p.commit
	if _, err := chain.OpenSigned(v.vol, v.state.Key, v.state.Ledger, chain.Link{Slot: p.slot, ID: c.ID}, p.object); err != nil {
		return ""
	}
	_, _, name := v.author(c)
	return fmt.Sprintf("device %d (%s)", c.Device, name)
}

// dead looks at a slot that holds none of the chain's commits. That is an accident, or
// a stranger's doing, unless a device signed it for this place.
func (v *verifier) dead(ctx context.Context, s *stretch, i int, st *chain.State, state *view.Confirmed, whole bool) error {
	p := &s.places[i]
	if p.commit == nil {
		v.out.Dead++
		return nil
	}
	by := v.signer(p)
	if whole {
		j, err := v.judge(ctx, p, st, state)
		if err != nil && !damaged(err) {
			return err
		}
		if err == nil && j.Verdict == chain.Junk {
			v.out.Dead++
			return nil
		}
	}
	if by == "" || v.settled(p) {
		v.out.Dead++
		return nil
	}
	v.find(p.slot, Forked, "%s signed commit %v for this slot, and the chain goes on over it: two histories were shown", by, p.commit.ID)
	return nil
}

// settled says that a person has looked into a commit of another history: it was given
// up, or its device was removed after that.
func (v *verifier) settled(p *place) bool {
	if v.state.Ledger.GaveUp(p.slot, p.commit.Ledger) {
		return true
	}
	d, removed := v.state.Ledger.Removed(p.commit.Device)
	return removed && d.Removed > p.slot
}

// linked tells of places where a commit does not name the one below it.
func (v *verifier) linked(s *stretch) {
	want := v.from(s.base).ID
	sound := s.base != nil || v.begins == 1
	for i := range s.places {
		p := &s.places[i]
		if !p.known {
			continue
		}
		if p.whole() && sound && p.commit.Prev != want {
			v.find(p.slot, Missing, "it was signed on commit %v, which is not in the store: one or more before it are missing or damaged", p.commit.Prev)
		}
		want, sound = p.id, true
		if !p.whole() && p.slot < v.begins {
			sound = s.fold != nil
		}
	}
}

// packs tells the chain of packs, as a state has them. What could not be read makes the
// verdict void.
type packs struct {
	state meta.Reader
	err   error // the first
}

var _ chain.Past = (*packs)(nil)

func (k *packs) Packed(no meta.PackNo) bool  { return k.has(meta.PackKey(no)) }
func (k *packs) Retired(no meta.PackNo) bool { return k.has(meta.RetiredKey(no)) }

// Fenced is that of chain.Past.
func (k *packs) Fenced(b *meta.Batch, by meta.Device, slot chain.Slot) bool {
	err := meta.Fence(k.state, b, by, uint64(slot))
	if err != nil && !errors.Is(err, meta.ErrLeased) && k.err == nil {
		k.err = err
	}
	return err != nil
}

func (k *packs) has(key []byte) bool {
	_, err := k.state.Get(key)
	if err != nil && !errors.Is(err, meta.ErrAbsent) && k.err == nil {
		k.err = err
	}
	return err == nil
}
