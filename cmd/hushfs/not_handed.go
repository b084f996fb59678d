package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// notHanded says why the kernel could not hand to a daemon what was written. A mount that
// takes nothing any more answers EROFS, which says no more than that: the daemon knows why.
func (a *app) notHanded(ctx context.Context, d *foundDrive, err error) error {
	const what = "hand what was written to the drive"
	if !errors.Is(err, unix.EROFS) {
		return explain(what, err)
	}
	const patience = 2 * time.Second // of a daemon that waits for the store, and so knows of nothing
	asked, cancel := context.WithTimeout(ctx, patience+askTimeout)
	defer cancel()
	if _, why := d.Wait(asked, patience); why != nil {
		if p := explain(what, why); p.code != codeTimeout && p.code != codeFailure {
			return mountedStill(p)
		}
	}
	return &problem{code: codeFailure, what: what, why: err, next: "The drive takes no changes from this machine, or not to a file that another machine has a lease of. Which it is: hushfs status, and hushfs lease --list PATH"}
}
