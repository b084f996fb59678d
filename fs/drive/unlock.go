package drive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/store"
)

// UnlockOptions say with what to unlock: Passphrase, or Recovery.
type UnlockOptions struct {
	Passphrase []byte
	Recovery   *crypt.Key    // entropy of the recovery words
	Expect     *ID           // refuse any other drive; nil takes what is there
	Confirm    func(ID) bool // asks a person whether words alone opened the right drive; nil is no
	StateRoot  string        // holds a state folder a drive, with this machine's copy of the header; empty is none
	Older      bool          // where the store shows an older header than this machine saw, go on with this machine's copy instead of ErrOlder
	Log        *slog.Logger  // nil discards
}

// Unlock opens the drive in b. It fails with ErrNoDrive, ErrNewer, ErrOther,
// with keyslot's ErrPassphrase, ErrWords, ErrKDF and ErrHeader, or with the
// store's errors. Where none of the headers in b opens, this machine's own copies
// are tried; the store's answer is the error when these do not open either.
//
// A passphrase slot authenticates its drive: only who knows the passphrase can
// have made it. Recovery words do not; whoever has learnt their public half can
// make a drive that they open. So with Recovery, Expect comes from the paper, or
// a person has to confirm the id.
func Unlock(ctx context.Context, b store.Bucket, o UnlockOptions) (*Unlocked, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// The newest header opens, but for those that strangers put before it.
	var newest *Unlocked
	var nerr error
	over := &passed{log: o.Log}
	found, err := headers(ctx, b, over, func(h *keyslot.Header) bool {
		if o.Expect != nil && ID(h.Drive) != *o.Expect {
			return false
		}
		newest, nerr = o.try([]*keyslot.Header{h})
		return nerr == nil
	})
	if newest != nil {
		return o.notOlder(ctx, b, newest, over)
	}
	if err != nil && !lockedOut(err) {
		return nil, err
	}
	all := slices.Clone(found)
	if o.Expect != nil && len(found) > 0 {
		found = slices.DeleteFunc(found, func(h *keyslot.Header) bool { return ID(h.Drive) != *o.Expect })
		if len(found) == 0 {
			err = ErrOther
		}
	}
	if others := found; err == nil {
		if nerr != nil {
			err, others = nerr, found[1:]
		}
		if len(others) > 0 {
			var u *Unlocked
			if u, err = o.try(others); err == nil {
				over.unopened(all, u.header.Counter)
				return o.notOlder(ctx, b, u, over)
			}
		}
	}
	kept, kerr := o.kept(ctx, b, found)
	if kerr != nil {
		return nil, kerr
	}
	if len(kept) > 0 {
		if u, kerr := o.try(kept); kerr == nil {
			over.unopened(all, 0)
			o.Log.Warn("no header in the store opens; unlocked with this machine's copy", "err", err)
			u.Headers = fmt.Sprintf("no drive header in the store opens (%v), and the drive was unlocked with this machine's copy. Somebody changed those in the store, or put others before them. What to do: hushfs fsck --repair STORE", err)
			return u, nil
		}
	}
	return nil, err
}

// notOlder refuses a header that is older than one which this machine saw of the
// drive: an old header still has the ways in that were taken away since. One that is in
// the store all the same, behind objects that strangers put before it, is taken.
func (o *UnlockOptions) notOlder(ctx context.Context, b store.Bucket, u *Unlocked, over *passed) (*Unlocked, error) {
	for _, c := range copies(o.StateRoot) {
		if ID(c.Drive) != u.ID || c.Counter <= u.header.Counter {
			continue
		}
		was, name := u.header.Counter, keyslot.ObjectName(c.Counter)
		var instead string
		u.Wipe()
		there, err := b.Get(ctx, name, 0, keyslot.MaxSize+1)
		switch {
		case err == nil && bytes.Equal(there, c.Encode()):
			o.Log.Warn("the newest drive header is hidden behind objects that are none", "object", name)
			instead = fmt.Sprintf("the newest drive header, %s, is hidden behind objects that are none", name)
		case err != nil && !errors.Is(err, store.ErrNotExist):
			return nil, fmt.Errorf("read the drive header: %w", err)
		case !o.Older:
			return nil, fmt.Errorf("%w: number %d, not %d", ErrOlder, was, c.Counter)
		default:
			o.Log.Warn("the store shows an older drive header than this machine saw; its own copy is used", "number", was, "own", c.Counter)
			instead = fmt.Sprintf("the store shows an older drive header (number %d) than this machine saw (number %d), and its own copy is used", was, c.Counter)
		}
		own, err := o.try([]*keyslot.Header{c.Header})
		if err == nil {
			own.Headers = instead
		}
		return own, err
	}
	u.Headers = over.String()
	return u, nil
}

// errUnopened is why a header is passed over that may well be one, of another drive too.
var errUnopened = errors.New("it does not open")

// unopened notes the headers that decode, and were tried or passed over before one of that
// number opened; 0: none did.
func (p *passed) unopened(found []*keyslot.Header, opened uint64) {
	for _, h := range found {
		if h.Counter > opened {
			p.over(keyslot.ObjectName(h.Counter), errUnopened)
		}
	}
}

// String is for people; empty: none was passed over.
func (p *passed) String() string {
	if p.n == 0 {
		return ""
	}
	return fmt.Sprintf("%d objects in the store that are named like drive headers were passed over (the first: %v). Somebody put them there, or changed what was there; hushfs fsck STORE tells more", p.n, p.first)
}

// lockedOut says of an error of headers that somebody may have brought it about
// by what he put into the store, or took from it.
func lockedOut(err error) bool {
	return errors.Is(err, keyslot.ErrHeader) || errors.Is(err, ErrNewer) || errors.Is(err, ErrBare)
}

// try opens the first header that the secret opens.
func (o *UnlockOptions) try(headers []*keyslot.Header) (*Unlocked, error) {
	if o.Recovery == nil {
		root, h, err := keyslot.Unlock(headers, o.Passphrase, availableMemory())
		if err != nil {
			return nil, err
		}
		return open(h, root)
	}
	w, err := identity.NewWordsKey(o.Recovery)
	if err != nil {
		return nil, err
	}
	defer w.Wipe()
	err = keyslot.ErrWords
	for _, h := range headers {
		root, herr := h.UnlockWords(w)
		if herr == nil {
			u, oerr := open(h, root)
			if oerr == nil {
				if o.Expect == nil && (o.Confirm == nil || !o.Confirm(u.ID)) {
					u.Wipe()
					return nil, fmt.Errorf("%w: they open %s", ErrUnconfirmed, u.ID)
				}
				return u, nil
			}
			herr = oerr
		}
		if !errors.Is(herr, keyslot.ErrWords) {
			err = herr
		}
	}
	return nil, err
}

// availableMemory is how much memory Argon2id may count with, in bytes; no limit
// where the system does not tell.
func availableMemory() uint64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return math.MaxUint64
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 54); err == nil {
				return n << 10
			}
		}
	}
	return math.MaxUint64
}
