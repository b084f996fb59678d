package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// NotWriter is why a drive of a single writer is not opened for writing here. It is
// ErrWriter. Nothing was written, here or in the store.
type NotWriter struct {
	Writer meta.Device // that alone may write, or NoWriter
	Name   string      // of that device
	Mine   meta.Device // what this machine is; 0: no device
}

// NoWriter is a number that no device has: the drive names its writer in a way that
// this program does not know.
const NoWriter meta.Device = math.MaxUint16

func (e *NotWriter) Error() string {
	switch {
	case e.Writer == NoWriter:
		return "the drive was made for a single writer, in a way that this hushfs does not know"
	case e.Mine == 0:
		return fmt.Sprintf("the drive has a single writer, device %d (%s), and this machine is another", e.Writer, e.Name)
	}
	return fmt.Sprintf("the drive has a single writer, device %d (%s), and this machine is device %d", e.Writer, e.Name, e.Mine)
}

func (e *NotWriter) Unwrap() error { return ErrWriter }

// writing finds out who alone may write, where one does: the device that the drive was
// made by, or whom the ledger names since. For a volume that is opened to write it
// must be this machine, which a request may just have made a device.
func (v *Volume) writing(l *publish.Loaded, fresh state.Fresh) error {
	ledger := l.Chain.Ledger
	if only, single := ledger.Writer(); single && v.o.Writer != NoWriter {
		v.o.Writer = only
	}
	if v.o.Writer == 0 || v.o.ReadOnly {
		return nil
	}
	_, mine, _ := v.state.Device()
	switch fresh {
	case state.Moved:
		mine = 0
	case state.Empty:
		var err error
		if mine, err = v.state.Adopt(numbered(ledger)); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	if mine == v.o.Writer {
		return nil
	}
	d, _ := ledger.Device(v.o.Writer)
	return &NotWriter{Writer: v.o.Writer, Name: d.Name, Mine: mine}
}

// numbered finds a device by its key.
func numbered(l *chain.Ledger) func(identity.DeviceKey) (meta.Device, bool) {
	return func(key identity.DeviceKey) (meta.Device, bool) {
		encoded := key.Encode()
		for _, d := range l.Devices() {
			if bytes.Equal(d.Key.Encode(), encoded) {
				return d.No, true
			}
		}
		return 0, false
	}
}

// MayWrite returns nil when a drive may be written to from here, as Open finds it;
// else what Open says. It writes nothing to the store.
func MayWrite(ctx context.Context, o Options) error {
	o.check = true
	_, err := Open(ctx, o)
	if errors.Is(err, errChecked) {
		return nil
	}
	return err
}

// errChecked ends an Open that was only to find out.
var errChecked = errors.New("checked")

// HandOver makes another device the one that alone writes, by a commit of its own, and
// returns its number. What was written before is sent first; nothing must be written
// meanwhile, and nothing is sent by this machine afterwards.
func (v *Volume) HandOver(ctx context.Context, to publish.Heir) (meta.Device, error) {
	if v.o.ReadOnly {
		return 0, ErrReadOnly
	}
	if err := v.pinOld(ctx, 0); err != nil {
		return 0, err
	}
	if err := v.persist(); err != nil {
		return 0, err
	}
	if err := v.sync.Flush(ctx, v.lastOp()); err != nil {
		return 0, err
	}
	// The next writer begins at the tables; afterwards it is too late for that here.
	if err := v.sync.Leave(ctx); err != nil {
		v.log.Warn("not folded", "err", err)
	}
	return v.sync.HandOver(ctx, to)
}
