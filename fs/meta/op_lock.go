package meta

import (
	"bytes"
	"errors"
)

// SetLock says what the device that executes it has of the lock of a file from now on.
// Whether it may is not its question but that of Fence. Mode and Want LockNone give all
// of it back; it changes nothing where the device has nothing.
type SetLock struct {
	Ino  Ino
	Lock Lock // Until 0 to give it back
}

var _ Op = (*SetLock)(nil)

// Apply answers ErrMalformed for a lock that is none.
func (o *SetLock) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	key := LockKey(o.Ino, at.Device)
	was, err := r.Get(key)
	there := err == nil
	if err != nil && !errors.Is(err, ErrAbsent) {
		return nil, err
	}
	b := new(Batch)
	if o.Lock == (Lock{}) {
		if there {
			b.Deletes = append(b.Deletes, key)
		}
		return b, nil
	}
	if v := AppendLock(nil, o.Lock); !there || !bytes.Equal(v, was) {
		b.Puts = append(b.Puts, KV{key, v})
	}
	return b, nil
}

func (o *SetLock) code() opCode { return codeSetLock }

func (o *SetLock) check() error {
	if !validNumber(uint64(o.Ino)) || o.Lock != (Lock{}) && !o.Lock.good() {
		return ErrMalformed
	}
	return nil
}

// append: inode number varint, mode u8, want u8, until varint.
func (o *SetLock) append(dst []byte) []byte {
	return AppendLock(appendUvarint(dst, uint64(o.Ino)), o.Lock)
}

func (o *SetLock) decode(d *decoder) {
	o.Ino = Ino(d.uvarint())
	o.Lock = Lock{Mode: LockMode(d.u8()), Want: LockMode(d.u8()), Until: d.uvarint()}
}

func (o *SetLock) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ino = ino(o.Ino)
	return &c
}
