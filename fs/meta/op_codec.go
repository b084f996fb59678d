package meta

// MaxOp is the length of the longest operation that DecodeOp accepts, in
// bytes. Setxattr with MaxXattr is the longest.
const MaxOp = 72 << 10

// opCode is the first byte of an encoded operation.
type opCode uint8

const (
	codeMake        opCode = 1
	codeWrite       opCode = 2
	codeTruncate    opCode = 3
	codeSetattr     opCode = 4
	codeUnlink      opCode = 5
	codeRmdir       opCode = 6
	codeRename      opCode = 7
	codeLink        opCode = 8
	codeSetxattr    opCode = 9
	codeRemovexattr opCode = 10
	codePunchHole   opCode = 11
	codeClone       opCode = 12
	codeMend        opCode = 13
	codeSetProgram  opCode = 14
	codeSetLease    opCode = 15
	codeResolve     opCode = 16
	codeReport      opCode = 17
	codeSetLock     opCode = 18
)

// EncodeOp returns the encoding of a good operation.
func EncodeOp(op Op) []byte {
	return op.append(append(make([]byte, 0, 96), byte(op.code())))
}

// DecodeOp reads what EncodeOp wrote, or answers ErrMalformed. The operation
// does not alias b.
func DecodeOp(b []byte) (Op, error) {
	if len(b) == 0 || len(b) > MaxOp {
		return nil, ErrMalformed
	}
	op := newOp(opCode(b[0]))
	if op == nil {
		return nil, ErrMalformed
	}
	d := decoder{b: b[1:]}
	op.decode(&d)
	if d.done() != nil || op.check() != nil {
		return nil, ErrMalformed
	}
	return op, nil
}

func newOp(code opCode) Op {
	switch code {
	case codeMake:
		return new(Make)
	case codeWrite:
		return new(Write)
	case codeTruncate:
		return new(Truncate)
	case codeSetattr:
		return new(Setattr)
	case codeUnlink:
		return new(Unlink)
	case codeRmdir:
		return new(Rmdir)
	case codeRename:
		return new(Rename)
	case codeLink:
		return new(Link)
	case codeSetxattr:
		return new(Setxattr)
	case codeRemovexattr:
		return new(Removexattr)
	case codePunchHole:
		return new(PunchHole)
	case codeClone:
		return new(Clone)
	case codeMend:
		return new(Mend)
	case codeSetProgram:
		return new(SetProgram)
	case codeSetLock:
		return new(SetLock)
	case codeSetLease:
		return new(SetLease)
	case codeResolve:
		return new(Resolve)
	case codeReport:
		return new(Report)
	}
	return nil
}

// Renumber returns the operation with other inode and pack numbers, for a
// device that got a new number while it had operations pending. ino is also
// asked for the numbers of inodes that other devices made. The operation
// itself stays as it is.
func Renumber(op Op, ino func(Ino) Ino, pack func(PackNo) PackNo) Op { return op.renumber(ino, pack) }

// renumber leaves home 0, which is no inode, as it is.
func (r Ref) renumber(ino func(Ino) Ino) Ref {
	if r.Home != 0 {
		r.Home = ino(r.Home)
	}
	r.Ino = ino(r.Ino)
	return r
}

// Reobserve returns the operation with another version in Observed, for the
// same reason as Renumber: what it observed may be the work of an operation
// that has got a new number as well. Observed 0 stays 0.
func Reobserve(op Op, version func(uint64) uint64) Op {
	renew := func(v uint64) uint64 {
		if v == 0 {
			return 0
		}
		return version(v)
	}
	switch o := op.(type) {
	case *Write:
		c := *o
		c.Observed = renew(o.Observed)
		return &c
	case *Truncate:
		c := *o
		c.Observed = renew(o.Observed)
		return &c
	case *PunchHole:
		c := *o
		c.Observed = renew(o.Observed)
		return &c
	case *Clone:
		c := *o
		c.Observed = renew(o.Observed)
		return &c
	case *Unlink:
		c := *o
		c.Observed = renew(o.Observed)
		return &c
	case *Rename:
		c := *o
		c.Observed = renew(o.Observed)
		return &c
	case *Resolve:
		return o.reobserve(version)
	}
	return op
}
