package state

import "github.com/hushfs/hushfs/fs/meta"

// block is how many numbers are reserved durably at a time: after a crash at
// most so many are left out.
const block = 4096

// NextIno returns an inode number that was never given out. It fails with
// ErrNumber and ErrExhausted.
func (s *State) NextIno() (meta.Ino, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.advance(&s.ino, &s.d.inos); err != nil {
		return 0, err
	}
	return meta.MakeIno(s.d.number, s.ino), nil
}

// NextPack returns a pack number that was never given out. It fails with
// ErrNumber and ErrExhausted.
func (s *State) NextPack() (meta.PackNo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.advance(&s.pack, &s.d.packs); err != nil {
		return 0, err
	}
	return meta.MakePack(s.d.number, s.pack), nil
}

// advance moves a counter to its next value, and before that its durable bound
// up by a block where it was reached; s is locked.
func (s *State) advance(counter, bound *uint64) error {
	if s.d.number == 0 || s.alien {
		return ErrNumber
	}
	if *counter == meta.MaxCounter {
		return ErrExhausted
	}
	if *counter == *bound {
		was := *bound
		*bound = min(was+block, meta.MaxCounter)
		if err := s.save(); err != nil {
			*bound = was
			return err
		}
	}
	*counter++
	return nil
}
