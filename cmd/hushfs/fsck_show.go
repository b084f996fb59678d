package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/hushfs/hushfs/fs/check"
)

// shownFiles is how many files of a finding are shown, and shownNotes how many notes of
// one kind; all of them are in the JSON.
const (
	shownFiles = 200
	shownNotes = 20
)

// showReport prints the findings for people.
func (a *app) showReport(r *check.Report) {
	notes := map[check.Kind]int{}
	for _, f := range r.Findings {
		if f.Severity == check.Note {
			if notes[f.Kind]++; notes[f.Kind] > shownNotes {
				continue
			}
		}
		a.showFinding(f)
	}
	for _, kind := range slices.Sorted(maps.Keys(notes)) {
		if n := notes[kind] - shownNotes; n > 0 {
			a.say("note     and %s more of kind %s; --json has them", count(n, "note"), kind)
		}
	}
	if r.More > 0 {
		a.say("There was no room for %s more.", count(r.More, "finding"))
	}
	if r.Notes > 0 {
		a.say("There was no room for %s more.", count(r.Notes, "note"))
	}
	a.say("Drive %s at slot %d: %s, %s, %s, %s, %s (%s).", r.Drive[:8], r.Slot, count(r.Counts.Commits, "commit"), count(r.Counts.Tables, "table"),
		count(r.Counts.Inodes, "inode"), count(r.Counts.Names, "name"), count(r.Counts.Packs, "pack"), size(r.Counts.PackBytes))
	switch r.Mode {
	case check.ModeQuick:
		a.say("Bytes of files were not read; --data reads them.")
	case check.ModeSample:
		a.say("Read: a sample of %s (%s); the same again: --seed %d", count(r.Counts.Read+r.Counts.Earlier, "pack"), size(r.Counts.ReadBytes), r.Seed)
	case check.ModeData:
		text := fmt.Sprintf("Read: %s (%s)", count(r.Counts.Read, "pack"), size(r.Counts.ReadBytes))
		if r.Counts.Earlier > 0 {
			text += fmt.Sprintf(", and %d by the check that was interrupted", r.Counts.Earlier)
		}
		a.say("%s.", text)
	}
	if g := r.Garbage; g.Objects+g.Packs > 0 {
		a.say("Of no use any more: %s (%s) that nothing refers to, %s (%s) of deleted files.", count(g.Objects, "object"), size(g.Bytes), count(g.Packs, "pack"), size(g.InPacks))
	}
}

func (a *app) showFinding(f check.Finding) {
	what := string(f.Severity)
	if f.Severity == check.Lost {
		what = "LOST"
	}
	var head []string
	if f.Path != "" {
		head = append(head, check.Printable(f.Path))
	}
	if f.Object != "" {
		head = append(head, f.Object)
	}
	if len(head) == 0 {
		head = append(head, string(f.Kind))
	}
	a.say("%-8s %s: %s", what, strings.Join(head, ", "), f.Cause)
	for i, file := range f.Files {
		if i == shownFiles {
			a.say("         and %s more; --json names all", count(len(f.Files)-i, "file"))
			break
		}
		a.say("         %s", fileText(file))
	}
	a.say("         %s", f.Detail)
}

// fileText is which ranges of a file are lost.
func fileText(f check.File) string {
	var names []string
	for _, p := range f.Paths {
		names = append(names, check.Printable(p))
	}
	if len(names) == 0 {
		names = append(names, fmt.Sprintf("inode %d, without a name", f.Inode))
	}
	var lost []string
	for i, b := range f.Lost {
		if i == 10 {
			lost = append(lost, fmt.Sprintf("and %d more ranges", len(f.Lost)-i))
			break
		}
		lost = append(lost, fmt.Sprintf("%d to %d", b.Offset, b.Offset+b.Length-1))
	}
	return fmt.Sprintf("%s: bytes %s of %d", strings.Join(names, " = "), strings.Join(lost, ", "), f.Size)
}

// showEnd says how it ended.
func (a *app) showEnd(r fsckResult, c code) {
	if d := r.Repair; d != nil {
		a.say("")
		if len(d.Saved) > 0 {
			a.say("Saved in %s: %s; READ ME.txt there says what is missing.", d.Folder, count(len(d.Saved), "name"))
		}
		if d.Mended > 0 {
			a.say("Put right: %s.", count(d.Mended, "count or name"))
		}
		if d.Header != "" {
			a.say("The drive header was written again: %s.", d.Header)
		}
		if d.Folded {
			a.say("The metadata was written anew.")
		}
		for _, s := range d.Skipped {
			a.say("Left alone: %s", s)
		}
	}
	if r.After != nil && !r.After.Healthy() {
		a.say("What is left:")
		for _, f := range r.After.Findings {
			if f.Severity != check.Note {
				a.showFinding(f)
			}
		}
	}
	switch {
	case c == codeOK:
		a.say("No damage.")
	case c == codeMended:
		a.say("All damage is repaired.")
	case r.Check.Forked():
		a.say("DAMAGED. Nothing is to be repaired before it is settled which history goes on: hushfs heads STORE")
	case r.Repair != nil:
		a.say("Not all damage could be repaired.")
	case r.Check.Mendable() > 0:
		a.say("DAMAGED. What can be saved: hushfs fsck --repair")
	default:
		a.say("DAMAGED. A repair could do nothing about it.")
	}
}

// fsckProgress shows how far a check is: a bar on a terminal, else a line now and then.
type fsckProgress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil without a terminal
	stage check.Stage
	next  time.Time // of the next line
}

func (a *app) newFsckProgress() *fsckProgress {
	p := &fsckProgress{out: a.stderr, next: time.Now().Add(lineEvery)}
	if !isTerminal(a.stderr) {
		return p
	}
	p.bar = progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(a.stderr), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	return p
}

// show tells how far the check is. It may be called by several at a time.
func (p *fsckProgress) show(s check.Progress) {
	text := "checking " + string(s.Stage)
	if s.Stage == check.StageData && s.Total > 0 {
		text = fmt.Sprintf("reading data: %s of %s", size(s.Done), size(s.Total))
	} else if s.Total > 0 {
		text = fmt.Sprintf("%s: %d of %d", text, min(s.Done, s.Total), s.Total)
	}
	if p.bar == nil {
		if now := time.Now(); !now.Before(p.next) {
			p.next = now.Add(lineEvery)
			fmt.Fprintf(p.out, "%s\n", text)
		}
		return
	}
	if s.Stage != p.stage {
		p.stage = s.Stage
		p.bar.Reset()
	}
	p.bar.Describe(text)
	p.bar.ChangeMax64(max(s.Total, 1))
	// Short of the end, at which a bar removes itself. A terminal that went away must
	// not stop a check.
	_ = p.bar.Set64(min(s.Done, max(s.Total-1, 0)))
}

// note shows where no end is known.
func (p *fsckProgress) note(text string) {
	if p.bar != nil {
		p.bar.Describe(text)
		_ = p.bar.Set64(0)
	} else if now := time.Now(); !now.Before(p.next) {
		p.next = now.Add(lineEvery)
		fmt.Fprintf(p.out, "%s\n", text)
	}
}

func (p *fsckProgress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
