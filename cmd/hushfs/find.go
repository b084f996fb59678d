package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// silent is a daemon that is there and does not answer.
type silent struct {
	PID        int    `json:"pid"`        // 0 when it is not known
	Mountpoint string `json:"mountpoint"` // empty when it is not known
	Stopped    bool   `json:"stopped"`    // by a signal (SIGSTOP)
	socket     string
}

func (s silent) text() string {
	who := "the daemon at " + s.socket
	if s.PID != 0 {
		who = fmt.Sprintf("the daemon (pid %d) of the drive at %s", s.PID, s.Mountpoint)
	}
	if s.Stopped {
		return who + " does not answer: it was stopped by a signal"
	}
	return who + " does not answer"
}

func (s silent) next() string {
	switch {
	case s.PID == 0:
		return "Try again."
	case s.Stopped:
		return fmt.Sprintf("Let it go on: kill -CONT %d", s.PID)
	}
	return fmt.Sprintf("Try again; if it stays so, end it: kill -9 %d. What fsync acknowledged is safe in the journal of this machine.", s.PID)
}

// silentAt finds out who does not answer at a socket.
func silentAt(where places, socket string) silent {
	s := silent{socket: socket}
	states, err := filepath.Glob(filepath.Join(escapeGlob(where.state), "*"))
	if err != nil {
		return s
	}
	for _, state := range states {
		h := readHolder(state)
		if h.Socket != socket || free(state) {
			continue
		}
		s.PID, s.Mountpoint, s.Stopped = h.PID, h.Mountpoint, stoppedBySignal(h.PID)
	}
	return s
}

// stoppedBySignal reports whether a process is there and does not go on (SIGSTOP).
func stoppedBySignal(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state stands behind the name in parentheses.
	i := bytes.LastIndexByte(b, ')')
	return i >= 0 && i+2 < len(b) && (b[i+2] == 'T' || b[i+2] == 't')
}

// findDrives asks all daemons of this user, all at a time. Sockets that nobody
// answers are left behind by crashes and passed over; daemons that do not answer
// in time are returned beside the others.
func (a *app) findDrives(ctx context.Context) ([]*foundDrive, []silent, error) {
	where, err := findPlaces(a.env)
	if err != nil {
		return nil, nil, err
	}
	sockets, err := where.allSockets()
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex // guards all and mute
	var all []*foundDrive
	var mute []silent
	var wg sync.WaitGroup
	for _, path := range sockets {
		wg.Go(func() {
			c := control.NewClient(path)
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			s, err := c.Status(ask)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				all = append(all, &foundDrive{c, s})
				return
			case errors.Is(err, context.DeadlineExceeded):
				mute = append(mute, silentAt(where, path))
			case ctx.Err() == nil && !errors.Is(err, control.ErrNoDaemon):
				a.warn("the daemon at %s does not answer: %v", path, err)
			}
			c.Close()
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		closeAll(all)
		return nil, nil, err
	}
	slices.SortFunc(all, func(x, y *foundDrive) int { return x.status.Since.Compare(y.status.Since) })
	slices.SortFunc(mute, func(x, y silent) int { return strings.Compare(x.socket, y.socket) })
	return all, mute, nil
}

// servedFrom is the drive of this user that is mounted from the same place, nil when
// none is or when that cannot be known.
func (a *app) servedFrom(ctx context.Context, at location) *control.Status {
	all, _, err := a.findDrives(ctx)
	if err != nil {
		return nil
	}
	defer closeAll(all)
	endpoint := ""
	if at.remote() {
		o, err := at.options(a.env)
		if err != nil {
			return nil
		}
		endpoint = endpointText(o)
	}
	for _, d := range all {
		if s := d.status; s.Store == at.Store && s.Endpoint == endpoint && s.Phase == control.Mounted {
			return &s
		}
	}
	return nil
}

func closeAll(all []*foundDrive) {
	for _, d := range all {
		d.Close()
	}
}

// findDrive finds the drive that is, or was until it began to drain, mounted at
// the folder arg. The caller closes it.
func (a *app) findDrive(ctx context.Context, arg string) (*foundDrive, error) {
	all, mute, err := a.findDrives(ctx)
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
	if err := stuckAt(mute, dir); err != nil {
		return nil, err
	}
	if slices.Contains(dead, dir) {
		return nil, a.deadMount(ctx, dir)
	}
	return nil, &problem{code: codeNotMounted, what: "no drive is mounted at " + dir, next: "See what is: hushfs status"}
}

// stuckAt is what to say when one of mute serves dir; nil when none does.
func stuckAt(mute []silent, dir string) error {
	for _, s := range mute {
		if s.Mountpoint == dir {
			return &problem{code: codeFailure, what: s.text(), next: s.next()}
		}
	}
	return nil
}

// errDied: a mount is there, its daemon is not.
var errDied = errors.New("its daemon has died")

// deadMount is what to say of a mount of hushfs that no daemon of ours serves.
func (a *app) deadMount(ctx context.Context, dir string) error {
	if answering(ctx, dir) {
		return &problem{code: codeNotMounted, what: "the drive at " + dir + " is served by a daemon that this user's places do not lead to",
			next: "It was mounted by another user, or with other XDG folders."}
	}
	return diedAt(dir)
}

func diedAt(dir string) *problem {
	return &problem{code: codeNotMounted, what: "the mount at " + dir + " is dead", why: errDied, dir: dir,
		next: "What fsync acknowledged is safe in the journal of this machine. To send it, mount the drive again, which cleans up the dead mount: hushfs mount STORE DIR"}
}

func mountpoints(all []*foundDrive) []string {
	var dirs []string
	for _, d := range all {
		dirs = append(dirs, d.status.Mountpoint)
	}
	return dirs
}
