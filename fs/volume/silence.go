package volume

import (
	"fmt"
	"time"

	publish "github.com/hushfs/hushfs/fs/sync"
)

// quiet notes that nothing of other machines comes where it did on most days, or that
// something does again.
func (v *Volume) quiet(q publish.Quiet) {
	v.quietDays.Store(int64(q.Days))
	if q.Days == 0 {
		v.notes.mend(others)
		v.log.Info("changes of other machines come again")
		return
	}
	at := time.Unix(0, q.Newest.Time).UTC()
	v.notes.warn(others, fmt.Errorf("nothing new came on %d days on which this machine asked, and on most days before something did (newest: slot %d, %s UTC by the clock of the machine that wrote it). Did they write meanwhile? Then the store keeps it from this machine. Compare the words that hushfs heads shows there and here, over the telephone", q.Days, q.Newest.Slot, at.Format(time.DateTime)))
	v.log.Warn("nothing new of other machines comes, though it did on most days", "days", q.Days, "slot", uint64(q.Newest.Slot))
}

// others is the subject of the warning that nothing of other machines comes.
const others = "other machines"
