package store

import (
	"fmt"
	"strings"
)

// Limits of a name, in bytes. A segment is a file's or folder's name in some
// stores, and 255 is what file systems allow there.
const (
	MaxName    = 512
	MaxSegment = 255
)

// CheckName returns an error that wraps ErrName unless name is one or more
// segments of the bytes a-z 0-9 . _ -, joined by '/', of at most MaxName bytes
// in all and 1 to MaxSegment bytes each, none of which begins with '.'.
//
// So a name is a safe relative path, means the same where capital letters are
// not told from small ones, and leaves names with a dot to the store itself.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrName)
	}
	if err := CheckPrefix(name); err != nil {
		return err
	}
	if strings.HasSuffix(name, "/") {
		return fmt.Errorf("%w: its last segment is empty", ErrName)
	}
	return nil
}

// CheckPrefix returns an error that wraps ErrName unless some name begins with
// prefix; the empty prefix and one that ends in '/' do.
func CheckPrefix(prefix string) error {
	// The offending bytes are left out of the message: what is no object
	// name may be something that must not be printed.
	if len(prefix) > MaxName {
		return fmt.Errorf("%w: %d bytes are too many", ErrName, len(prefix))
	}
	if len(prefix) == MaxName && prefix[MaxName-1] == '/' {
		return fmt.Errorf("%w: no room for its last segment", ErrName)
	}
	start := 0 // of the segment
	for i := range len(prefix) {
		switch c := prefix[i]; {
		case c == '/':
			if i == start {
				return fmt.Errorf("%w: empty segment at byte %d", ErrName, i)
			}
			start = i + 1
		case c == '.' && i == start:
			return fmt.Errorf("%w: segment begins with a dot at byte %d", ErrName, i)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			if i-start >= MaxSegment {
				return fmt.Errorf("%w: segment is too long at byte %d", ErrName, i)
			}
		default:
			return fmt.Errorf("%w: forbidden byte at %d", ErrName, i)
		}
	}
	return nil
}
