package sync

import (
	"fmt"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// WrongFold is a checkpoint whose tables do not hold what the commits under it wrote. A
// machine that folds from what it saw makes no such thing.
type WrongFold struct {
	Slot      chain.Slot // of the checkpoint
	Announced chain.Slot // of the commit that announces it
	Device    meta.Device
	Name      string // of the device
	Time      time.Time
	Upto      chain.Slot // the chain's head when it was found; what was folded up to there may rest on it
}

// String is for people.
func (w WrongFold) String() string {
	return fmt.Sprintf("the tables of slot %d, which device %d (%s) announced in slot %d, do not hold what was written", w.Slot, w.Device, w.Name, w.Announced)
}

// WrongFolds are the checkpoints that are passed over because they were found wrong, and
// those that rest on them. It is safe for concurrent use; nil has none.
type WrongFolds struct {
	mu    sync.Mutex // guards the fields below
	found []WrongFold
	rests map[chain.Slot]bool // checkpoints that have a wrong one below them
}

// NewWrongFolds begins with those that were found before.
func NewWrongFolds(found ...WrongFold) *WrongFolds {
	return &WrongFolds{found: found, rests: map[chain.Slot]bool{}}
}

// add takes over another one.
func (w *WrongFolds) add(f WrongFold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, f)
}

// has says whether the checkpoint must not be believed. Asked in the order of the chain,
// it knows of those that were made later on top of a wrong one.
func (w *WrongFolds) has(k *chain.Checkpoint) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.covered(k.Slot) && !w.covered(k.Base.Slot) && !w.rests[k.Base.Slot] {
		return false
	}
	w.rests[k.Slot] = true
	return true
}

// covered says whether a checkpoint of that slot is a wrong one, or rests on one for all
// that was known when that was found; mu is held.
func (w *WrongFolds) covered(slot chain.Slot) bool {
	for _, f := range w.found {
		if f.Slot <= slot && slot <= f.Upto {
			return true
		}
	}
	return false
}

// lowest is the lowest checkpoint that was found wrong; slot 0: none.
func (w *WrongFolds) lowest() (slot chain.Slot) {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.found {
		if slot == 0 || f.Slot < slot {
			slot = f.Slot
		}
	}
	return slot
}

// is says whether a checkpoint of that slot was found wrong, or may rest on one.
func (w *WrongFolds) is(slot chain.Slot) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.covered(slot)
}
