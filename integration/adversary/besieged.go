package adversary

import (
	"maps"
	"slices"
	"strings"
)

// Passphrase opens the drives of sieges.
func Passphrase() string { return string(passphrase) }

// Siege is a drive in a malicious store, for machines that are programs of their own:
// they reach the store over HTTP, in buckets called laptop and desktop.
type Siege struct{ s *siege }

// New makes a drive that has been used; dir is for what that takes.
func New(dir string) (*Siege, error) {
	s, err := newSiege(dir)
	if err != nil {
		return nil, err
	}
	return &Siege{s}, nil
}

// Store is the store.
func (s *Siege) Store() *Store { return s.s.store }

// Begin attacks until end is called.
func (s *Siege) Begin(attack string, draw uint64) (end func()) {
	s.s.remember()
	return find(attack).begin(s.s, sub(draw))
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
	found := map[uint64]uint64{}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		v, err := s.s.truth.shows(who, name, tree[name])
		if err != nil {
			return err
		}
		found[v.file] = max(found[v.file], v.no)
	}
	if lost := s.s.truth.missing("", found); whole && len(lost) > 0 {
		return broken("%s has lost: %s", who, strings.Join(lost, "; "))
	}
	return nil
}
