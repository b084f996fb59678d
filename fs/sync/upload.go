package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/store"
)

// upload brings the packs that batch names and neither the chain nor the store has to the
// store, and returns those that the chain has not; working is held.
func (s *Syncer) upload(ctx context.Context, batch *meta.Batch) ([]pack.Info, error) {
	packs, err := s.unnamed(ctx, batch)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(packs, func(p pack.Info) bool { return !s.hasUploaded(p.Name) }) {
		s.end.seen = false
		err = s.uploadAll(ctx, packs)
	}
	if errors.Is(err, errLocal) {
		return nil, s.stop(err)
	}
	return packs, err
}

// sendAhead begins to upload the packs that the next commit names, for who lets working
// go meanwhile, and returns what is to be received from, without working; nil: there is
// nothing to upload. Beside it looks for the head: packs must not go to another store
// than the one that has it. working is held.
func (s *Syncer) sendAhead(ctx context.Context, batch *meta.Batch) (<-chan error, error) {
	packs, err := s.unnamed(ctx, batch)
	if err != nil {
		return nil, err
	}
	packs = slices.DeleteFunc(packs, func(p pack.Info) bool { return s.hasUploaded(p.Name) })
	if len(packs) == 0 {
		return nil, nil
	}
	uploading, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- s.uploadAll(uploading, packs)
	}()
	if err := s.headThere(ctx); err != nil {
		cancel()
		<-done
		s.forgetUploads()
		return nil, err
	}
	s.end.seen = false // what is seen of it now is older than the packs
	return done, nil
}

// unnamed returns the packs that batch names and the chain does not, closed, sealed under
// the key of the present epoch; working is held.
func (s *Syncer) unnamed(ctx context.Context, batch *meta.Batch) ([]pack.Info, error) {
	var packs []pack.Info
	for _, no := range packsOf(batch) {
		if err := s.o.Packs.Close(no); err != nil {
			return nil, err
		}
		p, ok := s.o.Packs.Local(no)
		if !ok {
			_, err := s.known(ctx, no)
			if errors.Is(err, meta.ErrAbsent) {
				err = s.stop(fmt.Errorf("%w: pack %d is in no file", errLocal, no))
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		p, err := s.presentPack(ctx, p)
		if err != nil {
			return nil, err
		}
		packs = append(packs, p)
	}
	return packs, nil
}

// uploadAll uploads packs, some at a time.
func (s *Syncer) uploadAll(ctx context.Context, packs []pack.Info) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(uploads)
	for _, p := range packs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return s.uploadPack(gctx, p) })
	}
	return errors.Join(g.Wait(), ctx.Err())
}

// known returns the record that the chain has of the pack no, or meta.ErrAbsent. A
// commit must not name a pack that nobody could ever read.
func (s *Syncer) known(ctx context.Context, no meta.PackNo) (record []byte, err error) {
	err = Retry(ctx, func() error {
		return s.o.View.Read(func(r meta.Reader) error {
			record, err = r.Get(meta.PackKey(no))
			return err
		})
	})
	return record, err
}

func (s *Syncer) uploadPack(ctx context.Context, p pack.Info) error {
	s.mu.Lock()
	_, there := s.uploaded[p.Name]
	began, at := s.forgot, s.moment()
	s.mu.Unlock()
	if there {
		return nil // ahead, or for a commit that lost its slot
	}
	object, err := readPack(pack.Path(s.o.PackDir, p.No), p)
	if err != nil {
		return fmt.Errorf("pack %s: %w", p.Name, err)
	}
	name := chain.PackName(s.volume, p.Name)
	s.o.Step("sync.upload")
	err = s.o.Bucket.PutIfAbsent(ctx, name, object)
	s.reached(err)
	if errors.Is(err, store.ErrExist) {
		// Ours, from before a crash or a lost answer; or a thing of the store's
		// own making, which must not pass for our data.
		got, gerr := s.get(ctx, name, int64(len(object)))
		if gerr != nil {
			return fmt.Errorf("look at a pack that is there: %w", gerr)
		}
		if !bytes.Equal(got, object) {
			return fmt.Errorf("pack %s: %w: the store holds other bytes under its name", p.Name, pack.ErrDamaged)
		}
		err = nil
	}
	if err != nil {
		return fmt.Errorf("upload a pack: %w", err)
	}
	s.o.Step("sync.uploaded")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgot != began {
		return fmt.Errorf("pack %s: the store was without what it had meanwhile: %w", p.Name, store.ErrUnavailable)
	}
	s.uploaded[p.Name] = at
	return nil
}

func (s *Syncer) hasUploaded(name crypt.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.uploaded[name]
	return there
}

// moment is a point in time by two clocks: one of them goes on in sleep.
type moment struct {
	at time.Time
	up time.Duration
}

func (s *Syncer) moment() moment { return moment{time.Now(), s.o.Uptime()} }

func (s *Syncer) since(m moment) time.Duration {
	return max(time.Since(m.at), s.o.Uptime()-m.up)
}

// readPack reads a closed pack's file and checks all of it against its name. It is
// the last copy: what went bad on this disk must be said before anybody is told
// that it is in the store.
func readPack(path string, p pack.Info) ([]byte, error) {
	object, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errLocal
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // a path tells who and where one is
		}
		return nil, fmt.Errorf("read its file: %w", err)
	}
	tail, err := crypt.ParseTail(object)
	if int64(len(object)) != p.ObjectSize() || err != nil || tail.Name() != p.Name {
		return nil, errLocal
	}
	for i, rest := 0, object[:len(object)-tail.Size()]; len(rest) > 0; i++ {
		n := min(len(rest), crypt.SegmentSize+crypt.Overhead)
		if tail.Verify(i, rest[:n]) != nil {
			return nil, errLocal
		}
		rest = rest[n:]
	}
	return object, nil
}

// packsOf lists the packs that the extents in a batch name, ascending.
func packsOf(b *meta.Batch) []meta.PackNo {
	if b == nil {
		return nil
	}
	seen := map[meta.PackNo]bool{}
	b.Extents(func(e meta.Extent) bool {
		seen[e.Pack] = true
		return true
	})
	return slices.Sorted(maps.Keys(seen))
}

// adopt gives the file of a pack that is in the store to the cache.
func (s *Syncer) adopt(p pack.Info) error {
	s.mu.Lock()
	delete(s.uploaded, p.Name)
	s.mu.Unlock()
	path := pack.Path(s.o.PackDir, p.No)
	var err error
	if s.o.Cache != nil {
		err = s.o.Cache.Adopt(p.Name.String(), path)
	}
	return errors.Join(err, s.o.Packs.Forget(p.No))
}

// sweep drops the closed packs that nothing needs any more: temporary files
// were written and removed before they were ever published. A closed pack takes
// no further bytes, so what nothing needs at one moment nothing needs later.
func (s *Syncer) sweep() error {
	s.swept = time.Now()
	locals := s.o.Packs.Locals()
	if len(locals) == 0 {
		return nil
	}
	var gone []pack.Info
	err := s.o.Still(func(needed map[meta.PackNo]bool) error {
		unnamed := map[meta.PackNo]bool{}
		for _, p := range locals {
			if !needed[p.No] {
				unnamed[p.No] = true
			}
		}
		for p := range s.o.View.Pending().All() {
			if len(unnamed) == 0 {
				break // there may be half a million
			}
			for _, e := range meta.Contents(p.Op) {
				delete(unnamed, e.Pack)
			}
		}
		gone = slices.DeleteFunc(locals, func(p pack.Info) bool { return !unnamed[p.No] })
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	nos := make([]meta.PackNo, len(gone))
	for i, p := range gone {
		nos[i] = p.No
	}
	if err := s.o.Journal.DropPacks(nos...); err != nil {
		return err
	}
	for _, p := range gone {
		s.mu.Lock()
		delete(s.uploaded, p.Name)
		s.mu.Unlock()
		if err := s.o.Packs.Forget(p.No); err != nil {
			return err
		}
	}
	return nil
}
