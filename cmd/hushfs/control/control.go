// Package control is the conversation between the daemon of a mounted drive and
// the commands that ask about it: HTTP with JSON over a unix socket that only
// the drive's user and root may use.
//
//	GET  /status            what is mounted and what waits          -> Status
//	POST /wait?timeout=1m   answers when all is in the store        -> Status
//	                        ?inode=7 when all of one file is
//	POST /sync?timeout=1m   fetches and sends now                   -> Synced
//	POST /unmount?lazy=1    takes the kernel's mount away           -> Status
//	POST /shutdown          unmounts, drains, answers at the end    -> Result
//	                        ?lazy=1 as above, ?now=1 leaves the rest in the journal
//
// The daemon answers as long as it lives, also while it drains. An error is a
// Problem under the name "error". Nothing here holds a key, and names that lie
// in the drive stand in answers about conflicts alone.
package control

import (
	"context"
	"time"

	"github.com/hushfs/hushfs/fs/volume"
)

// Phase is where a daemon stands between its start and its end.
type Phase string

const (
	Starting Phase = "starting" // replays its journal, is not mounted yet
	Mounted  Phase = "mounted"  // the drive is in the folder
	Detached Phase = "detached" // not in the folder any more, but programs still hold files of it open
	Draining Phase = "draining" // sends what waits; there is no mount any more
	Done     Phase = "done"     // keys are wiped, the process is about to end
)

// Ending reports whether a daemon in this phase has lost its mount and will end
// by itself.
func (p Phase) Ending() bool { return p == Detached || p == Draining || p == Done }

// Status is one mounted drive.
type Status struct {
	PID        int           `json:"pid"`
	Mountpoint string        `json:"mountpoint"`    // absolute, symbolic links resolved
	Store      string        `json:"store"`         // as given to mount, absolute
	Endpoint   string        `json:"endpoint"`      // server of a bucket; empty for a directory
	Probe      *Probe        `json:"probe"`         // how the bucket treats writers that race; nil: not known, or a directory
	Phase      Phase         `json:"phase"`         //
	Doing      string        `json:"doing"`         // what a daemon that starts is at, where that takes long; else empty
	Since      time.Time     `json:"since"`         // start of the daemon
	DrainUntil time.Time     `json:"drain_until"`   // when a drain is given up; zero outside Draining
	State      string        `json:"state"`         // folder of this machine's state of the drive
	Program    string        `json:"program"`       // version of the daemon
	Goroutines int           `json:"goroutines"`    // that the daemon has now; many that stay are a fault
	Why        string        `json:"read_only_why"` // why it is mounted read-only though nobody asked for that; else empty
	Hidden     []string      `json:"hidden"`        // names in the folder below the mount: programs wrote them just before it was there
	Volume     volume.Status `json:"volume"`
}

// Synced is what a sync has done: everything that was written before it is in the store,
// and everything that was in the store is shown.
type Synced struct {
	Status Status `json:"status"`
	Before uint64 `json:"before"` // newest slot that was shown when it began
	Slot   uint64 `json:"slot"`   // newest slot that is shown
}

// Probe is what a test of a bucket has shown.
type Probe struct {
	When     time.Time `json:"when"`
	Good     bool      `json:"good"`     // several machines may write to it
	Single   bool      `json:"single"`   // one machine may
	Findings string    `json:"findings"` // why not several, or none
}

// How a daemon is to end.
type How struct {
	Lazy bool // take the mount away also when programs use it
	Now  bool // do not drain: leave the rest in the journal
}

// Result is how a daemon ended.
type Result struct {
	Stored       bool   `json:"stored"`        // everything is in the store
	Message      string `json:"message"`       // why not; empty when Stored
	Next         string `json:"next"`          // what the reader can do then
	PendingOps   int    `json:"pending_ops"`   // left in the journal, for the next mount
	PendingBytes int64  `json:"pending_bytes"` //
}

// Problem is an error as it travels: to another process, and to a program that
// asked for JSON. Code is an exit code of hushfs.
type Problem struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Next    string `json:"next,omitempty"` // what the reader can do
	Busy    bool   `json:"busy,omitempty"` // the mount stays because programs use it
}

// Error is the message without the next step.
func (p *Problem) Error() string { return p.Message }

// Daemon is what the server needs of the process it speaks for. All methods are
// safe for concurrent use and return when ctx ends.
type Daemon interface {
	Status() Status
	WaitStored(ctx context.Context) error
	// WaitFile returns when all that was written to an inode is in the store.
	WaitFile(ctx context.Context, inode uint64) error
	// Sync sends what waits and fetches what others wrote, and returns when the kernel
	// shows it. It fails when the store is away, or does not take what is sent, unless it is
	// to be patient.
	Sync(ctx context.Context, patient bool) (Synced, error)
	// Unmount returns when the mount is gone from the tree; lazy also when
	// programs use it.
	Unmount(ctx context.Context, lazy bool) error
	// Shutdown unmounts when need be and returns when the drain has ended. A
	// ctx that ends before leaves the daemon draining.
	Shutdown(ctx context.Context, how How) (Result, error)
}
