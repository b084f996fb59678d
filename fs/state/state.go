// Package state remembers what one machine must not forget of one drive.
//
// That is little: who this machine is (its device key and number), which
// numbers it may use next, and the newest slot it saw. It lies in the state
// folder, sealed, and is never needed to read the drive: a machine that lost it
// is a new machine. A machine whose state was copied or restored is one too,
// since two machines with one set of counters would use a number twice; so the
// state is bound to the machine and to the folder it lies in.
package state

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

var (
	// ErrForeign: the folder holds the state of another drive, or it was made
	// under another root key, or it is damaged.
	ErrForeign = errors.New("local state does not open with this drive's keys")

	// ErrMalformed: a file of the state folder is no such file.
	ErrMalformed = errors.New("local state is malformed")
)

// block is how many numbers are reserved durably at a time: after a crash at
// most so many are left out.
const block = 4096

// State is the open state folder. It is safe for concurrent use. One process
// may have it open; the caller holds a lock on the folder.
type State struct {
	dir   string
	drive [32]byte
	root  *crypt.Key

	mu     sync.Mutex // guards the fields below
	device *identity.Device
	secret *crypt.Key
	saved  bool // the secret file is there
	d      data
	ino    uint64 // last inode counter given out
	pack   uint64 // last pack counter given out
}

// Fresh says why the state that Open returned has no device number yet.
type Fresh string

// Reasons for a new device.
const (
	NotFresh Fresh = ""
	Empty    Fresh = "this machine has no state of the drive"
	Moved    Fresh = "the state folder was copied, restored or moved"
)

// Create makes the state of a machine that is device number of the drive.
func Create(dir string, root *crypt.Key, drive [32]byte, device *identity.Device, number meta.Device, name string, head chain.Head, known meta.OpNo) (*State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &State{dir: dir, drive: drive, root: root, secret: crypt.NewKey()}
	s.d = data{number: number, name: name, head: head, known: known}
	s.setDevice(device)
	if err := s.bind(); err != nil {
		return nil, err
	}
	return s, s.save()
}

// setDevice makes device the machine's key, with a journal of its own.
func (s *State) setDevice(device *identity.Device) {
	s.device = device
	copy(s.d.seed[:], device.Seed())
	rand.Read(s.d.journal[:])
}

// Open opens the state in dir. Where there is none it returns a new one, whose
// device has no number until Enrolled is called. Where the state belongs to
// another machine or folder it says Moved, and the caller has to Renew it.
func Open(dir string, root *crypt.Key, drive [32]byte, name string) (*State, Fresh, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	s := &State{dir: dir, drive: drive, root: root}
	sealed, err := os.ReadFile(filepath.Join(dir, secretFile))
	if err == nil {
		if err := s.openSecret(sealed); err != nil {
			return nil, "", err
		}
		s.saved = true
		err = s.load()
	} else if errors.Is(err, fs.ErrNotExist) {
		s.secret = crypt.NewKey()
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.d = data{name: name}
		s.setDevice(identity.NewDevice())
		return s, Empty, s.bind()
	}
	if err != nil {
		return nil, "", err
	}
	was := s.d.binding
	if err := s.bind(); err != nil {
		return nil, "", err
	}
	if was != s.d.binding {
		return s, Moved, nil
	}
	// What was reserved and not given out before a crash stays unused.
	s.ino, s.pack = s.d.inos, s.d.packs
	if s.d.number == 0 {
		return s, Empty, nil
	}
	return s, NotFresh, nil
}

// Renew makes the state that of a new device without a number, with a new
// journal. The head stays remembered. Nothing is written before Enrolled.
func (s *State) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d.number, s.d.inos, s.d.packs, s.d.known = 0, 0, 0, 0
	s.ino, s.pack = 0, 0
	s.setDevice(identity.NewDevice())
}

// Enrolled records that the chain knows this device by number. It returns when
// that is durable.
func (s *State) Enrolled(number meta.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d.number = number
	if err := s.save(); err != nil {
		s.d.number = 0
		return err
	}
	return nil
}

// NextIno returns an inode number that was never given out.
func (s *State) NextIno() (meta.Ino, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ino == s.d.inos {
		if err := s.reserve(&s.d.inos); err != nil {
			return 0, err
		}
	}
	s.ino++
	return meta.MakeIno(s.d.number, s.ino), nil
}

// NextPack returns a pack number that was never given out.
func (s *State) NextPack() (meta.PackNo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pack == s.d.packs {
		if err := s.reserve(&s.d.packs); err != nil {
			return 0, err
		}
	}
	s.pack++
	return meta.MakePack(s.d.number, s.pack), nil
}

// reserve moves a durable bound up by a block; s is locked.
func (s *State) reserve(bound *uint64) error {
	if s.d.number == 0 {
		return fmt.Errorf("no device number yet")
	}
	*bound += block
	if err := s.save(); err != nil {
		*bound -= block
		return err
	}
	return nil
}

// Remember stores the newest valid slot and the newest operation of this device
// that is in the chain.
func (s *State) Remember(h chain.Head, known meta.OpNo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.d
	s.d.head, s.d.known = h, max(s.d.known, known)
	if err := s.save(); err != nil {
		s.d = was
		return err
	}
	return nil
}

// Head is the newest slot that this machine remembers; slot 0 when none.
func (s *State) Head() chain.Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d.head
}

// Known is the newest operation of this device that is known to be in the chain.
func (s *State) Known() meta.OpNo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d.known
}

// Device is the machine's signing key, its number (0 before it is enrolled) and
// its name.
func (s *State) Device() (*identity.Device, meta.Device, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.device, s.d.number, s.d.name
}

// Journal is the id of the journal and the secret that seals it.
func (s *State) Journal() (id [16]byte, secret *crypt.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d.journal, s.secret
}

// Wipe overwrites the keys; the state cannot be used afterwards.
func (s *State) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.device.Wipe()
	s.secret.Wipe()
}
