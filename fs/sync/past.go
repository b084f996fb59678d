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
	err       error // the first
}

var _ chain.Past = (*past)(nil)

func (p *past) Packed(no meta.PackNo) bool  { return p.has(meta.PackKey(no)) }
func (p *past) Retired(no meta.PackNo) bool { return p.has(meta.RetiredKey(no)) }

func (p *past) has(key []byte) bool {
	_, err := p.confirmed.Get(key)
	if err != nil && !errors.Is(err, meta.ErrAbsent) && p.err == nil {
		p.err = err
	}
	return err == nil
}
