package adversary

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// keys are the attacks of a store that has the epoch keys from a member with read rights,
// or the signing key of a device that was removed.
func keys() []Attack {
	return []Attack{
		{Name: "commits are enveloped again", begin: func(s *siege, r *rand.Rand) func() {
			var ends []func()
			for _, n := range s.newestOf(r, "l", 2) {
				if b := s.resealed(n, nil); b != nil {
					ends = append(ends, s.store.Spoil(n, b))
				}
			}
			return all(ends)
		}},
		{Name: "commits enveloped again lie in new slots", begin: func(s *siege, r *rand.Rand) func() {
			for _, n := range s.draw(r, "l", 2) {
				if b := s.resealed(n, nil); b != nil {
					s.plant(chain.SlotName(s.volume, s.head()+1), b)
				}
			}
			return nothing
		}},
		{Name: "commits are altered with the epoch key", begin: altering((*siege).newestOf, "l", 2)},
		{Name: "altered commits lie in new slots", begin: func(s *siege, r *rand.Rand) func() {
			for _, n := range s.draw(r, "l", 3) {
				if b := s.resealed(n, mutate(r)); b != nil {
					s.plant(chain.SlotName(s.volume, s.head()+1), b)
				}
			}
			return nothing
		}},
		{Name: "packs are altered with the epoch key", begin: altering((*siege).draw, "p", 3)},
		{Name: "tables are altered with the epoch key", begin: altering((*siege).draw, "t", 3)},
		{Name: "ledgers are altered with the epoch key", Of: "a", begin: func(s *siege, r *rand.Rand) func() {
			end := altering((*siege).draw, "a", 3)(s, r)
			return all([]func(){end, s.unledgered(r)})
		}},
		{Name: "objects are enveloped as another kind", begin: func(s *siege, r *rand.Rand) func() {
			var ends []func()
			for _, n := range s.draw(r, "lapt", 3) {
				content, tail := s.opened(n)
				if content == nil {
					continue
				}
				types := []crypt.Type{crypt.TypePack, crypt.TypeCommit, crypt.TypeLedger, crypt.TypeHint, crypt.TypeTable, crypt.TypeBundle}
				if b := s.seal(types[r.IntN(len(types))], tail.Epoch(), content); b != nil {
					ends = append(ends, s.store.Spoil(n, b))
				}
			}
			return all(ends)
		}},
		{Name: "a removed device writes", begin: func(s *siege, r *rand.Rand) func() {
			for _, again := range []bool{false, true} {
				st, err := s.read()
				if err != nil {
					return nothing
				}
				st = st.Clone()
				if !again {
					// As it was when it still was one: an old epoch, an old ledger.
					st.Epoch = 1
					if k, ok := st.EpochKey(1); ok {
						st.Key = k
					}
				}
				st.Ledger = s.stolen.ledger
				s.forge(st, r)
			}
			return nothing
		}},
		{Name: "a removed device leads to a history that is none", begin: func(s *siege, r *rand.Rand) func() {
			st, err := s.read()
			if err != nil {
				return nothing
			}
			st = st.Clone()
			st.Ledger = s.stolen.ledger
			st.Slot += chain.Slot(1 + r.IntN(50))
			for i := range st.Head {
				st.Head[i] = byte(r.Uint32())
			}
			name, object, err := st.SealLedger()
			if err != nil {
				s.failed(err)
				return nothing
			}
			b, err := st.SealHint(s.stolen.device, s.stolen.no, name, int64(len(object)))
			if err != nil {
				s.failed(err)
				return nothing
			}
			s.plant(chain.HintName(s.volume, st.Slot), b)
			return nothing
		}},
	}
}

// opened returns the content of an object as a reader sees it; nil when it does not open.
func (s *siege) opened(name string) ([]byte, *crypt.Tail) {
	st, err := s.read()
	if err != nil {
		return nil, nil
	}
	b := s.object(name)
	tail, err := crypt.ParseTail(b)
	if err != nil {
		return nil, nil
	}
	k, ok := st.EpochKey(tail.Epoch())
	if !ok {
		return nil, nil
	}
	if t := tail.Type(); t == crypt.TypePack || t == crypt.TypeTable {
		// Its true length stands elsewhere; with the padding it is as good for a forger.
		opener, err := tail.Unlock(k, s.volume, t)
		if err != nil {
			return nil, nil
		}
		var content []byte
		const sealed = 64<<10 + 16
		for i := range tail.Segments() {
			from := i * sealed
			to := min(from+sealed, len(b)-tail.Size())
			if content, err = opener.Segment(content, i, b[from:to]); err != nil {
				return nil, nil
			}
		}
		return content, tail
	}
	content, _, err := crypt.Open(k, s.volume, tail.Type(), b)
	if err != nil {
		return nil, nil
	}
	return content, tail
}

// seal seals a content anew; nil when that is not possible.
func (s *siege) seal(t crypt.Type, e crypt.Epoch, content []byte) []byte {
	b, _ := s.sealNamed(t, e, content)
	return b
}

// sealNamed is seal, with the name that the object has by its hash.
func (s *siege) sealNamed(t crypt.Type, e crypt.Epoch, content []byte) ([]byte, crypt.Name) {
	st, err := s.read()
	if err != nil || len(content) == 0 {
		return nil, crypt.Name{}
	}
	k, ok := st.EpochKey(e)
	if !ok {
		return nil, crypt.Name{}
	}
	b, name, err := crypt.NewSealer(k, s.volume, t, e).Seal(nil, content)
	if err != nil {
		s.failed(err)
		return nil, crypt.Name{}
	}
	return b, name
}

// resealed is an object under another salt, with its content changed; nil changes
// nothing.
func (s *siege) resealed(name string, change func([]byte) []byte) []byte {
	content, tail := s.opened(name)
	if content == nil {
		return nil
	}
	content = bytes.Clone(content)
	if change != nil {
		content = change(content)
	}
	return s.seal(tail.Type(), tail.Epoch(), content)
}

// mutate changes a content here or there.
func mutate(r *rand.Rand) func(b []byte) []byte {
	return func(b []byte) []byte {
		if len(b) == 0 {
			return b
		}
		switch r.IntN(4) {
		case 0:
			return b[:r.IntN(len(b))+1]
		case 1:
			return append(b, byte(r.Uint32()))
		default:
			for range 1 + r.IntN(4) {
				b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			}
			return b
		}
	}
}

// hintHead is what stands before the boxes of a hint: magic, epoch, check value, count.
const hintHead = 8 + 4 + 32 + 2

// unledgered has the newest hint lead to an altered ledger. One as short as that of a siege
// stands in the hint itself, and who reads it there asks for no other; so it is taken out.
func (s *siege) unledgered(r *rand.Rand) (end func()) {
	newest := s.newestOf(r, "k", 1)
	if len(newest) == 0 {
		return nothing // another attack was there
	}
	hint, object := newest[0], s.object(newest[0])
	sealed, err := chain.ParseHint(object)
	if err != nil {
		return nothing
	}
	k, err := sealed.Unbox(s.volume, s.identity)
	if err != nil {
		return nothing
	}
	head := hintHead + sealed.Boxes()*identity.BoxSize
	content, tail, err := crypt.Open(k, s.volume, crypt.TypeHint, object[head:])
	if err != nil {
		return nothing
	}
	// Slot, commit and fold; the ledger's name, size and head; then itself, after its length.
	const name, size, inline = 8 + 32 + 40, 8 + 32 + 40 + 32, 8 + 32 + 40 + 32 + 8 + 32
	n := int(binary.BigEndian.Uint32(content[inline:]))
	altered, called := s.sealNamed(crypt.TypeLedger, tail.Epoch(), mutate(r)(bytes.Clone(content[inline+4:][:n])))
	if altered == nil {
		return nothing
	}
	s.plant(chain.LedgerName(s.volume, called), altered)
	leads := append(bytes.Clone(content[:inline]), 0, 0, 0, 0)
	copy(leads[name:], called[:])
	binary.BigEndian.PutUint64(leads[size:], uint64(len(altered)))
	b := s.seal(crypt.TypeHint, tail.Epoch(), append(leads, content[inline+4+n:]...))
	if b == nil {
		return nothing
	}
	return s.store.Spoil(hint, append(object[:head:head], b...))
}

// altering puts altered objects in the place of some that pick takes.
func altering(pick func(s *siege, r *rand.Rand, kinds string, n int) []string, kinds string, n int) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		var ends []func()
		for _, name := range pick(s, r, kinds, n) {
			if b := s.resealed(name, mutate(r)); b != nil {
				ends = append(ends, s.store.Spoil(name, b))
			}
		}
		return all(ends)
	}
}

// forge has the thief commit a file that nobody wrote, on the head of st.
func (s *siege) forge(st *chain.State, r *rand.Rand) {
	ref := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(s.stolen.no, 1<<30)}
	name := fmt.Appendf(nil, "forged-%d", r.IntN(1000))
	n := &meta.Inode{Kind: meta.Dir, Perm: 0o755, Nlink: 2, Parent: meta.RootRef}
	var b meta.Builder
	b.Add(&meta.Batch{Puts: []meta.KV{{Key: meta.DirentKey(meta.Root, name), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: meta.Dir})}}})
	b.Add(&meta.Batch{Puts: []meta.KV{{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, n)}}})
	first := st.LastOp[s.stolen.no] + 1
	c, err := st.Build(s.head()+1, s.stolen.device, s.stolen.no, time.Now(), chain.Content{First: first, Last: first, Batch: b.Batch()})
	if err != nil {
		s.failed(err)
		return
	}
	s.plant(chain.SlotName(s.volume, c.Slot), c.Object)
}
