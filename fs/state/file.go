package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hushfs/hushfs/crypt"
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
type data struct {
	seed    [32]byte // of the device's signing key
	number  meta.Device
	journal [16]byte
	inos    uint64     // inode counters up to here are reserved
	packs   uint64     // the same for packs
	known   meta.OpNo  // newest own operation known to be in the chain
	head    chain.Head // newest slot seen
	binding [32]byte   // machine and folder
	name    string
}

func (d *data) encode() []byte {
	b := make([]byte, 0, fixed+len(d.name))
	b = append(b, d.seed[:]...)
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

func decode(b []byte) (d data, err error) {
	if len(b) < fixed || len(b) != fixed+int(b[fixed-1]) || int(b[fixed-1]) > maxName {
		return d, ErrMalformed
	}
	next := func(n int) []byte {
		v := b[:n]
		b = b[n:]
		return v
	}
	copy(d.seed[:], next(32))
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
	return d, nil
}

// openSecret opens the secret file.
func (s *State) openSecret(sealed []byte) error {
	b, ok := strings.CutPrefix(string(sealed), secretMagic)
	if !ok {
		return fmt.Errorf("secret file: %w", ErrMalformed)
	}
	plain, err := s.underRoot().Open(nil, []byte(b), []byte(secretMagic))
	if err != nil {
		return ErrForeign
	}
	defer clear(plain)
	s.secret, err = crypt.KeyFromBytes(plain)
	return err
}

// saveSecret writes the secret file; s is locked.
func (s *State) saveSecret() error {
	plain := s.secret.Bytes()
	defer clear(plain)
	return replace(s.dir, secretFile, s.underRoot().Seal([]byte(secretMagic), plain, []byte(secretMagic)))
}

func (s *State) underRoot() *crypt.Local {
	return crypt.NewLocal(s.root, "hushfs/local", s.drive[:])
}

func (s *State) underSecret() *crypt.Local {
	return crypt.NewLocal(s.secret, "hushfs/state", s.drive[:])
}

// load reads the state file.
func (s *State) load() error {
	sealed, err := os.ReadFile(filepath.Join(s.dir, stateFile))
	if err != nil {
		return err
	}
	b, ok := strings.CutPrefix(string(sealed), stateMagic)
	if !ok {
		return fmt.Errorf("state file: %w", ErrMalformed)
	}
	plain, err := s.underSecret().Open(nil, []byte(b), []byte(stateMagic))
	if err != nil {
		return ErrForeign
	}
	defer clear(plain)
	if s.d, err = decode(plain); err != nil {
		return err
	}
	s.device, err = identity.DeviceFromSeed(s.d.seed[:])
	return err
}

// save writes the state file, and the secret file before it when there is none;
// s is locked.
func (s *State) save() error {
	if !s.saved {
		if err := s.saveSecret(); err != nil {
			return err
		}
		s.saved = true
	}
	plain := s.d.encode()
	defer clear(plain)
	return replace(s.dir, stateFile, s.underSecret().Seal([]byte(stateMagic), plain, []byte(stateMagic)))
}

// bind computes what ties the state to this machine and this folder: a copy of
// the folder has another inode, a copy of the disk another machine id.
func (s *State) bind() error {
	i, err := os.Stat(s.dir)
	if err != nil {
		return err
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
	h.Sum(s.d.binding[:0])
	return nil
}

// replace makes b the content of the file name in dir: the old or the new
// content is there after a crash, and the new one after it returned.
func replace(dir, name string, b []byte) (err error) {
	tmp := filepath.Join(dir, name+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		// The temporary file is overwritten by the next attempt anyway.
		_ = os.Remove(tmp)
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
