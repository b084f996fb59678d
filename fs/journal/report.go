package journal

import (
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
)

// Report is what Open found besides the records.
type Report struct {
	// Torn: the last file ended in bytes that are no whole record, as a crash
	// leaves them. No Sync had returned for what they might have been.
	Torn bool

	// Damaged: records that had been synced are not there any more. A person must be told.
	// What is whole behind them was returned; where operations are missing among those,
	// their numbers have a gap.
	Damaged []Damage

	// Inodes says of which inode operations were, the lost ones among them, as far as the
	// index has them. Nil where nothing is damaged.
	Inodes map[meta.OpNo]uint64

	// Slot is the newest of ours that the journal knows of; 0: none.
	Slot uint64

	// Aside: the files kept for a person to look at, from now or earlier.
	Aside []string
}

// Damage is one file that lost records.
type Damage struct {
	File   uint64 // number
	Kept   int    // records before the damage; those still needed were returned
	Behind int    // the same of those behind it
	Lost   int    // records that are not whole; at least
}

func (d Damage) String() string {
	return fmt.Sprintf("journal file %d: %d records kept, %d of them behind the damage, at least %d lost", d.File, d.Kept+d.Behind, d.Behind, d.Lost)
}

// index takes over what an index record says.
func (r *Report) index(entries []IndexEntry) {
	if r.Inodes == nil {
		r.Inodes = map[meta.OpNo]uint64{}
	}
	for _, e := range entries {
		r.Inodes[e.No] = e.Inode
	}
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
