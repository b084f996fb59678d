package probe

import (
	"fmt"
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
	WrongBytes       Kind = "wrong-bytes" // the winner is told so, and another's object is there
	StaleRead        Kind = "stale-read"  // what was put is not found
	StaleList        Kind = "stale-list"  // or not listed, or not in order
)

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

// Has tells whether the store does k.
func (v *Verdict) Has(k Kind) bool {
	for _, f := range v.Findings {
		if f.Kind == k {
			return true
		}
	}
	return false
}

// String says it in plain words, one sentence a line.
func (v *Verdict) String() string {
	var b strings.Builder
	if v.Good() {
		fmt.Fprintf(&b, "Several machines may write to this store: in %d races of %d, exactly one won, and nothing was overwritten.", v.Rounds, v.Racers)
	} else {
		b.WriteString("Only one machine may write to this store, or work would be lost. When several tried:")
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
