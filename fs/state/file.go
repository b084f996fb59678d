package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// The files of the state folder. Layout: docs/format.md, "State folder".
const (
	secretFile = "secret" // made once: the key of everything else here, sealed under the root key
	stateFile  = "state"

	secretMagic = "HUSHSEC0"
	stateMagic  = "HUSHSTA0"

	maxName = 64
	// seed, number, journal, inos, packs, known, head (slot, id, ledger), binding, name length
	fixed = 32 + 2 + 16 + 8 + 8 + 8 + 8 + 32 + 32 + 32 + 1
)

// data is the content of the state file: device key and number stand in one
// file, so that no crash can part them.
//
// The seed of the device's key stands in front of it in the file, and here
// nowhere: State.device has it.
type data struct {
	number  meta.Device
	journal [16]byte
	inos    uint64     // inode counters up to here are reserved
	packs   uint64     // the same for packs
	known   meta.OpNo  // newest own operation known to be in the chain
	head    chain.Head // newest slot seen
	binding [32]byte   // machine and folder
	name    string
}

// encode returns the content of the state file; the caller clears it.
func (d *data) encode(device *identity.Device) []byte {
	seed := device.Seed()
	defer clear(seed)
	b := make([]byte, 0, fixed+len(d.name))
	b = append(b, seed...)
	b = binary.BigEndian.AppendUint16(b, uint16(d.number))
	b = append(b, d.journal[:]...)
	b = binary.BigEndian.AppendUint64(b, d.inos)
	b = binary.BigEndian.AppendUint64(b, d.packs)
	b = binary.BigEndian.AppendUint64(b, uint64(d.known))
	b = binary.BigEndian.AppendUint64(b, uint64(d.head.Slot))
	b = append(b, d.head.ID[:]...)
	b = append(b, d.head.Ledger[:]...)
	b = append(b, d.binding[:]...)
	b = append(b, byte(len(d.name)))
	return append(b, d.name...)
}

// decode reads what encode wrote, or fails with ErrMalformed.
func decode(b []byte) (d data, device *identity.Device, err error) {
	if len(b) < fixed || len(b) != fixed+int(b[fixed-1]) || int(b[fixed-1]) > maxName {
		return d, nil, fmt.Errorf("state file: %w", ErrMalformed)
	}
	next := func(n int) []byte {
		v := b[:n]
		b = b[n:]
		return v
	}
	if device, err = identity.DeviceFromSeed(next(identity.DeviceSeedSize)); err != nil {
		return d, nil, fmt.Errorf("state file: %w", ErrMalformed)
	}
	d.number = meta.Device(binary.BigEndian.Uint16(next(2)))
	copy(d.journal[:], next(16))
	d.inos = binary.BigEndian.Uint64(next(8))
	d.packs = binary.BigEndian.Uint64(next(8))
	d.known = meta.OpNo(binary.BigEndian.Uint64(next(8)))
	d.head.Slot = chain.Slot(binary.BigEndian.Uint64(next(8)))
	copy(d.head.ID[:], next(32))
	copy(d.head.Ledger[:], next(32))
	copy(d.binding[:], next(32))
	d.name = string(b[1:])
	if d.inos > meta.MaxCounter || d.packs > meta.MaxCounter {
		return data{}, nil, fmt.Errorf("state file: %w", ErrMalformed)
	}
	return d, device, nil
}

// bind computes what ties the state to this machine and this folder: a copy of
// the folder has another inode, a copy of the disk another machine id.
func (s *State) bind() (binding [32]byte, err error) {
	i, err := os.Stat(s.dir)
	if err != nil {
		return binding, err
	}
	h := sha256.New()
	h.Write([]byte("hushfs/binding\x00"))
	// A machine without an id is told apart by the folder alone.
	id, _ := os.ReadFile("/etc/machine-id")
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(id))))
	h.Write(id)
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		h.Write(binary.BigEndian.AppendUint64(nil, st.Ino))
	}
	h.Sum(binding[:0])
	return binding, nil
}
