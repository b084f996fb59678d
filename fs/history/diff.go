package history

import (
	"bytes"
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
)

// diff is what a commit changed, with what was there before.
type diff struct {
	place  *place
	names  []nameDiff
	inodes []inodeDiff
	xattrs map[meta.Ref][]string // names of attributes that were set or taken away

	leases []leaseDiff
	locks  int // of files across machines, that were taken, waited for, kept or given back

	conflicts, resolved int
}

// nameDiff is a name that was given, taken, or given to something else.
type nameDiff struct {
	at       meta.At
	old, new *meta.Dirent // nil: none
	blind    bool         // old is not known
}

// inodeDiff is an inode that was written or deleted.
type inodeDiff struct {
	ref      meta.Ref
	old, new *meta.Inode // nil: none
	blind    bool        // old is not known
}

// diffs moves a state over the commits of a stretch and tells what each of them did. Where
// one is missing it is not known any more what there was before those that follow.
func (h *History) diffs(ctx context.Context, s *stretch, state *view.Confirmed) ([]*diff, error) {
	var all []*diff
	for i := range s.places {
		p := &s.places[i]
		if p.hole() {
			state = view.NewConfirmed(uint64(p.slot), blind{}, meta.Usage{})
		}
		if !p.whole() {
			continue
		}
		var d *diff
		err := publish.Retry(ctx, func() (err error) {
			d, err = diffOf(p, state)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, d)
		state.Apply(uint64(p.slot), p.commit.Batch, p.commit.Usage)
	}
	return all, nil
}

// diffOf holds a batch against the state before it.
func diffOf(p *place, state meta.Reader) (*diff, error) {
	d := &diff{place: p, xattrs: map[meta.Ref][]string{}}
	b := p.commit.Batch
	for _, r := range b.Ranges {
		if ref, _, err := meta.ParseXattrKey(append(bytes.Clone(r.From), 'x')); err == nil {
			d.xattrs[ref] = append(d.xattrs[ref], "all")
		}
	}
	for _, k := range b.Deletes {
		if err := d.key(k, nil, state); err != nil {
			return nil, err
		}
	}
	for _, kv := range b.Puts {
		if err := d.key(kv.Key, kv.Value, state); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// key takes in what was put under a key; nil: it was deleted.
func (d *diff) key(k, v []byte, state meta.Reader) error {
	if at, name, err := meta.ParseDirentKey(k); err == nil {
		return d.name(meta.At{Dir: at, Name: string(name)}, k, v, state)
	}
	if ref, err := meta.ParseInodeKey(k); err == nil {
		return d.inode(ref, k, v, state)
	}
	if ino, err := meta.ParseLeaseKey(k); err == nil {
		return d.lease(ino, k, v, state)
	}
	if ref, name, err := meta.ParseXattrKey(k); err == nil {
		d.xattrs[ref] = append(d.xattrs[ref], string(name))
	} else if _, _, err := meta.ParseLockKey(k); err == nil {
		d.locks++
	} else if _, err := meta.ParseConflictKey(k); err == nil {
		if v != nil {
			d.conflicts++
		} else {
			d.resolved++
		}
	}
	return nil
}

// before reads what a key had; blind: that is not known.
func before(state meta.Reader, k []byte) (v []byte, blind bool, err error) {
	v, err = state.Get(k)
	switch {
	case errors.Is(err, meta.ErrAbsent):
		return nil, false, nil
	case errors.Is(err, errBlind):
		return nil, true, nil
	}
	return v, false, err
}

func (d *diff) name(at meta.At, k, v []byte, state meta.Reader) error {
	was, blind, err := before(state, k)
	if err != nil {
		return err
	}
	n := nameDiff{at: at, blind: blind}
	if was != nil {
		if e, err := meta.DecodeDirent(was); err == nil {
			n.old = &e
		}
	}
	if v != nil {
		if e, err := meta.DecodeDirent(v); err == nil {
			n.new = &e
		}
	}
	if n.old != nil && n.new != nil && *n.old == *n.new || n.old == nil && n.new == nil && !blind {
		return nil
	}
	d.names = append(d.names, n)
	return nil
}

func (d *diff) inode(ref meta.Ref, k, v []byte, state meta.Reader) error {
	was, blind, err := before(state, k)
	if err != nil {
		return err
	}
	n := inodeDiff{ref: ref, blind: blind}
	if was != nil {
		n.old, _ = meta.DecodeInode(was)
	}
	if v != nil {
		n.new, _ = meta.DecodeInode(v)
	}
	if n.old == nil && n.new == nil && !blind {
		return nil
	}
	for _, i := range []*meta.Inode{n.old, n.new} {
		if i != nil {
			i.Extents = nil
		}
	}
	d.inodes = append(d.inodes, n)
	return nil
}

// entry is the head of an Entry.
func (h *History) entry(p *place) Entry {
	c := p.commit
	e := Entry{
		Slot: uint64(c.Slot), Commit: c.ID.String(), Device: int(c.Device), Claimed: c.Time.UTC(), Epoch: uint32(c.Epoch),
		Changes: []Change{}, Ledger: []Notice{}, Unproven: p.unproven,
	}
	if k := c.Checkpoint; k != nil {
		e.Checkpoint = uint64(k.Slot)
	}
	e.Member, e.Owner, e.DeviceName = h.author(c)
	for _, r := range c.Records {
		s := r.Said()
		e.Ledger = append(e.Ledger, Notice{What: notices[r.Kind], Device: int(s.Device), Name: s.Name, Epoch: uint32(s.Epoch)})
		if notices[r.Kind] == "" {
			e.Ledger[len(e.Ledger)-1].What = "a record of a kind that this program does not know"
		}
	}
	return e
}

// notices are records of the ledger in words.
var notices = map[chain.Kind]string{
	chain.KindVolume:   "volume made",
	chain.KindDevice:   "device enrolled",
	chain.KindEpoch:    "epoch opened",
	chain.KindRemove:   "device removed",
	chain.KindRename:   "device renamed",
	chain.KindWriter:   "writing handed over to device",
	chain.KindAccepted: "rollback accepted",
}
