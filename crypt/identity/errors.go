package identity

import "errors"

var (
	ErrMalformed = errors.New("malformed key or signature list")                        // wrong length, order, count, or a key that is no key
	ErrAlgorithm = errors.New("key is of an algorithm that this program does not know") // a key list holds an algorithm that cannot be judged here
	ErrSignature = errors.New("signature is not valid")                                 // the one error of every failed verification
	ErrBox       = errors.New("box does not open")                                      // the one error of every failed Unwrap
	ErrSecret    = errors.New("a secret is not written out")                            // somebody tried to marshal an identity, a device or words
)
