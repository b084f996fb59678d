package keyslot

import "errors"

var (
	// ErrHeader says that bytes are no header, slot or keyring of this format,
	// or that a header's MAC is not of the root that one of its slots holds.
	ErrHeader = errors.New("drive header is malformed or altered")

	// ErrNewer says that a header or keyring names a later version of the
	// format. Nothing vouches for the digit until the header is opened.
	ErrNewer = errors.New("drive header is of a newer version than this program")

	// ErrPassphrase says that a passphrase opened none of the slots tried.
	ErrPassphrase = errors.New("passphrase does not open the drive")

	// ErrWords says that words are no recovery words (which is told by their
	// checksum), or that they open no slot.
	ErrWords = errors.New("recovery words are wrong")

	// ErrKDF says that parameters of Argon2id are outside the bounds of
	// Params.Check. No memory was taken.
	ErrKDF = errors.New("key derivation parameters are out of bounds")

	// ErrDrive says that a text is no drive id, or that a keyring is not that
	// of the drive.
	ErrDrive = errors.New("wrong drive id")

	// ErrSecret says that somebody tried to marshal a keyring.
	ErrSecret = errors.New("a keyring is not written out")
)
