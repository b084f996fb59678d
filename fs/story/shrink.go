package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options of Shrink. The zero value is usable.
type Options struct {
	Runs  int           // of shortened stories, at most; 0 means 2000
	For   time.Duration // after which none is begun; 0 means a minute
	Again int           // how often a shortened story may be played until it fails; 0 means once
}

// Short is what Shrink came to.
type Short struct {
	Story
	*Failure
	Runs  int
	Whole bool // nothing more can be left out; else there was no time to find out
}

// Shrink leaves deeds out of a story that fails, as long as it fails with a failure of
// the same kind, and then makes names and numbers simple. play plays a story: nil, it does not fail.
func Shrink(s Story, why *Failure, o Options, play func(Story) *Failure) Short {
	if o.Runs == 0 {
		o.Runs = 2000
	}
	if o.For == 0 {
		o.For = time.Minute
	}
	x := &shrinking{o: o, play: play, end: time.Now().Add(o.For), best: Short{Story: s, Failure: why}}
	for size := max(len(s.Deeds)/2, 1); ; size = max(size/2, 1) {
		less := x.without(size)
		if size == 1 && !less && !x.simpler() {
			break
		}
	}
	x.best.Whole = !x.spent()
	return x.best
}

type shrinking struct {
	o    Options
	play func(Story) *Failure
	end  time.Time
	best Short
}

func (x *shrinking) spent() bool { return x.best.Runs >= x.o.Runs || time.Now().After(x.end) }

// fails plays a story, and takes it for the best when it fails as that does.
func (x *shrinking) fails(s Story) bool {
	for range max(x.o.Again, 1) {
		if x.spent() {
			return false
		}
		x.best.Runs++
		if f := x.play(s); f != nil && f.Kind == x.best.Kind {
			x.best.Story, x.best.Failure = s, f
			return true
		}
	}
	return false
}

// without leaves out so many deeds in a row wherever that goes, from the end on: what
// comes late needs what was before it more often than the other way round.
func (x *shrinking) without(size int) (less bool) {
	for end := len(x.best.Deeds); end > 0; end -= size {
		s := x.best.Story
		s.Deeds = slices.Concat(s.Deeds[:max(end-size, 0)], s.Deeds[end:])
		less = x.fails(s) || less
	}
	return less
}

// simpler tries what makes the story easier to read, and may make more of it needless.
func (x *shrinking) simpler() (less bool) {
	try := func(change func(s *Story)) bool {
		s := x.best.Story
		s.Deeds = slices.Clone(s.Deeds)
		change(&s)
		if s.String() == x.best.Story.String() || !x.fails(s) {
			return false
		}
		less = true
		return true
	}
	all := func(change func(d *Deed)) bool {
		return try(func(s *Story) {
			for i := range s.Deeds {
				change(&s.Deeds[i])
			}
		})
	}
	for _, old := range slices.Backward(x.words(func(d Deed) []string { return []string{d.Who} })) {
		for _, who := range x.words(func(d Deed) []string { return []string{d.Who} }) {
			if who >= old || all(func(d *Deed) {
				if d.Who == old {
					d.Who = who
				}
			}) {
				break
			}
		}
	}
	for x.best.Machines > 1 && try(func(s *Story) { s.Machines-- }) {
	}
	for seed := range min(x.best.Seed, 2) {
		if try(func(s *Story) { s.Seed = seed }) {
			break
		}
	}
	for _, dir := range x.words(func(d Deed) []string { return []string{dirOf(d.At), dirOf(d.To)} }) {
		all(func(d *Deed) { d.At, d.To = strings.TrimPrefix(d.At, dir), strings.TrimPrefix(d.To, dir) })
	}
	names := x.words(func(d Deed) []string { return append(strings.Split(d.At, "/"), strings.Split(d.To, "/")...) })
	for i, old := range slices.Backward(names) {
		better := names[:min(i, 4)]
		if len(old) > 20 {
			better = append([]string{"a", "b", "c"}, better...)
		}
		for _, name := range better {
			if all(func(d *Deed) { d.At, d.To = named(d.At, old, name), named(d.To, old, name) }) {
				break
			}
		}
	}
	for i, d := range x.best.Deeds {
		for n := range min(d.N, 2) {
			if try(func(s *Story) { s.Deeds[i].N = n }) {
				break
			}
		}
	}
	return less
}

// words are those of the deeds, the short ones first.
func (x *shrinking) words(of func(Deed) []string) (out []string) {
	for _, d := range x.best.Deeds {
		out = append(out, of(d)...)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	out = slices.Compact(out)
	if len(out) > 0 && out[0] == "" {
		out = out[1:]
	}
	return out
}

// dirOf is the folder of a path, with what parts it from the name.
func dirOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// named is a path in which a name is another one.
func named(path, old, name string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p == old {
			parts[i] = name
		}
	}
	return strings.Join(parts, "/")
}

// Report says what a test says of a story that failed: what is wrong in it, and the
// shorter one, which goes into a test as it is.
func (x Short) Report(s Story, why *Failure) string {
	how := "nothing more can be left out"
	if !x.Whole {
		how = "there was no time to leave out more"
	}
	return fmt.Sprintf("%s\nso in this story:\n%v\n%d deeds; %d do, after %d runs (%s). For a test:\n%v\n%s",
		why.Text, s, len(s.Deeds), len(x.Deeds), x.Runs, how, x.Story, x.Text)
}
