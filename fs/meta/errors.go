package meta

import "errors"

// What a Reader answers when it has no value.
var (
	ErrAbsent  = errors.New("no such key")                 // the key has no value, for sure
	ErrUnknown = errors.New("not known without the store") // this machine cannot tell yet
)

// What an operation, or a lookup, is refused with.
var (
	ErrNotExist     = errors.New("no such file or directory")    // a name or an inode is not there (ENOENT)
	ErrExist        = errors.New("exists already")               // the name or attribute is taken (EEXIST)
	ErrNotDir       = errors.New("not a directory")              // ENOTDIR
	ErrIsDir        = errors.New("is a directory")               // EISDIR
	ErrNotEmpty     = errors.New("directory is not empty")       // ENOTEMPTY
	ErrCycle        = errors.New("directory would be in itself") // a directory would move below itself (EINVAL)
	ErrTooManyLinks = errors.New("too many links")               // more than MaxLinks (EMLINK)
	ErrName         = errors.New("name is not allowed")          // empty, ".", "..", or holds '/' or NUL (EINVAL)
	ErrNameTooLong  = errors.New("name is too long")             // more than MaxName bytes (ENAMETOOLONG)
	ErrPerm         = errors.New("not permitted")                // a hard link to a directory (EPERM)
	ErrNoAttr       = errors.New("no such attribute")            // ENODATA
	ErrNotFile      = errors.New("not a regular file")           // content of what has none, and is no directory (EINVAL)
	ErrTooLarge     = errors.New("too large")                    // a file above MaxFileSize, an attribute above MaxXattr (EFBIG, E2BIG)
	ErrConflict     = errors.New("changed by somebody else")     // the state is not the one the operation was made for
	ErrMalformed    = errors.New("malformed metadata")           // bytes that are not canonical, or an operation that no caller may make (EIO)
)

// Refused tells whether an error says that the map does not allow an operation, and
// not that the map could not be read.
func Refused(err error) bool {
	for _, no := range []error{
		ErrConflict, ErrExist, ErrNotExist, ErrNotEmpty, ErrNotDir, ErrIsDir, ErrCycle, ErrTooManyLinks,
		ErrPerm, ErrNoAttr, ErrNotFile, ErrName, ErrNameTooLong,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
