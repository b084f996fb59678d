package crypt

import "errors"

var (
	// ErrForged is the one error of every failed open: bytes changed, cut off,
	// appended or moved; the wrong key, volume, type, place or length.
	ErrForged = errors.New("object is not what was sealed")

	// ErrVersion says that a tail names a version or suite above those of this
	// code. Nothing vouches for these two bytes until an object is opened: the
	// error is a remark for people, never a proof that a newer hushfs was here.
	ErrVersion = errors.New("object is of a newer version than this program")

	// ErrSpent says that a Sealer was asked to seal a second time.
	ErrSpent = errors.New("sealer was used before")

	// ErrTooLarge says that a content is longer than MaxContent.
	ErrTooLarge = errors.New("content is too large for one object")

	// ErrEmpty says that a pack or a table of no bytes was to be sealed.
	ErrEmpty = errors.New("content of a pack or table is empty")

	// ErrMalformed says that a text is no name, or that bytes are no key.
	ErrMalformed = errors.New("wrong length or digits")

	// ErrSecret says that somebody tried to marshal a key.
	ErrSecret = errors.New("a key is not written out")
)
