package main

import (
	"context"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

var _ control.Resolver = (*server)(nil)

// Conflicts implements control.Resolver.
func (s *server) Conflicts(ctx context.Context) ([]volume.Conflict, error) {
	v, err := s.mountedVolume()
	if err != nil {
		return nil, err
	}
	return v.Conflicts(ctx)
}

// Resolve implements control.Resolver.
func (s *server) Resolve(ctx context.Context, id meta.ConflictID, keep volume.Keep, token string) error {
	v, err := s.mountedVolume()
	if err != nil {
		return err
	}
	return v.Resolve(ctx, id, keep, token)
}

// Identical implements control.Resolver.
func (s *server) Identical(ctx context.Context) ([]volume.Conflict, error) {
	v, err := s.mountedVolume()
	if err != nil {
		return nil, err
	}
	return v.Identical(ctx)
}
