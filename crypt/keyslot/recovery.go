package keyslot

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hushfs/hushfs/crypt"
)

const (
	maxRecovery = 64 << 10 // bytes; a sheet has 800
	perLine     = 4
	driveField  = "drive:"
)

// FormatRecovery writes the recovery sheet: the drive's full id and its words,
// numbered, four to a line. The caller wipes the bytes.
func FormatRecovery(drive [32]byte, words []string) []byte {
	var b strings.Builder
	b.WriteString("# hushfs recovery words\n" +
		"#\n" +
		"# With these words and the place where the drive is stored everything in it can be\n" +
		"# read and changed. Keep them on paper, where neither fire nor a guest finds them.\n\n")
	fmt.Fprintf(&b, "%s %s\n\n", driveField, DriveIDFull(drive))
	for i, w := range words {
		if i%perLine == perLine-1 || i == len(words)-1 {
			fmt.Fprintf(&b, "%2d %s\n", i+1, w)
		} else {
			fmt.Fprintf(&b, "%2d %-8s  ", i+1, w)
		}
	}
	return []byte(b.String())
}

// ParseRecovery reads a sheet, or the bare words. Lines that begin with '#'
// are skipped; "drive:" may be missing, then drive is nil and a person must
// confirm the drive; numbers may be missing, but those that are there count up.
// Errors are ErrWords and ErrDrive, and contain nothing of the sheet.
func ParseRecovery(b []byte) (drive *[32]byte, entropy *crypt.Key, err error) {
	if len(b) > maxRecovery {
		return nil, nil, fmt.Errorf("%w: %d bytes are no recovery sheet", ErrWords, len(b))
	}
	var words []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(line) >= len(driveField) && strings.EqualFold(line[:len(driveField)], driveField) {
			id, err := ParseDriveID(strings.TrimSpace(line[len(driveField):]))
			if err != nil {
				return nil, nil, err
			}
			if drive != nil {
				return nil, nil, fmt.Errorf("%w: the sheet names two", ErrDrive)
			}
			drive = &id
			continue
		}
		for _, f := range strings.Fields(line) {
			if f[0] < '0' || f[0] > '9' {
				words = append(words, f)
			} else if n, err := strconv.Atoi(strings.TrimRight(f, ".):")); err != nil || n != len(words)+1 {
				return nil, nil, fmt.Errorf("%w: the number before word %d is another", ErrWords, len(words)+1)
			}
		}
	}
	entropy, err = parseWords(words)
	if err != nil {
		return nil, nil, err
	}
	return drive, entropy, nil
}
