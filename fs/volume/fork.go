package volume

import (
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// Proof is a commit of another history that this machine was shown, and that nobody has
// settled.
type Proof struct {
	File   string      // in the state folder
	Slot   chain.Slot  //
	Opens  bool        // the fields below are known
	Commit chain.ID    // its id
	Prev   chain.ID    // of the commit that it goes on from
	Device meta.Device // who signed it
	Name   string      // of that device
	Here   chain.ID    // what this machine's history has in the slot before; zero: unknown
}

// String is for people, and names no file but that of the proof.
func (p Proof) String() string {
	if !p.Opens {
		return fmt.Sprintf("one was seen at slot %d, and the proof is kept in the state folder as %s", p.Slot, p.File)
	}
	return fmt.Sprintf("device %d (%s) signed commit %v for slot %d on %v, and this machine's history has %v there; the proof is kept in the state folder as %s",
		p.Device, p.Name, p.Commit, p.Slot, p.Prev, p.Here, p.File)
}

// unsettled lists the proofs of another history in a state folder that stop this machine:
// not those that a person settled, nor those of a device that was removed since, nor a
// commit that turned out to be of this history, since what came before it was damaged
// for a while. Those of lost, and what goes on from them, a Setback tells of.
func unsettled(dir string, l *publish.Loaded, st *state.State, lost []chain.Link) ([]Proof, error) {
	all, err := keptEvidence(dir)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	settled, err := st.Settled()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	over := map[chain.ID]bool{}
	for _, s := range append(settled, lost...) {
		over[s.ID] = true
	}
	var open []Proof
	// In the order of slots, since one that goes on from another ends with it.
	slices.SortStableFunc(all, func(a, b kept) int { return int(int64(a.slot) - int64(b.slot)) })
	for _, k := range all {
		p := Proof{File: k.file, Slot: k.slot}
		c, err := l.Chain.Open(k.slot, k.object)
		if err != nil {
			open = append(open, p) // its key may be one that comes with a later epoch
			continue
		}
		p.Opens, p.Commit, p.Prev, p.Device = true, c.ID, c.Prev, c.Device
		p.Here, _ = l.Near(k.slot - 1)
		d, still := l.Chain.Ledger.Device(c.Device)
		p.Name = d.Name
		mine, ok := l.Near(k.slot)
		if over[c.ID] || over[c.Prev] || !still || ok && mine == c.ID {
			over[c.ID] = true
			continue
		}
		open = append(open, p)
	}
	return open, nil
}
