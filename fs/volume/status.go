package volume

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/view"
)

// Status is what a person wants to know of a mounted volume. It holds no file name.
type Status struct {
	Drive         string           `json:"drive"`          // drive id
	Name          string           `json:"name"`           // what its owner calls it
	Device        int              `json:"device"`         // number of this machine; 0 before its first write
	DeviceName    string           `json:"device_name"`    //
	ReadOnly      bool             `json:"read_only"`      //
	Slot          uint64           `json:"slot"`           // newest slot that this machine knows
	Files         uint64           `json:"files"`          // inodes
	Bytes         uint64           `json:"bytes"`          // sum of file sizes
	Stored        bool             `json:"stored"`         // everything written so far is in the store
	PendingOps    int              `json:"pending_ops"`    // operations that are not in a slot
	PendingBytes  int64            `json:"pending_bytes"`  // bytes of packs and open files that are not in the store
	OldestPending time.Time        `json:"oldest_pending"` // zero when there is none
	JournalBytes  int64            `json:"journal_bytes"`  // of the journal's folder
	CacheBytes    int64            `json:"cache_bytes"`    // of sealed packs kept near
	Offline       string           `json:"offline"`        // why the store cannot be reached; empty: it can
	Stopped       string           `json:"stopped"`        // why nothing more is written to the store; empty: it is
	Damaged       []string         `json:"damaged"`        // objects that are missing or do not verify
	Warnings      []string         `json:"warnings"`       //
	Requests      map[string]int64 `json:"requests"`       // to the store since mount, by kind
}

// Undrained is an ErrUndrained that says how much is left.
type Undrained struct {
	Ops   int   // in the journal
	Bytes int64 // of file data
	Lost  int   // changes and files that the journal could not take either
	Why   error // why it could not be stored; nil when it was not tried
}

func (u *Undrained) Error() string {
	if u.Lost > 0 {
		return fmt.Sprintf("%d changes (%d bytes) are not in the store, and %d of them could not be written to the journal and are lost", u.Ops, u.Bytes, u.Lost)
	}
	return fmt.Sprintf("%d changes (%d bytes) are not in the store: they stay sealed in the journal", u.Ops, u.Bytes)
}

// Unwrap makes errors.Is find ErrUndrained and the cause.
func (u *Undrained) Unwrap() []error { return []error{ErrUndrained, u.Why} }

// Status describes the volume.
func (v *Volume) Status() Status {
	usage := v.view.Usage()
	pending := v.view.Pending()
	_, journalBytes := v.journal.Size()
	s := Status{
		Drive:        v.o.Drive.ID.String(),
		Name:         v.o.Drive.Name,
		ReadOnly:     v.o.ReadOnly,
		Slot:         v.view.Slot(),
		Files:        usage.Inodes,
		Bytes:        usage.Bytes,
		PendingOps:   len(pending) + v.sync.Failed(),
		PendingBytes: v.packs.Bytes(),
		JournalBytes: journalBytes,
		CacheBytes:   v.cache.Bytes(),
		Requests:     v.bucket.requests(),
	}
	_, number, name := v.state.Device()
	s.Device, s.DeviceName = int(number), name
	if len(pending) > 0 {
		t := pending[0].Stamp.Time
		s.OldestPending = time.Unix(t.Sec, int64(t.Nsec))
	}
	v.mu.Lock()
	for _, d := range v.dirty {
		s.PendingOps++
		if s.OldestPending.IsZero() || d.first.Before(s.OldestPending) {
			s.OldestPending = d.first
		}
	}
	v.mu.Unlock()
	s.Stored = s.PendingOps == 0
	s.Offline, s.Stopped = v.sync.Trouble()
	s.Damaged, s.Warnings = v.notes.list()
	if err := v.sync.Failure(); err != nil && s.Offline == "" && s.Stopped == "" {
		s.Warnings = append(s.Warnings, "store: "+err.Error())
	}
	return s
}

// Usage is what statfs says.
type Usage struct {
	view.Usage
	Free uint64 // bytes that can still be written, as far as is known
}

// bucketSpace is shown as free where the store has no limit that can be asked.
const bucketSpace = 8 << 40

// Usage returns the totals of the volume.
func (v *Volume) Usage() Usage {
	return Usage{v.view.Usage(), bucketSpace}
}

// room says ErrNoSpace when the local disk is nearly full: what the kernel
// accepted already must still find room in the journal.
func (v *Volume) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(v.o.State, &st); err != nil {
		return err
	}
	size := uint64(st.Bsize)
	if st.Bavail*size < min(reserve, st.Blocks*size/10) {
		return ErrNoSpace
	}
	if err := v.packs.Err(); err != nil && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) {
		return ErrNoSpace
	}
	return nil
}

// reserve is the free space on the local disk below which new files are
// refused: more than the dirty pages that the kernel holds for us.
const reserve = 128 << 20
