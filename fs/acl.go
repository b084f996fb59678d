package fs

import (
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
)

// The attributes that hold access control lists.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default" // of a directory: what is made in it inherits it
)

// acl is a POSIX access control list: the three classes of the mode bits, and
// further users and groups, whose rights a mask bounds. The kernel enforces lists;
// to keep them in line with the mode and to hand them down is ours. See acl(5).
type acl []aclEntry

type aclEntry struct {
	tag  uint16
	perm uint16 // rwx
	id   uint32 // of further users and groups; else aclNoID
}

// The tags of entries, in the order in which they come.
const (
	aclUserObj  = 0x01 // the owner
	aclUser     = 0x02
	aclGroupObj = 0x04 // the owning group
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

const (
	aclNoID    = 1<<32 - 1
	aclVersion = 2
	aclHeader  = 4 // version u32
	aclSize    = 8 // tag u16, rights u16, id u32; all little endian, as the kernel has it
)

// decodeACL reads the attribute that holds a list, or answers meta.ErrMalformed.
func decodeACL(b []byte) (acl, error) {
	bad := func(why string) (acl, error) {
		return nil, fmt.Errorf("%w: access control list: %s", meta.ErrMalformed, why)
	}
	if len(b) < aclHeader || len(b) > meta.MaxXattr || (len(b)-aclHeader)%aclSize != 0 {
		return bad("length")
	}
	if binary.LittleEndian.Uint32(b) != aclVersion {
		return bad("version")
	}
	a := make(acl, 0, (len(b)-aclHeader)/aclSize)
	last, count := uint16(0), map[uint16]int{}
	for b = b[aclHeader:]; len(b) > 0; b = b[aclSize:] {
		e := aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		named := e.tag == aclUser || e.tag == aclGroup
		switch e.tag {
		case aclUserObj, aclUser, aclGroupObj, aclGroup, aclMask, aclOther:
		default:
			return bad("tag")
		}
		if e.tag < last || e.tag == last && !named || e.perm > 7 || named == (e.id == aclNoID) {
			return bad("entry")
		}
		last = e.tag
		count[e.tag]++
		a = append(a, e)
	}
	if count[aclUserObj] != 1 || count[aclGroupObj] != 1 || count[aclOther] != 1 {
		return bad("a class is missing")
	}
	if count[aclUser]+count[aclGroup] > 0 && count[aclMask] == 0 {
		return bad("no mask")
	}
	return a, nil
}

// encode is the inverse of decodeACL.
func (a acl) encode() []byte {
	b := make([]byte, 0, aclHeader+len(a)*aclSize)
	b = binary.LittleEndian.AppendUint32(b, aclVersion)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// class returns the entry of tag, nil when there is none. It is one that comes at
// most once.
func (a acl) class(tag uint16) *aclEntry {
	for i := range a {
		if a[i].tag == tag {
			return &a[i]
		}
	}
	return nil
}

// groupClass is the entry that the mode's bits of the group show: the mask, or
// without one the owning group.
func (a acl) groupClass() *aclEntry {
	if m := a.class(aclMask); m != nil {
		return m
	}
	return a.class(aclGroupObj)
}

// mode returns the nine bits of the mode, and whether they say all that a says.
func (a acl) mode() (perm uint16, all bool) {
	perm = a.class(aclUserObj).perm<<6 | a.groupClass().perm<<3 | a.class(aclOther).perm
	return perm, len(a) == 3
}

// chmod makes the nine bits of the mode those of perm.
func (a acl) chmod(perm uint16) {
	a.class(aclUserObj).perm = perm >> 6 & 7
	a.groupClass().perm = perm >> 3 & 7
	a.class(aclOther).perm = perm & 7
}

// inherit makes a, the default list of a directory, the access list of what is made
// in it with the mode perm: nobody has a right that perm does not give.
func (a acl) inherit(perm uint16) {
	was, _ := a.mode()
	a.chmod(was & perm)
}

// least is the mode in which the owning group has no right that a, or a mode
// without a list, would not give it: for as long as an inode has no list yet.
func (a acl) least() uint16 {
	perm, _ := a.mode()
	return perm&^0o070 | (perm>>3&7&a.class(aclGroupObj).perm)<<3
}
