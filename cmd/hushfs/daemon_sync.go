package main

import (
	"context"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs"
	"github.com/hushfs/hushfs/fs/volume"
)

// showing notes that the kernel shows the volume by m.
func (s *server) showing(m *fs.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mount = m
}

// Sync implements control.Daemon.
func (s *server) Sync(ctx context.Context, patient bool) (control.Synced, error) {
	var done control.Synced
	err := s.wait(ctx, "not everything is in the store and fetched yet", func(v *volume.Volume) (err error) {
		if done.Before, done.Slot, err = v.Sync(ctx, patient); err != nil {
			return err
		}
		s.mu.Lock()
		m := s.mount
		s.mu.Unlock()
		if m == nil {
			return nil
		}
		return m.Shown(ctx)
	})
	done.Status = s.Status()
	return done, err
}
