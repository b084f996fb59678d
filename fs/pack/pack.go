// Package pack turns file bytes into packs and back.
//
// Written bytes of any files are gathered in one open pack, a buffer in memory.
// A pack is sealed in one go, from that one complete buffer, with a salt drawn
// at that moment; it is never opened again for more, so no salt ever seals two
// plaintexts. The sealed pack goes to a local file, which is synced, then
// uploaded as it is. Until then reads are served from the buffer.
//
// Nothing that the package hands out was not checked: bytes of a sealed pack
// have passed the hash in its tail, and the tail the name in signed metadata.
package pack

import (
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/meta"
)

// Size is the number of file bytes in a full pack.
const Size = 4 << 20

var (
	// ErrDamaged: an object of the store is missing or is not what its name says.
	ErrDamaged = block.ErrDamaged

	// ErrUnknown: no pack has this number, here or in the store.
	ErrUnknown = errors.New("no such pack")

	// ErrClosed: the packer was stopped.
	ErrClosed = errors.New("packer is closed")
)

// Info describes a sealed pack. It is what its record in metadata says, and the
// number by which extents name it.
type Info struct {
	No     meta.PackNo
	Name   crypt.Name
	Length int64 // file bytes, without padding
	Epoch  crypt.Epoch
}

// ObjectSize is the length in bytes of the sealed object.
func (i Info) ObjectSize() int64 { return crypt.ObjectSize(i.Length) }

// object is what block reads.
func (i Info) object() block.Object {
	return block.Object{Type: crypt.TypePack, Name: i.Name, Length: i.Length, Epoch: i.Epoch}
}

// Loc is a run of bytes in a pack.
type Loc struct {
	Pack meta.PackNo
	Off  uint32
	Len  uint32
}

// Damage is an ErrDamaged that names the object.
type Damage struct {
	Pack meta.PackNo
	Name crypt.Name
	Why  error
}

func (d *Damage) Error() string {
	return fmt.Sprintf("pack %s: %v", d.Name, d.Why)
}

// Unwrap makes errors.Is find ErrDamaged and the cause.
func (d *Damage) Unwrap() []error { return []error{ErrDamaged, d.Why} }
