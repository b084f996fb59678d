package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// Report is what a check found. It names files of the drive: it is for the drive's
// user, and not for a log.
type Report struct {
	Drive    string    `json:"drive"`  // drive id
	Slot     uint64    `json:"slot"`   // newest commit; the check is of the drive as of then
	Mode     Mode      `json:"mode"`   //
	Sample   float64   `json:"sample"` // part of the packs that was read, where it is not none or all
	Seed     uint64    `json:"seed"`   // that drew them
	Begun    time.Time `json:"begun"`
	Seconds  float64   `json:"seconds"`
	Whole    bool      `json:"whole"` // the check came to its end
	Counts   Counts    `json:"counts"`
	Garbage  Garbage   `json:"garbage"`
	Findings []Finding `json:"findings"`
	More     int       `json:"more_findings"` // that there was no room for
	Notes    int       `json:"more_notes"`    // the same of notes

	fixes []fix
	blind bool // metadata is missing that nothing else tells
}

// Mode is how much is read.
type Mode string

// The modes.
const (
	ModeQuick  Mode = "quick"
	ModeData   Mode = "data"
	ModeSample Mode = "sample"
)

// Counts is what was looked at.
type Counts struct {
	Commits     int   `json:"commits"`
	Tables      int   `json:"tables"`
	Inodes      int   `json:"inodes"`
	Directories int   `json:"directories"`
	Names       int   `json:"names"`
	Extents     int   `json:"extents"`
	Packs       int   `json:"packs"`         // that files need
	PackBytes   int64 `json:"pack_bytes"`    // of their objects
	Read        int   `json:"packs_read"`    // whose every byte was read now
	ReadBytes   int64 `json:"bytes_read"`    //
	Earlier     int   `json:"packs_earlier"` // that an interrupted check had read
}

// Garbage is what nobody needs, and no error: a crash leaves it, and so does a deletion.
type Garbage struct {
	Objects int   `json:"objects"` // of the store that nothing refers to
	Bytes   int64 `json:"bytes"`
	Packs   int   `json:"packs"` // known packs that no file needs any more, beside these
	InPacks int64 `json:"pack_bytes"`
}

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind     Kind     `json:"kind"`
	Severity Severity `json:"severity"`
	Cause    Cause    `json:"cause"`
	Object   string   `json:"object,omitempty"` // of the store
	Slot     uint64   `json:"slot,omitempty"`
	Slots    *Slots   `json:"slots,omitempty"` // all of them, where Slot is the first of many
	Inode    uint64   `json:"inode,omitempty"`
	Path     string   `json:"path,omitempty"` // in the drive; of a name, or of what has one
	Files    []File   `json:"files,omitempty"`
	Detail   string   `json:"detail"` // in words, for people

	ino  meta.Ino // whose path is wanted
	name *nameAt  // that it is about
}

// File is a file that lost something.
type File struct {
	Inode uint64   `json:"inode"`
	Paths []string `json:"paths"` // all its names; none when it has none
	Size  uint64   `json:"size"`
	Lost  []Bytes  `json:"lost"` // ascending, disjoint

	ref     meta.Ref
	version uint64
}

// Bytes is a range of a file.
type Bytes struct {
	Offset uint64 `json:"offset"`
	Length uint64 `json:"length"`
}

// Kind is what a finding is about.
type Kind string

// The kinds.
const (
	KindHeader  Kind = "header"  // a way into the drive
	KindHint    Kind = "hint"    // where a new machine begins
	KindLedger  Kind = "ledger"  //
	KindCommit  Kind = "commit"  //
	KindTable   Kind = "table"   //
	KindPack    Kind = "pack"    // an object with bytes of files
	KindName    Kind = "name"    // of a directory
	KindInode   Kind = "inode"   //
	KindLinks   Kind = "links"   // the count of an inode's names
	KindParent  Kind = "parent"  // what a directory says it lies in
	KindCycle   Kind = "cycle"   // directories that lie in each other
	KindExtent  Kind = "extent"  // where bytes of a file are
	KindXattr   Kind = "xattr"   //
	KindRecord  Kind = "record"  // metadata that cannot be read
	KindTotals  Kind = "totals"  // what df shows
	KindHistory Kind = "history" // two histories, or an older one
)

// Severity is how bad a finding is.
type Severity string

// The severities, the worst first.
const (
	Lost    Severity = "lost"    // something of the drive cannot be read
	Damaged Severity = "damaged" // nothing is lost, but something is not as it should be
	Note    Severity = "note"    // good to know, and no damage
)

// Cause is why.
type Cause string

// The causes.
const (
	Missing    Cause = "missing"    // not in the store, or not in the metadata
	Truncated  Cause = "truncated"  // shorter than it was written
	Longer     Cause = "longer"     // than it was written
	Altered    Cause = "altered"    // its bytes are not those that were written
	Exchanged  Cause = "exchanged"  // another object lies under its name
	Forged     Cause = "forged"     // well sealed, and not what its author may say
	Unreadable Cause = "unreadable" // the store has it, and does not give it
	Stale      Cause = "stale"      // older than it could be
	Dangling   Cause = "dangling"   // leads nowhere
	WrongCount Cause = "wrong count"
	Overlap    Cause = "overlap"
	Outside    Cause = "outside"   // of what it should lie in
	Nameless   Cause = "nameless"  // no name leads to it
	Malformed  Cause = "malformed" //
	Twice      Cause = "twice"     // what there should be once
	Leaked     Cause = "leaked"    // left over, and of nobody
)

// maxFindings, of each severity, and maxFiles bound a report: a drive that lost its store
// has losses without end, and the first of them say it. What is less bad takes no room
// from what is worse.
const (
	maxFindings = 10_000
	maxFiles    = 200_000
)

// Has says whether there is anything of that severity.
func (r *Report) Has(s Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == s })
}

// Forked says whether the store shows two histories, of which none was given up. Which one
// goes on is for a person to settle, before anything is repaired.
func (r *Report) Forked() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Kind == KindHistory && f.Cause == Forged && f.Severity != Note
	})
}

// Healthy says that nothing is lost and nothing damaged, as far as was looked.
func (r *Report) Healthy() bool { return !r.Has(Lost) && !r.Has(Damaged) && r.More == 0 }

// finish sorts the findings: the worst first, then as they were found.
func (r *Report) finish(now time.Time) {
	r.Seconds = now.Sub(r.Begun).Seconds()
	rank := map[Severity]int{Lost: 0, Damaged: 1, Note: 2}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
}

// find adds a finding.
func (c *checker) find(f Finding) {
	if c.kept[f.Severity]++; c.kept[f.Severity] > maxFindings {
		if f.Severity == Note {
			c.report.Notes++
		} else {
			c.report.More++
		}
		return
	}
	c.pending = append(c.pending, &f)
}

// publish moves the findings into the report.
func (c *checker) publish() {
	for _, f := range c.pending {
		c.report.Findings = append(c.report.Findings, *f)
	}
	c.pending = nil
}
