package sync

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
)

// Keys are the keys of the epochs that this machine knows. They are asked for by
// whoever reads objects, while the chain moves on. It is safe for concurrent use.
type Keys struct {
	mu    sync.RWMutex // guards known
	known map[crypt.Epoch]*crypt.Key
	epoch crypt.Epoch // that objects are sealed under now; 0 before anything was learned
}

// Key returns the key of an epoch; false when it is not known.
func (k *Keys) Key(e crypt.Epoch) (*crypt.Key, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.known[e]
	return key, ok
}

// Current returns the key that objects are sealed under now, and its epoch.
func (k *Keys) Current() (*crypt.Key, crypt.Epoch) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.known[k.epoch], k.epoch
}

// learn takes over what a chain knows.
func (k *Keys) learn(st *chain.State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.epoch = st.Keys(), st.Epoch
}

// Source reads tables through whoever reads objects.
type Source struct{ Blocks *block.Reader }

var _ table.Source = Source{}

func object(t table.Table) block.Object {
	return block.Object{Type: crypt.TypeTable, Name: t.Name, Length: t.Length, Epoch: t.Epoch}
}

// Near is that of table.Source.
func (s Source) Near(t table.Table, off int64, dst []byte) error {
	err := s.Blocks.Near(object(t), off, dst)
	if errors.Is(err, block.ErrFar) {
		return table.ErrFar
	}
	return err
}

// Fetch is that of table.Source.
func (s Source) Fetch(ctx context.Context, t table.Table, off, n int64) error {
	return s.Blocks.ReadAt(ctx, object(t), off, make([]byte, n))
}

// Bring fetches what a read of tables was missing, so that it can be tried again. Any
// other error is returned as it is.
func Bring(ctx context.Context, err error) error {
	all := missing(nil, err)
	if len(all) == 0 {
		return err
	}
	// Who is told at once that the store is off line must not end who asks whether it is back.
	var g errgroup.Group
	g.SetLimit(fetchAhead)
	for _, far := range all {
		g.Go(func() error { return far.Fetch(ctx) })
	}
	ferr := g.Wait()
	if errors.Is(ferr, block.ErrDamaged) {
		return ferr // the store was asked, and has nothing better
	}
	if ferr != nil {
		return fmt.Errorf("%w: %w", meta.ErrUnknown, ferr)
	}
	return nil
}

// Distant is an error that says what is not near, and can bring it.
type Distant interface {
	error
	Fetch(ctx context.Context) error
}

var _ Distant = (*table.Far)(nil)

// missing adds all that an error says is missing.
func missing(all []Distant, err error) []Distant {
	switch e := err.(type) {
	case Distant:
		return append(all, e)
	case interface{ Unwrap() error }:
		return missing(all, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = missing(all, err)
		}
	}
	return all
}

// bringMax is how often something is tried again because what it reads was not near.
// Each time brings up to 4 MiB; who needs more than memory and cache hold at a time
// would go on for ever.
const bringMax = 10000

// Retry calls fn until what it reads is near. Each call must begin anew.
func Retry(ctx context.Context, fn func() error) error {
	for n := 0; ; n++ {
		err := fn()
		if err == nil || n == bringMax {
			return err
		}
		if err := Bring(ctx, err); err != nil {
			return err
		}
	}
}

// judge says what an object is, given what confirmed says of the past.
func judge(ctx context.Context, st *chain.State, slot chain.Slot, object []byte, confirmed meta.Reader) (j chain.Judgement, err error) {
	look := func(unfenced bool) error {
		return Retry(ctx, func() error {
			p := past{confirmed: confirmed, unfenced: unfenced}
			j = st.Judge(slot, object, &p)
			return p.err
		})
	}
	if err = look(false); errors.Is(err, block.ErrDamaged) {
		// The damage may hide a lease, which a commit breaks on purpose or never. Better
		// the drive is read than not.
		err = look(true)
	}
	return j, err
}
