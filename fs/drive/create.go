package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
)

// CreateOptions of a new drive. Passphrase, DeviceName and StateDir must be set.
type CreateOptions struct {
	Passphrase []byte
	KDF        keyslot.Params // zero is keyslot.DefaultParams
	Name       string         // what its owner calls it; may be empty
	DeviceName string         // what this machine is called
	UID, GID   uint32         // owner of the root directory

	// Program is what this machine works with, once that is known; nil: it is not noted.
	Program func() (p meta.Program, known bool)

	// SingleWriter lets this machine alone write to the drive. That is for the
	// caller to enforce: see Unlocked.Writer.
	SingleWriter bool

	StateDir func(ID) (string, error)
	Log      *slog.Logger // nil discards
}

// Created is a drive that was just made. Words are its recovery words: they are
// kept nowhere.
type Created struct {
	ID    ID
	Words []string
}

// Create makes a drive in b, which must be empty, and this machine its first
// device. The header comes last: before it there is no drive, after it a whole
// one. It fails with ErrNotEmpty where anything is there, with keyslot's ErrKDF,
// ErrPassphrase (it is empty) and ErrHeader (the name), before anything is
// written, and with the store's errors.
func Create(ctx context.Context, b store.Bucket, o CreateOptions) (*Created, error) {
	if o.KDF == (keyslot.Params{}) {
		o.KDF = keyslot.DefaultParams
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	page, err := b.List(ctx, "", "", 1)
	if err != nil {
		return nil, fmt.Errorf("look whether the place is empty: %w", err)
	}
	if len(page) > 0 {
		return nil, ErrNotEmpty
	}
	now := time.Now()
	owner, device, key, root := identity.New(), identity.NewDevice(), crypt.NewKey(), crypt.NewKey()
	defer owner.Wipe()
	defer device.Wipe()
	defer key.Wipe()
	defer root.Wipe()
	ledger, err := chain.NewLedger(owner, key, device.Public(), o.DeviceName)
	if err != nil {
		return nil, err
	}
	vol := ledger.Volume()
	id := ID(keyslot.DriveID(owner.Public(), vol))
	header, words, err := o.header(id, vol, owner, root, now)
	if err != nil {
		return nil, err
	}
	st, err := chain.NewState(vol, key, ledger)
	if err != nil {
		return nil, err
	}
	if _, err := publish.WriteHint(ctx, b, st, device, 1, nil); err != nil {
		return nil, err
	}
	if err := firstCommit(ctx, b, st, device, o, now); err != nil {
		return nil, err
	}
	dir, err := o.StateDir(id)
	if err != nil {
		return nil, err
	}
	local, err := state.Create(dir, root, id, device, 1, o.DeviceName, st.Remember(), 1)
	if err != nil {
		return nil, fmt.Errorf("write the state folder: %w", err)
	}
	defer local.Wipe()
	if err := putHeader(ctx, b, header); err != nil {
		return nil, fmt.Errorf("write the drive header: %w", err)
	}
	if err := state.KeepHeader(dir, vol, header.Encode()); err != nil {
		o.Log.Warn("header not kept", "err", err)
	}
	return &Created{ID: id, Words: words}, nil
}

// putHeader makes the drive one. Where the answer is lost the drive may be there
// all the same, and its words must not be: so the store is asked what it has.
func putHeader(ctx context.Context, b store.Bucket, h *keyslot.Header) error {
	name, raw := keyslot.ObjectName(h.Counter), h.Encode()
	err := b.PutIfAbsent(ctx, name, raw)
	if err == nil {
		return nil
	}
	got, gerr := b.Get(ctx, name, 0, keyslot.MaxSize+1)
	switch {
	case gerr == nil && bytes.Equal(got, raw):
		return nil
	case gerr == nil:
		return fmt.Errorf("%w: another drive was made there at the same time", ErrNotEmpty)
	case errors.Is(gerr, store.ErrNotExist):
		return err
	}
	return fmt.Errorf("%w; it may have arrived all the same: %w", err, gerr)
}

// header makes the drive header with a passphrase slot and a words slot.
func (o *CreateOptions) header(id ID, vol crypt.VolumeID, owner *identity.Identity, root *crypt.Key, now time.Time) (*keyslot.Header, []string, error) {
	words, entropy, err := keyslot.GenerateWords()
	if err != nil {
		return nil, nil, err
	}
	defer entropy.Wipe()
	w, err := identity.NewWordsKey(entropy)
	if err != nil {
		return nil, nil, err
	}
	defer w.Wipe()
	pub := w.Public()
	if err := o.KDF.Check(availableMemory()); err != nil {
		return nil, nil, err
	}
	pass, err := keyslot.NewPassphrase(root, id, o.Passphrase, o.KDF, "passphrase", now)
	if err != nil {
		return nil, nil, err
	}
	recovery, err := keyslot.NewWords(root, id, pub, "recovery words", now)
	if err != nil {
		return nil, nil, err
	}
	const counter = 1
	keyring, err := keyslot.SealKeyring(root, id, counter, &keyslot.Keyring{
		Identity:  owner,
		Volumes:   []keyslot.VolumeEntry{{ID: vol, Kind: keyslot.KindMain}},
		Words:     &pub,
		DriveName: o.Name,
		Settings:  o.settings(),
	})
	if err != nil {
		return nil, nil, err
	}
	h, err := keyslot.New(root, id, counter, []keyslot.Slot{pass, recovery}, keyring)
	return h, words, err
}

// firstCommit takes slot 1 with the root directory.
func firstCommit(ctx context.Context, b store.Bucket, st *chain.State, device *identity.Device, o CreateOptions, now time.Time) error {
	t := meta.Time{Sec: now.Unix(), Nsec: uint32(now.Nanosecond())}
	batch := meta.InitBatch(t, o.UID, o.GID)
	if o.Program != nil {
		if p, known := o.Program(); known && p.Valid() {
			batch.Puts = append(batch.Puts, meta.KV{Key: meta.ProgramKey(1), Value: meta.AppendProgram(nil, p)})
		}
	}
	c, err := st.Build(1, device, 1, now, chain.Content{
		First: 1, Last: 1, Batch: batch, Usage: meta.Delta{Inodes: 1},
	})
	if err != nil {
		return err
	}
	if err := b.PutIfAbsent(ctx, chain.SlotName(st.Volume, 1), c.Object); err != nil {
		return fmt.Errorf("write the first commit: %w", err)
	}
	j := st.Judge(1, c.Object, nil)
	if j.Verdict != chain.Valid {
		return fmt.Errorf("first commit: %s", j.Reason)
	}
	return st.Advance(j.Commit)
}
