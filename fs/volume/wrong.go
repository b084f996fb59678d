package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// wrongName is the file in the state folder that says that a checkpoint was found wrong:
// its slot, that of the commit that announces it, the device, and the chain's head when
// it was found, u64 each, big endian. The next mount passes it over, and what rests on
// it, until somebody has folded what the commits say.
const wrongName = "wrong-fold-"

// wrongFold notes that a checkpoint was found wrong: the status says so, with the device
// that made it.
func (v *Volume) wrongFold(w publish.WrongFold) {
	v.warnWrong(w)
	var b []byte
	for _, n := range []uint64{uint64(w.Slot), uint64(w.Announced), uint64(w.Device), uint64(w.Upto)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if err := v.keep(fmt.Sprintf("%s%016x", wrongName, uint64(w.Slot)), b); err != nil && !errors.Is(err, fs.ErrExist) {
		v.log.Warn("the next mount will not know of the wrong checkpoint", "err", pathless(err))
	}
}

func (v *Volume) warnWrong(w publish.WrongFold) {
	v.notes.warn("history", fmt.Errorf("%v. That device is broken, or its user means harm. Nothing was deleted; what is shown comes from the commits themselves", w))
}

// wrongFolds are the checkpoints that this machine found wrong.
func (v *Volume) wrongFolds() *publish.WrongFolds {
	var found []publish.WrongFold
	entries, err := os.ReadDir(v.o.State)
	if err != nil {
		return publish.NewWrongFolds()
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), wrongName) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(v.o.State, e.Name()))
		if err != nil || len(b) != 32 {
			v.log.Warn("what is noted of a wrong checkpoint cannot be read", "file", e.Name())
			continue
		}
		at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
		w := publish.WrongFold{Slot: chain.Slot(at(0)), Announced: chain.Slot(at(1)), Device: meta.Device(at(2)), Upto: chain.Slot(at(3))}
		found = append(found, w)
		v.warnWrong(w)
	}
	return publish.NewWrongFolds(found...)
}

// holed notes a slot that is gone below others; nil: nobody needs it any more.
func (v *Volume) holed(slot chain.Slot, err error) {
	if err == nil {
		v.notes.mend("commits")
		return
	}
	if v.notes.warn("commits", err) {
		v.log.Warn("a slot is gone from the store", "slot", uint64(slot), "err", err)
	}
}

// misled notes that hints were passed over; nil: none is that anybody would begin at.
func (v *Volume) misled(err error) {
	if err == nil {
		v.notes.mend("hints")
	} else {
		v.notes.warn("hints", err)
	}
}

// untrimmed notes why old commits stay in the store.
func (v *Volume) untrimmed(err error) {
	if err == nil {
		v.notes.mend("old commits")
		return
	}
	if v.notes.warn("old commits", err) {
		v.log.Warn("old commits are not trimmed", "err", err)
	}
}
