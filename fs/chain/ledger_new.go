package chain

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// NewLedger makes a volume: its id, which Volume returns, is new. Record 0 names the
// owner, record 1 opens epoch 1 with the key ek, and record 2 makes the machine that
// does this device 1. ErrDeviceName when the name is not allowed.
func NewLedger(owner *identity.Identity, ek *crypt.Key, first identity.DeviceKey, name string) (*Ledger, error) {
	body := volumeBody{owner: owner.Public()}
	rand.Read(body.random[:]) // never fails: see crypto/rand
	return newLedger(owner, ek, first, name, body)
}

func newLedger(owner *identity.Identity, ek *crypt.Key, first identity.DeviceKey, name string, body volumeBody) (*Ledger, error) {
	r := Record{Kind: KindVolume, Body: body.encode(), Signer: body.owner.Principal()}
	l := &Ledger{volume: r.volume()}
	if err := l.Append(r.sign(l.volume, owner)); err != nil {
		return nil, err
	}
	r, err := l.NewEpochRecord(owner, 0, ek, nil)
	if err != nil {
		return nil, err
	}
	if err := l.Append(r); err != nil {
		return nil, err
	}
	if r, err = l.NewDeviceRecord(owner, 0, 1, first, name); err != nil {
		return nil, err
	}
	return l, l.Append(r)
}

// NewDeviceRecord makes the record by which a machine becomes device no, which is
// HighestDevice()+1, in a commit of its own in the slot given. The ledger is not
// changed. by must be the owner. Errors are those of Append, and ErrDeviceName.
func (l *Ledger) NewDeviceRecord(by *identity.Identity, slot Slot, no meta.Device, key identity.DeviceKey, name string) (Record, error) {
	if err := CheckDeviceName(name); err != nil {
		return Record{}, err
	}
	if no == 0 {
		return Record{}, fmt.Errorf("%w: all device numbers are used up", ErrRefused)
	}
	return l.newRecord(by, slot, KindDevice, deviceBody{no: no, name: name, key: key}.encode())
}

// NewEpochRecord makes the record that opens the next epoch with the key ek, wrapped
// to every principal, in a commit in the slot given. previous is the key of the
// epoch before, nil for epoch 1. The ledger is not changed. Errors are those of
// Append; ErrKey when previous is another key.
func (l *Ledger) NewEpochRecord(by *identity.Identity, slot Slot, ek, previous *crypt.Key) (Record, error) {
	e, kcv := l.Epoch()
	body := epochBody{epoch: e + 1, kcv: ek.Check(l.volume, e+1)}
	if e > 0 {
		if previous == nil || previous.Check(l.volume, e) != kcv {
			return Record{}, ErrKey
		}
		secret := previous.Bytes()
		body.previous = previousSeal(ek, l.volume, body.epoch).Seal(nil, secret, nil)
		clear(secret)
	}
	for _, p := range l.principals() {
		id := p.Principal()
		box, err := identity.Wrap(p, identity.WrapInfo(l.volume, body.epoch, id, body.kcv), ek)
		if err != nil {
			return Record{}, fmt.Errorf("wrap epoch key: %w", err)
		}
		body.wraps = append(body.wraps, wrap{id, box})
	}
	slices.SortFunc(body.wraps, func(a, b wrap) int { return bytes.Compare(a.principal[:], b.principal[:]) })
	return l.newRecord(by, slot, KindEpoch, body.encode())
}

// newRecord signs a record that could be appended now.
func (l *Ledger) newRecord(by *identity.Identity, slot Slot, kind Kind, body []byte) (Record, error) {
	r := Record{
		N: uint32(len(l.records)), Prev: l.head, Slot: slot,
		Kind: kind, Body: body, Signer: by.Public().Principal(),
	}.sign(l.volume, by)
	if err := l.Clone().Append(r); err != nil {
		return Record{}, err
	}
	return r, nil
}

// principals are those to whom epoch keys are wrapped.
func (l *Ledger) principals() []identity.Public { return []identity.Public{l.owner} }

// previousSeal seals the key of epoch e-1 under that of epoch e.
func previousSeal(ek *crypt.Key, v crypt.VolumeID, e crypt.Epoch) *crypt.Local {
	return crypt.NewLocal(ek, labelPrevious, binary.BigEndian.AppendUint32(v[:], uint32(e)))
}

// keys returns the keys of all epochs, given that of the newest, else ErrKey.
func (l *Ledger) keys(key *crypt.Key) (map[crypt.Epoch]*crypt.Key, error) {
	newest, kcv := l.Epoch()
	if newest == 0 || key.Check(l.volume, newest) != kcv {
		return nil, ErrKey
	}
	keys := map[crypt.Epoch]*crypt.Key{newest: key}
	for e := newest; e > 1; e-- {
		k, err := l.previousKey(e, keys[e])
		if err != nil {
			return nil, fmt.Errorf("key of epoch %d: %w", e-1, err)
		}
		keys[e-1] = k
	}
	return keys, nil
}

// previousKey opens what previousSeal sealed in the record of epoch e, and checks it
// against the record before; ErrKey when it is not the key named there.
func (l *Ledger) previousKey(e crypt.Epoch, ek *crypt.Key) (*crypt.Key, error) {
	secret, err := previousSeal(ek, l.volume, e).Open(nil, l.epochs[e-1].previous, nil)
	if err != nil {
		return nil, ErrKey
	}
	defer clear(secret)
	k, err := crypt.KeyFromBytes(secret)
	if err != nil || k.Check(l.volume, e-1) != l.epochs[e-2].kcv {
		return nil, ErrKey
	}
	return k, nil
}

// unwrap finds the key of epoch e in the wraps for id; ErrKey when there is none, or
// one that the record does not name, or one that does not lead back to the key before.
func (l *Ledger) unwrap(e crypt.Epoch, id *identity.Identity) (*crypt.Key, error) {
	body := l.epochs[e-1]
	me := id.Public().Principal()
	for _, w := range body.wraps {
		if w.principal != me {
			continue
		}
		k, err := id.Unwrap(identity.WrapInfo(l.volume, e, me, body.kcv), w.box)
		if err != nil || k.Check(l.volume, e) != body.kcv {
			return nil, ErrKey
		}
		return k, nil
	}
	return nil, ErrKey
}
