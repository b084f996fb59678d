package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/audit"
	"github.com/hushfs/hushfs/fs/check"
)

// shownFound is how many findings of one kind are shown; more are in the JSON.
const shownFound = 50

// showLearned prints what an outsider learns.
func (a *app) showLearned(r *audit.Report) {
	l := r.Learned
	a.say("Whoever may read this store learns:")
	a.say("  %s, %s, from %s to %s", count(l.Objects, "object"), size(l.Bytes), day(l.First), day(l.Last))
	for _, k := range l.Kinds {
		a.say("  %-10s %7d of %9s, the smallest %s, the largest %s, in %s", k.Kind, k.Objects, size(k.Bytes), size(k.Smallest), size(k.Largest), count(k.Sizes, "different size"))
	}
	for _, id := range l.Drives {
		a.say("  the drive's id is %s", id)
	}
	for _, w := range l.Ways {
		label := ""
		if w.Label != "" {
			label = ", labelled " + check.Printable(w.Label)
		}
		a.say("  a way into it: %s, of %s%s", w.Type, day(w.Created), label)
	}
	for _, v := range l.Volumes {
		a.say("  volume %s:", v.ID)
		if v.Boxes > 0 {
			a.say("    %d to %d members, by the %d boxes of its hint", v.Principals, v.Boxes, v.Boxes)
		}
		a.showRhythm(v.Commits)
		for i, e := range v.Epochs {
			if i == 20 {
				a.say("    and %s more", count(len(v.Epochs)-i, "epoch"))
				break
			}
			a.say("    epoch %d: %s that were looked into, from %s to %s", e.Epoch, count(e.Objects, "object"), day(e.First), day(e.Last))
		}
	}
	if v := l.Versions; v != nil && v.Older+v.Markers > 0 {
		a.say("  the store keeps %s of objects that were deleted or written over (%s), and %s", count(v.Older, "version"), size(v.Bytes), count(v.Markers, "note of a deletion"))
	}
}

// showRhythm prints when changes came.
func (a *app) showRhythm(c audit.Rhythm) {
	if c.Count == 0 {
		return
	}
	a.say("    %s, from %s to %s, on %s; the most, %d, on %s", count(c.Count, "commit"), day(c.First), day(c.Last), count(c.Days, "day"), c.BusiestDay, c.Busiest)
	most := 0
	for _, n := range c.Hours {
		most = max(most, n)
	}
	var line strings.Builder
	for _, n := range c.Hours {
		const steps = " ▁▂▃▄▅▆▇█"
		bars := []rune(steps)
		line.WriteRune(bars[int(math.Ceil(float64(n)*float64(len(bars)-1)/float64(max(most, 1))))])
	}
	a.say("    by the hour, 0 to 23 UTC: |%s|", line.String())
}

// showFound prints the findings, and of those that are alike the first.
func (a *app) showFound(r *audit.Report) {
	type alike struct {
		kind audit.Finds
		of   audit.Kind
	}
	left := map[alike]int{}
	for _, f := range r.Findings {
		which := alike{f.Kind, audit.KindOf(f.Object)}
		if left[which]++; left[which] > shownFound {
			continue
		}
		a.say("FOUND    %s: %s", check.Printable(f.Object), f.Kind)
		a.say("         %s", check.Printable(f.Detail))
	}
	for _, rest := range r.Rest {
		left[alike{rest.Kind, rest.Of}] += rest.Count
	}
	for _, of := range audit.Kinds {
		for _, kind := range audit.AllFinds {
			if n := left[alike{kind, of}] - shownFound; n > 0 {
				a.say("FOUND    %s more about objects of kind %s: %s", count(n, "finding"), of, kind)
			}
		}
	}
}

func (a *app) showAuditEnd(r *audit.Report) {
	k := r.Looked
	part := ""
	if r.Sample < 1 {
		part = fmt.Sprintf(" (the same again: --seed %d)", r.Seed)
	}
	a.say("Looked into %s of %d%s, %s, with %s; chance fails one of them once in 10^%d audits.",
		count(k.Objects, "object"), r.Learned.Objects, part, size(k.Bytes), count(k.Tests, "test"), int(-math.Log10(math.Max(k.FalseAlarm, 1e-300))))
	if r.Clean() {
		a.say("Nothing was found beyond that.")
		return
	}
	a.say("Something shows more than it may.")
}

func day(t time.Time) string {
	if t.IsZero() {
		return "an unknown day"
	}
	return t.UTC().Format(time.DateOnly)
}
