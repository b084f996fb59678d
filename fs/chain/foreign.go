package chain

import "github.com/hushfs/hushfs/crypt"

// EndLength is how many of the last bytes of an object Foreign needs: more than any tail
// of at most MaxCommit bytes has.
const EndLength = 1024

// Foreign tells from the end of an object, its last EndLength bytes or all of it, that it
// is nobody's commit: it was sealed with none of the keys that a commit above the state
// may be sealed with. Judge says of the whole that it is junk, whatever else is in it.
// False says nothing.
func (s *State) Foreign(end []byte) bool {
	tail, err := crypt.ParseTail(end)
	if err != nil {
		return true
	}
	key, ok := s.keys[tail.Epoch()]
	if !ok || tail.Epoch() > s.Epoch {
		return true
	}
	_, err = tail.Unlock(key, s.Volume, crypt.TypeCommit)
	return err != nil
}
