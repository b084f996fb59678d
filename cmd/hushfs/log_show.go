package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/history"
)

// shownCommit is how many digits of a commit's id are shown; --json has all.
const shownCommit = 12

// showEntry prints one commit for people.
func (a *app) showEntry(e history.Entry, first bool) {
	if !first {
		a.say("")
	}
	who := "member " + short(e.Member)
	if e.Owner {
		who = "owner " + short(e.Member)
	}
	name := check.Printable(e.DeviceName)
	if name == "" {
		name = "?"
	}
	a.say("slot %d  %s  %s (device %d of %s), by its clock %s", e.Slot, e.Commit[:shownCommit], name, e.Device, who, e.Claimed.Local().Format(time.DateTime))
	if e.Unproven {
		a.say("    (the commit above it is damaged: that this one belongs here is not proven)")
	}
	for _, c := range e.Changes {
		a.say("    %s", changeText(c))
	}
	for _, n := range e.Ledger {
		a.say("    %s", noticeText(n))
	}
	for _, l := range e.Leases {
		a.say("    %s", leasingText(l))
	}
	if e.Locks > 0 {
		a.say("    %s of all machines taken, waited for, kept or given back", count(e.Locks, "lock"))
	}
	if e.Conflicts > 0 {
		a.say("    %s recorded", count(e.Conflicts, "conflict"))
	}
	if e.Resolved > 0 {
		a.say("    %s resolved", count(e.Resolved, "conflict"))
	}
	if e.Checkpoint > 0 {
		a.say("    checkpoint of slot %d announced", e.Checkpoint)
	}
}

func short(id string) string { return id[:min(len(id), 8)] }

func changeText(c history.Change) string {
	path := check.Printable(c.Path)
	if c.Kind == "directory" && c.Path != "/" {
		path += "/"
	}
	text := fmt.Sprintf("%-10s  %s", c.What, path)
	switch c.What {
	case history.Renamed:
		text = fmt.Sprintf("%-10s  %s  to  %s", c.What, check.Printable(c.From), path)
	case history.Linked:
		if c.From != "" {
			text += "  (also " + check.Printable(c.From) + ")"
		}
	case history.Created, history.Changed:
		if c.Kind == "file" {
			text += fmt.Sprintf("  (%s)", size(int64(c.Size)))
		} else if c.Kind != "directory" {
			text += "  (" + c.Kind + ")"
		}
	case history.Attributes:
		text += "  (" + check.Printable(c.Detail) + ")"
	}
	return text
}

func leasingText(l history.Leasing) string {
	what := string(l.What)
	if l.What == history.Leased {
		what = "taken"
	}
	text := fmt.Sprintf("lease %s: %s", what, check.Printable(l.Path))
	switch {
	case l.Device == 0:
	case l.What == history.TakenAway:
		text += fmt.Sprintf("  (from device %d)", l.Device)
	default:
		text += fmt.Sprintf("  (of device %d)", l.Device)
	}
	return text
}

func noticeText(n history.Notice) string {
	text := n.What
	if n.Device > 0 {
		text += fmt.Sprintf(" %d", n.Device)
	}
	if n.Name != "" {
		text += " (" + check.Printable(n.Name) + ")"
	}
	if n.Epoch > 0 {
		text += fmt.Sprintf(" %d", n.Epoch)
	}
	return text
}

// verifyHistory verifies, and says what was found.
func (a *app) verifyHistory(ctx context.Context, h *history.History) error {
	v, err := h.Verify(ctx)
	if err != nil {
		return explain("the verification did not come to its end", err)
	}
	if a.json {
		a.print(v)
	} else {
		a.showVerified(v)
	}
	if len(v.Findings) == 0 {
		return nil
	}
	return &told{&problem{code: codeUnverified, what: "the history is not as it was signed"}}
}

func (a *app) showVerified(v *history.Verified) {
	for _, f := range v.Findings {
		a.say("slot %-8d %s: %s", f.Slot, f.Fault, f.Detail)
		a.say("              %s", f.Object)
	}
	if v.More > 0 {
		a.say("and %d more", v.More)
	}
	a.say("Drive %s up to slot %d, commit %s.", v.Drive[:8], v.Head, v.HeadCommit)
	if v.Begins > 1 {
		a.say("The record begins at slot %d: what was before lies under a checkpoint, and its commits are trimmed.", v.Begins)
	}
	a.say("Verified: %s; %s of the ledger from its first; %s against the commits under them.", count(v.Commits, "commit"), count(v.Records, "record"), count(v.Checkpoints, "checkpoint"))
	if v.Signed > 0 {
		a.say("Verified by signature and id alone, since commits before them are not there: %s.", count(v.Signed, "commit"))
	}
	if v.Unjudged > 0 {
		a.say("By devices that were enrolled where the chain cannot be followed, so not judged: %s.", count(v.Unjudged, "commit"))
	}
	if v.Unproven > 0 {
		a.say("Not to be held against commits, which are not all there: %s.", count(v.Unproven, "checkpoint"))
	}
	if v.Dead > 0 {
		a.say("Skipped by everybody, since they hold nobody's commit: %s.", count(v.Dead, "slot"))
	}
	if len(v.Findings) == 0 {
		a.say("All that is there is as it was signed.")
		return
	}
	a.say("NOT AS IT WAS SIGNED. Objects that were damaged can be brought back from a copy of the store.")
}

// page shows what is printed from now on through the user's pager, when standard output
// is a terminal and on is true. end waits for it, and says whether it was left before
// the end.
func (a *app) page(on bool) (end func() (stopped bool)) {
	nothing := func() bool { return false }
	if !on || a.json || !isTerminal(a.stdout) {
		return nothing
	}
	pager := a.env("PAGER")
	if pager == "" {
		pager = "less"
	}
	if pager == "cat" {
		return nothing
	}
	// PAGER may have arguments, as programs have always taken it.
	c := exec.Command("/bin/sh", "-c", pager)
	c.Env = os.Environ()
	if a.env("LESS") == "" {
		c.Env = append(c.Env, "LESS=FRX") // ends by itself where it fits, and leaves it on the screen
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nothing
	}
	c.Stdin, c.Stdout, c.Stderr = r, a.stdout, a.stderr
	if err := c.Start(); err != nil {
		r.Close()
		w.Close()
		return nothing
	}
	r.Close()
	terminal := a.stdout
	a.stdout = w
	return func() bool {
		stopped := a.unwritten != nil && strings.Contains(a.unwritten.Error(), "broken pipe")
		w.Close()
		// It ends when its reader wants it to; how is not ours to judge.
		_ = c.Wait()
		a.stdout = terminal
		return stopped
	}
}
