package journal

import "errors"

var (
	ErrFull      = errors.New("journal: no space left for the journal")                        // the disk or quota is full; nothing of the call was kept
	ErrForeign   = errors.New("journal: written under another key or by another device")       // no file of the folder opens; nothing was touched
	ErrNewer     = errors.New("journal: written by a newer version")                           // magic or record kind that this code does not know; nothing was touched
	ErrInUse     = errors.New("journal: open in another process")                              // the folder is locked
	ErrClosed    = errors.New("journal: closed")                                               // Append after Close
	ErrOrder     = errors.New("journal: operation number is not above the ones before")        // a lower number would count as settled and be dropped
	ErrTooLarge  = errors.New("journal: record too large")                                     // above MaxRecord, or a call above MaxAppend
	ErrMalformed = errors.New("journal: malformed record")                                     // bytes that are no record, or a record that has no bytes
	ErrBroken    = errors.New("journal: its folder cannot be trusted any more, mount it anew") // a folder could not be synced: what a crash would leave is not known
)
