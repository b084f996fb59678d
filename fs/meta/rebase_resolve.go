package meta

import (
	"bytes"
	"errors"
	"math"
)

// resolve says what stands in the place of a change that was meant, and that now
// refuses as c with why: steps that come first, and what is tried then; nil: nothing
// more.
func (r *Rebase) resolve(meant, c Change, why error, now Reader, at Stamp) (steps []Change, again Change, err error) {
	s := &solver{r, r.home(contentOf(meant)), now, at}
	if r.tentative(at) {
		switch o := c.(type) {
		case *Make:
			if errors.Is(why, ErrExist) && o.Kind == Dir {
				// Theirs will do for whoever has found ours already.
				if _, _, err := s.make(o, why); err != nil {
					return nil, nil, err
				}
			}
			return r.refuse(why, at)
		case *Link, *Rename:
			return r.refuse(why, at)
		}
	}
	switch o := c.(type) {
	case *Make:
		return s.make(o, why)
	case *Link:
		return s.link(o, why)
	case *Unlink:
		return s.removal(o.Ref, o.Parent, o.Name)
	case *Rmdir:
		return s.removal(o.Ref, o.Parent, o.Name)
	case *Rename:
		return s.rename(o, why)
	case *Write, *Truncate, *PunchHole, *Clone:
		return s.content(c)
	case *Mend:
		return nil, nil, nil // what was to be mended is not so any more
	case *Setxattr:
		if o.Flags != 0 && !errors.Is(why, ErrNotExist) {
			n := *o
			n.Flags = 0
			return nil, &n, nil
		}
		return s.attributes(o.Ref)
	case *Removexattr:
		if errors.Is(why, ErrNoAttr) {
			return nil, nil, nil
		}
		return s.attributes(o.Ref)
	case *Setattr:
		return s.attributes(o.Ref)
	case *restore:
		return s.again(o)
	}
	return nil, nil, nil // what it says of the volume is so already, or is another's to say
}

// refuse does nothing in the place of a change whose program will hear of it.
func (r *Rebase) refuse(why error, at Stamp) ([]Change, Change, error) {
	r.refused = append(r.refused, Refusal{at.No, why})
	return nil, nil, nil
}

// solver is a Rebase at one change.
type solver struct {
	*Rebase
	meant Ref // the file whose content the change was for
	now   Reader
	at    Stamp
}

// record says what became of the change, in one step; in none where its operation has as
// many records as there are numbers.
func (s *solver) record(c Conflict) []Change {
	c.Time = s.at.Time
	for _, ref := range []*Ref{&c.Ours, &c.Theirs, &c.Parent} {
		if !ref.zeroOrValid() {
			*ref = Ref{} // of what a broken writer made: no journal takes it
		}
	}
	c.Name, c.As = bytes.Clone(c.Name), bytes.Clone(c.As)
	version := s.at.Version()
	records := s.learn().records
	n := records[version]
	if n > math.MaxUint8 {
		return nil
	}
	records[version] = n + 1
	return []Change{&record{c, uint8(n)}}
}

// there tells whether an inode is there now.
func (s *solver) there(ref Ref) (n *Inode, err error) { return absent(GetInode(s.now, ref)) }

// named is what a name stands for now; false: nothing.
func (s *solver) named(dir Ref, name []byte) (Dirent, bool, error) {
	d, err := Lookup(s.now, dir.Ino, name)
	if errors.Is(err, ErrNotExist) {
		return d, false, nil
	}
	return d, err == nil, err
}

// attributes gives up other attributes of what they deleted.
func (s *solver) attributes(ref Ref) ([]Change, Change, error) {
	if _, n, err := s.before(ref); err != nil || n == nil {
		return nil, nil, err
	}
	if s.learn().of[ref].written {
		return nil, nil, nil // what was written to it brings it back, with all that it had
	}
	return s.record(Conflict{Kind: ConflictLost, Ours: ref}), nil, nil
}
