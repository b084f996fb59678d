package history

import "github.com/hushfs/hushfs/fs/meta"

// Leasing is what a commit did to a lease.
type Leasing struct {
	What   LeaseWhat `json:"what"`
	Path   string    `json:"path"`             // where what is leased was found
	Device int       `json:"device,omitempty"` // whose it was, when the commit is another device's

	ino meta.Ino
}

// LeaseWhat is what became of a lease.
type LeaseWhat string

// All that can become of a lease.
const (
	Leased    LeaseWhat = "leased"     // nobody else held it any more
	TakenAway LeaseWhat = "taken away" // from another device, knowingly
	LeaseKept LeaseWhat = "kept"       // held for longer, or of more than before
	GivenBack LeaseWhat = "given back"
	RunOut    LeaseWhat = "run out" // of another device, and forgotten
)

// leaseDiff is a lease that was taken, kept or ended.
type leaseDiff struct {
	ino      meta.Ino
	old, new *meta.Lease // nil: none
}

// lease takes in what was put under the key of a lease; nil: it was deleted. That an inode
// belongs to what another is leased with is part of that one's.
func (d *diff) lease(ino meta.Ino, k, v []byte, state meta.Reader) error {
	was, _, err := before(state, k)
	if err != nil {
		return err
	}
	l := leaseDiff{ino: ino}
	if was != nil {
		e, _ := meta.DecodeLeaseEntry(was)
		l.old = e.Lease
	}
	if v != nil {
		e, _ := meta.DecodeLeaseEntry(v)
		l.new = e.Lease
	}
	if l.old != nil || l.new != nil {
		d.leases = append(d.leases, l)
	}
	return nil
}

// leasing tells a leaseDiff of a commit by a device.
func (n *naming) leasing(l leaseDiff, by meta.Device) Leasing {
	out := Leasing{ino: l.ino}
	at := l.new
	if at == nil {
		at = l.old
	}
	if l.old != nil && l.old.Device != by {
		out.Device = int(l.old.Device)
	}
	switch {
	case l.new == nil && out.Device != 0:
		out.What = RunOut
	case l.new == nil, l.new.Ended():
		out.What = GivenBack
	case l.old != nil && l.old.Device == by && !l.old.Ended():
		out.What = LeaseKept
	case l.new.From != 0:
		out.What, out.Device = TakenAway, int(meta.WrittenBy(l.new.From))
	default:
		out.What, out.Device = Leased, 0
	}
	switch {
	case l.ino == meta.Root:
		out.Path = "/"
	case len(at.Name) == 0:
		out.Path = "?"
	default:
		out.Path = n.index.Path(meta.At{Dir: at.Parent.Ino, Name: string(at.Name)})
	}
	return out
}
