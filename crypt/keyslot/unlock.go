package keyslot

import (
	"crypto/sha256"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

// UnlockPassphrase returns the root of a header whose MAC is right under it.
// free is the machine's free memory in bytes. At most four runs of Argon2id.
// Errors are those of Unlock.
func (h *Header) UnlockPassphrase(pass []byte, free uint64) (*crypt.Key, error) {
	root, _, err := Unlock([]*Header{h}, pass, free)
	return root, err
}

// Unlock returns the first header that the passphrase opens, and its root.
// Headers are given newest first. At most MaxPassphraseSlots runs of Argon2id
// are spent on all of them together; a slot that stands in several is tried once.
//
// It returns ErrPassphrase when no slot opens, ErrKDF when no slot could be
// tried for its parameters (both, when some could), and ErrHeader when a slot
// opens but no header's MAC is right: then someone rearranged true slots.
func Unlock(headers []*Header, pass []byte, free uint64) (*crypt.Key, *Header, error) {
	roots := map[[32]byte]*crypt.Key{} // by slot: nil when the passphrase does not open it
	defer func() {
		for _, k := range roots {
			if k != nil {
				k.Wipe()
			}
		}
	}()
	var skipped, altered error
	left := false
	for _, t := range inTurn(headers) {
		h, s := t.header, t.slot
		p, ok := s.Params()
		if !ok {
			continue
		}
		if err := p.Check(free); err != nil {
			skipped = err
			continue
		}
		id := sha256.Sum256(append(h.Drive[:], s.encode()...))
		root, tried := roots[id]
		if !tried {
			if len(roots) == MaxPassphraseSlots {
				left = true
				continue
			}
			root = s.openPassphrase(pass, h.Drive, p)
			roots[id] = root
		}
		if root == nil {
			continue
		}
		err := h.checkMAC(root)
		if err == nil {
			delete(roots, id)
			return root, h, nil
		}
		altered = fmt.Errorf("%s: %w", ObjectName(h.Counter), err)
	}
	switch {
	case altered != nil:
		return nil, nil, altered
	case skipped != nil && len(roots) == 0:
		return nil, nil, skipped
	case skipped != nil:
		return nil, nil, fmt.Errorf("%w; a slot was left out: %w", ErrPassphrase, skipped)
	}
	if left {
		return nil, nil, fmt.Errorf("%w, as far as was tried: there are more slots than anybody needs, which strangers may have put there", ErrPassphrase)
	}
	return nil, nil, ErrPassphrase
}

// turn is one slot of a header.
type turn struct {
	header *Header
	slot   Slot
}

// inTurn lists the first slot of each header, then the second of each, and so on:
// one header full of slots that strangers made cannot use up all runs.
func inTurn(headers []*Header) []turn {
	var all []turn
	for i := range MaxSlots {
		for _, h := range headers {
			if i < len(h.Slots) {
				all = append(all, turn{h, h.Slots[i]})
			}
		}
	}
	return all
}

// UnlockWords returns the root of a header whose MAC is right under it. It does
// not prove that the header is of a certain drive: see Keyring.Check. Errors are
// ErrWords when no slot opens, and ErrHeader when one does but the MAC is wrong.
func (h *Header) UnlockWords(w *identity.WordsKey) (*crypt.Key, error) {
	err := ErrWords
	for _, s := range h.Slots {
		if s.Type != TypeWords || s.check() != nil {
			continue
		}
		root := s.openWords(w, h.Drive)
		if root == nil {
			continue
		}
		mac := h.checkMAC(root)
		if mac == nil {
			return root, nil
		}
		err = fmt.Errorf("%s: %w", ObjectName(h.Counter), mac)
		root.Wipe()
	}
	return nil, err
}
