package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/chain"
)

const (
	// askStarting is how often a daemon that starts is asked what it is at.
	askStarting = time.Second

	// sayStarting is after how long, and how often, the user is told.
	sayStarting = lineEvery
)

// passing notes that the daemon looks at many slots that hold junk, for who asks why the
// mount takes so long.
func (s *server) passing(from, at, last chain.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing = fmt.Sprintf("somebody put junk into many slots for commits; %d of %d slots are looked at", at-from, last-from+1)
}

// watchStarting tells the user what a daemon that starts is at, until started is called.
// Nobody is told where a program reads the result.
func (a *app) watchStarting(ctx context.Context, c daemonConfig) (started func()) {
	if a.json {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sayDoing(ctx, a.stderr, func() string { return startingAt(ctx, c) })
	}()
	return func() {
		cancel()
		<-ended
	}
}

// sayDoing tells the user until ctx ends what is being done, where it takes long and is
// news. doing is asked for it.
func sayDoing(ctx context.Context, to io.Writer, doing func() string) {
	told, next := "", time.Now().Add(sayStarting)
	for pause(ctx, askStarting) == nil {
		if time.Now().Before(next) {
			continue
		}
		if now := doing(); now != "" && now != told {
			fmt.Fprintf(to, "hushfs: mounting: %s\n", now)
			told, next = now, time.Now().Add(sayStarting)
		}
	}
}

// startingAt asks the daemon that is about to mount c what it is at; empty: it does not
// say.
func startingAt(ctx context.Context, c daemonConfig) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, path := range c.Sockets {
		client := control.NewClient(path)
		s, err := client.Status(ctx)
		client.Close()
		if err == nil && s.Mountpoint == c.Mountpoint && s.Phase == control.Starting {
			return s.Doing
		}
	}
	return ""
}
