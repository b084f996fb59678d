package volume

import (
	"context"
	"errors"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// WaitStored returns when everything that was written before is in the store. It fails
// with publish.ErrRollback where nothing waits, but the store lost what it had.
func (v *Volume) WaitStored(ctx context.Context) error {
	if err := v.pinOld(ctx, 0); err != nil {
		return err
	}
	if v.o.ReadOnly {
		if v.view.Pending().Len() > 0 {
			return ErrReadOnly // they wait for a mount that may write
		}
		return v.stillThere(ctx)
	}
	if v.view.Pending().Len() == 0 {
		return v.stillThere(ctx)
	}
	return v.sync.Flush(ctx, v.lastOp())
}

// Shutdown takes no further change, brings everything to the journal and from
// there to the store until ctx ends, then closes the volume and wipes its keys.
// It fails with ErrUndrained when something stays in the journal, or did not even
// get there; Undrained tells how much; and with publish.ErrRollback when nothing does,
// but the store lost what it had. It is called once.
func (v *Volume) Shutdown(ctx context.Context) error {
	v.leaveLocks(ctx)
	v.mu.Lock()
	if v.closing {
		v.mu.Unlock()
		return ErrShutdown
	}
	v.closing = true
	v.orphans = map[meta.Ino]*orphan{} // files without a name end with the mount
	v.mu.Unlock()
	// Who is being enrolled for a change that will be refused must be gone before
	// the keys are.
	v.kill()
	v.locks.hurries.Wait()
	v.room.letAll(true)
	if err := v.enroll.lock(context.Background()); err == nil {
		defer v.enroll.unlock()
	}

	err := v.save(ctx)
	if err == nil && !v.o.ReadOnly {
		err = v.drain(ctx)
	}
	v.mu.Lock()
	stop, stopped := v.stop, v.stopped
	v.mu.Unlock()
	if stop != nil {
		stop()
		<-stopped
	}
	if err == nil && !v.o.ReadOnly {
		err = v.stillThere(ctx)
	}
	if err == nil && !v.o.ReadOnly {
		v.raiseMinimum(ctx)
		// For the next machine's sake; all is in the store without it.
		if ferr := v.sync.Leave(ctx); ferr != nil {
			v.log.Warn("not folded", "err", ferr)
		}
	}
	return v.end(err)
}

// stillThere fails with the reason when the store was set back since this machine wrote
// to it: then not everything is in the store, though nothing waits. A store that does not
// answer had it all.
func (v *Volume) stillThere(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, raiseTime)
	defer cancel()
	if err := v.sync.StillThere(ctx); errors.Is(err, publish.ErrRollback) {
		return err
	}
	return nil
}

// save brings everything to the journal. A disk that refuses may be freed before
// ctx ends: until then it is tried again.
func (v *Volume) save(ctx context.Context) error {
	for {
		err := errors.Join(v.pinOld(ctx, 0), v.persist())
		if err == nil {
			return nil
		}
		v.noted("journal", err)
		if v.yield(err) {
			continue
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(syncEvery):
		}
	}
}

// drain brings the journal to the store. Where Run does not publish, drain does.
func (v *Volume) drain(ctx context.Context) error {
	v.mu.Lock()
	running := v.stop != nil
	v.mu.Unlock()
	if running {
		return v.sync.Flush(ctx, v.lastOp())
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = v.sync.Run(ctx) // it returns nil; Flush tells how it went
	}()
	err := v.sync.Flush(ctx, v.lastOp())
	cancel()
	<-ended
	return err
}

// end closes what Open opened and says how the volume ended.
func (v *Volume) end(err error) error {
	v.mu.Lock()
	lost := len(v.queue) + len(v.dirty)
	v.mu.Unlock()
	if cerr := v.journal.Close(); err == nil {
		err = cerr
	}
	left := v.view.Pending().Len()
	v.closeNear()
	v.state.Wipe()
	v.o.Drive.Wipe()
	if left+lost > 0 && !v.o.ReadOnly {
		return &Undrained{Ops: left, Bytes: v.packs.Bytes(), Lost: lost, Why: err}
	}
	return err
}

func (v *Volume) lastOp() meta.OpNo {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.nextOp - 1
}
