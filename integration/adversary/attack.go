package adversary

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
)

// Attack is one way in which a store deceives.
type Attack struct {
	Name string

	// An attack is named, in the log and by the status, by each machine that was told
	// something untrue. Quiet says why one may say nothing now and then; but in some story
	// one must have said it in both.
	Quiet string

	// Unlogged says why no log need ever name it, Unshown why no status.
	Unlogged, Unshown string

	// Splits says that both machines may be shown a history of their own and write to it.
	// Then there is no one tree to come to: each refuses the other's, by name.
	Splits bool

	// Of are kinds of objects, of which somebody must be told something untrue; empty: any.
	Of string

	// begin attacks, and returns what makes the store honest again: all that was put by
	// the honest machines meanwhile is there, as far as they were told so.
	begin func(s *siege, r *rand.Rand) (end func())
}

// Why attacks are not named by each machine that was told something untrue.
const (
	again = "the next answer may be right: what came whole when it was asked for again is no damage"
	idle  = "it cannot be told from a store that others do not write to, or from a slow one"
	fails = "it cannot be told from a store that fails now and then: the next try mends it"
	alone = "each has a history of its own, and finds it when one meets the other's: see siege.apart"
	same  = "what the machine wanted to be there is there"
)

// Attacks are all that there are.
func Attacks() []Attack {
	return append(append(answers(), rest()...), keys()...)
}

// find returns the attack of that name.
func find(name string) Attack {
	for _, a := range Attacks() {
		if a.Name == name {
			return a
		}
	}
	panic("adversary: no attack is called " + name)
}

// kind is which folder of a volume an object lies in: l commits, k hints, a ledgers, b
// bundles, t tables, p packs; h is a header, empty another thing.
func kind(name string) string {
	part := strings.Split(name, "/")
	switch {
	case len(part) > 2 && part[1] == "h":
		return "h"
	case len(part) > 4 && part[1] == "s":
		return part[3]
	}
	return ""
}

// names are those of the objects of some kinds, as they lie there now.
func (s *siege) names(kinds string) (out []string) {
	for _, n := range s.store.Truth.Names() {
		if k := kind(n); k != "" && strings.Contains(kinds, k) {
			out = append(out, n)
		}
	}
	return out
}

// head is the newest slot before the one that machines write to next: that of the newest
// commit of a machine, or of what lies right above it. What lies above a hole is nobody's.
func (s *siege) head() (head chain.Slot) {
	for _, n := range s.names("l") {
		if slot, ok := chain.ParseSlotName(s.volume, n); ok && s.store.genuine(s.object(n)) {
			head = slot
			break
		}
	}
	for s.object(chain.SlotName(s.volume, head+1)) != nil {
		head++
	}
	return head
}

// draw picks at most n names of some kinds.
func (s *siege) draw(r *rand.Rand, kinds string, n int) []string {
	all := s.names(kinds)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// newestOf is draw, but the newest is among them: older ones a machine that remembers does
// not read again. It is for kinds whose names count down.
func (s *siege) newestOf(r *rand.Rand, kinds string, n int) []string {
	all := s.names(kinds)
	if len(all) > 1 {
		older := all[1:]
		r.Shuffle(len(older), func(i, j int) { older[i], older[j] = older[j], older[i] })
	}
	return all[:min(n, len(all))]
}

// failed notes that an attack could not be made, though nothing stood in its way: a mistake
// of ours, which no story may pass over.
func (s *siege) failed(err error) {
	if s.unable == nil {
		s.unable = fmt.Errorf("an attack cannot be made: %w", err)
	}
}

// object returns what lies under a name.
func (s *siege) object(name string) []byte {
	b, err := s.store.Truth.Get(ctx(), name, 0, -1)
	if err != nil {
		return nil
	}
	return b
}

// all ends several things, the last first.
func all(ends []func()) func() {
	return func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
	}
}
