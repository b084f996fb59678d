package store

import "fmt"

// Range resolves the off and length of a Get against an object of size bytes.
// The part begins at byte from and ends before byte to, with
// 0 <= from <= to <= size. The errors are those of Get.
func Range(size, off, length int64) (from, to int64, err error) {
	switch {
	case off < 0 && length != -1:
		return 0, 0, fmt.Errorf("%w: length %d with offset %d", ErrRange, length, off)
	case off < 0:
		// size+off cannot overflow, and -off could.
		from, to = max(size+off, 0), size
	case length < 0:
		from, to = min(off, size), size
	default:
		from = min(off, size)
		to = from + min(length, size-from)
	}
	if to-from > MaxObject {
		return 0, 0, fmt.Errorf("%w: a part of %d bytes", ErrTooLarge, to-from)
	}
	return from, to, nil
}
