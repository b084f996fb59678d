package chain

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// State is the chain up to one slot: all that is needed to judge the next. It is not
// safe for concurrent use. Its fields are read by anybody and written by Advance.
type State struct {
	Volume crypt.VolumeID
	Key    *crypt.Key // of Epoch
	Epoch  crypt.Epoch
	Slot   Slot // newest valid; dead slots may lie above
	Head   ID   // its commit id; the volume id at slot 0
	Ledger *Ledger
	LastOp map[meta.Device]meta.OpNo // newest operation of each device

	// Identity opens the wraps by which later epochs hand out their keys. While it
	// is nil only epochs up to that of NewState's ledger can be followed.
	Identity *identity.Identity

	keys map[crypt.Epoch]*crypt.Key // all that are known, later epochs included

	base      Link                      // of the newest checkpoint; slot 0 and the volume id at first
	announced Link                      // the commit that announced it; slot 0: none
	steps     []passed                  // the commits above base, ascending
	dropped   int                       // commits above base that steps has no more, being too many
	baseOps   map[meta.Device]meta.OpNo // LastOp as of base
	baseUsage meta.Usage                // as of base
	recent    []Remembered              // the newest commits, ascending; never written in place
	seen      map[meta.Device]Seen      // newest commit of each device
	baseSeen  map[meta.Device]Seen      // as of base
}

// NewState returns the state at slot 0. The ledger is any of the volume's, and key is
// that of its newest epoch: the keys before it are found through the ledger, and
// records of later slots are left to the commits that carry them. The state keeps
// key. ErrKey when the ledger names another key, ErrForged when it is another volume's.
func NewState(v crypt.VolumeID, key *crypt.Key, l *Ledger) (*State, error) {
	return newState(v, key, l, 0)
}

// newState returns the state at slot 0, but with the ledger as of another slot.
func newState(v crypt.VolumeID, key *crypt.Key, l *Ledger, at Slot) (*State, error) {
	if l.Volume() != v {
		return nil, fmt.Errorf("%w: ledger of another volume", ErrForged)
	}
	keys, err := l.keys(key)
	if err != nil {
		return nil, err
	}
	start, err := l.Until(at)
	if err != nil {
		return nil, err
	}
	epoch, _ := start.Epoch()
	if epoch == 0 {
		return nil, fmt.Errorf("%w: the volume begins without an epoch", ErrForged)
	}
	return &State{
		Volume: v, Key: keys[epoch], Epoch: epoch, Head: rootID(v), Ledger: start,
		LastOp: map[meta.Device]meta.OpNo{}, keys: keys, base: Link{0, rootID(v)}, baseOps: map[meta.Device]meta.OpNo{},
		seen: map[meta.Device]Seen{}, baseSeen: map[meta.Device]Seen{},
	}, nil
}

// Clone returns a state that advances on its own. Keys are shared.
func (s *State) Clone() *State {
	c := *s
	c.Ledger = s.Ledger.Clone()
	c.LastOp, c.seen = maps.Clone(s.LastOp), maps.Clone(s.seen)
	c.keys = maps.Clone(s.keys)
	c.steps = slices.Clone(s.steps)
	return &c
}

// EpochKey returns the key of an epoch, as packs need it; false when it is not known.
func (s *State) EpochKey(e crypt.Epoch) (*crypt.Key, bool) {
	k, ok := s.keys[e]
	return k, ok
}

// Keys returns the keys of all epochs that are known, later ones than the state's
// included. The keys are shared.
func (s *State) Keys() map[crypt.Epoch]*crypt.Key { return maps.Clone(s.keys) }

// Remember returns what this machine must not forget of the state.
func (s *State) Remember() Head {
	return Head{Slot: s.Slot, ID: s.Head, Ledger: s.Ledger.Head()}
}

// Advance moves the state over a commit that Judge found valid on it, else ErrOrder;
// the state is then as it was.
func (s *State) Advance(c *Commit) error {
	if c == nil || c.after == nil || c.Prev != s.Head || c.Slot <= s.Slot {
		return ErrOrder
	}
	s.Slot, s.Head, s.Ledger = c.Slot, c.ID, c.after
	s.LastOp[c.Device], s.seen[c.Device] = c.Last, Seen{c.Slot, c.Time.UnixNano()}
	s.pass(c)
	s.recall(c)
	if c.opened != nil {
		s.Epoch, s.Key = s.Epoch+1, c.opened
		s.keys[s.Epoch] = c.opened
	}
	return nil
}
