package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// distrustName is the file in the state folder that says that a table of the drive was
// found damaged. The next mount then reads all commits instead, which tell the same,
// and what it folds of them takes the place of the damaged table for everybody.
const distrustName = "damaged-table"

// distrust has the next mount read all commits.
func (v *Volume) distrust() {
	if err := v.keep(distrustName, nil); err != nil && !errors.Is(err, fs.ErrExist) {
		v.log.Warn("the next mount will not know of the damaged table", "err", pathless(err))
	}
}

// distrusted says whether a table was found damaged at an earlier mount, and forgets
// it: if it is needed again it will be found damaged again.
func (v *Volume) distrusted() bool {
	err := os.Remove(filepath.Join(v.o.State, distrustName))
	if err == nil {
		v.log.Warn("a table was damaged; all commits are read instead")
	}
	return err == nil
}
