package meta

import (
	"encoding/binary"
	"slices"
)

// Conflict is the record of a change that could not be made as it was meant, since
// another machine had changed the same. It stands under the version of the operation
// that made the change (Stamp.Version) and a number until a person has looked at it;
// nothing depends on it.
type Conflict struct {
	Kind   ConflictKind
	Ours   Ref // what the change was for, or what became of it; the zero Ref: nothing
	Theirs Ref // what stands where it was to go; the zero Ref: nothing
	Parent Ref // the directory in which it was to be
	Name   []byte
	As     []byte // its name in that directory now; empty: as meant, or none
	Time   Time   // when the change was made
}

// ConflictKind says what became of a change.
type ConflictKind uint8

// The kinds, as they are stored.
const (
	// ConflictCopy: both wrote the file. Ours is a file of its own, named As.
	ConflictCopy ConflictKind = 1
	// ConflictName: both gave the name to something. Ours is named As.
	ConflictName ConflictKind = 2
	// ConflictRevived: they deleted what we changed. It is there again.
	ConflictRevived ConflictKind = 3
	// ConflictKept: they changed, renamed or replaced what we deleted. It stays.
	ConflictKept ConflictKind = 4
	// ConflictMoved: they moved what we moved, or its place is not there any more. It
	// stays where they put it.
	ConflictMoved ConflictKind = 5
	// ConflictCycle: our move and theirs together would put a directory into itself.
	// Ours is not made.
	ConflictCycle ConflictKind = 6
	// ConflictLost: they deleted what we gave other attributes. Where ours is still there:
	// they have leased it, or made again it had not room for all that it had.
	ConflictLost ConflictKind = 7

	conflictKinds = ConflictLost
)

// ConflictID names a record: the version that its operation gives, and which of that
// operation's records it is, from 0.
type ConflictID struct {
	Version uint64
	No      uint8
}

// ConflictKey is the key of a record.
func ConflictKey(id ConflictID) []byte {
	return append(appendField(make([]byte, 0, fieldLen+1), prefixConflict, id.Version), id.No)
}

// ParseConflictKey takes a ConflictKey apart. The version has a device and a number.
func ParseConflictKey(k []byte) (ConflictID, error) {
	if len(k) != fieldLen+1 || k[0] != prefixConflict {
		return ConflictID{}, ErrMalformed
	}
	id := ConflictID{binary.BigEndian.Uint64(k[1:]), k[fieldLen]}
	if WrittenBy(id.Version) == 0 || id.Version&uint64(MaxOpNo) == 0 {
		return ConflictID{}, ErrMalformed
	}
	return id, nil
}

// Conflicts calls fn for the records of all devices, by device and operation, until it
// returns false.
func Conflicts(r Reader, fn func(id ConflictID, c Conflict) bool) error {
	var bad error
	in := prefixRange(prefixConflict)
	err := r.Scan(in.From, in.To, func(k, v []byte) bool {
		id, err := ParseConflictKey(k)
		var c Conflict
		if err == nil {
			c, err = DecodeConflict(v)
		}
		if err != nil {
			bad = err
			return false
		}
		return fn(id, c)
	})
	if err == nil {
		err = bad
	}
	return err
}

// AppendConflict appends the encoding of a good record.
func AppendConflict(dst []byte, c Conflict) []byte {
	dst = appendRef(appendRef(append(dst, byte(c.Kind)), c.Ours), c.Theirs)
	dst = appendBytes(appendRef(dst, c.Parent), c.Name)
	return appendTime(appendBytes(dst, c.As), c.Time)
}

// DecodeConflict reads what AppendConflict wrote, or answers ErrMalformed.
func DecodeConflict(b []byte) (Conflict, error) {
	d := decoder{b: b}
	c := Conflict{Kind: ConflictKind(d.u8()), Ours: d.ref(), Theirs: d.ref(), Parent: d.ref()}
	c.Name, c.As, c.Time = slices.Clone(d.bytes(MaxName)), slices.Clone(d.bytes(MaxName)), d.time()
	d.must(c.check())
	if err := d.done(); err != nil {
		return Conflict{}, err
	}
	return c, nil
}

func (c *Conflict) check() bool {
	return 0 < c.Kind && c.Kind <= conflictKinds && c.Ours.zeroOrValid() && c.Theirs.zeroOrValid() && c.Parent.zeroOrValid() &&
		(len(c.Name) == 0 || CheckName(c.Name) == nil) && (len(c.As) == 0 || CheckName(c.As) == nil) && c.Time.valid()
}

func (r Ref) zeroOrValid() bool { return r == Ref{} || r.valid() }
