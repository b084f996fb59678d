package adversary

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// passphrase of the drives, and a key derivation that costs little.
var passphrase = []byte("nobody will ever guess")

var cheap = keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}

// siege is a drive in a malicious store, and two machines that use it.
type siege struct {
	store    *Store
	volume   crypt.VolumeID
	truth    *ledger
	machines []*machine
	both     *file // which both machines change
	unlock   []byte
	on       []Attack // that have begun
	guests   int      // newcomers so far
	said     map[string]Said
	copies   int   // of the file that both change, at most
	split    bool  // the store showed two histories and both were written to
	unable   error // an attack could not be made

	last  string          // the newest commit, when both machines had seen all that there was
	older map[string]bool // by machine: it is shown less than it has seen

	// What the store holds besides.
	identity *identity.Identity // used for the epoch keys alone: what a reader opens boxes with
	stolen   *thief
	past     []*mem.Bucket // what lay there at some moments
}

// thief is a device that was removed, and whose key the store has.
type thief struct {
	device *identity.Device
	no     meta.Device
	ledger *chain.Ledger // in which it still was one
}

// newSiege makes a drive with two machines that wrote to it, a third that was removed,
// two epochs and a checkpoint.
func newSiege(dir string) (*siege, error) {
	s := &siege{store: NewStore(), truth: newLedger(), older: map[string]bool{}, said: map[string]Said{}}
	s.store.alike = s.sameHint
	laptop := s.machine(dir, "laptop")
	if err := os.MkdirAll(laptop.dir, 0o700); err != nil {
		return nil, err
	}
	ctx := context.Background()
	_, err := drive.Create(ctx, s.store.Truth, drive.CreateOptions{
		Passphrase: passphrase, KDF: cheap, DeviceName: laptop.name, UID: 1000, GID: 1000,
		StateDir: func(drive.ID) (string, error) { return filepath.Join(laptop.dir, "state"), nil },
	})
	if err != nil {
		return nil, err
	}
	u, err := drive.Unlock(ctx, s.store.Truth, drive.UnlockOptions{Passphrase: passphrase})
	if err != nil {
		return nil, err
	}
	defer u.Wipe()
	s.unlock, s.volume = u.Handover(), u.Main().ID
	laptop.unlock = s.unlock
	if s.identity, err = identity.FromSeed(u.Identity().Seed()); err != nil {
		return nil, err
	}
	phone := s.machine(dir, "phone")
	defer phone.removeAll()
	for _, m := range []*machine{laptop, phone} {
		if err := s.some(m, 2); err != nil {
			return nil, err
		}
	}
	if err := s.steal(u, phone); err != nil {
		return nil, err
	}
	if err := laptop.open(); err != nil {
		return nil, err
	}
	if err := withinOf("remove a device", 10*time.Second, func(ctx context.Context) error {
		return laptop.v.RemoveDevices(ctx, []int{int(s.stolen.no)})
	}); err != nil {
		return nil, fmt.Errorf("remove the phone: %w", err)
	}
	desktop := s.machine(dir, "desktop")
	for range 2 {
		for _, m := range []*machine{laptop, desktop} {
			if err := s.some(m, 2); err != nil {
				return nil, err
			}
		}
		s.remember()
	}
	if err := s.make(laptop); err != nil {
		return nil, err
	}
	if err := s.some(desktop, 0); err != nil {
		return nil, err
	}
	// Both begin with all that there is, or a commit that one never saw could be taken from it.
	if err := s.some(laptop, 0); err != nil {
		return nil, err
	}
	s.last = newest(s.store.Truth)
	s.machines = []*machine{laptop, desktop}
	return s, nil
}

// machine is a further one.
func (s *siege) machine(dir, name string) *machine {
	return &machine{
		name: name, dir: filepath.Join(dir, name), bucket: s.store.Face(name), unlock: s.unlock, truth: s.truth,
		log: &lines{known: &known{said: map[string]bool{}, learns: true}}, shown: &lines{known: &known{}}, told: func() int { return s.store.Bites(name) },
	}
}

// some has a machine write files, and lock.
func (s *siege) some(m *machine, n int) error {
	if err := m.open(); err != nil {
		return fmt.Errorf("%s opens: %w", m.name, err)
	}
	m.calm = true
	defer func() { m.calm = false }()
	for i := range n {
		if err := m.create(150<<10*i, true); err != nil {
			return fmt.Errorf("%s writes: %w", m.name, err)
		}
		if err := m.drain(20 * time.Second); err != nil {
			return fmt.Errorf("%s sends: %w", m.name, err)
		}
	}
	if err := m.shut(20 * time.Second); err != nil {
		return fmt.Errorf("%s locks: %w", m.name, err)
	}
	return nil
}

// make has a machine make the file that both change, and lock.
func (s *siege) make(m *machine) error {
	if err := m.open(); err != nil {
		return fmt.Errorf("%s opens: %w", m.name, err)
	}
	m.calm = true
	defer func() { m.calm = false }()
	var content []byte
	s.both, content = s.truth.share(m.name)
	if err := m.put(s.both, s.both.name, content, true); err != nil {
		return fmt.Errorf("%s makes a file of both: %w", m.name, err)
	}
	s.truth.owe(s.both, 1, m.name)
	return m.shut(20 * time.Second)
}

// steal copies the key of a machine that is locked.
func (s *siege) steal(u *drive.Unlocked, m *machine) error {
	st, _, err := state.Open(filepath.Join(m.dir, "state"), u.Root(), u.ID, m.name)
	if err != nil {
		return err
	}
	defer st.Wipe()
	device, no, _ := st.Device()
	l, err := s.read()
	if err != nil {
		return err
	}
	s.stolen = &thief{no: no, ledger: l.Ledger.Clone()}
	s.stolen.device, err = identity.DeviceFromSeed(device.Seed())
	return err
}

// read follows the chain as a member with read rights does.
func (s *siege) read() (*chain.State, error) {
	keys := &publish.Keys{}
	tables := block.New(block.Options{
		Bucket: s.store.Truth, Cache: cache.Off(), Volume: s.volume, Key: keys.Key,
		Place: func(o block.Object) string { return chain.TableName(s.volume, o.Name) },
		Bad:   func(string, error) {}, Memory: 1 << 20,
	})
	defer tables.Close()
	l, err := publish.Load(context.Background(), publish.LoadOptions{
		Bucket: s.store.Truth, Volume: s.volume, Identity: s.identity,
		Tables: tables, Keys: keys, Memory: table.NewMemory(1 << 20), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if l.Evidence != nil && !s.store.genuine(l.Evidence) {
		return nil, broken("an object in slot %d that no machine made is taken for a second history", l.EvidenceSlot)
	}
	if l.Evidence != nil {
		// A commit that a machine had not seen was shown to it as junk, and it wrote after
		// the one before: the store itself holds two histories now.
		s.split = true
	}
	return l.Chain, nil
}

// sameHint says that two objects are hints that tell a member the same. A hint has boxes
// in clear, of which a member opens his own: what the store makes of the others, most of
// which are for nobody, no machine has been told.
func (s *siege) sameHint(name string, was, now []byte) bool {
	if kind(name) != "k" || s.identity == nil {
		return false
	}
	var told [2]*chain.Hint
	for i, object := range [][]byte{was, now} {
		sealed, err := chain.ParseHint(object)
		if err != nil {
			return false
		}
		k, err := sealed.Unbox(s.volume, s.identity)
		if err != nil {
			return false
		}
		if told[i], err = sealed.Open(s.volume, k); err != nil {
			return false
		}
	}
	return reflect.DeepEqual(told[0], told[1])
}

// remember keeps what lies there now, to show it again later.
func (s *siege) remember() { s.past = append(s.past, s.store.Truth.Clone()) }

// end locks what is open.
func (s *siege) end() {
	for _, m := range s.machines {
		_ = m.shut(0)
	}
}

var _ store.Bucket = face{}
