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
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// State is the open state folder. It is safe for concurrent use. One process
// may have it open; the caller holds a lock on the folder.
type State struct {
	dir   string
	drive [32]byte
	root  *crypt.Key
	here  [32]byte // binding of this machine and folder

	mu     sync.Mutex // guards the fields below; held over writing the files
	device *identity.Device
	secret *crypt.Key
	saved  bool // the secret file is there
	d      data
	ino    uint64             // last inode counter given out
	pack   uint64             // last pack counter given out
	frozen bool               // Remember and Note change nothing
	recent []chain.Remembered // the newest commits one by one, ascending; never written in place

	silence Silence // of other devices

	// alien: what the files say is another device's, from Open's Moved or from
	// Renew until Enrolled. Nothing is written over it.
	alien bool
}

// String returns "state": it holds keys.
func (*State) String() string { return "state" }

// GoString returns "state".
func (*State) GoString() string { return "state" }

// Format writes "state" whatever the verb.
func (*State) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "state") }

// LogValue returns "state".
func (*State) LogValue() slog.Value { return slog.StringValue("state") }

// Fresh says why the state that Open returned has no device number yet.
type Fresh string

// Reasons for a new device.
const (
	NotFresh Fresh = ""
	Empty    Fresh = "this machine has no state of the drive"
	Moved    Fresh = "the state folder was copied, restored or moved"
	Accepted Fresh = "an older or another history of the store was accepted"
)

// Create makes the state of a machine that is device number of the drive. It
// fails with an fs.ErrExist where there is one already, and with ErrName.
func Create(dir string, root *crypt.Key, drive [32]byte, device *identity.Device, number meta.Device, name string, head chain.Head, known meta.OpNo) (*State, error) {
	s, err := begin(dir, root, drive, name)
	if err != nil {
		return nil, err
	}
	for _, file := range []string{secretFile, stateFile} {
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
			return nil, fmt.Errorf("%s file: %w", file, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	s.secret = crypt.NewKey()
	s.d = data{number: number, name: name, head: head, known: known, binding: s.here}
	s.device = device
	rand.Read(s.d.journal[:])
	if err := s.save(); err != nil {
		s.secret.Wipe()
		return nil, err
	}
	return s, nil
}

// begin looks at the folder, made when it is missing.
func begin(dir string, root *crypt.Key, drive [32]byte, name string) (*State, error) {
	if len(name) > maxName {
		return nil, ErrName
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &State{dir: dir, drive: drive, root: root}
	var err error
	s.here, err = s.bind()
	return s, err
}

// Open opens the state in dir. Where there is none it returns a new one, whose
// device has no number until Enrolled is called; name is what it is called then.
// Where the state belongs to another machine or folder it says Moved, and the
// caller has to Renew it. previous are root keys that the drive had before: what
// they sealed is sealed again under root.
//
// It fails with ErrForeign, ErrMalformed, ErrNewer and ErrName.
func Open(dir string, root *crypt.Key, drive [32]byte, name string, previous ...*crypt.Key) (*State, Fresh, error) {
	s, err := begin(dir, root, drive, name)
	if err != nil {
		return nil, "", err
	}
	fresh, err := s.open(name, previous)
	if err != nil {
		if s.secret != nil {
			s.secret.Wipe()
		}
		return nil, "", err
	}
	return s, fresh, nil
}

func (s *State) open(name string, previous []*crypt.Key) (Fresh, error) {
	sealed, err := read(s.dir, secretFile, maxFile)
	switch {
	case err == nil:
		if err := s.openSecret(sealed, previous); err != nil {
			return "", err
		}
		s.saved = true
		err = s.load()
	case errors.Is(err, fs.ErrNotExist):
		// The secret file is always written first. Without it what the other one
		// says is lost, and so is the journal: a person has to decide that.
		if _, serr := os.Lstat(filepath.Join(s.dir, stateFile)); !errors.Is(serr, fs.ErrNotExist) {
			return "", fmt.Errorf("state file without secret file: %w", errors.Join(ErrMalformed, serr))
		}
		s.secret = crypt.NewKey()
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.d = data{name: name, binding: s.here}
		s.device = identity.NewDevice()
		rand.Read(s.d.journal[:])
		return Empty, nil
	}
	if err != nil {
		return "", err
	}
	s.loadRemembered()
	s.loadSilence()
	// What was reserved and not given out before a crash stays unused.
	s.ino, s.pack = s.d.inos, s.d.packs
	switch {
	case s.d.binding != s.here:
		s.alien = true
		return Moved, nil
	case s.d.number == 0:
		// A commit that enrols this key may be in the chain already, unknown to
		// us; no key gets two numbers.
		s.device = identity.NewDevice()
		return Empty, nil
	}
	return NotFresh, nil
}

// Renew makes the state that of a new device without a number, with a new
// journal. The head stays remembered. Nothing is written before Enrolled: after
// a crash the state is what it was.
func (s *State) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alien = true
	s.d.number, s.d.inos, s.d.packs, s.d.known = 0, 0, 0, 0
	s.d.binding = s.here
	s.ino, s.pack = 0, 0
	s.device = identity.NewDevice()
	rand.Read(s.d.journal[:])
}

// Enrolled records that the chain knows this device by number. It returns when
// that is durable. After an error the device has another key, and no number.
func (s *State) Enrolled(number meta.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number == 0 || s.d.number != 0 {
		return ErrNumber
	}
	s.d.number = number
	if err := s.save(); err != nil {
		s.d.number = 0
		s.device = identity.NewDevice()
		return err
	}
	s.alien = false
	return nil
}

// Remember stores the newest valid slot and the newest operation of this device
// that is in the chain. Neither goes back. Between Renew and Enrolled they are
// kept in memory only.
func (s *State) Remember(h chain.Head, known meta.OpNo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		return nil
	}
	head, was := s.d.head, s.d.known
	if h.Slot >= head.Slot {
		s.d.head = h
	}
	s.d.known = max(was, known)
	if s.alien {
		return nil
	}
	if err := s.save(); err != nil {
		s.d.head, s.d.known = head, was
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

// Wipe overwrites the keys of the device and of the local files; the root key is
// the caller's. The state cannot be used afterwards.
func (s *State) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.device.Wipe()
	s.secret.Wipe()
}
