package state

// Rename remembers what this machine is called from now on: the drive calls it so. It
// fails with ErrName.
func (s *State) Rename(name string) error {
	if len(name) > maxName {
		return ErrName
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.d.name
	s.d.name = name
	if s.alien {
		return nil
	}
	if err := s.save(); err != nil {
		s.d.name = was
		return err
	}
	return nil
}
