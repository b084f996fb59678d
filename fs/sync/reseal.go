package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// presentPack has a closed pack that is to be published sealed under the key of the present
// epoch: one that was closed before the epoch turned, here or while this machine was off
// line, is sealed again. One that the chain has already stays as the chain has it.
// working is held, so that the epoch does not turn meanwhile.
func (s *Syncer) presentPack(ctx context.Context, p pack.Info) (pack.Info, error) {
	if p.Epoch == s.o.Chain.Epoch {
		return p, nil
	}
	if _, err := s.known(ctx, p.No); !errors.Is(err, meta.ErrAbsent) {
		return p, err
	}
	old, ok := s.o.Keys.Key(p.Epoch)
	if !ok {
		return p, s.stop(fmt.Errorf("%w: pack %d is of epoch %d, whose key is not known", errLocal, p.No, p.Epoch))
	}
	next, err := s.o.Packs.Reseal(p, old)
	if errors.Is(err, pack.ErrDamaged) {
		return p, s.stop(fmt.Errorf("%w: %w", errLocal, err))
	}
	if err != nil {
		return p, fmt.Errorf("seal pack %d again: %w", p.No, err)
	}
	s.mu.Lock()
	delete(s.uploaded, p.Name)
	s.mu.Unlock()
	s.log.Info("pack sealed again, since the epoch turned", "pack", uint64(p.No), "from", uint32(p.Epoch), "to", uint32(next.Epoch))
	return next, nil
}
