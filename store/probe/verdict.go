package probe

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what a store does wrong.
type Kind string

// The kinds, as they are kept in files.
const (
	IgnoresCondition Kind = "ignores-condition" // a put to a taken name is accepted
	Overwrites       Kind = "overwrites"        // and the object is another then
	SeveralWin       Kind = "several-win"       // of one race
	NobodyWins       Kind = "nobody-wins"
	WrongBytes       Kind = "wrong-bytes" // what is there is nothing that was put
	Torn             Kind = "torn"        // what is being put is seen in part
	WrongRange       Kind = "wrong-range" // a part is another than asked for
	StaleRead        Kind = "stale-read"  // what was put is not found
	StaleList        Kind = "stale-list"  // or not listed, or not in order
	Loses            Kind = "loses"       // what was there is gone
)

// harmless are the kinds that do no harm where one machine alone writes: they
// come about when two want one name, and it never wants one twice but for the
// same bytes.
var harmless = []Kind{IgnoresCondition, Overwrites, SeveralWin, NobodyWins}

// A Finding is one thing that a store does wrong.
type Finding struct {
	Kind  Kind
	Words string // what was seen first, for people
	Times int    // how often it was seen
}

// A Verdict is what a probe found out. It can be kept as JSON.
type Verdict struct {
	When     time.Time
	Took     time.Duration
	Rounds   int       // of racing
	Racers   int       // in each
	Unclear  int       // racers that got no answer; they are counted neither way
	Leftover int       // scratch objects that could not be removed
	Findings []Finding // empty when all is well

	mu sync.Mutex // guards Findings during the probe
}

// Good tells whether several machines may write to the store.
func (v *Verdict) Good() bool { return len(v.Findings) == 0 }

// Single tells whether one machine alone may write to the store: what it was
// given it keeps and shows. So it is for a Good one.
func (v *Verdict) Single() bool {
	return !slices.ContainsFunc(v.Findings, func(f Finding) bool { return !slices.Contains(harmless, f.Kind) })
}

// Has tells whether the store does k.
func (v *Verdict) Has(k Kind) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Kind == k })
}

// String says it in plain words, one sentence a line.
func (v *Verdict) String() string {
	var b strings.Builder
	switch {
	case v.Good():
		fmt.Fprintf(&b, "Several machines may write to this store: in %d races of %d, exactly one won, and nothing was overwritten.", v.Rounds, v.Racers)
	case v.Single():
		b.WriteString("Only one machine may write to this store, or work would be lost. When several tried:")
	default:
		b.WriteString("No machine may write to this store, or work would be lost. What was seen:")
	}
	if !v.Good() {
		for _, f := range v.Findings {
			fmt.Fprintf(&b, "\n- %s", f.Words)
			if f.Times > 1 {
				fmt.Fprintf(&b, " (%d times)", f.Times)
			}
		}
	}
	if v.Leftover > 0 {
		fmt.Fprintf(&b, "\n%d objects of this test could not be removed; they are of no use to anybody.", v.Leftover)
	}
	return b.String()
}

func (v *Verdict) add(k Kind, words string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.Findings {
		if v.Findings[i].Kind == k {
			v.Findings[i].Times++
			return
		}
	}
	v.Findings = append(v.Findings, Finding{Kind: k, Words: words, Times: 1})
}
