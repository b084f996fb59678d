package fs

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// list is rwx for the owner, r-- for user 7, r-x for the group, -w- for group 9,
// mask, other.
func list(mask, other uint16) acl {
	return acl{
		{aclUserObj, 7, aclNoID}, {aclUser, 4, 7},
		{aclGroupObj, 5, aclNoID}, {aclGroup, 2, 9},
		{aclMask, mask, aclNoID}, {aclOther, other, aclNoID},
	}
}

// minimal says what a mode says.
func minimal(perm uint16) acl {
	return acl{{aclUserObj, perm >> 6 & 7, aclNoID}, {aclGroupObj, perm >> 3 & 7, aclNoID}, {aclOther, perm & 7, aclNoID}}
}

func TestACLModes(t *testing.T) {
	for _, c := range []struct {
		name  string
		a     acl
		mode  uint16
		all   bool
		least uint16
	}{
		{"a mode", minimal(0o754), 0o754, true, 0o754},
		{"a mask narrower than the group", list(4, 1), 0o741, false, 0o741},
		{"a mask wider than the group", list(7, 0), 0o770, false, 0o750},
		{"a mask that shares a bit with the group", list(6, 0), 0o760, false, 0o740},
	} {
		if mode, all := c.a.mode(); mode != c.mode || all != c.all {
			t.Errorf("%s: mode %o, all %v, want %o, %v", c.name, mode, all, c.mode, c.all)
		}
		if least := c.a.least(); least != c.least {
			t.Errorf("%s: least %o, want %o", c.name, least, c.least)
		}
	}
}

func TestACLFollowsTheMode(t *testing.T) {
	for _, c := range []struct {
		name string
		a    acl
		do   func(acl)
		want acl
	}{
		{"chmod without a mask", minimal(0o777), func(a acl) { a.chmod(0o640) }, minimal(0o640)},
		{"inherited by a file", minimal(0o775), func(a acl) { a.inherit(0o666) }, minimal(0o664)},
		{"inherited with fewer rights than asked for", minimal(0o700), func(a acl) { a.inherit(0o666) }, minimal(0o600)},
		{"chmod with a mask leaves the group", list(7, 7), func(a acl) { a.chmod(0o720) }, list(2, 0)},
		{"inherited with a mask", list(7, 5), func(a acl) { a.inherit(0o766) }, list(6, 4)},
	} {
		c.do(c.a)
		if !slices.Equal(c.a, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.a, c.want)
		}
	}
}

// badACLs are attributes that are no lists.
func badACLs() map[string][]byte {
	change := func(fn func(b []byte)) []byte {
		b := list(7, 0).encode()
		fn(b)
		return b
	}
	drop := func(i int) []byte { return slices.Delete(list(7, 0), i, i+1).encode() }
	return map[string][]byte{
		"empty":                nil,
		"cut":                  list(7, 0).encode()[:40],
		"only a header":        list(7, 0).encode()[:aclHeader],
		"another version":      change(func(b []byte) { b[0]++ }),
		"an unknown tag":       change(func(b []byte) { b[4] = 0x40 }),
		"too many rights":      change(func(b []byte) { b[6] = 8 }),
		"an id of a class":     change(func(b []byte) { b[8] = 0 }),
		"a user without an id": change(func(b []byte) { copy(b[16:20], "\xff\xff\xff\xff") }),
		"no owner":             drop(0),
		"no group":             drop(2),
		"no mask":              drop(4),
		"no other":             drop(5),
		"two owners":           append(list(7, 0)[:1:1], list(7, 0)...).encode(),
		"out of order":         acl{minimal(0)[1], minimal(0)[0], minimal(0)[2]}.encode(),
		"too long":             make([]byte, meta.MaxXattr+aclSize),
	}
}

func TestBadACLs(t *testing.T) {
	for name, b := range badACLs() {
		if a, err := decodeACL(b); !errors.Is(err, meta.ErrMalformed) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func FuzzDecodeACL(f *testing.F) {
	f.Add(minimal(0o640).encode())
	f.Add(list(7, 0).encode())
	for _, b := range badACLs() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeACL(b)
		if err != nil {
			return
		}
		if !bytes.Equal(a.encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
		perm, all := a.mode()
		if least := a.least(); perm > 0o777 || least&^perm != 0 || all && least != perm {
			t.Errorf("%x: mode %o, least %o", b, perm, least)
		}
		a.inherit(0)
		if perm, _ := a.mode(); perm != 0 {
			t.Errorf("%x inherited without rights has mode %o", b, perm)
		}
	})
}
