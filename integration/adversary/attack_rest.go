package adversary

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// rest are the attacks on what lies there. What is put under a name that was free stays,
// since an honest store takes nothing away; what was changed is as it was in the end.
func rest() []Attack {
	return []Attack{
		{Name: "objects are damaged", begin: spoiling("lktap", 4, func(r *rand.Rand, b []byte) []byte {
			for range 1 + r.IntN(3) {
				if len(b) > 0 {
					b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
				}
			}
			return b
		})},
		{Name: "objects are truncated", begin: spoiling("lktap", 4, func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b)+1)] })},
		{Name: "objects are deleted", Quiet: idle, begin: spoiling("ktap", 4, func(*rand.Rand, []byte) []byte { return nil })},
		{Name: "commits are deleted", Quiet: idle, begin: func(s *siege, r *rand.Rand) func() {
			var ends []func()
			for _, name := range s.newestOf(r, "l", 3) {
				ends = append(ends, s.store.Spoil(name, nil))
			}
			return all(ends)
		}},
		{Name: "every pack is deleted", Quiet: idle, begin: spoiling("p", 1000, func(*rand.Rand, []byte) []byte { return nil })},
		{Name: "the tail's header is changed", begin: spoiling("lktap", 6, func(r *rand.Rand, b []byte) []byte {
			const header = 76 // magic, suite, type, epoch, salt, commitment: where a downgrade would be
			if n := len(b); n >= header {
				b[n-header+r.IntN(12)] ^= byte(1 + r.IntN(255))
			}
			return b
		})},
		{Name: "bombs in the place of objects", begin: spoiling("lktaph", 4, func(r *rand.Rand, b []byte) []byte {
			switch r.IntN(4) {
			case 0:
				return make([]byte, 3<<20)
			case 1:
				return bytes.Repeat([]byte{0xff}, 1<<20+r.IntN(1<<20))
			case 2: // all counts are as large as they can be
				for i := max(0, len(b)-140); i < len(b)-64; i++ {
					b[i] = 0xff
				}
				return b
			}
			if len(b) > 8 {
				binary.BigEndian.PutUint64(b[r.IntN(len(b)-8):], math.MaxUint64>>r.IntN(2))
			}
			return b
		})},
		{Name: "objects change places", begin: func(s *siege, r *rand.Rand) func() {
			var ends []func()
			for _, k := range []string{"l", "p", "t", "k"} {
				if two := s.newestOf(r, k, 2); len(two) == 2 {
					a, b := s.object(two[0]), s.object(two[1])
					ends = append(ends, s.store.Spoil(two[0], b), s.store.Spoil(two[1], a))
				}
			}
			return all(ends)
		}},
		{Name: "slots are squatted", begin: func(s *siege, r *rand.Rand) func() {
			for i := range 1 + r.IntN(60) {
				junk := make([]byte, r.IntN(2000))
				for j := range junk {
					junk[j] = byte(r.Uint32())
				}
				s.plant(chain.SlotName(s.volume, s.head()+1+chain.Slot(i%3)), junk)
			}
			return nothing
		}},
		{Name: "a slot far ahead is squatted", begin: func(s *siege, r *rand.Rand) func() {
			for _, far := range []chain.Slot{s.head() + 5, s.head() + 1000, 1 << 40, 1 << 63, math.MaxUint64 - 1} {
				if r.IntN(2) == 0 {
					s.plant(chain.SlotName(s.volume, far), []byte("junk"))
				}
			}
			return nothing
		}},
		{Name: "old commits lie in new slots", begin: func(s *siege, r *rand.Rand) func() {
			for _, n := range s.draw(r, "l", 3) {
				s.plant(chain.SlotName(s.volume, s.head()+1), s.object(n))
			}
			return nothing
		}},
		{Name: "objects of other kinds lie in new slots", begin: func(s *siege, r *rand.Rand) func() {
			for _, n := range s.draw(r, "ktap", 3) {
				s.plant(chain.SlotName(s.volume, s.head()+1), s.object(n))
			}
			return nothing
		}},
		{Name: "hints are injected", Quiet: idle, begin: func(s *siege, r *rand.Rand) func() {
			for i, n := range s.draw(r, "klat", 12) {
				b := s.object(n)
				if r.IntN(2) == 0 && len(b) > 0 {
					b[r.IntN(len(b))] ^= 1
				}
				slot := s.head() + chain.Slot(r.IntN(100))
				if i%3 == 0 {
					slot = chain.Slot(r.Uint64())
				}
				s.plant(chain.HintName(s.volume, slot), b)
			}
			return nothing
		}},
		{Name: "headers are injected", begin: func(s *siege, r *rand.Rand) func() {
			for i := range 1 + r.IntN(20) {
				s.plant(keyslot.ObjectName(uint64(1000+i*r.IntN(5))), s.header(r))
			}
			return nothing
		}},
		{Name: "all is rolled back for one", Quiet: idle, Splits: true, begin: rolledBack(1)},
		{Name: "all is rolled back for both", Quiet: idle, Splits: true, begin: rolledBack(2)},
		{Name: "a part is rolled back", Quiet: idle, begin: func(s *siege, r *rand.Rand) func() {
			was, kinds := s.past[r.IntN(len(s.past))], ""
			for range 20 { // until it is older in that
				kinds = []string{"k", "a", "ka", "t", "p", "h", "kah"}[r.IntN(7)]
				if s.lacks(was, kinds) {
					break
				}
				was = s.past[r.IntN(len(s.past))]
			}
			return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
				if !bytes.Contains([]byte(kinds), []byte(kind(c.Name+"/x"))) || kind(c.Name+"/x") == "" {
					return Answer{}, false
				}
				switch c.Op {
				case "get":
					data, err := was.Get(ctx, c.Name, c.Off, c.Len)
					now := do()
					return Answer{Data: data, Err: err}, (err == nil) != (now.Err == nil) || !bytes.Equal(data, now.Data)
				case "list":
					now := do()
					var infos []store.Info
					for _, i := range now.Infos {
						if _, err := was.Get(ctx, i.Name, 0, 0); err == nil {
							infos = append(infos, i)
						}
					}
					return Answer{Infos: infos}, len(infos) < len(now.Infos)
				}
				return Answer{}, false
			})
		}},
		{Name: "each is shown a store of its own", Unlogged: alone, Unshown: alone, Splits: true, begin: func(s *siege, r *rand.Rand) func() {
			if s.store.showing() {
				return nothing
			}
			before := slots(s.store.Truth)
			mine := map[string]*mem.Bucket{}
			for _, m := range s.machines {
				mine[m.name] = s.store.Truth.Clone()
				s.store.Show(m.name, mine[m.name])
			}
			return func() {
				wrote := 0
				for _, m := range s.machines {
					if slots(mine[m.name]) != before {
						wrote++
					}
				}
				s.split = s.split || wrote > 1
				// It goes on with the history of one that wrote, all packs included.
				for _, m := range s.machines {
					s.store.Show(m.name, nil)
				}
				for _, m := range s.machines {
					if wrote == 0 || slots(mine[m.name]) != before {
						s.store.adopt(mine[m.name])
						break
					}
				}
				// A commit of another that nobody was shown may come yet.
				for _, m := range s.machines {
					for _, name := range mine[m.name].Names() {
						if data, err := mine[m.name].Get(ctx(), name, 0, -1); err == nil && kind(name) == "p" {
							_ = s.store.Truth.PutIfAbsent(ctx(), name, data)
						}
					}
				}
			}
		}},
	}
}

func nothing() {}

// plant puts an object under a name, if that is free, to stay.
func (s *siege) plant(name string, data []byte) {
	if s.store.Truth.PutIfAbsent(ctx(), name, data) == nil {
		s.store.mu.Lock()
		s.store.spoil[name], s.store.junk[name] = nil, true
		s.store.mu.Unlock()
	}
}

// slots is how many have anything in them.
func slots(b *mem.Bucket) (n int) {
	for _, name := range b.Names() {
		if kind(name) == "l" {
			n++
		}
	}
	return n
}

// lacks tells whether an older state has not all objects of some kinds that lie there now.
func (s *siege) lacks(was *mem.Bucket, kinds string) bool {
	return slices.ContainsFunc(s.names(kinds), func(n string) bool {
		_, err := was.Get(ctx(), n, 0, 0)
		return err != nil
	})
}

// newest is the name of the newest slot in b.
func newest(b *mem.Bucket) string {
	for _, n := range b.Names() {
		if kind(n) == "l" {
			return n
		}
	}
	return ""
}

// spoiling changes some objects that lie there.
func spoiling(kinds string, n int, change func(r *rand.Rand, b []byte) []byte) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		var ends []func()
		for _, name := range s.draw(r, kinds, n) {
			ends = append(ends, s.store.Spoil(name, change(r, s.object(name))))
		}
		return all(ends)
	}
}

// rolledBack shows some machines what lay there earlier.
func rolledBack(n int) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		if s.store.showing() {
			return nothing
		}
		older := slices.DeleteFunc(slices.Clone(s.past), func(b *mem.Bucket) bool { return newest(b) == newest(s.store.Truth) })
		if len(older) == 0 {
			return nothing
		}
		was := older[r.IntN(len(older))].Clone()
		before, n0 := newest(was), slots(was)
		whom := r.IntN(len(s.machines))
		for i := range n {
			m := s.machines[(whom+i)%len(s.machines)]
			s.store.Show(m.name, was)
			s.older[m.name] = s.seen(before)
		}
		return func() {
			clear(s.older)
			for _, m := range s.machines {
				s.store.Show(m.name, nil)
			}
			// Who had seen no more than that wrote to it, in good faith.
			s.split = s.split || slots(was) != n0
		}
	}
}

// seen tells whether both machines saw more than the newest commit of that name, the last
// time that they met.
func (s *siege) seen(name string) bool { return s.last != "" && s.last < name } // slots count down

// header is a drive's header with other key derivations, or other slots, or junk.
func (s *siege) header(r *rand.Rand) []byte {
	names := s.names("h")
	b := s.object(names[len(names)-1])
	h, err := keyslot.Decode(b)
	if err != nil || r.IntN(4) == 0 {
		b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		return b
	}
	h.Counter = 1000 + uint64(r.IntN(100))
	for i := range h.Slots {
		body := bytes.Clone(h.Slots[i].Body)
		if len(body) < 24 {
			continue
		}
		// Salt, memory, passes and lanes stand first: lowered, absurd, or another salt.
		switch r.IntN(4) {
		case 0:
			body[r.IntN(16)] ^= 1
		case 1:
			binary.BigEndian.PutUint32(body[16:], []uint32{0, 1, 8, 1 << 10, math.MaxUint32}[r.IntN(5)])
		case 2:
			binary.BigEndian.PutUint16(body[20:], []uint16{0, 1, math.MaxUint16}[r.IntN(3)])
		case 3:
			binary.BigEndian.PutUint16(body[22:], []uint16{0, 1, math.MaxUint16}[r.IntN(3)])
		}
		h.Slots[i].Body = body
	}
	return h.Encode()
}
