package main

import (
	"context"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/logind"
)

// session tells whether the machine waits for hushfs before it stops or sleeps.
func (e *examination) session(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, statTimeout)
	defer cancel()
	delay, err := logind.Reach(ctx, e.app.env(envSystemBus))
	if err != nil {
		e.ok("logind", "there is no logind that can be asked to wait before the machine stops or sleeps; what is in memory then, a few seconds' writing, is as after a power cut")
		return
	}
	e.ok("logind", "before the machine stops or sleeps it waits up to %s for what is in memory to be written down", delay.Round(time.Second))
}
