package volume

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
)

// Device is a machine that is, or was, a device of the volume.
type Device struct {
	No   int    `json:"number"`
	Name string `json:"name"`
	This bool   `json:"this"` // it is the machine that says so

	Enrolled   uint64    `json:"enrolled_slot"` // 0: by init
	EnrolledAt time.Time `json:"enrolled_at"`   // zero when that commit is not in the store any more
	Removed    uint64    `json:"removed_slot"`  // 0: it was not
	RemovedAt  time.Time `json:"removed_at"`    // zero as above, and when it was not

	Seen   uint64    `json:"seen_slot"` // of its newest commit; 0: it made none
	SeenAt time.Time `json:"seen_at"`   // by its own clock

	Program string `json:"program"` // version and platform; empty when it never said
	Hash    string `json:"hash"`    // SHA-256 of its executable in hexadecimal; empty as above

	// Odd says that others have the same version of the program and none the same
	// executable.
	Odd bool `json:"odd"`
}

// Devices returns all devices that there ever were, by their numbers, as of the newest
// slot that this machine knows. Times of joining and leaving come from the store, where
// it has those commits and can be reached.
func (v *Volume) Devices(ctx context.Context) ([]Device, error) {
	now := v.sync.Survey(ctx)
	all, seen := now.Ledger.AllDevices(), now.Seen()
	var programs map[meta.Device]meta.Program
	err := v.near(ctx, func() error {
		return v.view.Read(func(r meta.Reader) (err error) {
			programs, err = meta.Programs(r)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	_, self, _ := v.state.Device()
	out := make([]Device, len(all))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(devicesAtOnce)
	for i, d := range all {
		o := &out[i]
		*o = Device{No: int(d.No), Name: d.Name, This: d.No == self, Enrolled: uint64(d.Enrolled), Removed: uint64(d.Removed)}
		if s, ok := seen[d.No]; ok {
			o.Seen, o.SeenAt = uint64(s.Slot), time.Unix(0, s.Time)
		}
		if p, ok := programs[d.No]; ok {
			o.Program, o.Hash = p.Version, hex.EncodeToString(p.Hash[:])
		}
		g.Go(func() (err error) {
			// The first devices are of slot 0, in which nothing lies.
			o.EnrolledAt, err = v.commitTime(gctx, now, max(d.Enrolled, 1))
			if err == nil && d.Removed > 0 {
				o.RemovedAt, err = v.commitTime(gctx, now, d.Removed)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	markOdd(out)
	return out, nil
}

// devicesAtOnce is how many commits are asked for at a time.
const devicesAtOnce = 8

// commitTime is when its author says that the commit of a slot was made; zero when the
// store cannot be asked or does not have it.
func (v *Volume) commitTime(ctx context.Context, now *chain.State, slot chain.Slot) (time.Time, error) {
	object, err := v.bucket.Get(ctx, chain.SlotName(v.o.Drive.Main().ID, slot), 0, chain.MaxCommit+1)
	switch {
	case ctx.Err() != nil:
		return time.Time{}, ctx.Err()
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrDenied):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	}
	c, err := now.Open(slot, object)
	if err != nil {
		return time.Time{}, nil
	}
	return c.Time, nil
}

// markOdd finds the devices whose executable is not the one that others of the same
// version have. Those that were removed are compared with nobody.
func markOdd(devices []Device) {
	for i := range devices {
		d := &devices[i]
		others, same := 0, 0
		for j, e := range devices {
			if i == j || e.Removed > 0 || d.Removed > 0 || d.Program == "" || e.Program != d.Program {
				continue
			}
			if others++; e.Hash == d.Hash {
				same++
			}
		}
		d.Odd = others > 0 && same == 0
	}
}

// RemoveDevices takes the numbers of other devices away and turns the epoch, and returns
// when that is in the store and new machines are led to it. ErrDevice of fs/sync for a
// number that is none, or this machine's.
func (v *Volume) RemoveDevices(ctx context.Context, numbers []int) error {
	var devices []meta.Device
	for _, n := range numbers {
		no, err := deviceNumber(n)
		if err != nil {
			return err
		}
		devices = append(devices, no)
	}
	if err := v.writable(ctx); err != nil {
		return err
	}
	return v.sync.RemoveDevices(ctx, devices)
}

// RenameDevice calls a device another name.
func (v *Volume) RenameDevice(ctx context.Context, number int, name string) error {
	no, err := deviceNumber(number)
	if err != nil {
		return err
	}
	if err := v.writable(ctx); err != nil {
		return err
	}
	if err := v.sync.RenameDevice(ctx, no, name); err != nil {
		return err
	}
	if _, self, _ := v.state.Device(); no == self {
		// Conflicts are named after it from now on.
		if err := v.state.Rename(name); err != nil {
			return fmt.Errorf("the drive has the new name, this machine's state has not: %w", err)
		}
	}
	return nil
}

func deviceNumber(n int) (meta.Device, error) {
	if n < 1 || n > 1<<16-1 {
		return 0, fmt.Errorf("%w: %d", publish.ErrDevice, n)
	}
	return meta.Device(n), nil
}

// noteProgram has what this device works with go along with a change that was executed,
// where the chain does not have it yet; v is locked.
func (v *Volume) noteProgram() {
	if v.programNoted || v.o.Program == nil {
		return
	}
	p, known := v.o.Program()
	if !known || !p.Valid() {
		return // not yet
	}
	op, at := &meta.SetProgram{Program: p}, v.stamp()
	b, err := v.view.Execute(op, at)
	if err != nil {
		v.programFar = errors.Is(err, meta.ErrUnknown)
		return // with the next change
	}
	v.programNoted = true
	if !b.Empty() {
		v.nextOp++
		v.enlist(at, op)
	}
}

// bringProgram fetches what noteProgram did not find near.
func (v *Volume) bringProgram(ctx context.Context) {
	v.mu.Lock()
	far, no := v.programFar, v.device
	v.programFar = false
	v.mu.Unlock()
	if !far {
		return
	}
	_ = v.near(ctx, func() error { // what fails is tried again after the next change
		return v.view.Read(func(r meta.Reader) error {
			_, err := r.Get(meta.ProgramKey(no))
			return err
		})
	})
}

// nextPack gives out pack numbers. A device that was removed publishes none, so there
// any will do that nothing else has.
func (v *Volume) nextPack() (meta.PackNo, error) {
	if v.removed == nil {
		return v.state.NextPack()
	}
	_, number, _ := v.state.Device()
	v.scratch++
	if v.scratch > meta.MaxCounter/2 {
		return 0, publish.ErrRemoved
	}
	return meta.MakePack(number, meta.MaxCounter-v.scratch), nil
}

// resealed records a pack that was sealed anew, before its file replaces the old one.
func (v *Volume) resealed(i pack.Info) error {
	if err := v.keepEpoch(i.Epoch); err != nil {
		return v.unwritten(err)
	}
	pos, err := v.journal.Append(journal.Packed(journal.PackRecord{
		No: i.No, Name: i.Name, Length: uint32(i.Length), Epoch: i.Epoch, Size: i.ObjectSize(),
	}))
	if err == nil {
		err = v.journal.Sync(pos)
	}
	if err != nil {
		return v.unwritten(err)
	}
	return nil
}
