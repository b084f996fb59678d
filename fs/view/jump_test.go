package view

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// Behind a jump operations are held to the leases of the slot that they can come into,
// and who waits for a name hears that it is taken, as when slots are followed.
func TestJumpAsFollow(t *testing.T) {
	p := newPair(t)
	a, b := p.all[0], p.all[1]
	p.run(a, "put f text")
	for a.view.Pending().Len() > 0 {
		a.publish(600)
	}
	p.follow(b)
	_, _, f, _ := p.find(b, "f")
	p.run(b, "chmod f")
	p.run(b, "mkdir x")
	made := b.no

	p.must(a, &meta.SetLease{Act: meta.LeaseTake, Ref: f.Ref, Until: uint64(len(p.chain)) + 5, Parent: meta.RootRef, Name: []byte("f")})
	p.run(a, "put x other")
	for a.view.Pending().Len() > 0 {
		a.publish(600)
	}
	c := NewConfirmed(0, nil, meta.Usage{})
	for _, s := range p.chain {
		c.Apply(s.No, s.Batch, s.Usage)
	}
	for slot := c.Slot() + 1; slot < uint64(len(p.chain))+20; slot++ {
		c.Apply(slot, &meta.Batch{}, meta.Delta{})
	}
	told := false
	got, err := b.view.Jump(c, b.settled, meta.RebaseOptions{
		Device: "b", NewIno: b.newIno, Place: b.places, Same: p.same,
		Tentative: func(no meta.OpNo) bool { return no == made },
	}, func(Followed) error { told = true; return nil })
	if err != nil || !told {
		t.Fatal(told, err)
	}
	if len(got.Refused) != 1 || got.Refused[0].No != made || !errors.Is(got.Refused[0].Err, meta.ErrExist) {
		t.Errorf("refused: %+v", got.Refused)
	}
	n, err := meta.GetInode(b.view.merged(), f.Ref)
	if err != nil || n.Perm != 0o600 {
		t.Errorf("%o, %v: the lease had run out", n.Perm, err)
	}
}
