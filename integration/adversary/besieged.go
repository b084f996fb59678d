package adversary

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/volume"
)

// Passphrase opens the drives of sieges.
func Passphrase() string { return string(passphrase) }

// Siege is a drive in a malicious store, for machines that are programs of their own:
// they reach the store over HTTP, in buckets called laptop and desktop.
type Siege struct {
	s     *siege
	since map[string]mark // by machine: when the attack began
}

// New makes a drive that has been used; dir is for what that takes.
func New(dir string) (*Siege, error) {
	s, err := newSiege(dir)
	if err != nil {
		return nil, err
	}
	return &Siege{s: s}, nil
}

// Store is the store.
func (s *Siege) Store() *Store { return s.s.store }

// Begin attacks until end is called.
func (s *Siege) Begin(attack string, draw uint64) (end func()) {
	s.s.remember()
	a := find(attack)
	s.s.on, s.since = []Attack{a}, s.s.marks()
	ends := a.begin(s.s, sub(draw))
	return func() {
		ends()
		s.s.on = nil
	}
}

// Mounts notes that a machine is about to mount.
func (s *Siege) Mounts(who string) {
	s.s.named1(who).rises()
}

// Falls notes that a machine is about to unmount.
func (s *Siege) Falls(who string) { s.s.named1(who).falls() }

// Logs notes what a machine logged, from WARN on.
func (s *Siege) Logs(who, text string) {
	for line := range strings.Lines(text) {
		_, _ = s.s.named1(who).log.Write([]byte(line))
	}
}

// Refuses notes why a machine does not mount.
func (s *Siege) Refuses(who, why string) { s.s.named1(who).refuses(errors.New(why)) }

// Shows notes what hushfs status --json says on a machine that has one drive.
func (s *Siege) Shows(who, text string) error {
	var all struct {
		Mounts []struct{ Volume volume.Status }
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return err
	}
	for _, one := range all.Mounts {
		s.s.named1(who).shows(one.Volume)
	}
	return nil
}

// Named wants a machine that was told something untrue by the attack to have said so in its
// log and by its status; look notes what it says.
func (s *Siege) Named(who string, look func()) error {
	return s.s.says(s.s.named1(who), s.since[who], look)
}

// Settles has what is shown until done is called be what is shown of an honest store.
func (s *Siege) Settles() (done func()) {
	s.s.store.believe()
	var ends []func()
	for _, m := range s.s.machines {
		ends = append(ends, m.shown.known.listen())
	}
	return all(ends)
}

// Split tells, when the store is honest again, whether it holds two histories, or one that
// is not that of both machines.
func (s *Siege) Split() bool {
	_, err := s.s.read()
	return s.s.split || s.s.store.Twice() || err != nil
}

// File is a new one, which a machine is about to write; promise says that it is durable.
func (s *Siege) File(owner string, size int) (name string, content []byte, promise func()) {
	f, content := s.s.truth.create(owner, "", size)
	return f.name, content, func() { s.s.truth.promise(f, f.newest) }
}

// Judge holds what a machine shows, contents by names, to what was written; with whole
// also to what was promised.
func (s *Siege) Judge(who string, tree map[string][]byte, whole bool) error {
	if s.s.unable != nil {
		return s.s.unable
	}
	found := map[version]bool{}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		v, err := s.s.truth.shows(who, name, tree[name])
		if err != nil {
			return err
		}
		found[v] = true
	}
	if lost := s.s.truth.missing("", found); whole && len(lost) > 0 {
		return broken("%s has lost: %s", who, strings.Join(lost, "; "))
	}
	return nil
}
