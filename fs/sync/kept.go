package sync

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hushfs/hushfs/fs/chain"
)

// keptMax is how many bytes of commits are kept. Above a checkpoint lie some 4 MiB; who
// could not fold for long, or nobody did, may have more.
const keptMax = 64 << 20

// LocalSlots keeps the objects of the commits between a checkpoint and the slot that
// this machine shows. Operations that wait in the journal were made on that state, and
// when the machine comes back, after weeks perhaps, the store may have those commits no
// more: others trim what lies under their checkpoints.
//
// The objects are as they lie in the store: sealed, signed, and checked again by whoever
// takes them from here. They are a convenience: one that is not there costs no byte that
// was promised (see ErrTrimmed), so nothing is synced and no error is returned. It is
// safe for concurrent use. Nil keeps nothing.
type LocalSlots struct {
	dir string
	log *slog.Logger

	mu    sync.Mutex           // guards the fields below; held over writing a file
	sizes map[chain.Slot]int64 // of what is there; nil before the folder was read
	bytes int64
}

// OpenLocalSlots returns what is kept in dir, which is made when there is something to
// keep.
func OpenLocalSlots(dir string, log *slog.Logger) *LocalSlots {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &LocalSlots{dir: dir, log: log}
}

// Get returns the object that was kept of a slot, or an fs.ErrNotExist. Whether it is
// whole is for the caller to find.
func (k *LocalSlots) Get(slot chain.Slot) ([]byte, error) {
	if k == nil {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(k.path(slot))
	if err != nil {
		return nil, fmt.Errorf("kept slot %d: %w", slot, pathless(err))
	}
	defer f.Close()
	object, err := io.ReadAll(io.LimitReader(f, chain.MaxCommit+1))
	if err != nil {
		return nil, fmt.Errorf("kept slot %d: %w", slot, pathless(err))
	}
	return object, nil
}

// Put keeps the object of a slot that chain and view moved over. Slots come in their
// order; where one cannot be kept, those before it are of no use and go.
func (k *LocalSlots) Put(slot chain.Slot, object []byte) {
	if k == nil || len(object) > chain.MaxCommit {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read()
	if _, ok := k.sizes[slot]; ok {
		return
	}
	err := errTooMuch
	if k.bytes+int64(len(object)) <= keptMax {
		err = k.write(slot, object)
	}
	if err != nil {
		k.log.Warn("commit not kept; what waits may have to be recovered after weeks off line", "slot", uint64(slot), "err", err)
		k.drop(slot + 1)
		return
	}
	k.sizes[slot] = int64(len(object))
	k.bytes += int64(len(object))
}

// errTooMuch: what is kept has reached its limit.
var errTooMuch = errors.New("too much lies above the newest checkpoint")

// Drop forgets the slots below one: a checkpoint holds what they wrote.
func (k *LocalSlots) Drop(below chain.Slot) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read()
	k.drop(below)
}

// Size is how many bytes are kept.
func (k *LocalSlots) Size() int64 {
	if k == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read()
	return k.bytes
}

// drop removes what lies below a slot; mu is held. A file that cannot be removed stays:
// what it holds is checked before it is believed.
func (k *LocalSlots) drop(below chain.Slot) {
	for slot, size := range k.sizes {
		if slot < below {
			_ = os.Remove(k.path(slot))
			delete(k.sizes, slot)
			k.bytes -= size
		}
	}
}

// read looks what an earlier process left; mu is held.
func (k *LocalSlots) read() {
	if k.sizes != nil {
		return
	}
	k.sizes = map[chain.Slot]int64{}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return // there is nothing, or nothing that could be had
	}
	for _, e := range entries {
		slot, ok := parseKept(e.Name())
		info, err := e.Info()
		if !ok || err != nil {
			_ = os.Remove(filepath.Join(k.dir, e.Name())) // half of a write
			continue
		}
		k.sizes[slot] = info.Size()
		k.bytes += info.Size()
	}
}

// write makes a file of an object, or none.
func (k *LocalSlots) write(slot chain.Slot, object []byte) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return pathless(err)
	}
	half := k.path(slot) + ".new"
	err := os.WriteFile(half, object, 0o600)
	if err == nil {
		err = os.Rename(half, k.path(slot))
	}
	if err != nil {
		_ = os.Remove(half)
		return pathless(err)
	}
	return nil
}

func (k *LocalSlots) path(slot chain.Slot) string {
	return filepath.Join(k.dir, fmt.Sprintf("%016x", uint64(slot)))
}

func parseKept(name string) (chain.Slot, bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != 8 || strings.ToLower(name) != name {
		return 0, false
	}
	var slot chain.Slot
	for _, c := range b {
		slot = slot<<8 | chain.Slot(c)
	}
	return slot, true
}

// pathless takes the path off an error of the local disk.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
