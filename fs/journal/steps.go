package journal

// Steps are the places at which a crash is of interest, in the names that
// Options.Step is called with: each is called just before what it names.
var Steps = []string{
	stepCreate, stepHeader, stepRename, stepFolder, stepCreated, stepExtend, stepWrite, stepWritten,
	stepSync, stepSynced, stepAbandon, stepRotate, stepCarry, stepRemove, stepRemoved, stepAside,
}

const (
	stepCreate  = "journal.create"  // a new file gets its temporary name
	stepHeader  = "journal.header"  // header, carried-over records and zeros are written to it, not synced
	stepRename  = "journal.rename"  // synced, and about to get its name
	stepFolder  = "journal.folder"  // named, the folder not synced
	stepCreated = "journal.created" // the new file is there to stay
	stepExtend  = "journal.extend"  // zeros are added to the file
	stepWrite   = "journal.write"   // records are written
	stepWritten = "journal.written" // records are written, not synced
	stepSync    = "journal.sync"    // the file is synced; no lock is held
	stepSynced  = "journal.synced"  // synced, nobody told yet; no lock is held
	stepAbandon = "journal.abandon" // a file failed and is left for a new one
	stepRotate  = "journal.rotate"  // a file is full and is left for a new one
	stepCarry   = "journal.carry"   // pack records of an old file are repeated
	stepRemove  = "journal.remove"  // a file of dead records is removed
	stepRemoved = "journal.removed" // removed, the folder not synced
	stepAside   = "journal.aside"   // a damaged file is kept aside
)
