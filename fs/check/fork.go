package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// A store that shows two histories is settled by persons, on each machine, and most of that
// is in no log: a check knows no machine's memory. But who gave one of the two up writes
// that into the chain of the other.

// forksMost is how many further histories are followed over, to see whether the chain says
// that they were given up. Commits that go on from one of them are not counted.
const forksMost = 16

// overForks follows the chain over commits of other histories. Where the chain says of all
// of them that they were given up it answers the chain that goes on, and tells that they were
// settled; else it answers l, which ends at the first of them.
func (c *checker) overForks(ctx context.Context, l *publish.Loaded) (*publish.Loaded, error) {
	var over []*chain.Commit
	at := l
	for errors.Is(at.Trouble, publish.ErrFork) && at.Evidence != nil {
		fork, err := at.Chain.Open(at.EvidenceSlot, at.Evidence)
		if err != nil || len(over) == forksMost {
			return l, nil
		}
		over = append(over, fork)
		if at, err = c.follow(ctx, c.refold, links(over)...); tableDamaged(err) {
			return l, nil
		} else if err != nil {
			return nil, err
		}
	}
	if at.Trouble != nil {
		return l, nil
	}
	for _, fork := range over {
		if !at.Chain.Ledger.GaveUp(fork.Slot, fork.Ledger) {
			return l, nil
		}
	}
	for _, fork := range over {
		c.tellSettled(at.Chain.Ledger, fork)
	}
	return at, nil
}

func links(commits []*chain.Commit) (all []chain.Link) {
	for _, c := range commits {
		all = append(all, chain.Link{Slot: c.Slot, ID: c.ID})
	}
	return all
}

// tellSettled tells when, and where, a commit of another history was given up.
func (c *checker) tellSettled(l *chain.Ledger, fork *chain.Commit) {
	var by chain.Accepted
	for _, a := range l.Accepted() {
		if a.Had.Slot < fork.Slot && fork.Slot <= a.Seen.Slot {
			by = a // the last that did
		}
	}
	c.find(Finding{
		Kind: KindHistory, Severity: Note, Cause: Forged, Slot: uint64(fork.Slot), Object: chain.SlotName(c.vol, fork.Slot),
		Detail: fmt.Sprintf("two histories were shown: %s signed commit %v on another one. That is settled: it was given up on %s, by %s, in slot %d",
			deviceText(l, fork.Device), fork.ID, by.Time.UTC().Format(time.DateTime), deviceText(l, by.Device), by.At),
	})
}

// deviceText is a device with its name, also one that was removed since.
func deviceText(l *chain.Ledger, no meta.Device) string {
	d, ok := l.Device(no)
	if !ok {
		d, ok = l.Removed(no)
	}
	if !ok {
		return fmt.Sprintf("device %d", no)
	}
	return fmt.Sprintf("device %d (%s)", no, Printable(d.Name))
}
