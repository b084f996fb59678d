package journal

import "fmt"

// Report is what Open found besides the records.
type Report struct {
	// Torn: the last file ended in bytes that are no whole record, as a crash
	// leaves them. No Sync had returned for what they might have been.
	Torn bool

	// Damaged: records that had been synced are not there any more. A person must be told.
	Damaged []Damage

	// Aside: the files kept for a person to look at, from now or earlier.
	Aside []string
}

// Damage is one file that lost records, or could not be joined to those before it.
type Damage struct {
	File uint64 // number
	Kept int    // records before the damage; those still needed were returned
	Lost int    // records known to have followed there; at least
}

func (d Damage) String() string {
	return fmt.Sprintf("journal file %d: %d records kept, at least %d lost", d.File, d.Kept, d.Lost)
}

func opsName(n uint64) string   { return fmt.Sprintf("ops-%016x", n) }
func newName(n uint64) string   { return fmt.Sprintf("new-%016x", n) }
func asideName(n uint64) string { return fmt.Sprintf("damaged-%016x", n) }

// parseName finds the number in a name of the given shape, and demands that it is written as we do.
func parseName(name string, shape func(uint64) string) (uint64, bool) {
	if len(name) < 16 {
		return 0, false
	}
	var n uint64
	if _, err := fmt.Sscanf(name[len(name)-16:], "%016x", &n); err != nil || shape(n) != name {
		return 0, false
	}
	return n, true
}
