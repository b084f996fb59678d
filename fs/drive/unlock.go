package drive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/store"
)

// headersMax is how many headers are looked at, newest first. Whoever can write
// to the bucket can put junk in front of the good one.
const headersMax = 16

// UnlockOptions say with what to unlock: Passphrase, or Recovery.
type UnlockOptions struct {
	Passphrase []byte
	Recovery   *crypt.Key               // entropy of the recovery words
	Expect     *ID                      // refuse any other drive; nil takes what is there
	StateDir   func(ID) (string, error) // where this machine may have a copy of the header; nil is nowhere
	Log        *slog.Logger             // nil discards
}

// Unlock opens the drive in b. It fails with ErrNoDrive, ErrNewer, ErrOther,
// with keyslot's ErrPassphrase, ErrWords and ErrKDF, or with the store's errors.
func Unlock(ctx context.Context, b store.Bucket, o UnlockOptions) (*Unlocked, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	found, err := headers(ctx, b, o.Log)
	if err != nil {
		return nil, err
	}
	if o.Expect != nil {
		var ours []*keyslot.Header
		for _, h := range found {
			if h.Drive == *o.Expect {
				ours = append(ours, h)
			}
		}
		if len(ours) == 0 {
			return nil, ErrOther
		}
		found = ours
	}
	u, err := o.try(found)
	if err == nil {
		return u, nil
	}
	if kept := o.kept(found); len(kept) > 0 {
		if u, kerr := o.try(kept); kerr == nil {
			o.Log.Warn("no header in the store opens; unlocked with this machine's copy", "err", err)
			return u, nil
		}
	}
	return nil, err
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

// kept reads this machine's copies of the headers of the drives found.
func (o *UnlockOptions) kept(found []*keyslot.Header) []*keyslot.Header {
	if o.StateDir == nil {
		return nil
	}
	var kept []*keyslot.Header
	seen := map[ID]bool{}
	for _, h := range found {
		id := ID(h.Drive)
		if seen[id] {
			continue
		}
		seen[id] = true
		dir, err := o.StateDir(id)
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, headerFile))
		if err != nil {
			continue
		}
		if h, err := keyslot.Decode(raw); err == nil && h.Drive == id {
			kept = append(kept, h)
		}
	}
	return kept
}

// Peek returns the ids of the drives in b, newest header first, without any
// secret; nothing vouches for them.
func Peek(ctx context.Context, b store.Bucket) ([]ID, error) {
	found, err := headers(ctx, b, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	var ids []ID
	seen := map[ID]bool{}
	for _, h := range found {
		if id := ID(h.Drive); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// headers returns the headers that decode, newest first.
func headers(ctx context.Context, b store.Bucket, log *slog.Logger) ([]*keyslot.Header, error) {
	page, err := b.List(ctx, keyslot.Prefix, "", headersMax)
	if err != nil {
		return nil, fmt.Errorf("look for a drive: %w", err)
	}
	if len(page) == 0 {
		return nil, nothing(ctx, b)
	}
	var found []*keyslot.Header
	newer := false
	for _, i := range page {
		raw, err := b.Get(ctx, i.Name, 0, keyslot.MaxSize+1)
		if err != nil {
			return nil, fmt.Errorf("read the drive header: %w", err)
		}
		h, err := keyslot.DecodeObject(i.Name, raw)
		if err != nil {
			newer = newer || errors.Is(err, keyslot.ErrNewer)
			log.Warn("header passed over", "object", i.Name, "err", err)
			continue
		}
		found = append(found, h)
	}
	switch {
	case len(found) > 0:
		return found, nil
	case newer:
		return nil, ErrNewer
	}
	return nil, fmt.Errorf("%w: %d headers, none of them readable", keyslot.ErrHeader, len(page))
}

// nothing says what a store without a header holds instead.
func nothing(ctx context.Context, b store.Bucket) error {
	page, err := b.List(ctx, "v", "", 1)
	if err != nil {
		return fmt.Errorf("look for a drive: %w", err)
	}
	if len(page) == 1 {
		version, _, _ := strings.Cut(page[0].Name, "/")
		if n, err := strconv.Atoi(version[1:]); err == nil && n > 0 {
			return fmt.Errorf("%w: %s", ErrNewer, version)
		}
	}
	return ErrNoDrive
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
