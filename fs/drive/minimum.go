package drive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// settingRaised is the key of the setting that says when a machine last wrote a header
// for the sake of the heads in it: i64 nanoseconds, by its clock. Layout: docs/format.md,
// "Keyring".
const settingRaised = "heads-raised"

// raiseEvery is how often the heads in the keyring are raised at most. What was written
// since can be kept from a new machine; what is older cannot.
const raiseEvery = 24 * time.Hour

// raiseTries is how many numbers are tried, where strangers or other machines are first.
const raiseTries = 16

// ErrRotated: the store has a header of the drive that this machine cannot open, so the
// ways into the drive may have changed, and nothing may be written on the ground of an
// older one.
var ErrRotated = errors.New("a newer drive header does not open with this machine's key")

// RaiseMinimum writes the newest slot of the main volume into the keyring, in a new
// header with the same ways in, so that a machine without memory refuses an older state.
// Whoever does so has everything in the store, and follows that very history. It is done
// when a day has passed since it was done last, on any machine; else nothing is, and
// false is returned. Clocks that are wrong make it happen more often or, with others'
// help, less: nothing but the age of the minimum depends on it.
//
// gone is a minimum that a person gave up, when the store was set back for good: it is
// replaced at once, by a lower one. The zero Link is none.
//
// The new header is made from the newest one in the store that opens with the root key,
// and takes the number after it. Where another machine was faster its header is the
// one to go on from. No header is overwritten, and none removed.
func (u *Unlocked) RaiseMinimum(ctx context.Context, b store.Bucket, head chain.Head, gone chain.Link, now time.Time, log *slog.Logger) (bool, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	base, err := u.newest(ctx, b, log)
	if err != nil {
		return false, err
	}
	counter := base.Counter
	for range raiseTries {
		h, err := u.raised(base, counter+1, head, gone, now)
		if err != nil || h == nil {
			return false, err
		}
		raw := h.Encode()
		name := keyslot.ObjectName(h.Counter)
		err = b.PutIfAbsent(ctx, name, raw)
		if err == nil {
			return true, u.take(h)
		}
		if !errors.Is(err, store.ErrExist) {
			return false, fmt.Errorf("write the drive header: %w", err)
		}
		there, err := b.Get(ctx, name, 0, keyslot.MaxSize+1)
		if err != nil {
			return false, fmt.Errorf("read the drive header: %w", err)
		}
		if bytes.Equal(there, raw) {
			return true, u.take(h)
		}
		counter++
		other, err := u.believe(name, there)
		switch {
		case err != nil:
			return false, err
		case other != nil:
			base = other
		default:
			log.Warn("header passed over", "object", name, "err", errUnopened)
		}
	}
	return false, fmt.Errorf("write the drive header: the next %d numbers are taken: %w", raiseTries, store.ErrExist)
}

// newest returns the newest header in the store that opens with the root key, or this
// machine's own where it is newer.
func (u *Unlocked) newest(ctx context.Context, b store.Bucket, log *slog.Logger) (*keyslot.Header, error) {
	page, err := b.List(ctx, keyslot.Prefix, "", headersMax)
	if err != nil {
		return nil, fmt.Errorf("look for drive headers: %w", err)
	}
	best := u.header
	for _, i := range page {
		counter, err := keyslot.ParseObjectName(i.Name)
		if err != nil || counter <= best.Counter {
			continue
		}
		raw, err := b.Get(ctx, i.Name, 0, keyslot.MaxSize+1)
		if err != nil {
			return nil, fmt.Errorf("read the drive header: %w", err)
		}
		h, err := u.believe(i.Name, raw)
		if err != nil {
			return nil, err
		}
		if h == nil {
			log.Warn("header passed over", "object", i.Name, "err", errUnopened)
			continue
		}
		best = h
	}
	return best, nil
}

// believe returns the header in an object when it is one of this drive under this root
// key, nil when it is a stranger's, and ErrRotated when it may be one under another root.
func (u *Unlocked) believe(name string, raw []byte) (*keyslot.Header, error) {
	h, err := keyslot.DecodeObject(name, raw)
	if errors.Is(err, keyslot.ErrNewer) {
		return nil, ErrNewer
	}
	if err != nil || ID(h.Drive) != u.ID {
		return nil, nil
	}
	k, err := h.OpenKeyring(u.root)
	if err == nil {
		defer k.Wipe()
		var again *keyslot.Header
		if again, err = keyslot.New(u.root, h.Drive, h.Counter, h.Slots, h.Keyring); err == nil && again.MAC == h.MAC {
			return h, nil
		}
	}
	// A stranger can have put it there, too: then the minimum is not raised, and that is all.
	return nil, fmt.Errorf("%w: %s", ErrRotated, name)
}

// raised returns the header after base with the head in it, nil when nothing is to be
// done.
func (u *Unlocked) raised(base *keyslot.Header, counter uint64, head chain.Head, gone chain.Link, now time.Time) (*keyslot.Header, error) {
	k, err := base.OpenKeyring(u.root)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	at := -1
	for i, v := range k.Volumes {
		if v.Kind == keyslot.KindMain {
			at = i
		}
	}
	if at < 0 {
		return nil, nil
	}
	v := &k.Volumes[at]
	given := gone.Slot > 0 && v.MinSlot == uint64(gone.Slot) && v.MinCommit == gone.ID
	if !given && (uint64(head.Slot) <= v.MinSlot || !due(k, now)) {
		return nil, nil
	}
	v.MinSlot, v.MinCommit, v.MinLedger = uint64(head.Slot), head.ID, head.Ledger
	value := keyslot.NewValue(binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano())))
	set := false
	for i := range k.Settings {
		if k.Settings[i].Key == settingRaised {
			k.Settings[i].Value, set = value, true
		}
	}
	if !set {
		k.Settings = append(k.Settings, keyslot.KV{Key: settingRaised, Value: value})
	}
	sealed, err := keyslot.SealKeyring(u.root, base.Drive, counter, k)
	if err != nil {
		return nil, err
	}
	return keyslot.New(u.root, base.Drive, counter, base.Slots, sealed)
}

// due says whether the heads were not raised within a day of now, before or after.
func due(k *keyslot.Keyring, now time.Time) bool {
	for _, s := range k.Settings {
		if b := s.Value.Bytes(); s.Key == settingRaised && len(b) == 8 {
			last := time.Unix(0, int64(binary.BigEndian.Uint64(b)))
			return now.Sub(last).Abs() >= raiseEvery
		}
	}
	return true
}

// take makes h the header that this machine goes on from.
func (u *Unlocked) take(h *keyslot.Header) error {
	k, err := h.OpenKeyring(u.root)
	if err != nil {
		return err
	}
	// The identity is in use; the old keyring and the new one have the same.
	k.Identity.Wipe()
	k.Identity = u.keyring.Identity
	u.header, u.keyring = h, k
	return nil
}

// PutBack puts this machine's header into the store again, where the store shows an older
// one or none, and says whether it was missing. Where something else has its name it takes
// the number after it: a stranger could keep it away for good. A header that another machine
// made under this root key is as new, and nothing is missing then. What carries the drive's
// id and does not verify is a stranger's too: who puts the header back has just followed the
// history with this root, and who changed the root would have said so there. junk names what
// was passed over. Errors are the store's and ErrNewer; ErrExist when the next raiseTries
// numbers are taken.
func (u *Unlocked) PutBack(ctx context.Context, b store.Bucket) (done bool, junk []string, err error) {
	h := u.header
	for range raiseTries {
		name, raw := keyslot.ObjectName(h.Counter), h.Encode()
		there, err := b.Get(ctx, name, 0, keyslot.MaxSize+1)
		if errors.Is(err, store.ErrNotExist) {
			err = b.PutIfAbsent(ctx, name, raw)
			switch {
			case err == nil && h == u.header:
				return true, junk, nil
			case err == nil:
				return true, junk, u.take(h)
			case errors.Is(err, store.ErrExist): // just now
				there, err = b.Get(ctx, name, 0, keyslot.MaxSize+1)
			}
		}
		if err != nil {
			return false, junk, fmt.Errorf("put the drive header back: %w", err)
		}
		other, err := u.believe(name, there)
		if other != nil || err != nil && !errors.Is(err, ErrRotated) {
			return false, junk, err
		}
		junk = append(junk, name)
		if h, err = u.numbered(h.Counter + 1); err != nil {
			return false, junk, err
		}
	}
	return false, junk, fmt.Errorf("put the drive header back: the next %d numbers are taken: %w", raiseTries, store.ErrExist)
}

// numbered is this machine's header under another number.
func (u *Unlocked) numbered(counter uint64) (*keyslot.Header, error) {
	k, err := u.header.OpenKeyring(u.root)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	sealed, err := keyslot.SealKeyring(u.root, u.header.Drive, counter, k)
	if err != nil {
		return nil, err
	}
	return keyslot.New(u.root, u.header.Drive, counter, u.header.Slots, sealed)
}
