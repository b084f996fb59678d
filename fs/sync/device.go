package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

var (
	// ErrRemoved: this machine's device was removed from the volume. What it has not
	// published nobody will take.
	ErrRemoved = errors.New("this machine was removed from the drive")

	// ErrDevice: no device has that number, or it cannot be removed by this one.
	ErrDevice = errors.New("no such device")

	// ErrNamed: another device that may write is called so.
	ErrNamed = errors.New("another device has that name")
)

// DeviceSteps are the names given to Options.Step when devices are removed or renamed;
// the commit takes some of Steps between the first two.
var DeviceSteps = []string{"device.begin", "device.done", "device.led"}

// RemoveDevices removes devices and opens a new epoch, in one commit, and returns when
// ledger and hint lead to it. Those that are removed already are passed over. Called
// again after an error, or by another process after a crash, it goes on where it was.
//
// ErrDevice for a number that no device ever had, or this machine's own.
func (s *Syncer) RemoveDevices(ctx context.Context, devices []meta.Device) error {
	devices = slices.Compact(slices.Sorted(slices.Values(devices)))
	_, self, _ := s.o.State.Device()
	return s.administer(ctx, func(slot chain.Slot, l *chain.Ledger) ([]chain.Record, error) {
		var left []meta.Device
		for _, no := range devices {
			_, there := l.Device(no)
			_, gone := l.Removed(no)
			switch {
			case no == self:
				return nil, fmt.Errorf("%w that may be removed: device %d is this machine; another one has to do it", ErrDevice, no)
			case there:
				left = append(left, no)
			case !gone:
				return nil, fmt.Errorf("%w: %d", ErrDevice, no)
			}
		}
		if len(left) == 0 {
			return nil, nil
		}
		key := crypt.NewKey()
		defer key.Wipe() // the commit brings it to all, this machine too
		return l.NewRemoveRecords(s.o.Identity, slot, left, key, s.o.Chain.Key)
	})
}

// RenameDevice calls a device another name. ErrDevice when there is none with that
// number, chain.ErrDeviceName when the name is not allowed, ErrNamed when another one
// has it.
func (s *Syncer) RenameDevice(ctx context.Context, no meta.Device, name string) error {
	return s.administer(ctx, func(slot chain.Slot, l *chain.Ledger) ([]chain.Record, error) {
		d, ok := l.Device(no)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: %d", ErrDevice, no)
		case d.Name == name:
			return nil, nil
		}
		for _, other := range l.Devices() {
			if other.Name == name {
				return nil, fmt.Errorf("%w: device %d", ErrNamed, other.No)
			}
		}
		r, err := l.NewRenameRecord(s.o.Identity, slot, no, name)
		return []chain.Record{r}, err
	})
}

// administer makes a commit of the records that make answers on the ledger as it is,
// tried again while other machines are faster, until it answers none. Then it sees that
// a hint leads to the ledger.
func (s *Syncer) administer(ctx context.Context, make func(slot chain.Slot, l *chain.Ledger) ([]chain.Record, error)) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	s.o.Step("device.begin")
	device, number, _ := s.o.State.Device()
	for {
		if err := s.halted(); err != nil {
			return err
		}
		// A commit of an earlier call may be on its way still, or be there.
		if err := s.conclude(ctx); err != nil {
			return err
		}
		if err := s.catchUp(ctx); err != nil {
			return err
		}
		if err := s.halted(); err != nil {
			return err // by what was followed
		}
		slot := s.slot()
		recs, err := make(slot, s.o.Chain.Ledger)
		if err != nil {
			return err
		}
		if len(recs) == 0 {
			break
		}
		first := s.o.Chain.LastOp[number] + 1
		c, err := s.o.Chain.Build(slot, device, number, time.Now(), chain.Content{First: first, Last: first - 1, Records: recs})
		if err != nil {
			return fmt.Errorf("build commit: %w", err)
		}
		s.attempt = &attempt{Sealed: c, first: first, last: first - 1}
	}
	s.o.Step("device.done")
	s.owing = true
	if err := s.leadTo(ctx); err != nil {
		return fmt.Errorf("it is done, and no hint leads new machines to it yet; the next command or mount of this machine sees to that: %w", err)
	}
	s.o.Step("device.led")
	return nil
}

// owes says whether this machine knows of a ledger that no hint leads to, and is the one
// to see to that at once; working is held. Who merely follows leaves that to the machine
// whose doing it was, for a while.
func (s *Syncer) owes() bool { return s.owing && s.hint.Ledger.Head != s.o.Chain.Ledger.Head() }

// Owed leads new machines to a ledger that this machine knows and is to see to: what a
// crash interrupted.
func (s *Syncer) Owed(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	if !s.owes() || s.halted() != nil {
		return nil
	}
	return s.leadTo(ctx)
}

// noticeSelf takes over what the ledger says: what devices there are, for who asks, and of
// this machine's own its name, or that it was removed, which stops the machine. One that
// only reads goes on to follow.
func (s *Syncer) noticeSelf() {
	s.surveyed.Store(s.o.Chain.Clone())
	_, number, name := s.o.State.Device()
	if d, ok := s.o.Chain.Ledger.Device(number); ok && d.Name != name && !s.o.Reading {
		if err := s.o.State.Rename(d.Name); err != nil {
			s.log.Warn("this machine's new name is not remembered", "err", err)
		}
	}
	if err := Removal(s.o.Chain.Ledger, number); err != nil && !s.o.Reading {
		_ = s.stop(err) // it returns what it is given
	}
}

// Removed is an ErrRemoved once this machine knows that its device was removed.
func (s *Syncer) Removed() error {
	if err := s.halted(); errors.Is(err, ErrRemoved) {
		return err
	}
	return nil
}

// Removal is an ErrRemoved that says when a device was removed; nil when it was not.
func Removal(l *chain.Ledger, number meta.Device) error {
	d, gone := l.Removed(number)
	if !gone {
		return nil
	}
	return fmt.Errorf("%w: as device %d (%s), in slot %d", ErrRemoved, d.No, d.Name, d.Removed)
}

const (
	// surveyLock is how long a survey waits for whoever publishes, surveyStore for the
	// store.
	surveyLock  = 2 * time.Second
	surveyStore = 5 * time.Second
)

// Survey returns the chain as it is now: its ledger, its devices and when they were seen.
// What other machines did is followed first, where the store answers soon. While much is
// being published, or what is on its way does not arrive, the ledger is the newest that this
// machine knows, and when devices were seen is that of the last survey. It is not to be
// changed.
func (s *Syncer) Survey(ctx context.Context) *chain.State {
	if !s.lockSoon(ctx, surveyLock) {
		return s.surveyed.Load()
	}
	defer s.working.Unlock()
	if s.halted() == nil {
		soon, cancel := context.WithTimeout(ctx, surveyStore)
		defer cancel()
		err := s.conclude(soon)
		if err == nil {
			err = s.catchUp(soon)
		}
		if err != nil {
			s.log.Debug("what other machines did last is not known", "err", err)
		}
	}
	st := s.o.Chain.Clone()
	s.surveyed.Store(st)
	return st
}

// Devices returns all devices that there ever were, as of the newest slot that this
// machine knows. It waits for nobody.
func (s *Syncer) Devices() []chain.Device { return s.surveyed.Load().Ledger.AllDevices() }

// lockSoon takes working, unless somebody holds it for longer than most.
func (s *Syncer) lockSoon(ctx context.Context, most time.Duration) bool {
	for end := time.Now().Add(most); ; {
		if s.working.TryLock() {
			return true
		}
		if time.Now().After(end) || !wait(ctx, 10*time.Millisecond) {
			return false
		}
	}
}

// wait says whether d went by before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
