package history

import "time"

// Entry is one commit. It names files of the drive: it is for the drive's user, and not
// for a log.
type Entry struct {
	Slot       uint64    `json:"slot"`
	Commit     string    `json:"commit"`      // its id, 64 hexadecimal digits
	Member     string    `json:"member"`      // whose device: the hash of the member's keys, 64 digits
	Owner      bool      `json:"owner"`       // that member made the drive
	Device     int       `json:"device"`      // number
	DeviceName string    `json:"device_name"` // as of then
	Claimed    time.Time `json:"claimed_time"`
	Epoch      uint32    `json:"epoch"`
	Changes    []Change  `json:"changes"`
	Ledger     []Notice  `json:"ledger"`
	Leases     []Leasing `json:"leases,omitempty"`
	Locks      int       `json:"locks,omitempty"`      // of files across machines, that were taken, waited for, kept or given back
	Checkpoint uint64    `json:"checkpoint,omitempty"` // it announces the checkpoint of that slot
	Conflicts  int       `json:"conflicts,omitempty"`  // that it left a record of
	Resolved   int       `json:"resolved,omitempty"`   // records of conflicts that it took away
	Unproven   bool      `json:"unproven,omitempty"`   // the commit above it is damaged: only its place says that it belongs there
}

// Change is what a commit did to one file, directory or other inode. Several that were
// made between two commits are one.
type Change struct {
	What   What   `json:"what"`
	Kind   string `json:"kind"`           // file, directory, symlink, ...
	Path   string `json:"path"`           // in the drive, as of then; "?" where the way is not known
	From   string `json:"from,omitempty"` // of Renamed: the path before; of Linked another name
	Inode  uint64 `json:"inode"`
	Size   uint64 `json:"size,omitempty"`   // of a file that was created or changed, after that
	Detail string `json:"detail,omitempty"` // of Attributes: which

	ways [2][]uint64 // inodes of the directories above, before and after
}

// What happened.
type What string

// All that can happen to an inode.
const (
	Created    What = "created"
	Changed    What = "changed" // content
	Renamed    What = "renamed"
	Linked     What = "linked"   // has one name more
	Unlinked   What = "unlinked" // has one name less
	Removed    What = "removed"
	Attributes What = "attributes"
	Touched    What = "touched" // what exactly is not known: the metadata of that time cannot be read
)

// Notice is what a record of the ledger says.
type Notice struct {
	What   string `json:"what"`
	Device int    `json:"device,omitempty"`
	Name   string `json:"name,omitempty"` // of the device
	Epoch  uint32 `json:"epoch,omitempty"`
}
