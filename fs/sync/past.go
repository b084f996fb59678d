package sync

import (
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// past tells the chain of packs, as the confirmed state has them.
type past struct{ confirmed meta.Reader }

var _ chain.Past = past{}

func (p past) Packed(no meta.PackNo) bool  { return p.has(meta.PackKey(no)) }
func (p past) Retired(no meta.PackNo) bool { return p.has(meta.RetiredKey(no)) }

func (p past) has(key []byte) bool {
	_, err := p.confirmed.Get(key)
	return err == nil
}
