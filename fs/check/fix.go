package check

import "github.com/hushfs/hushfs/fs/meta"

// fix is something that Repair can put right.
type fix struct {
	do     action
	ino    meta.Ino   // that it is about
	mend   *meta.Mend // fixMend, fixLinks
	ref    meta.Ref
	kind   meta.Kind
	parent meta.Ino // fixCut: where the name is
	name   string   // fixCut: the name
	above  meta.Ref // fixCut: the directory that has it
	path   string   // of a directory, as far as there is one
	facts           // of a file, as it was checked
	end    uint64   // fixTail: of the extents
	lost   []Bytes  // fixFile
	why    []string // fixFile
	names  []namedIn
}

// namedIn is a name of a file.
type namedIn struct {
	dir  meta.Ref
	name string
	path string
}

// action is what a fix does.
type action uint8

const (
	fixMend   action = iota + 1 // an operation alone
	fixLinks                    // the same, after all others
	fixAdopt                    // a name in lost+found
	fixCut                      // the same, for a directory that has one in a circle
	fixFile                     // a file without its lost ranges, in lost+found
	fixTail                     // extents behind the end of a file go
	fixTables                   // all is folded again, from the commits
	fixFold                     // all is folded, and a hint leads there
	fixHint                     // the same
	fixLedger                   // a ledger and a hint that names it
	fixHeader                   // the drive header is written again
)
