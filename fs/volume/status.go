package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// Status is what a person wants to know of a mounted volume. It holds no file name.
type Status struct {
	Drive         string           `json:"drive"`          // drive id
	Name          string           `json:"name"`           // what its owner calls it
	Device        int              `json:"device"`         // number of this machine; 0 before its first write
	DeviceName    string           `json:"device_name"`    //
	ReadOnly      bool             `json:"read_only"`      //
	Older         bool             `json:"older"`          // it shows a store that is behind what was seen
	Slot          uint64           `json:"slot"`           // newest slot that this machine knows
	Files         uint64           `json:"files"`          // inodes
	Bytes         uint64           `json:"bytes"`          // sum of file sizes
	Stored        bool             `json:"stored"`         // everything written so far is in the store
	PendingOps    int              `json:"pending_ops"`    // operations that are not in a slot
	PendingFiles  int              `json:"pending_files"`  // files with content that is not in a slot
	PendingBytes  int64            `json:"pending_bytes"`  // bytes of packs and open files that are not in the store
	OldestPending time.Time        `json:"oldest_pending"` // zero when there is none
	Disk          Disk             `json:"disk"`           //
	JournalBytes  int64            `json:"journal_bytes"`  // of the journal's folder
	CacheBytes    int64            `json:"cache_bytes"`    // of what the cache keeps near
	Offline       string           `json:"offline"`        // why the store cannot be reached; empty: it can
	OfflineNext   string           `json:"offline_next"`   // what to do about it, as far as is known
	OfflineSince  time.Time        `json:"offline_since"`  // zero when it can
	NotTaken      string           `json:"not_taken"`      // why the store takes nothing, though it answers: it is full, or refuses; it is tried again. Empty: it takes what is sent
	NotTakenNext  string           `json:"not_taken_next"` // what to do about it
	NextTry       time.Time        `json:"next_try"`       // to send, after a failure; zero: none is waited for
	Remote        bool             `json:"remote"`         // fsync waits for the store, where no directory says otherwise
	Confirming    int              `json:"confirming"`     // programs that wait for the store so that their fsync, or its like, is done
	ConfirmSince  time.Time        `json:"confirm_since"`  // since when the first of them does; zero: none
	Slowed        string           `json:"slowed"`         // why writers are slowed; empty: they are not
	Refused       bool             `json:"refused"`        // new files are refused: no space is left
	Stopped       string           `json:"stopped"`        // why nothing more is written to the store; empty: it is
	Damaged       []string         `json:"damaged"`        // objects that are missing or do not verify
	DeadSlots     uint64           `json:"dead_slots"`     // that hold nobody's commit, and that everybody skips: above the checkpoint at the mount, and met since
	Warnings      []string         `json:"warnings"`       //
	Conflicts     int              `json:"conflicts"`      // that nobody has resolved, as far as is known
	QuietDays     int              `json:"quiet_days"`     // on which this machine asked, and nothing of others came, though before it did on most days; 0: nothing is remarkable
	Requests      map[string]int64 `json:"requests"`       // to the store since mount, by kind

	Traffic map[string]Traffic `json:"traffic"` // the same with bytes
}

// Disk is what the drive takes on the local disk, in bytes.
type Disk struct {
	Limit   int64 `json:"limit"`   // of all of the below together (--cache-size)
	Used    int64 `json:"used"`    //
	Meta    int64 `json:"meta"`    // cache: names, attributes and the like
	Blocks  int64 `json:"blocks"`  // cache: file data
	Journal int64 `json:"journal"` // what is not in the store, and room for sending it
}

// SetOffline puts into words why the store cannot be reached; nil: it can.
func (s *Status) SetOffline(why error) {
	s.Offline, s.OfflineNext = "", ""
	if why != nil {
		s.Offline, s.OfflineNext = store.Brief(why), store.Advice(why)
	}
}

// Undrained is an ErrUndrained that says how much is left.
type Undrained struct {
	Ops   int   // in the journal
	Bytes int64 // of file data
	Lost  int   // changes and files that the journal could not take either
	Why   error // why it could not be stored; nil when it was not tried
}

func (u *Undrained) Error() string {
	what, are, they := "changes", "are", "they stay"
	if u.Ops == 1 {
		what, are, they = "change", "is", "it stays"
	}
	if u.Lost > 0 {
		return fmt.Sprintf("%d %s (%d bytes) %s not in the store, and %d of them could not be written to the journal and are lost", u.Ops, what, u.Bytes, are, u.Lost)
	}
	text := fmt.Sprintf("%d %s (%d bytes) %s not in the store: %s sealed in the journal", u.Ops, what, u.Bytes, are, they)
	if u.Why != nil && !errors.Is(u.Why, context.Canceled) && !errors.Is(u.Why, context.DeadlineExceeded) {
		text += " (" + store.Brief(u.Why) + ")"
	}
	return text
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
		Older:        v.older,
		Slot:         v.view.Slot(),
		Files:        usage.Inodes,
		Bytes:        usage.Bytes,
		PendingOps:   pending.Len(),
		PendingBytes: v.packs.Bytes(),
		JournalBytes: journalBytes,
		CacheBytes:   v.cache.Usage().Bytes,
		Requests:     v.bucket.requests(),
		Traffic:      v.bucket.traffic(),
		Disk:         v.disk(),
		OfflineSince: v.bucket.since(),
		NextTry:      v.sync.NextTry(),
		Remote:       v.o.Remote,
	}
	_, number, name := v.state.Device()
	s.Device, s.DeviceName = int(number), name
	if pending.Len() > 0 {
		t := pending.First().Time
		s.OldestPending = time.Unix(t.Sec, int64(t.Nsec))
	}
	var dirty []meta.Ref
	v.mu.Lock()
	for _, d := range v.dirty {
		s.PendingOps++
		dirty = append(dirty, d.ref)
		if s.OldestPending.IsZero() || d.first.Before(s.OldestPending) {
			s.OldestPending = d.first
		}
	}
	v.mu.Unlock()
	s.PendingFiles = v.view.Filled(dirty)
	s.PendingOps += v.aside
	s.Stored = s.PendingOps == 0
	s.Conflicts = v.countConflicts()
	s.QuietDays = int(v.quietDays.Load())
	s.Slowed, s.Refused = v.room.state()
	s.Confirming, s.ConfirmSince = v.confirming.count()
	stopped, offline := v.sync.Trouble()
	s.Stopped = stopped
	refusal := v.Refusal()
	if errors.Is(offline, store.ErrFull) {
		offline = nil // it was reached, and said so
	}
	s.setNotTaken(refusal)
	if s.SetOffline(offline); offline == nil {
		s.OfflineSince = time.Time{}
	}
	s.DeadSlots = v.notes.skipped(chain.Slot(s.Slot)) + v.sync.Dead()
	s.Damaged, s.Warnings = v.notes.list()
	if number == 0 && !s.ReadOnly && offline != nil && !v.notes.has(firstChange) {
		s.Warnings = append(s.Warnings, firstChange+": until the store can be reached each fails (EIO): "+firstNeedsStore)
	}
	if why := v.cache.Usage().Trouble; why != "" {
		s.Warnings = append(s.Warnings, "cache: it keeps less than it might: "+why)
	}
	if err := v.sync.Failure(); err != nil && refusal == nil && s.Offline == "" && s.Stopped == "" {
		s.Warnings = append(s.Warnings, "store: "+err.Error())
	}
	return s
}

// disk adds up what lies on the local disk.
func (v *Volume) disk() Disk {
	c := v.cache.Usage()
	d := Disk{Limit: max(v.o.CacheSize, LeastCache), Meta: c.Meta, Blocks: c.Blocks, Journal: v.local()}
	d.Used = d.Meta + d.Blocks + d.Journal
	return d
}

// Usage is what statfs says.
type Usage struct {
	meta.Usage
	Free uint64 // bytes that can still be written, as far as is known
}

// bucketSpace is shown as free where the store has no limit that can be asked.
const bucketSpace = 8 << 40

// Usage returns the totals of the volume.
func (v *Volume) Usage() Usage {
	return Usage{v.view.Usage(), bucketSpace}
}
