package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// askTimeout is how long a daemon has to say how it is.
const askTimeout = 5 * time.Second

// foundDrive is a daemon that answered, and what it said.
type foundDrive struct {
	*control.Client
	status control.Status
}

// findDrives asks all daemons of this user. Sockets that nobody answers are
// left behind by crashes and passed over; one that does not answer in time is
// named in a warning.
func (a *app) findDrives(ctx context.Context) ([]*foundDrive, error) {
	where, err := findPlaces(a.env)
	if err != nil {
		return nil, err
	}
	sockets, err := where.allSockets()
	if err != nil {
		return nil, err
	}
	var all []*foundDrive
	for _, path := range sockets {
		c := control.NewClient(path)
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		s, err := c.Status(ask)
		cancel()
		switch {
		case err == nil:
			all = append(all, &foundDrive{c, s})
			continue
		case ctx.Err() != nil:
			err = ctx.Err()
			closeAll(all)
			return nil, err
		case !errors.Is(err, control.ErrNoDaemon):
			a.warn("the daemon at %s does not answer: %v", path, err)
		}
		c.Close()
	}
	slices.SortFunc(all, func(x, y *foundDrive) int { return x.status.Since.Compare(y.status.Since) })
	return all, nil
}

func closeAll(all []*foundDrive) {
	for _, d := range all {
		d.Close()
	}
}

// findDrive finds the drive that is, or was until it began to drain, mounted at
// the folder arg. The caller closes it.
func (a *app) findDrive(ctx context.Context, arg string) (*foundDrive, error) {
	all, err := a.findDrives(ctx)
	if err != nil {
		return nil, err
	}
	dead, err := hushMounts()
	if err != nil {
		return nil, err
	}
	dir := resolveTo(arg, append(mountpoints(all), dead...))
	var found *foundDrive
	for _, d := range all {
		// A folder can have been mounted again while an earlier drive drains.
		if d.status.Mountpoint == dir && (found == nil || found.status.Phase.Ending()) {
			found = d
		}
	}
	for _, d := range all {
		if d != found {
			d.Close()
		}
	}
	if found != nil {
		return found, nil
	}
	if slices.Contains(dead, dir) {
		return nil, a.deadMount(ctx, dir)
	}
	return nil, &problem{code: codeNotMounted, what: "no drive is mounted at " + dir, next: "See what is: hushfs status"}
}

// errDied: a mount is there, its daemon is not.
var errDied = errors.New("has died")

// deadMount is what to say of a mount of hushfs that no daemon of ours serves.
func (a *app) deadMount(ctx context.Context, dir string) error {
	if answering(ctx, dir) {
		return &problem{code: codeNotMounted, what: "the drive at " + dir + " is served by a daemon that this user's places do not lead to",
			next: "It was mounted by another user, or with other XDG folders."}
	}
	return &problem{code: codeNotMounted, what: "the daemon of the drive at " + dir, why: errDied, dir: dir,
		next: "What fsync acknowledged is safe in the journal of this machine; mount the drive again to send it: the dead mount is then cleaned up."}
}

func mountpoints(all []*foundDrive) []string {
	var dirs []string
	for _, d := range all {
		dirs = append(dirs, d.status.Mountpoint)
	}
	return dirs
}
