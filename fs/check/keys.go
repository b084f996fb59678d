package check

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
)

// checkHeaders opens every header with the drive's root key: its slots are bound by its
// MAC, and its keyring opens. One that is not the newest nobody needs.
func (c *checker) checkHeaders(ctx context.Context) error {
	good, newest := 0, true
	err := c.bucket.each(ctx, keyslot.Prefix, func(i store.Info) error {
		f := Finding{Kind: KindHeader, Severity: Note, Object: i.Name}
		if newest {
			f.Severity = Damaged
		}
		raw, err := c.bucket.Get(ctx, i.Name, 0, keyslot.MaxSize+1)
		if errors.Is(err, store.ErrNotExist) {
			f.Cause, f.Detail = c.bucket.absent(i.Name)
		} else if err != nil {
			return err
		} else if cause, err := c.header(i.Name, raw); err == nil {
			good, newest = good+1, false
			return nil
		} else {
			f.Cause, f.Detail = cause, err.Error()
		}
		f.Detail = "drive header: " + f.Detail
		c.find(f)
		newest = false
		return nil
	})
	if err != nil {
		return err
	}
	if good == 0 {
		c.find(Finding{
			Kind: KindHeader, Severity: Lost, Cause: Missing, Object: keyslot.Prefix,
			Detail: "no drive header in the store opens: only machines that keep a copy of it, as this one does, get into the drive. --repair writes one",
		})
	}
	if good == 0 || len(c.pending) > 0 && c.pending[0].Severity == Damaged {
		c.fixes = append(c.fixes, fix{do: fixHeader})
	}
	return nil
}

// header says what is wrong with a header object.
func (c *checker) header(name string, raw []byte) (Cause, error) {
	h, err := keyslot.DecodeObject(name, raw)
	if err != nil {
		return Altered, err
	}
	if h.Drive != [32]byte(c.o.Drive.ID) {
		return Exchanged, errors.New("it is another drive's")
	}
	roots := append([]*crypt.Key{c.o.Drive.Root()}, c.o.Drive.Previous()...)
	for _, root := range roots {
		again, err := keyslot.New(root, h.Drive, h.Counter, h.Slots, h.Keyring)
		if err == nil && again.MAC == h.MAC {
			return "", nil
		}
	}
	return Altered, errors.New("its MAC is wrong, or its keyring does not open")
}

// load follows the chain to its head.
func (c *checker) load(ctx context.Context) error {
	l, err := c.follow(ctx, false)
	if tableDamaged(err) {
		// What a table does not tell, all commits do. Which table it is, is found later.
		c.refold = true
		l, err = c.follow(ctx, true)
	}
	if errors.Is(err, publish.ErrNoKey) {
		c.find(Finding{
			Kind: KindHint, Severity: Lost, Cause: Missing, Object: chain.HintPrefix(c.vol),
			Detail: fmt.Sprintf("no hint opens, and the drive's key is in no other object: nothing can be read until one is brought back from a copy of the store (%v)", err),
		})
		return errEnd
	}
	if err != nil {
		return err
	}
	if l, err = c.overForks(ctx, l); err != nil {
		return err
	}
	c.loaded, c.state, c.tree = l, l.Chain, l.Confirmed
	c.report.Slot = uint64(l.Chain.Slot)
	if errors.Is(l.Trouble, chain.ErrVersion) {
		return l.Trouble // nothing is damaged, and what is in use and what is not this program cannot know
	}
	if l.Trouble != nil {
		c.trouble()
	}
	return c.least(ctx)
}

// tableDamaged says that a table is why the chain could not be followed.
func tableDamaged(err error) bool {
	return errors.Is(err, block.ErrDamaged) || errors.Is(err, table.ErrDamaged) || errors.Is(err, table.ErrVersion)
}

// follow loads the chain; the slots of commits that were settled are passed over.
func (c *checker) follow(ctx context.Context, whole bool, settled ...chain.Link) (*publish.Loaded, error) {
	return publish.Load(ctx, publish.LoadOptions{
		Bucket: c.bucket, Volume: c.vol, Identity: c.o.Drive.Identity(),
		Tables: c.blocks, Keys: c.keys, Memory: c.memory, Log: c.log, Whole: whole, Settled: settled,
		Passing: func(from, at, last chain.Slot) {
			c.o.Progress(Progress{Stage: StageCommits, Done: int64(at - from), Total: int64(last-from) + 1})
		},
	})
}

// trouble tells why the chain could not be followed to its end.
func (c *checker) trouble() {
	l := c.loaded
	f := Finding{Kind: KindCommit, Severity: Lost, Cause: Missing, Slot: uint64(l.Next), Object: chain.SlotName(c.vol, l.Next)}
	if len(l.Damaged) > 0 {
		f.Object = l.Damaged[0]
		if slot, ok := chain.ParseSlotName(c.vol, f.Object); ok {
			f.Slot = uint64(slot)
		}
		if slot := chain.Slot(f.Slot); slot < l.Next {
			f.Cause = Altered
		}
	}
	next := "what came after needs this object back from a copy of the store"
	if errors.Is(l.Trouble, publish.ErrFork) {
		// No object is missing; but one that is damaged may be why they are two.
		f.Kind, f.Cause = KindHistory, Forged
		next = "which history goes on is for a person to settle, on each machine, before anything is repaired: hushfs heads STORE. A check, which knows no machine's memory, ends there until who follows the other one gives it up (hushfs accept-rollback), or the device that signed it is removed"
		if len(l.Damaged) > 0 {
			next = "bring this object back from a copy of the store, if there is one; if it is of this history all goes on. Else " + next
		}
	}
	f.Detail = fmt.Sprintf("%v. The drive can be read as it was at slot %d; %s", l.Trouble, l.Chain.Slot, next)
	c.find(f)
}

// least holds the chain to the oldest state that the keyring accepts.
func (c *checker) least(ctx context.Context) error {
	main := c.o.Drive.Main()
	if main.MinSlot == 0 {
		return nil
	}
	id, ok, err := c.loaded.ID(ctx, chain.Slot(main.MinSlot))
	if err != nil {
		return err
	}
	if (!ok || id != main.MinCommit) && !c.loaded.Chain.Ledger.GaveUp(chain.Slot(main.MinSlot), main.MinLedger) {
		c.find(Finding{
			Kind: KindHistory, Severity: Lost, Cause: Missing, Slot: main.MinSlot, Object: chain.SlotName(c.vol, chain.Slot(main.MinSlot)),
			Detail: "the store shows an older or another history than the drive's header demands. What is missing, and what to do: hushfs heads STORE",
		})
	}
	return nil
}

// checkHints opens all hints up to the head, and the ledgers that they name.
func (c *checker) checkHints(ctx context.Context) error {
	var names []string
	err := c.bucket.each(ctx, chain.HintPrefix(c.vol), func(i store.Info) error {
		// A machine that is at work may write one meanwhile.
		if slot, ok := chain.ParseHintName(c.vol, i.Name); ok && slot > c.state.Slot && c.loaded.Trouble == nil {
			return nil
		}
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		return err
	}
	hints := make([]*chain.Hint, len(names))
	bad := make([]*Finding, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, name := range names {
		g.Go(func() (err error) {
			hints[i], bad[i], err = c.hint(gctx, name, i == 0)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	best := chain.Slot(0)
	for i, h := range hints {
		if bad[i] != nil {
			// Where a new machine begins is the newest one; others are there in case.
			if i > 0 {
				bad[i].Severity = Note
			}
			c.find(*bad[i])
			continue
		}
		c.ids[h.Slot] = h.Commit
		c.books.hint(h)
		best = max(best, h.Fold.Slot)
	}
	if len(bad) > 0 && bad[0] != nil {
		c.fixes = append(c.fixes, fix{do: fixHint})
	}
	if best < c.state.Announced().Slot {
		object := chain.HintPrefix(c.vol)
		if len(names) > 0 {
			object = names[0]
		}
		c.find(Finding{
			Kind: KindHint, Severity: Note, Cause: Stale, Object: object, Slot: uint64(best),
			Detail: fmt.Sprintf("no hint leads to the newest checkpoint, of slot %d: new machines take longer to mount. The next machine that works on the drive writes one", c.state.Folded().Slot),
		})
		c.fixes = append(c.fixes, fix{do: fixHint})
	}
	return c.checkLedgers(ctx, hints)
}

// hint opens one. A finding says what is wrong with it.
func (c *checker) hint(ctx context.Context, name string, newest bool) (*chain.Hint, *Finding, error) {
	wrong := func(cause Cause, format string, args ...any) *Finding {
		return &Finding{Kind: KindHint, Severity: Damaged, Cause: cause, Object: name, Detail: "hint: " + fmt.Sprintf(format, args...)}
	}
	object, err := c.bucket.Get(ctx, name, 0, chain.MaxHint+1)
	if errors.Is(err, store.ErrNotExist) {
		cause, detail := c.bucket.absent(name)
		return nil, wrong(cause, "%s", detail), nil
	}
	if err != nil {
		return nil, nil, err
	}
	slot, named := chain.ParseHintName(c.vol, name)
	sealed, err := chain.ParseHint(object)
	if err != nil || !named {
		return nil, wrong(Altered, "it is none (%v)", err), nil
	}
	key, ok := c.state.EpochKey(sealed.Epoch)
	if !ok {
		return nil, wrong(Altered, "it is of epoch %d, which the ledger does not know", sealed.Epoch), nil
	}
	h, err := sealed.Open(c.vol, key)
	if err != nil {
		return nil, wrong(Altered, "%v", err), nil
	}
	// Who signed it may have been removed since.
	then, err := c.state.Ledger.Until(h.Slot)
	if err != nil {
		return nil, nil, err
	}
	if err := h.VerifySignature(c.vol, then); err != nil {
		return nil, wrong(Forged, "%v", err), nil
	}
	if slot != h.Slot {
		return nil, wrong(Exchanged, "it is that of slot %d", h.Slot), nil
	}
	if h.Ledger.Inline != nil {
		if _, err := h.InlineLedger(c.vol, key); err != nil {
			return nil, wrong(Forged, "its ledger: %v", err), nil
		}
	}
	if newest {
		if k, err := sealed.Unbox(c.vol, c.o.Drive.Identity()); err != nil {
			return nil, wrong(Altered, "none of its boxes opens for this member"), nil
		} else {
			k.Wipe()
		}
	}
	return h, nil, nil
}

// checkLedgers opens each ledger object that a hint names. A small ledger stands in the
// hint as well, and what only older hints name nobody needs.
func (c *checker) checkLedgers(ctx context.Context, hints []*chain.Hint) error {
	done := map[crypt.Name]bool{}
	for _, h := range hints {
		if h == nil || done[h.Ledger.Name] {
			continue
		}
		done[h.Ledger.Name] = true
		name := chain.LedgerName(c.vol, h.Ledger.Name)
		f := Finding{Kind: KindLedger, Severity: Note, Object: name, Slot: uint64(h.Slot)}
		object, err := c.bucket.Get(ctx, name, 0, chain.MaxLedger+1)
		key, _ := c.state.EpochKey(h.Epoch)
		switch {
		case errors.Is(err, store.ErrNotExist):
			f.Cause, f.Detail = c.bucket.absent(name)
		case err != nil:
			return err
		default:
			if _, err = chain.OpenLedger(c.vol, key, h, object); err == nil {
				continue
			}
			f.Cause, f.Detail = Altered, err.Error()
			if int64(len(object)) < h.Ledger.Size {
				f.Cause = Truncated
			}
		}
		f.Detail = "ledger: " + f.Detail
		if h.Ledger.Inline != nil {
			f.Detail += "; hints hold a copy of it"
		}
		if len(done) == 1 {
			f.Severity = Damaged
			c.fixes = append(c.fixes, fix{do: fixLedger})
		}
		c.find(f)
	}
	return nil
}
