package sync

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// What the state says of a lease is what the chain is told; where it cannot be read
// the verdict is void.
func TestPastOfALease(t *testing.T) {
	t.Parallel()
	ref := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(2, 7)}
	file := meta.Inode{Kind: meta.File, Perm: 0o600, Nlink: 1, Version: 2<<48 | 3}
	state := new(metatest.Map)
	state.Apply(&meta.Batch{Puts: []meta.KV{
		{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, &file)},
		{Key: meta.LeaseKey(ref.Ino), Value: meta.AppendLeaseEntry(nil, meta.LeaseEntry{Lease: &meta.Lease{Device: 1, Number: 1<<48 | 4, Until: 20}})},
	}})
	longer := file
	longer.Size = 9
	change := &meta.Batch{Puts: []meta.KV{{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, &longer)}}}
	for _, c := range []struct {
		by   meta.Device
		slot uint64
		want bool
	}{{2, 20, true}, {2, 21, false}, {1, 20, false}} {
		p := &past{confirmed: state}
		if got := p.Fenced(change, c.by, chain.Slot(c.slot)); got != c.want || p.err != nil {
			t.Errorf("device %d in slot %d: %v, %v", c.by, c.slot, got, p.err)
		}
	}
	state.Forget(meta.Range{From: []byte("l"), To: []byte("m")})
	p := &past{confirmed: state}
	if p.Fenced(change, 2, 20); !errors.Is(p.err, meta.ErrUnknown) {
		t.Errorf("leases that are not near: %v", p.err)
	}
}
