package main

import (
	"context"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/volume"
)

var _ control.Devices = (*server)(nil)

// mountedVolume is the volume while it is mounted, or a problem.
func (s *server) mountedVolume() (*volume.Volume, error) {
	s.mu.Lock()
	v, phase := s.vol, s.phase
	s.mu.Unlock()
	switch {
	case v == nil || phase == control.Starting:
		return nil, s.starting()
	case phase.Ending():
		return nil, &problem{code: codeNotMounted, what: "the drive is being locked", next: "Mount it again."}
	}
	return v, nil
}

// Devices implements control.Devices.
func (s *server) Devices(ctx context.Context) ([]volume.Device, error) {
	v, err := s.mountedVolume()
	if err != nil {
		return nil, err
	}
	return v.Devices(ctx)
}

// RemoveDevices implements control.Devices.
func (s *server) RemoveDevices(ctx context.Context, numbers []int) error {
	v, err := s.mountedVolume()
	if err == nil {
		err = v.RemoveDevices(ctx, numbers)
	}
	return deviceProblem("no device was removed", err)
}

// RenameDevice implements control.Devices.
func (s *server) RenameDevice(ctx context.Context, number int, name string) error {
	v, err := s.mountedVolume()
	if err == nil {
		err = v.RenameDevice(ctx, number, name)
	}
	return deviceProblem("the device was not renamed", err)
}
