package block

import "errors"

var (
	// ErrDamaged: an object is missing in the bucket or is not what its name says.
	ErrDamaged = errors.New("object is damaged")

	// ErrFar: the bytes are not on this machine.
	ErrFar = errors.New("bytes are not on this machine")

	// ErrGone: the object is nowhere, and nothing needs it any more.
	ErrGone = errors.New("object was given up")

	// ErrKey: the key of the object's epoch is not here.
	ErrKey = errors.New("no key of the object's epoch")

	// ErrClosed: the reader was closed.
	ErrClosed = errors.New("reader is closed")
)

var (
	// errAbsent: this place does not have the bytes.
	errAbsent = errors.New("not here")

	// errUnreadable: the local disk has the bytes and does not give them.
	errUnreadable = errors.New("local disk")

	// errRange: metadata names bytes that the object does not have.
	errRange = errors.New("range past the end")
)
