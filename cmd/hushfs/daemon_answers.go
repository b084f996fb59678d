package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store/retry"
)

func (s *server) opened(v *volume.Volume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vol = v
}

func (s *server) enter(p control.Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = p
}

// Status implements control.Daemon.
func (s *server) Status() control.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vol != nil && s.phase != control.Done {
		s.last = s.vol.Status()
		s.last.Warnings = s.warnings(s.last.Warnings)
		// The bucket knows of tries that the volume has not heard of yet.
		if err := s.offline(); err != nil {
			var out *retry.Outage
			if errors.As(err, &out) {
				s.last.OfflineSince, err = out.Since, out.Err
			}
			s.last.SetOffline(err)
		}
	}
	phase := s.phase
	if phase == control.Mounted && !isHushMount(s.c.Mountpoint) {
		phase = control.Detached
	}
	doing := ""
	if phase == control.Starting {
		doing = s.doing
	}
	endpoint := ""
	if s.bucket != nil {
		endpoint = s.bucket.endpoint
	}
	return control.Status{
		PID: os.Getpid(), Mountpoint: s.c.Mountpoint, Store: s.c.Store, Endpoint: endpoint, Probe: s.probe,
		Phase: phase, Doing: doing, Since: s.since, DrainUntil: s.until, State: s.c.State, Program: programVersion(), Why: s.why, Hidden: s.hidden, Volume: s.last,
		Goroutines: runtime.NumGoroutine(),
	}
}

// warnings adds to those of the volume what it does not know.
func (s *server) warnings(all []string) []string {
	if s.bucket != nil && s.bucket.plain.WholeForParts() {
		all = append(all, wholeForParts)
	}
	if left := keptLeft(s.c.State); len(left) > 0 {
		all = append(all, keptSubject+keptText(left, s.c.Store))
	}
	return all
}

// offline says since when the bucket does not answer and why, nil when it does.
func (s *server) offline() error {
	if s.bucket == nil {
		return nil
	}
	return s.bucket.Offline()
}

// WaitStored implements control.Daemon.
func (s *server) WaitStored(ctx context.Context) error {
	return s.wait(ctx, "not everything is in the store yet", func(v *volume.Volume) error { return v.WaitStored(ctx) })
}

// WaitFile implements control.Daemon.
func (s *server) WaitFile(ctx context.Context, inode uint64) error {
	return s.wait(ctx, "not everything of it is in the store yet", func(v *volume.Volume) error { return v.WaitFile(ctx, meta.Ino(inode)) })
}

// wait has the volume wait until something is in the store.
func (s *server) wait(ctx context.Context, what string, wait func(*volume.Volume) error) error {
	s.mu.Lock()
	v, phase := s.vol, s.phase
	s.mu.Unlock()
	if v == nil || phase == control.Starting {
		return s.starting()
	}
	if phase == control.Done {
		<-s.done
		return s.undrained()
	}
	err := wait(v)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		now := s.Status().Volume
		if why := v.Refusal(); why != nil {
			p := explain(what, why) // it is not on its way: somebody has to do something
			p.why = fmt.Errorf("%w; %s", p.why, waiting(now))
			return p
		}
		p := &problem{code: codeTimeout, what: what, why: errors.New(waiting(now)), next: "It is on its way; wait again, or look: hushfs status"}
		if now.Offline != "" {
			p.why = fmt.Errorf("the store cannot be reached: %s; %w", now.Offline, p.why)
			p.next = "It is tried again until it can, and what was written stays in the journal of this machine until then; look: hushfs status"
		}
		return p
	}
	return explain("wait for the store", err)
}

// undrained is the problem of a drain that left something, nil if none did.
func (s *server) undrained() error {
	if s.result.Stored {
		return nil
	}
	return &problem{code: codeUndrained, what: s.result.Message, next: s.result.Next}
}

// letPass lets writes pass that would wait for room, or ends that once for each time:
// a umount and a machine that stops may want it both.
func (s *server) letPass(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.passes++
	} else {
		s.passes--
	}
	if s.vol != nil {
		s.vol.LetPass(s.passes > 0)
	}
}

func (s *server) starting() error {
	return &problem{code: codeNotMounted, what: "the drive is still being mounted", next: "Wait for it."}
}

// Unmount implements control.Daemon.
func (s *server) Unmount(ctx context.Context, lazy bool) error {
	switch phase := s.Status().Phase; {
	case phase == control.Starting:
		return s.starting()
	case phase != control.Mounted:
		return nil
	}
	// The kernel hands over what it still has, which must not wait for the store.
	s.letPass(true)
	err := detach(ctx, s.c.Mountpoint, lazy)
	if err == nil && lazy {
		s.letPass(false) // who still has files open goes on writing, and that waits for room
	}
	if err == nil {
		return nil // not a nil *problem, which would be an error
	}
	s.letPass(false)
	if errors.Is(err, errBusy) {
		return &problem{code: codeMountpoint, what: s.c.Mountpoint + " is busy", busy: true,
			next: "Close what uses it, or take it away at once: hushfs umount --lazy " + shellQuote(s.c.Mountpoint)}
	}
	return explain("unmount", err)
}

// Shutdown implements control.Daemon.
func (s *server) Shutdown(ctx context.Context, how control.How) (control.Result, error) {
	if err := s.Unmount(ctx, how.Lazy); err != nil {
		return control.Result{}, err
	}
	if how.Now {
		s.hurry()
	}
	select {
	case <-s.done:
		return s.result, nil
	case <-ctx.Done():
		return control.Result{}, ctx.Err()
	}
}
