package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
)

// epochKeys keeps, in the folder of a journal, the keys of the epochs that its packs are
// sealed under. All of them are in the chain, as long as the store has it: one that was
// set back to before a device was removed has not the key of the epoch that began then,
// and what was written since would be lost with it, though it was never sent.
//
// A key is kept before the journal names the first pack of its epoch. It adds nothing to
// what lies here: it is sealed under the local secret, and that under the root key, which
// opens all epochs of the volume.
type epochKeys struct {
	dir  string
	seal *crypt.Local

	mu   sync.Mutex // guards kept; held over writing the file
	kept []epochKey // the newest last
}

// epochKey is one of them. Two histories may each have an epoch of one number.
type epochKey struct {
	epoch crypt.Epoch
	key   *crypt.Key
}

// The file of a journal's folder. Layout: docs/format.md, "State folder".
const (
	keysFile  = "keys"
	keysMagic = "HUSHKEY0"
	keySize   = 4 + crypt.KeySize
	keysMost  = 1024
)

// openEpochKeys reads what is kept in the folder of the journal called id. What cannot be
// read is none: the chain most likely has it.
func openEpochKeys(dir string, secret *crypt.Key, id [16]byte) (*epochKeys, error) {
	k := &epochKeys{dir: dir, seal: crypt.NewLocal(secret, "hushfs/epoch-keys", id[:])}
	f, err := os.Open(filepath.Join(dir, keysFile))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, pathless(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(len(keysMagic)+crypt.LocalOverhead+keysMost*keySize+1)))
	if err != nil {
		return k, pathless(err)
	}
	rest, ok := bytes.CutPrefix(b, []byte(keysMagic))
	if !ok {
		return k, errKeys
	}
	plain, err := k.seal.Open(nil, rest, []byte(keysMagic))
	if err != nil {
		return k, errKeys
	}
	defer clear(plain)
	k.kept, err = decodeEpochKeys(plain)
	return k, err
}

// errKeys: the file is none of ours, or was changed.
var errKeys = errors.New("the keys kept beside the journal do not open")

func decodeEpochKeys(b []byte) ([]epochKey, error) {
	if len(b)%keySize != 0 || len(b) > keysMost*keySize {
		return nil, errKeys
	}
	var all []epochKey
	for ; len(b) > 0; b = b[keySize:] {
		key, err := crypt.KeyFromBytes(b[4:keySize])
		if err != nil {
			return nil, errKeys
		}
		all = append(all, epochKey{crypt.Epoch(binary.BigEndian.Uint32(b)), key})
	}
	return all, nil
}

// encodeEpochKeys is its inverse; the caller clears what it returns.
func encodeEpochKeys(all []epochKey) []byte {
	b := make([]byte, 0, len(all)*keySize)
	for _, e := range all {
		secret := e.key.Bytes()
		b = append(binary.BigEndian.AppendUint32(b, uint32(e.epoch)), secret...)
		clear(secret)
	}
	return b
}

// of returns the keys that are kept of an epoch.
func (k *epochKeys) of(epoch crypt.Epoch) (keys []*crypt.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.kept {
		if e.epoch == epoch {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// need forgets what no pack of packs is sealed under, with the next key that is kept.
func (k *epochKeys) need(packs []pack.Info) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = slices.DeleteFunc(k.kept, func(e epochKey) bool {
		return !slices.ContainsFunc(packs, func(p pack.Info) bool { return p.Epoch == e.epoch })
	})
}

// keep returns when the key is there to stay.
func (k *epochKeys) keep(epoch crypt.Epoch, key *crypt.Key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.ContainsFunc(k.kept, func(e epochKey) bool { return e.epoch == epoch && e.key.Equal(key) }) {
		return nil
	}
	next := append(slices.Clone(k.kept), epochKey{epoch, key})
	next = next[max(0, len(next)-keysMost):]
	plain := encodeEpochKeys(next)
	defer clear(plain)
	if err := state.Replace(k.dir, keysFile, k.seal.Seal([]byte(keysMagic), plain, []byte(keysMagic))); err != nil {
		return fmt.Errorf("keep the key of an epoch: %w", pathless(err))
	}
	k.kept = next
	return nil
}

// keepEpoch keeps the key of an epoch that packs of the journal are sealed under.
func (v *Volume) keepEpoch(epoch crypt.Epoch) error {
	key, ok := v.keys.Key(epoch)
	if !ok {
		return nil // what is read or sent of it says so
	}
	return v.epochs.keep(epoch, key)
}

// lostKeys returns the keys of an epoch that are in the chain no more, for packs of a
// journal that is shown on another history than that it was made on.
func (v *Volume) lostKeys(epoch crypt.Epoch) []*crypt.Key {
	if v.behind == nil {
		return nil
	}
	return v.epochs.of(epoch)
}

// lostKey returns the key that a pack of the old journal is sealed under, where the chain
// does not have it: nil where it has, or nobody knows.
func (a *adoption) lostKey(p pack.Info) *crypt.Key {
	kept := a.from.keys.of(p.Epoch)
	has, ok := a.v.keys.Key(p.Epoch)
	if len(kept) == 0 || ok && slices.ContainsFunc(kept, has.Equal) {
		return nil
	}
	return kept[len(kept)-1]
}
