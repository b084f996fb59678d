package sync

import (
	"errors"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// past tells the chain of packs, as the confirmed state has them. What could not be
// read makes the verdict void.
type past struct {
	confirmed meta.Reader
	unfenced  bool  // leases are not looked at
	err       error // the first
}

var _ chain.Past = (*past)(nil)

func (p *past) Packed(no meta.PackNo) bool  { return p.has(meta.PackKey(no)) }
func (p *past) Retired(no meta.PackNo) bool { return p.has(meta.RetiredKey(no)) }

// Fenced is that of chain.Past.
func (p *past) Fenced(b *meta.Batch, by meta.Device, slot chain.Slot) bool {
	if p.unfenced {
		return false
	}
	err := meta.Fence(p.confirmed, b, by, uint64(slot))
	if err != nil && !errors.Is(err, meta.ErrLeased) && p.err == nil {
		p.err = err
	}
	return err != nil
}

func (p *past) has(key []byte) bool {
	_, err := p.confirmed.Get(key)
	if err != nil && !errors.Is(err, meta.ErrAbsent) && p.err == nil {
		p.err = err
	}
	return err == nil
}
