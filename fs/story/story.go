// Package story tells what several machines did, as a list of deeds, and makes a story
// that fails shorter.
//
// A deed names what it is about by its path. So it means something when others are left
// out, and one that cannot be done then is passed over. A story prints as Go source, for
// the table of a test that tells it again. Tests use it, nobody else.
package story

import (
	"fmt"
	"strings"
)

// Deed is one thing that somebody does.
type Deed struct {
	Who  string
	Does string // what there is to do, the player of the story knows
	At   string // a path
	To   string // another one, or a text
	N    uint64 // a number, or all that is left to chance in it
}

// String is the deed in Go, without its type; what is empty is left out.
func (d Deed) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{Who: %q, Does: %q", d.Who, d.Does)
	if d.At != "" {
		fmt.Fprintf(&b, ", At: %q", d.At)
	}
	if d.To != "" {
		fmt.Fprintf(&b, ", To: %q", d.To)
	}
	if d.N != 0 {
		fmt.Fprintf(&b, ", N: %d", d.N)
	}
	return b.String() + "}"
}

// Story is what happens in one world, in order.
type Story struct {
	Name     string // the fact that it shows
	Machines int
	Seed     uint64 // of what no deed says
	Deeds    []Deed
}

// String is the story in Go, as an element of a table of stories.
func (s Story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{Name: %q, Machines: %d, Seed: %d, Deeds: []story.Deed{\n", s.Name, s.Machines, s.Seed)
	for _, d := range s.Deeds {
		fmt.Fprintf(&b, "\t%v,\n", d)
	}
	return b.String() + "}},"
}
