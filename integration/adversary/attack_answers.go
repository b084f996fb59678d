package adversary

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/store"
)

func ctx() context.Context { return context.Background() }

// dice are draws that several machines make at once.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(max(n, 1))
}

// answers are the attacks that lie in what a machine is told, and leave what is there.
func answers() []Attack {
	return []Attack{
		{Name: "bits are flipped on the way", Quiet: again, begin: reading(1, 3, func(d *dice, b []byte) []byte {
			if len(b) > 0 {
				b[d.n(len(b))] ^= 1 << d.n(8)
			}
			return b
		})},
		{Name: "objects are cut short", Quiet: again, begin: reading(1, 3, func(d *dice, b []byte) []byte { return b[:d.n(len(b))] })},
		{Name: "objects are made longer", Quiet: again, begin: reading(1, 3, func(d *dice, b []byte) []byte { return append(b, make([]byte, 1+d.n(100))...) })},
		{Name: "segments are exchanged", Quiet: again, begin: reading(1, 1, func(d *dice, b []byte) []byte {
			const size = 64<<10 + 16
			n := len(b) / size
			if n < 2 {
				return b
			}
			i := d.n(n)
			j := (i + 1 + d.n(n-1)) % n
			x := bytes.Clone(b[i*size : (i+1)*size])
			copy(b[i*size:], b[j*size:(j+1)*size])
			copy(b[j*size:], x)
			return b
		})},
		{Name: "a segment is dropped", Quiet: again, begin: reading(1, 2, func(d *dice, b []byte) []byte {
			const size = 64<<10 + 16
			if n := len(b) / size; n > 0 {
				i := d.n(n)
				return append(b[:i*size:i*size], b[(i+1)*size:]...)
			}
			return b
		})},
		{Name: "a segment comes twice", Quiet: again, begin: reading(1, 2, func(d *dice, b []byte) []byte {
			const size = 64<<10 + 16
			if n := len(b) / size; n > 0 {
				i := d.n(n)
				return append(append(bytes.Clone(b[:i*size]), b[i*size:(i+1)*size]...), b[i*size:]...)
			}
			return b
		})},
		{Name: "zeros for everything", begin: reading(1, 1, func(_ *dice, b []byte) []byte { return make([]byte, len(b)) })},
		{Name: "zeros now and then", Quiet: again, begin: reading(1, 2, func(_ *dice, b []byte) []byte { return make([]byte, len(b)) })},
		{Name: "another part than was asked for", Quiet: again, begin: func(s *siege, r *rand.Rand) func() {
			d := &dice{r: r}
			return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
				if c.Op != "get" || d.n(2) > 0 {
					return Answer{}, false
				}
				whole := s.object(c.Name)
				a := do()
				if a.Err != nil || len(whole) <= len(a.Data) || len(a.Data) == 0 {
					return Answer{}, false
				}
				at := d.n(len(whole) - len(a.Data))
				other := bytes.Clone(whole[at : at+len(a.Data)])
				return Answer{Data: other}, !bytes.Equal(other, a.Data)
			})
		}},
		{Name: "another object of the same kind", Quiet: again, begin: swapped(true)},
		{Name: "another object of any kind", Quiet: again, begin: swapped(false)},
		{Name: "two answers in turn", Quiet: again, begin: func(s *siege, r *rand.Rand) func() {
			d := &dice{r: r}
			turn := map[string]int{}
			var mu sync.Mutex
			return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
				if c.Op != "get" {
					return Answer{}, false
				}
				mu.Lock()
				turn[c.Name]++
				odd := turn[c.Name]%2 == 1
				mu.Unlock()
				a := do()
				if !odd || a.Err != nil || len(a.Data) == 0 {
					return Answer{}, false
				}
				a.Data = bytes.Clone(a.Data)
				a.Data[d.n(len(a.Data))] ^= 0x10
				return a, true
			})
		}},
		{Name: "objects are said to be missing", Quiet: again, begin: func(s *siege, r *rand.Rand) func() {
			d := &dice{r: r}
			return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
				if c.Op != "get" || d.n(3) > 0 {
					return Answer{}, false
				}
				return Answer{Err: store.ErrNotExist}, do().Err == nil
			})
		}},
		{Name: "the store refuses", Quiet: fails, begin: failing(3, store.ErrDenied)},
		{Name: "the store does not answer", Quiet: fails, begin: failing(3, store.ErrUnavailable)},
		{Name: "the store is full", Quiet: fails, Unshown: fails, begin: failing(4, store.ErrFull)},
		{Name: "an error is said and the object kept", Quiet: fails, Unshown: fails, begin: putting(func(d *dice, c Call, do func() Answer) (Answer, bool) {
			if d.n(2) > 0 {
				return Answer{}, false
			}
			do()
			return Answer{Err: store.ErrUnavailable}, true
		})},
		{Name: "a taken name is said of every put", Unlogged: same, Unshown: same, begin: putting(func(d *dice, c Call, do func() Answer) (Answer, bool) {
			do()
			return Answer{Err: store.ErrExist}, true
		})},
		{Name: "a taken name is said and nothing kept", Quiet: fails, Unshown: fails, begin: putting(func(d *dice, c Call, do func() Answer) (Answer, bool) {
			if d.n(2) > 0 {
				return Answer{}, false
			}
			return Answer{Err: store.ErrExist}, true
		})},
		{Name: "what is put comes twice", Unlogged: same, Unshown: same, begin: putting(func(_ *dice, c Call, do func() Answer) (Answer, bool) {
			do()
			return do(), true
		})},
		{Name: "packs are acknowledged and not kept", Quiet: fails, begin: dropping("p")},
		{Name: "hints and tables are acknowledged and not kept", Quiet: fails, begin: dropping("ktab")},
		{Name: "commits are acknowledged and not kept", Quiet: fails, Splits: true, begin: dropping("l")},
		{Name: "a put overwrites, and is told yes", Unlogged: alone, Unshown: alone, Splits: true, begin: overwriting},
		{Name: "commits are exchanged as they come", Quiet: fails, begin: func(s *siege, r *rand.Rand) func() {
			// 412-and-swap: the machine is told that it lost, and shown an older commit in
			// the place of its own.
			return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
				if c.Op != "put" || kind(c.Name) != "l" {
					return Answer{}, false
				}
				old := s.names("l")
				if len(old) == 0 {
					return Answer{}, false
				}
				if s.store.Truth.PutIfAbsent(ctx, c.Name, s.object(old[r.IntN(len(old))])) != nil {
					return Answer{}, false // another's lies there, who was told so
				}
				return Answer{Err: store.ErrExist}, true
			})
		}},
		{Name: "the newest is not listed", Quiet: idle, begin: listing(func(_ *dice, infos []store.Info) []store.Info { return infos[min(1, len(infos)):] })},
		{Name: "nothing is listed", Quiet: idle, begin: listing(func(*dice, []store.Info) []store.Info { return nil })},
		{Name: "a listing is out of order", Quiet: idle, begin: listing(func(d *dice, infos []store.Info) []store.Info {
			for i := range infos {
				j := d.n(i + 1)
				infos[i], infos[j] = infos[j], infos[i]
			}
			return infos
		})},
		{Name: "a listing has everything twice", Quiet: idle, begin: listing(func(_ *dice, infos []store.Info) []store.Info {
			var out []store.Info
			for _, i := range infos {
				out = append(out, i, i)
			}
			return out
		})},
		{Name: "a listing has names that are none", Quiet: idle, begin: listing(func(d *dice, infos []store.Info) []store.Info {
			for i := range infos {
				if name := []byte(infos[i].Name); d.n(2) == 0 && len(name) > 0 {
					name[d.n(len(name))] ^= byte(1 + d.n(255))
					infos[i].Name = string(name)
				}
			}
			return append(infos, store.Info{Name: ""}, store.Info{Name: "../../etc/passwd", Size: -1}, store.Info{Name: "v0/s/", Size: 1 << 62})
		})},
		{Name: "a listing gives wrong sizes", Unlogged: "a mount believes no size that is listed", Unshown: "a mount believes no size that is listed", begin: listing(func(d *dice, infos []store.Info) []store.Info {
			for i := range infos {
				infos[i].Size = []int64{-1, 0, 1, 1 << 20, 1 << 40, 1<<63 - 1}[d.n(6)]
			}
			return infos
		})},
		{Name: "the newest commits are hidden", Quiet: idle, begin: func(s *siege, r *rand.Rand) func() {
			// Freeze: whoever reads is kept at what was there. It cannot be told from a
			// drive that nobody writes to, until one writes itself.
			there := map[string]bool{}
			for _, n := range s.store.Truth.Names() {
				there[n] = true
			}
			return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
				switch {
				case c.Op == "get" && (kind(c.Name) == "l" || kind(c.Name) == "k") && !there[c.Name]:
					return Answer{Err: store.ErrNotExist}, do().Err == nil
				case c.Op == "list":
					a := do()
					n := len(a.Infos)
					var infos []store.Info
					for _, i := range a.Infos {
						if k := kind(i.Name); there[i.Name] || k != "l" && k != "k" {
							infos = append(infos, i)
						}
					}
					a.Infos = infos
					return a, len(infos) < n
				}
				return Answer{}, false
			})
		}},
	}
}

// reading changes one of several answers to a get.
func reading(of, in int, change func(d *dice, b []byte) []byte) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		d := &dice{r: r}
		return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
			if c.Op != "get" || d.n(in) >= of {
				return Answer{}, false
			}
			a := do()
			if a.Err != nil {
				return a, false
			}
			was := bytes.Clone(a.Data)
			a.Data = change(d, a.Data)
			return a, !bytes.Equal(a.Data, was)
		})
	}
}

// swapped answers gets with another object.
func swapped(same bool) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		d := &dice{r: r}
		return s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
			if c.Op != "get" || d.n(2) > 0 {
				return Answer{}, false
			}
			kinds := "hlkabtp"
			if same {
				kinds = kind(c.Name)
			}
			all := s.names(kinds)
			if len(all) == 0 {
				return Answer{}, false
			}
			other := all[d.n(len(all))]
			if other == c.Name {
				return Answer{}, false
			}
			data, err := s.store.Truth.Get(ctx, other, c.Off, c.Len)
			now := do()
			return Answer{Data: data, Err: err}, (err == nil) != (now.Err == nil) || !bytes.Equal(data, now.Data)
		})
	}
}

// failing answers one of some calls with an error, and does nothing.
func failing(of int, err error) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		d := &dice{r: r}
		return s.store.Tell(func(_ context.Context, c Call, do func() Answer) (Answer, bool) {
			if errors.Is(err, store.ErrFull) && c.Op != "put" || d.n(of) > 0 {
				return Answer{}, false
			}
			return Answer{Err: err}, true
		})
	}
}

// putting answers puts.
func putting(how func(d *dice, c Call, do func() Answer) (Answer, bool)) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		d := &dice{r: r}
		return s.store.Tell(func(_ context.Context, c Call, do func() Answer) (Answer, bool) {
			if c.Op != "put" {
				return Answer{}, false
			}
			return how(d, c, do)
		})
	}
}

// dropping acknowledges puts of some kinds, and keeps them to itself until it is honest
// again.
func dropping(kinds string) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		var mu sync.Mutex
		held, twice := map[string][]byte{}, false
		end := s.store.Tell(func(_ context.Context, c Call, do func() Answer) (Answer, bool) {
			if c.Op != "put" || !bytes.Contains([]byte(kinds), []byte(kind(c.Name))) || kind(c.Name) == "" {
				return Answer{}, false
			}
			mu.Lock()
			defer mu.Unlock()
			if s.object(c.Name) != nil {
				return Answer{}, false
			}
			if held[c.Name] == nil {
				held[c.Name] = bytes.Clone(c.Data)
			}
			// Two were told that the name is theirs.
			twice = twice || !bytes.Equal(held[c.Name], c.Data)
			return Answer{}, true
		})
		return func() {
			end()
			mu.Lock()
			defer mu.Unlock()
			s.split = s.split || twice
			for name, data := range held {
				if err := s.store.Truth.PutIfAbsent(ctx(), name, data); err != nil && !bytes.Equal(s.object(name), data) {
					s.split = true // somebody else was told that the name is his
				}
			}
		}
	}
}

// overwriting is a store that was honest for as long as it was probed, and then keeps the
// last that was put under a name. It hides from each machine what the other commits, or
// they would meet under no name.
func overwriting(s *siege, _ *rand.Rand) func() {
	var mu sync.Mutex
	twice := false
	known, there := map[string]map[string]bool{}, map[string]bool{} // by machine: what it put
	for _, m := range s.machines {
		known[m.name] = map[string]bool{}
	}
	for _, n := range s.store.Truth.Names() {
		there[n] = true
	}
	hidden := func(c Call, name string) bool {
		k := kind(name)
		return (k == "l" || k == "k") && !there[name] && !known[c.Who][name]
	}
	end := s.store.Tell(func(ctx context.Context, c Call, do func() Answer) (Answer, bool) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case c.Op == "put":
			was := s.object(c.Name)
			if known[c.Who] != nil {
				known[c.Who][c.Name] = true
			}
			if was == nil || bytes.Equal(was, c.Data) {
				return Answer{}, false
			}
			s.store.Truth.Overwrite(c.Name, c.Data)
			twice = twice || kind(c.Name) == "l" && s.store.genuine(was)
			return Answer{}, true
		case c.Op == "get" && hidden(c, c.Name):
			return Answer{Err: store.ErrNotExist}, s.object(c.Name) != nil
		case c.Op == "list":
			a := do()
			n := len(a.Infos)
			a.Infos = slices.DeleteFunc(a.Infos, func(i store.Info) bool { return hidden(c, i.Name) })
			return a, len(a.Infos) < n
		}
		return Answer{}, false
	})
	return func() {
		end()
		mu.Lock()
		defer mu.Unlock()
		s.split = s.split || twice
	}
}

// listing changes what is listed.
func listing(change func(d *dice, infos []store.Info) []store.Info) func(s *siege, r *rand.Rand) func() {
	return func(s *siege, r *rand.Rand) func() {
		d := &dice{r: r}
		return s.store.Tell(func(_ context.Context, c Call, do func() Answer) (Answer, bool) {
			if c.Op != "list" {
				return Answer{}, false
			}
			a := do()
			was := slices.Clone(a.Infos)
			a.Infos = change(d, a.Infos)
			return a, !slices.Equal(a.Infos, was)
		})
	}
}
