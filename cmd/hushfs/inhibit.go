package main

import (
	"context"
	"errors"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/cmd/hushfs/logind"
	"github.com/hushfs/hushfs/fs/volume"
)

// vigil is what a daemon does when the machine is about to stop or to sleep: it
// brings what is in memory to the journal, and before a stop sends what it can.
// The mount stays: programs that are told to end save their files then. What the
// machine does next is a SIGTERM, which unmounts and drains; see watchSignals.
//
// The lock is held as long as the mount is there, and not only while something
// waits: what the kernel keeps of files that are being written is seen by nobody
// until it is asked for.
type vigil struct{ *server }

var _ logind.Handler = vigil{}

// watchMachine keeps the vigil until end is called. A mount that writes nothing
// has nothing to bring anywhere.
func (s *server) watchMachine() (end func()) {
	if s.c.ReadOnly {
		return func() {}
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		logind.Watch(ctx, logind.Options{
			Address: s.app.env(envSystemBus), Who: "hushfs", Why: "Changes of a drive are brought to the disk and to its store",
			Handler: vigil{s}, Log: s.log,
		})
	}()
	return func() {
		stop()
		<-ended
	}
}

// envSystemBus is where the system bus listens, if not where it always does.
const envSystemBus = "DBUS_SYSTEM_BUS_ADDRESS"

// Stopping implements logind.Handler.
func (w vigil) Stopping(ctx context.Context, limit time.Duration) {
	// A little less, for the last words.
	ctx, cancel := context.WithTimeout(ctx, limit-limit/10)
	defer cancel()
	w.log.Info("the machine is about to stop")
	v, phase := w.volume()
	switch phase {
	case control.Mounted, control.Detached:
		w.secure(ctx, v, limit/2)
		if err := v.WaitStored(ctx); err != nil && ctx.Err() == nil {
			w.log.Debug("not sent before the machine stops", "err", err)
		}
	case control.Draining:
		select {
		case <-w.done:
		case <-ctx.Done():
		}
	}
	if now := w.Status().Volume; !now.Stored {
		w.log.Warn("not everything is in the store; the rest is safe in the journal", "pending_ops", now.PendingOps, "pending_bytes", now.PendingBytes)
		return
	}
	w.log.Info("everything is in the store")
}

// Sleeping implements logind.Handler. Nothing is sent: a lid that was closed is not
// to wait for a network, and what is in the journal is safe from an empty battery.
func (w vigil) Sleeping(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w.log.Info("the machine is about to sleep")
	if v, phase := w.volume(); phase == control.Mounted || phase == control.Detached {
		w.secure(ctx, v, limit/2)
	}
}

// Resumed implements logind.Handler.
func (w vigil) Resumed() {
	w.log.Info("the machine is awake again")
	if v, phase := w.volume(); v != nil && phase != control.Done {
		v.Resumed()
	}
}

// secure brings to the journal what the kernel has of the mount, for which it gets
// at most limit, and what is in memory.
func (w vigil) secure(ctx context.Context, v *volume.Volume, limit time.Duration) {
	w.letPass(true) // a machine that stops waits for no room
	defer w.letPass(false)
	if isHushMount(w.c.Mountpoint) {
		fetch, cancel := context.WithTimeout(ctx, limit)
		if err := flush(fetch, w.c.Mountpoint); err != nil {
			w.log.Warn("what programs wrote without fsync could not be fetched from the kernel", "err", err)
		}
		cancel()
	}
	if err := v.Save(ctx); err != nil && !errors.Is(err, context.Canceled) {
		w.log.Error("what is in memory could not be brought to the journal", "err", err)
		return
	}
	w.log.Info("everything written so far is in the journal")
}

// volume is what is mounted, and how far that is.
func (s *server) volume() (*volume.Volume, control.Phase) {
	phase := s.Status().Phase
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vol, phase
}
