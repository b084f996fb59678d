package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// daemons looks at what runs already: daemons that answer, those that do not,
// and what dead ones have left.
func (e *examination) daemons(ctx context.Context) {
	if !e.placed {
		return
	}
	e.begin("Daemons")
	all, mute, err := e.app.findDrives(ctx)
	if err != nil {
		e.refused("daemons", err, "")
		return
	}
	e.living, e.mute = all, mute
	for _, d := range all {
		e.daemon(d.status)
	}
	for _, s := range mute {
		e.problem("daemon-silent", s.text(), "Programs that use that drive wait, and it cannot be mounted again", s.next())
	}
	known := mountpoints(all)
	for _, s := range mute {
		known = append(known, s.Mountpoint)
	}
	dead, err := deadMounts(ctx, known)
	if err != nil {
		e.refused("dead-mount", err, "")
	}
	for _, dir := range dead {
		e.warn("dead-mount", "the daemon of the drive at "+dir+" has died (\"Transport endpoint is not connected\")",
			"Programs see errors there; what fsync acknowledged is in the journal", "Mount the drive again, which takes the dead mount away; or: hushfs umount "+shellQuote(dir))
	}
	e.sockets(all, mute)
	if len(all)+len(mute)+len(dead) == 0 {
		e.ok("daemons", "no drive is mounted")
	}
}

// daemon is one that answers.
func (e *examination) daemon(s control.Status) {
	v := s.Volume
	at := fmt.Sprintf("the drive %.8s at %s (pid %d)", v.Drive, s.Mountpoint, s.PID)
	if s.Program != programVersion() {
		e.warn("daemon-version", at+" is served by another version of hushfs, "+s.Program, "This command may not understand all that it says", "Lock it and mount it again, when it suits you.")
	}
	bad := false
	say := func(check, found, why, next string) {
		bad = true
		e.warn(check, at+" "+found, why, next)
	}
	if s.Phase == control.Detached {
		say("daemon-detached", "is unmounted, but programs still have files open", "It ends, and can be mounted again, when they have closed them", "Close them, or end those programs.")
	}
	if v.Stopped != "" {
		say("daemon-stopped", "sends nothing more: "+v.Stopped, "What is written waits in the journal", "See \"What status says\" in docs/operations.md.")
	}
	if v.NotTaken != "" {
		say("daemon-stopped", "sends nothing more: "+v.NotTaken, "What is written waits in the journal, and goes out by itself when the store takes it", capital(v.NotTakenNext)+".")
	}
	if v.Offline != "" {
		say("daemon-offline", "cannot reach its store: "+v.Offline, "What is written waits in the journal, and goes out by itself", "Look at the way to the store: hushfs doctor "+shellQuote(s.Mountpoint))
	}
	if v.Slowed != "" {
		say("daemon-full", "slows its writers: "+v.Slowed, "Room is short", "Let it send, or make room on the local disk.")
	}
	if n := len(v.Damaged); n > 0 {
		say("daemon-damaged", "knows of "+count(n, "damaged object"), "What they hold cannot be read", "hushfs status names them.")
	}
	for _, w := range v.Warnings {
		say("daemon-warning", "warns: "+w, "", "See \"What status says\" in docs/operations.md.")
	}
	if bad {
		return
	}
	text := "everything is in the store"
	if !v.Stored {
		text = waiting(v)
		if !v.OldestPending.IsZero() {
			text += " since " + v.OldestPending.Local().Format(time.DateTime)
		}
	}
	e.ok("daemon", "%s, %s; %s", at, s.Phase, text)
}

// sockets tells of those that nobody answers.
func (e *examination) sockets(all []*foundDrive, mute []silent) {
	paths, err := e.where.allSockets()
	if err != nil {
		e.refused("sockets", err, "")
		return
	}
	stale := slices.DeleteFunc(paths, func(path string) bool {
		return slices.ContainsFunc(all, func(d *foundDrive) bool { return d.Path() == path }) ||
			slices.ContainsFunc(mute, func(s silent) bool { return s.socket == path })
	})
	if len(stale) > 0 {
		e.ok("sockets", "%s of daemons that are gone; the next mount replaces them", count(len(stale), "control socket"))
	}
}
