package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Program is what a device works with. It is the device's own word: it helps a person
// to find the machine that was not updated, or whose program is not the one that all
// others have, and proves nothing about a machine that lies.
type Program struct {
	Version string   // of the program, with its platform; 1 to MaxProgram bytes
	Hash    [32]byte // SHA-256 of the executable
}

// MaxProgram is the length of the longest version, in bytes.
const MaxProgram = 128

// Valid tells whether the version is one: UTF-8 that a terminal prints.
func (p Program) Valid() bool {
	return 0 < len(p.Version) && len(p.Version) <= MaxProgram && utf8.ValidString(p.Version) && !strings.ContainsFunc(p.Version, unicode.IsControl)
}

const programKeyLen = 1 + 2

// ProgramKey is the key of what a device works with.
func ProgramKey(d Device) []byte {
	return binary.BigEndian.AppendUint16([]byte{prefixProgram}, uint16(d))
}

// ParseProgramKey takes a ProgramKey apart. There is no device 0.
func ParseProgramKey(k []byte) (Device, error) {
	if len(k) != programKeyLen || k[0] != prefixProgram {
		return 0, ErrMalformed
	}
	d := Device(binary.BigEndian.Uint16(k[1:]))
	if d == 0 {
		return 0, ErrMalformed
	}
	return d, nil
}

// AppendProgram appends the encoding of a valid program: version as a string, hash 32.
func AppendProgram(dst []byte, p Program) []byte {
	return append(appendBytes(dst, []byte(p.Version)), p.Hash[:]...)
}

// DecodeProgram reads what AppendProgram wrote, or answers ErrMalformed.
func DecodeProgram(b []byte) (Program, error) {
	d := decoder{b: b}
	p := d.program()
	if err := d.done(); err != nil {
		return Program{}, err
	}
	return p, nil
}

func (d *decoder) program() (p Program) {
	p.Version = string(d.bytes(MaxProgram))
	copy(p.Hash[:], d.take(len(p.Hash)))
	d.must(p.Valid())
	return p
}

// Programs returns what each device has said that it works with. What cannot be read as
// that is left out: it takes a device that folds what it was never allowed to write, and
// this must not hide the devices from who is about to remove one.
func Programs(r Reader) (map[Device]Program, error) {
	all := map[Device]Program{}
	in := prefixRange(prefixProgram)
	err := r.Scan(in.From, in.To, func(k, v []byte) bool {
		no, err := ParseProgramKey(k)
		if err != nil {
			return true
		}
		if p, err := DecodeProgram(v); err == nil {
			all[no] = p
		}
		return true
	})
	return all, err
}

// SetProgram notes what the device that executes it works with.
type SetProgram struct{ Program Program }

var _ Op = (*SetProgram)(nil)

// Apply changes nothing where it is noted already.
func (o *SetProgram) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	key, value := ProgramKey(at.Device), AppendProgram(nil, o.Program)
	was, err := r.Get(key)
	switch {
	case err == nil && bytes.Equal(was, value):
		return new(Batch), nil
	case err != nil && !errors.Is(err, ErrAbsent):
		return nil, err
	}
	return &Batch{Puts: []KV{{key, value}}}, nil
}

func (o *SetProgram) code() opCode { return codeSetProgram }

func (o *SetProgram) check() error {
	if !o.Program.Valid() {
		return ErrMalformed
	}
	return nil
}

func (o *SetProgram) append(dst []byte) []byte { return AppendProgram(dst, o.Program) }

func (o *SetProgram) decode(d *decoder) { o.Program = d.program() }

func (o *SetProgram) renumber(func(Ino) Ino, func(PackNo) PackNo) Op {
	c := *o
	return &c
}
