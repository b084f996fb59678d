package keyslot

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
)

// Prefix begins the names of the owner's header objects.
const Prefix = "v0/h/"

// ObjectName is Prefix and 16 hexadecimal digits of 2^64-1-counter, so that the
// newest header comes first in a listing.
func ObjectName(counter uint64) string {
	return fmt.Sprintf("%s%016x", Prefix, math.MaxUint64-counter)
}

// ParseObjectName is the inverse of ObjectName; anything else is ErrHeader.
func ParseObjectName(name string) (counter uint64, err error) {
	digits, ok := strings.CutPrefix(name, Prefix)
	var b [8]byte
	if !ok || len(digits) != 16 || digits != strings.ToLower(digits) {
		return 0, fmt.Errorf("%w: object name", ErrHeader)
	}
	if _, err := hex.Decode(b[:], []byte(digits)); err != nil {
		return 0, fmt.Errorf("%w: object name", ErrHeader)
	}
	return math.MaxUint64 - binary.BigEndian.Uint64(b[:]), nil
}
