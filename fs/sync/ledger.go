package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// found is where a machine without memory begins.
type found struct {
	key    *crypt.Key // of the ledger's newest epoch
	ledger *chain.Ledger
	hint   *chain.Hint // verified

	over []passedHint // the hints that were passed over before it, the newest first
}

// findLedger opens the newest hint that holds the volume's key for id and whose
// ledger verifies. Anybody may write junk there, so others are passed over; after
// hintsMax of them the hint of slot 0 is taken, which nobody can displace. What was passed
// over comes with ErrNoKey too.
func findLedger(ctx context.Context, b store.Bucket, vol crypt.VolumeID, id *identity.Identity, passed *PassedHints) (found, error) {
	var last error
	var over []passedHint
	seen := 0
	for after := ""; ; {
		page, err := b.List(ctx, chain.HintPrefix(vol), after, hintsPage)
		if err != nil {
			return found{}, fmt.Errorf("list hints: %w", err)
		}
		for _, i := range page {
			f, err := openHint(ctx, b, vol, id, i.Name)
			if err == nil {
				passed.good(f.hint.Slot)
				f.over = over
				return f, nil
			}
			if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDenied) || ctx.Err() != nil {
				return found{}, err
			}
			slot, _ := chain.ParseHintName(vol, i.Name)
			h := passedHint{name: i.Name, slot: slot, err: err}
			over = append(over, h)
			passed.pass(h)
			if last == nil || !errors.Is(last, chain.ErrVersion) {
				last = err // that a newer program was here explains the rest
			}
		}
		if len(page) < hintsPage {
			if last == nil {
				return found{}, nothing(ctx, b, vol)
			}
			return found{over: over}, errors.Join(ErrNoKey, last)
		}
		if seen += len(page); seen >= hintsMax {
			f, err := openHint(ctx, b, vol, id, chain.HintName(vol, 0))
			f.over = over
			if err != nil {
				return f, errors.Join(ErrNoKey, err)
			}
			return f, nil
		}
		after = page[len(page)-1].Name
	}
}

// nothing tells a volume that lost its hints from one that never was here.
func nothing(ctx context.Context, b store.Bucket, vol crypt.VolumeID) error {
	page, err := b.List(ctx, chain.SlotPrefix(vol), "", 1)
	if err != nil {
		return fmt.Errorf("list commits: %w", err)
	}
	if len(page) == 0 {
		return ErrElsewhere
	}
	return ErrNoKey
}

func openHint(ctx context.Context, b store.Bucket, vol crypt.VolumeID, id *identity.Identity, name string) (found, error) {
	object, err := b.Get(ctx, name, 0, chain.MaxHint+1)
	if err != nil {
		return found{}, err
	}
	sealed, err := chain.ParseHint(object)
	if err != nil {
		return found{}, err
	}
	key, err := sealed.Unbox(vol, id)
	if err != nil {
		return found{}, err
	}
	hint, err := sealed.Open(vol, key)
	if err != nil {
		return found{}, err
	}
	if slot, ok := chain.ParseHintName(vol, name); !ok || slot != hint.Slot {
		return found{}, fmt.Errorf("%w: hint of slot %d under another's name", chain.ErrForged, hint.Slot)
	}
	ledger, err := hint.InlineLedger(vol, key)
	if err == nil && ledger == nil {
		ledger, err = getLedger(ctx, b, vol, key, hint)
	}
	if errors.Is(err, chain.ErrVersion) && ledger != nil {
		err = newerRecord{newer{err}, headsOf(ledger)}
	}
	if err != nil {
		return found{}, err
	}
	if err := hint.VerifySignature(vol, ledger); err != nil {
		return found{}, err
	}
	return found{key: key, ledger: ledger, hint: hint}, nil
}

// newerRecord is a chain.ErrVersion by the word of who has the right: he signed the record
// that is not understood, which follows those whose hashes are upto.
type newerRecord struct {
	newer
	upto []chain.ID
}

func headsOf(l *chain.Ledger) (all []chain.ID) {
	for _, r := range l.Suffix(0) {
		all = append(all, r.Hash())
	}
	return all
}

// getLedger opens the ledger object that a hint names, as chain.OpenLedger does.
func getLedger(ctx context.Context, b store.Bucket, vol crypt.VolumeID, key *crypt.Key, hint *chain.Hint) (*chain.Ledger, error) {
	where := chain.LedgerName(vol, hint.Ledger.Name)
	raw, err := b.Get(ctx, where, 0, chain.MaxLedger+1)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", where, err)
	}
	ledger, err := chain.OpenLedger(vol, key, hint, raw)
	if err != nil {
		return ledger, fmt.Errorf("ledger %s: %w", where, err)
	}
	return ledger, nil
}
