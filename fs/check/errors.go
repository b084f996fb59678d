package check

import "errors"

var (
	// ErrBlind: metadata is missing that nothing else tells, and a repair would make more
	// of it missing.
	ErrBlind = errors.New("metadata is lost; bring the objects that were named back from a copy of the store first, or what they held is lost for good")

	// ErrBusy: another check works with the notebook.
	ErrBusy = errors.New("another check of this drive is at work")

	// errEnd ends a check after a finding that leaves nothing more to look at.
	errEnd = errors.New("nothing more can be checked")

	// errPage: bytes that are no page of a notebook.
	errPage = errors.New("no page of a notebook")
)
