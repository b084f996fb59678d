package adversary

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// Operator is what whoever runs a store can do to it, whatever the interface offers.
type Operator interface {
	Names() []string
	Overwrite(name string, data []byte)
}

// Call is a request on its way to the store; one of its pointers to functions answers it.
type Call struct {
	Who  string // the machine
	Op   string // put, get, list, delete
	Name string // for a list, the prefix
	Data []byte // put; not to be changed
	Off  int64  // get
	Len  int64  // get
	Most int    // list
}

func (c Call) String() string { return fmt.Sprintf("%s %s %d %d", c.Op, c.Name, c.Off, c.Len) }

// Answer is what the machine is told.
type Answer struct {
	Data  []byte
	Infos []store.Info
	Err   error
}

// Lie answers a call in the store's stead, or passes it on with do. bit says that the
// machine was told something else than the truth.
type Lie func(ctx context.Context, c Call, do func() Answer) (a Answer, bit bool)

// Store is the malicious store. Its zero value cannot be used; see NewStore.
type Store struct {
	Truth *mem.Bucket // what lies there

	mu    sync.Mutex // guards the fields below; not held over a lie
	lies  map[int]Lie
	next  int
	spoil map[string][]byte      // what was put, by the names of objects that are something else now; nil: nothing
	junk  map[string]bool        // names that were free, and under which it put what is nobody's
	made  map[[32]byte]bool      // hashes of the commits that the machines made
	shown map[string]*mem.Bucket // what a machine is shown instead of the truth
	bites map[string][]Call      // by machine: what it was told that is untrue
	twice bool                   // two commits of machines were kept under one name, one after the other

	// alike says that an object, whole, tells a machine what another one does; nil: none does.
	alike func(name string, was, now []byte) bool
}

// NewStore returns a store that is honest yet.
func NewStore() *Store {
	return &Store{Truth: mem.New(), lies: map[int]Lie{}, spoil: map[string][]byte{}, junk: map[string]bool{}, made: map[[32]byte]bool{}, shown: map[string]*mem.Bucket{}, bites: map[string][]Call{}}
}

// Tell adds a lie until the function that it returns is called. Of several the first
// that bites counts.
func (s *Store) Tell(l Lie) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	s.next++
	s.lies[id] = l
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.lies, id)
	}
}

// Show lets a machine see another store, and write to it; nil: the truth.
func (s *Store) Show(who string, b *mem.Bucket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == nil {
		delete(s.shown, who)
	} else {
		s.shown[who] = b
	}
}

// genuine tells whether a machine made a commit.
func (s *Store) genuine(object []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[sha256.Sum256(object)]
}

// believe takes what lies there for the truth: junk that was put under free names stays.
func (s *Store) believe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.spoil)
}

// Twice tells whether the store kept two commits of machines under one name, one after the
// other: who made the one that it does not show any more has another history.
func (s *Store) Twice() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.twice
}

// showing tells whether a machine is shown something else than the truth.
func (s *Store) showing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.shown) > 0
}

// Spoil puts other bytes under a name, whether it is taken or not; nil bytes take the
// object away. The function that it returns undoes that; but what a machine put there in
// good faith is not given up for junk, and where it stands against another's, see Twice.
func (s *Store) Spoil(name string, data []byte) (end func()) {
	was, err := s.Truth.Get(context.Background(), name, 0, -1)
	there := err == nil
	s.put(name, data)
	s.mu.Lock()
	_, before := s.spoil[name] // by another attack: what that found there is the truth
	if !before {
		s.spoil[name] = was
	}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		if !before {
			delete(s.spoil, name)
		}
		s.mu.Unlock()
		now, err := s.Truth.Get(context.Background(), name, 0, -1)
		ours := err == nil && s.genuine(now) && !bytes.Equal(now, was) && !bytes.Equal(now, data)
		switch {
		case there && ours && !s.genuine(was):
		case there:
			s.mu.Lock()
			s.twice = s.twice || ours
			s.mu.Unlock()
			s.put(name, was)
		case err == nil && bytes.Equal(now, data):
			s.put(name, nil)
		}
	}
}

func (s *Store) put(name string, data []byte) {
	if data == nil {
		_ = s.Truth.Delete(context.Background(), name)
		return
	}
	s.Truth.Overwrite(name, data)
}

// Bites is how often a machine was told something untrue so far.
func (s *Store) Bites(who string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bites[who])
}

// told are all who were told something untrue.
func (s *Store) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.bites))
}

// Since are the requests, from the one with that number on, that were answered untruly.
func (s *Store) Since(who string, n int) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bites[who][min(n, len(s.bites[who])):])
}

// bit notes that a machine was told something untrue.
func (s *Store) bit(who string, c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Data = nil
	s.bites[who] = append(s.bites[who], c)
}

// untrue tells whether an answer is another one than that of a store which has was, nil is
// nothing, under the name: of an object that is something else now, a part may be true. What
// was junk before tells nobody anything, whatever it is now.
func (s *Store) untrue(c Call, was []byte, a Answer) bool {
	if was == nil {
		return !errors.Is(a.Err, store.ErrNotExist)
	}
	s.mu.Lock()
	junk := s.junk[c.Name]
	s.mu.Unlock()
	if junk && a.Err == nil {
		return false
	}
	from, to, err := store.Range(int64(len(was)), c.Off, c.Len)
	if err != nil || a.Err != nil {
		return (err == nil) != (a.Err == nil)
	}
	whole := c.Off == 0 && s.alike != nil && s.alike(c.Name, was, a.Data)
	return !whole && !bytes.Equal(a.Data, was[from:to])
}

// hides tells whether an answer lacks what another store, that is shown to somebody else,
// has.
func hides(c Call, a, other Answer) bool {
	switch c.Op {
	case "get":
		return other.Err == nil && (a.Err != nil || !bytes.Equal(a.Data, other.Data))
	case "list":
		names := map[string]bool{}
		for _, i := range append(slices.Clone(a.Infos), other.Infos...) {
			names[i.Name] = true
		}
		both := slices.Sorted(maps.Keys(names))
		if most := cmp.Or(c.Most, store.DefaultList); len(both) > most {
			both = both[:most]
		}
		return len(both) != len(a.Infos) || slices.ContainsFunc(a.Infos, func(i store.Info) bool { return !slices.Contains(both, i.Name) })
	}
	return false
}

// Face is the store as one machine sees it.
func (s *Store) Face(who string) store.Bucket { return face{s, who, who} }

// guest is the store as one machine sees it, for another one, to which what that is told
// is put down.
func (s *Store) guest(who, name string) store.Bucket { return face{s, who, name} }

type face struct {
	s    *Store
	who  string
	name string // of who is told what who is told
}

func (f face) call(ctx context.Context, c Call, do func(b *mem.Bucket) Answer) Answer {
	c.Who = f.who
	f.s.mu.Lock()
	var order []int
	for id := range f.s.lies {
		order = append(order, id)
	}
	slices.Sort(order)
	var lies []Lie
	for _, id := range order {
		lies = append(lies, f.s.lies[id])
	}
	if c.Op == "put" && kind(c.Name) == "l" {
		f.s.made[sha256.Sum256(c.Data)] = true
	}
	b := f.s.Truth
	elsewhere := f.s.shown[f.who]
	if elsewhere != nil {
		b = elsewhere
	}
	var others []*mem.Bucket // what other machines are shown than one that does not see the truth
	if elsewhere != nil {
		others = append(others, f.s.Truth)
		for _, o := range f.s.shown {
			if o != elsewhere {
				others = append(others, o)
			}
		}
	}
	was, spoilt := f.s.spoil[c.Name]
	f.s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Answer{Err: err}
	}
	for _, l := range lies {
		if a, bit := l(ctx, c, func() Answer { return do(b) }); bit {
			f.s.bit(f.name, c)
			return a
		}
	}
	a := do(b)
	switch {
	case a.Err != nil && ctx.Err() != nil: // it is told nothing
	case elsewhere == nil && c.Op == "get" && spoilt && f.s.untrue(c, was, a),
		(c.Op == "get" || c.Op == "list") && slices.ContainsFunc(others, func(o *mem.Bucket) bool { return hides(c, a, do(o)) }):
		f.s.bit(f.name, c)
	}
	return a
}

func (f face) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	return f.call(ctx, Call{Op: "put", Name: name, Data: data}, func(b *mem.Bucket) Answer {
		return Answer{Err: b.PutIfAbsent(ctx, name, data)}
	}).Err
}

func (f face) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	a := f.call(ctx, Call{Op: "get", Name: name, Off: off, Len: length}, func(b *mem.Bucket) Answer {
		data, err := b.Get(ctx, name, off, length)
		return Answer{Data: data, Err: err}
	})
	return a.Data, a.Err
}

func (f face) List(ctx context.Context, prefix, after string, most int) ([]store.Info, error) {
	a := f.call(ctx, Call{Op: "list", Name: prefix, Most: most}, func(b *mem.Bucket) Answer {
		infos, err := b.List(ctx, prefix, after, most)
		return Answer{Infos: infos, Err: err}
	})
	return a.Infos, a.Err
}

func (f face) Delete(ctx context.Context, name string) error {
	return f.call(ctx, Call{Op: "delete", Name: name}, func(b *mem.Bucket) Answer {
		return Answer{Err: b.Delete(ctx, name)}
	}).Err
}

// adopt makes another bucket the truth.
func (s *Store) adopt(b *mem.Bucket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Truth = b
}
