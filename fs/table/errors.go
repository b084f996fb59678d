package table

import "errors"

var (
	// ErrFar is what a Source answers for bytes that are not here, and what
	// every *Far is.
	ErrFar = errors.New("part of a table is not near")

	// ErrDamaged says that the content of a table is not what a builder makes.
	// The envelope was right, so whoever wrote it wrote it wrong.
	ErrDamaged = errors.New("table is damaged")

	// ErrVersion says that a table is of a layout that this code does not know.
	ErrVersion = errors.New("table is of a newer version than this program")

	// ErrMalformed says that bytes are no list of runs.
	ErrMalformed = errors.New("malformed list of tables")

	// ErrEntry says that the entries given to Fold do not ascend, or that one
	// is empty or larger than an entry may be.
	ErrEntry = errors.New("entry out of order or of a wrong size")

	// ErrTooMany says that the list of tables does not fit into a commit.
	ErrTooMany = errors.New("too many tables")

	// ErrWrong says that tables do not hold what those before them and what was
	// written since make together.
	ErrWrong = errors.New("tables do not hold what was written")
)
