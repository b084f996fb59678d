package chain

import "errors"

var (
	// ErrMalformed: bytes that are not the canonical encoding of anything.
	ErrMalformed = errors.New("malformed chain object")

	// ErrForged: a record, ledger or hint that does not follow from what came
	// before it, or whose signature is not its signer's.
	ErrForged = errors.New("not signed by who may, or not in its place")

	// ErrVersion: a record, key or hint of a kind that this program does not know.
	// For records a holder of the right signed it, so a newer program was here.
	ErrVersion = errors.New("written by a newer version of this program")

	// ErrRefused: a commit or record that breaks a rule, so that everybody would
	// take it for junk.
	ErrRefused = errors.New("breaks a rule of the chain")

	// ErrTooLarge: a commit above MaxCommit, or a ledger or hint above its limit.
	ErrTooLarge = errors.New("too large for one object of the chain")

	// ErrOrder: Advance was given a commit that does not follow the state's head.
	ErrOrder = errors.New("commit does not follow the head")

	// ErrNoBox: none of a hint's boxes opens for this identity.
	ErrNoBox = errors.New("no box of the hint is for this member")

	// ErrKey: a key whose check value does not stand in the verified ledger.
	ErrKey = errors.New("key is not the one that the ledger names")

	// ErrDeviceName: a device name that is too long or not printable.
	ErrDeviceName = errors.New("device name is not allowed")
)
