package view

import (
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/fs/story"
)

// What TestNobodyIsStuck found stays.
func TestNobodyWasStuck(t *testing.T) {
	for name, c := range map[string]struct{ seed, run uint64 }{
		"a record about a folder that is in itself": {1795340832651288464, 4617},
	} {
		t.Run(name, func(t *testing.T) {
			intrude(t, story.Story{Machines: 2, Seed: c.run}, rand.New(rand.NewPCG(c.seed, c.run)))
		})
	}
}
