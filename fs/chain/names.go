package chain

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/hushfs/hushfs/crypt"
)

// Names of a volume's objects, as in "v0/s/<volume id>/l/<inverted slot>". Slots
// stand as 2^64-1-n in 16 hexadecimal digits, so the store, which lists upwards,
// lists the newest first.
const (
	volumes = "v0/s/"

	dirCommits = "l/"
	dirHints   = "k/"
	dirLedgers = "a/"
	dirPacks   = "p/"
	dirTables  = "t/"
)

// VolumePrefix is what the names of all objects of a volume begin with.
func VolumePrefix(v crypt.VolumeID) string { return volumes + v.String() + "/" }

// SlotPrefix is what the names of a volume's commits begin with.
func SlotPrefix(v crypt.VolumeID) string { return VolumePrefix(v) + dirCommits }

// HintPrefix is what the names of a volume's hints begin with.
func HintPrefix(v crypt.VolumeID) string { return VolumePrefix(v) + dirHints }

// LedgerPrefix is what the names of a volume's ledgers begin with.
func LedgerPrefix(v crypt.VolumeID) string { return VolumePrefix(v) + dirLedgers }

// PackPrefix is what the names of a volume's packs begin with.
func PackPrefix(v crypt.VolumeID) string { return VolumePrefix(v) + dirPacks }

// SlotName is the name of the commit in a slot.
func SlotName(v crypt.VolumeID, s Slot) string { return SlotPrefix(v) + inverted(s) }

// HintName is the name of the hint that was written at a slot.
func HintName(v crypt.VolumeID, s Slot) string { return HintPrefix(v) + inverted(s) }

// TablePrefix is what the names of a volume's tables begin with.
func TablePrefix(v crypt.VolumeID) string { return VolumePrefix(v) + dirTables }

// TableName is the name of a table.
func TableName(v crypt.VolumeID, n crypt.Name) string { return TablePrefix(v) + n.String() }

// LedgerName is the name of a ledger object.
func LedgerName(v crypt.VolumeID, n crypt.Name) string { return LedgerPrefix(v) + n.String() }

// PackName is the name of a pack. Two digits make folders of it, for stores that
// are slow with large ones.
func PackName(v crypt.VolumeID, n crypt.Name) string {
	hex := n.String()
	return PackPrefix(v) + hex[:2] + "/" + hex
}

// ParseSlotName is the inverse of SlotName; false for anything else.
func ParseSlotName(v crypt.VolumeID, name string) (Slot, bool) {
	return parseInverted(name, SlotPrefix(v))
}

// ParseHintName is the inverse of HintName; false for anything else.
func ParseHintName(v crypt.VolumeID, name string) (Slot, bool) {
	return parseInverted(name, HintPrefix(v))
}

// ParseLedgerName is the inverse of LedgerName; false for anything else.
func ParseLedgerName(v crypt.VolumeID, name string) (crypt.Name, bool) {
	return parseName(name, LedgerPrefix(v))
}

// ParseTableName is the inverse of TableName; false for anything else.
func ParseTableName(v crypt.VolumeID, name string) (crypt.Name, bool) {
	return parseName(name, TablePrefix(v))
}

func parseName(name, prefix string) (crypt.Name, bool) {
	hex, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return crypt.Name{}, false
	}
	n, err := crypt.ParseName(hex)
	return n, err == nil
}

// ParsePackName is the inverse of PackName; false for anything else.
func ParsePackName(v crypt.VolumeID, name string) (crypt.Name, bool) {
	rest, ok := strings.CutPrefix(name, PackPrefix(v))
	if !ok || len(rest) < 3 || rest[2] != '/' || !strings.HasPrefix(rest[3:], rest[:2]) {
		return crypt.Name{}, false
	}
	n, err := crypt.ParseName(rest[3:])
	return n, err == nil
}

func inverted(s Slot) string { return fmt.Sprintf("%016x", math.MaxUint64-uint64(s)) }

func parseInverted(name, prefix string) (Slot, bool) {
	hex, ok := strings.CutPrefix(name, prefix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	s := Slot(math.MaxUint64 - n)
	return s, err == nil && inverted(s) == hex
}
