package meta

import "bytes"

// CheckName answers nil for what may stand in a directory: 1 to MaxName bytes
// without '/' and NUL, but "." and ".."; else ErrName or ErrNameTooLong. Bytes
// need not be UTF-8, and nothing is normalised.
func CheckName(name []byte) error {
	switch {
	case len(name) > MaxName:
		return ErrNameTooLong
	case len(name) == 0, string(name) == ".", string(name) == "..":
		return ErrName
	case bytes.IndexByte(name, '/') >= 0, bytes.IndexByte(name, 0) >= 0:
		return ErrName
	}
	return nil
}

// CheckXattrName answers nil for an attribute's or snapshot's name: 1 to
// MaxName bytes without NUL; else ErrName or ErrNameTooLong.
func CheckXattrName(name []byte) error {
	switch {
	case len(name) > MaxName:
		return ErrNameTooLong
	case len(name) == 0, bytes.IndexByte(name, 0) >= 0:
		return ErrName
	}
	return nil
}

func checkTarget(target []byte) error {
	switch {
	case len(target) > MaxTarget:
		return ErrNameTooLong
	case len(target) == 0:
		return ErrNotExist // what symlink(2) says of an empty target
	case bytes.IndexByte(target, 0) >= 0:
		return ErrName
	}
	return nil
}
