package meta

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// Names knows where the directories of one state are, and what else lies in another
// directory than the one in which it was made: about 100 bytes for each, and none for
// all other files. Inodes do not know their names. It is not safe for concurrent use.
type Names struct {
	dirs map[Ino]dirAt
	away map[Ino][]At
}

// dirAt is where a directory is.
type dirAt struct {
	At
	home Ino
}

// At is a name in a directory.
type At struct {
	Dir  Ino
	Name string
}

// NewNames returns an index that knows no name but the root's.
func NewNames() *Names { return &Names{dirs: map[Ino]dirAt{}, away: map[Ino][]At{}} }

// A Look runs fn on a state, and again as often as something that it read was not near.
type Look func(fn func(Reader) error) error

// Add takes over all names of a state. fn, if not nil, is told each.
func (x *Names) Add(look Look, fn func(at At, d Dirent)) error {
	return EachName(look, prefixRange(prefixDirent), func(at At, d Dirent) {
		x.Put(at, d)
		if fn != nil {
			fn(at, d)
		}
	})
}

// Put notes that a name stands for d.
func (x *Names) Put(at At, d Dirent) {
	switch {
	case d.Kind == Dir:
		x.dirs[d.Ref.Ino] = dirAt{at, d.Ref.Home}
	case at.Dir != d.Ref.Home && !slices.Contains(x.away[d.Ref.Ino], at):
		x.away[d.Ref.Ino] = append(x.away[d.Ref.Ino], at)
	}
}

// Drop notes that a name stands for d no more.
func (x *Names) Drop(at At, d Dirent) {
	switch {
	case d.Kind == Dir:
		if x.dirs[d.Ref.Ino].At == at {
			delete(x.dirs, d.Ref.Ino)
		}
	case at.Dir != d.Ref.Home:
		left := slices.DeleteFunc(slices.Clone(x.away[d.Ref.Ino]), func(a At) bool { return a == at })
		if len(left) > 0 {
			x.away[d.Ref.Ino] = left
		} else {
			delete(x.away, d.Ref.Ino)
		}
	}
}

// Away are the names that a file has outside of the directory in which it was made.
func (x *Names) Away(ino Ino) []At { return slices.Clone(x.away[ino]) }

// Directory is the name of a directory; false: it has none, or is none.
func (x *Names) Directory(ino Ino) (At, bool) {
	at, ok := x.dirs[ino]
	return at.At, ok
}

// Ref addresses a directory; false: there is none of that number.
func (x *Names) Ref(ino Ino) (Ref, bool) {
	if ino == Root {
		return RootRef, true
	}
	at, ok := x.dirs[ino]
	return Ref{at.home, ino}, ok
}

// Way are the directories from dir up to the root, dir first and the root last; where
// the way does not lead there the root is missing.
func (x *Names) Way(dir Ino) []Ino {
	way := []Ino{dir}
	for dir != Root && len(way) < maxDepth {
		at, ok := x.dirs[dir]
		if !ok {
			break
		}
		dir = at.Dir
		way = append(way, dir)
	}
	return way
}

// Path is the path of a name, or for an empty one that of its directory. What does not
// lead to the root begins with "?".
func (x *Names) Path(at At) string {
	way := x.Way(at.Dir)
	var b strings.Builder
	if way[len(way)-1] != Root {
		b.WriteByte('?')
	}
	for _, ino := range slices.Backward(way) {
		if d, ok := x.dirs[ino]; ok {
			b.WriteString("/" + d.Name)
		}
	}
	if at.Name != "" {
		b.WriteString("/" + at.Name)
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// namesPage is how many names are looked at in one go.
const namesPage = 20_000

// EachName calls fn for the names in a range of keys, each once, in their order. A part
// that is not near is waited for there, and not begun anew.
func EachName(look Look, in Range, fn func(at At, d Dirent)) error {
	from := slices.Clone(in.From)
	for more := true; more; {
		var bad error
		err := look(func(r Reader) error {
			more, bad = false, nil
			n := 0
			return r.Scan(bytes.Clone(from), in.To, func(k, v []byte) bool {
				from = append(append(from[:0], k...), 0)
				dir, name, err := ParseDirentKey(k)
				var d Dirent
				if err == nil {
					d, err = DecodeDirent(v)
				}
				if err != nil {
					bad = err
					return false
				}
				fn(At{dir, string(name)}, d)
				n++
				more = n == namesPage
				return !more
			})
		})
		if err = errors.Join(err, bad); err != nil {
			return err
		}
	}
	return nil
}
