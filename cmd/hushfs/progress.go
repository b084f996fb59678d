package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/hushfs/hushfs/fs/volume"
)

// progress shows how a drain goes: a bar on a terminal, else a line now and
// then. A nil progress shows nothing.
type progress struct {
	out  io.Writer
	bar  *progressbar.ProgressBar // nil without a terminal
	most int64                    // most work seen at once
	next time.Time                // of the next line
}

const (
	opWeight  = 4096            // what an operation counts for beside the bytes
	lineEvery = 5 * time.Second // without a terminal
)

// newProgress shows nothing where a program reads the result.
func (a *app) newProgress() *progress {
	p := &progress{out: a.stderr}
	switch {
	case a.json:
		p.out = io.Discard
	case isTerminal(a.stderr):
		p.bar = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(a.stderr),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish())
	}
	return p
}

// show tells how much waits, and what it waits for if it is not sent.
func (p *progress) show(s volume.Status) {
	if p == nil {
		return
	}
	left := s.PendingBytes + int64(s.PendingOps)*opWeight
	p.most = max(p.most, left)
	text, stuck := waiting(s), hindrance(s)
	if stuck != "" {
		text += " (" + stuck + ")"
	}
	if p.bar == nil {
		if now := time.Now(); left > 0 && !now.Before(p.next) {
			fmt.Fprintf(p.out, "%s\n", text)
			p.next = now.Add(lineEvery)
		}
		return
	}
	if left == 0 {
		text = "finishing"
	}
	if room := p.room(); stuck != "" && left > 0 && utf8.RuneCountInString(text) > room {
		text = fit(stuck, room) // how much waits can be asked for
	} else {
		text = fit(text, room)
	}
	p.bar.Describe(text)
	p.bar.ChangeMax64(max(p.most, 1))
	// Short of the end: a bar that is full removes itself, and the drain may
	// still have its last word to say.
	p.set(min(p.most-left, max(p.most-1, 0)))
}

// barWidth is how many characters the bar has, barRoom how many it takes with per
// cent and times, beside the text.
const (
	barWidth = 8
	barRoom  = barWidth + 24
)

// room is how many characters the text beside the bar may have. A line that wraps is
// not taken away again.
func (p *progress) room() int {
	const least = 24
	f, ok := p.out.(*os.File)
	if !ok {
		return least
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80 // a terminal that does not know how wide it is
	}
	return max(width-barRoom, least)
}

// fit cuts a text to so many characters.
func fit(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-1]) + "…"
}

// hindrance is why what waits is not sent; empty when nothing is known.
func hindrance(s volume.Status) string {
	switch {
	case s.Stopped != "":
		return "nothing more is sent: " + s.Stopped
	case s.NotTaken != "":
		return "nothing more is sent: " + s.NotTaken
	case s.Offline != "":
		return "the store cannot be reached: " + s.Offline
	case s.Stored:
		return ""
	}
	for _, w := range s.Warnings {
		if !strings.HasPrefix(w, keptSubject) {
			return w
		}
	}
	return ""
}

// set and end leave out the errors of the bar: a terminal that went away must
// not stop a drain.
func (p *progress) set(n int64) { _ = p.bar.Set64(n) }

// end takes the bar away.
func (p *progress) end() {
	if p != nil && p.bar != nil {
		_ = p.bar.Clear()
	}
}

// waiting is what is not in the store yet: "3 changes (1.2 MiB) wait".
func waiting(s volume.Status) string {
	if s.PendingOps == 1 {
		return unsent(s) + " waits"
	}
	return unsent(s) + " wait"
}

// unsent is what is not in the store yet: "3 changes, 2 files (1.2 MiB)".
func unsent(s volume.Status) string {
	text := count(s.PendingOps, "change")
	if s.PendingFiles > 0 {
		text += ", " + count(s.PendingFiles, "file")
	}
	if s.PendingBytes == 0 {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, size(s.PendingBytes))
}
