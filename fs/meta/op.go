package meta

// Op is one change of the tree, as a program asked for it. The operations are
// the pointer types of this package: *Make, *Write, *Truncate, *Setattr,
// *Unlink, *Rmdir, *Rename, *Link, *Setxattr, *Removexattr, *PunchHole, *Clone, *Mend, *SetProgram.
//
// Operations are re-executed after another machine won a slot, on a state they
// were not made for. What they expect (Ref, Observed, Replaced) tells then
// whether they still mean the same; when not, Apply answers ErrConflict.
type Op interface {
	// Apply tells what the operation does to the state that r shows. It
	// changes nothing itself. An empty batch means that nothing changes.
	// Errors of r come back wrapped; all others are those of errors.go.
	Apply(r Reader, at Stamp) (*Batch, error)

	code() opCode
	check() error // fields that are wrong on any state
	append(dst []byte) []byte
	decode(d *decoder)
	renumber(ino func(Ino) Ino, pack func(PackNo) PackNo) Op
}

// Stamp says who executes an operation, as which one, and when.
type Stamp struct {
	Device Device
	No     OpNo
	Time   Time
}

// Version is the content version that the operation gives: device 16 bits ‖
// number 48 bits. No two operations share one.
func (s Stamp) Version() uint64 { return uint64(s.Device)<<48 | uint64(s.No&MaxOpNo) }

// WrittenBy is the device whose operation gave a content its version; 0 when none did.
func WrittenBy(version uint64) Device { return Device(version >> 48) }
