package volume

import (
	"math/rand/v2"
	"strings"

	"github.com/hushfs/hushfs/fs/story"
)

// What happens to machines, what their programs do, and what they do rarely: the frequent
// ones several times.
var (
	fates  = strings.Split("is killed,is locked,is off line,cannot send,is on line,is on line,is on line", ",")
	works  = strings.Split("saves,saves,saves,saves,saves,saves,saves,replaces,replaces,removes,removes,removes the folder,saves the same,saves the same,renames,renames,renames,moves,moves,moves,moves,appends,truncates,links,exchanges,sets the mode,sets an attribute,opens,opens,writes what is open,writes what is open,closes", ",")
	duties = strings.Split("folds,folds,trims,days pass,leases,leases,takes the lease,gives the lease back,counts,counts,counts,leases the folder,takes the name,takes the name,takes the name,gives the name back,gives the name back", ",")

	// deaths are where a machine may be killed while it publishes.
	deaths = strings.Split("sync.build,sync.attempt,sync.put,sync.taken,sync.remembered,sync.settled", ",")
)

// draw draws a deed that is about what the machine shows.
func (h *era) draw(rng *rand.Rand) story.Deed {
	if d := h.reply; d != nil {
		h.reply = nil
		return *d
	}
	pick := func(l []string) string { return l[rng.IntN(len(l))] }
	c := h.all[rng.IntN(len(h.all))]
	d := story.Deed{Who: c.name, N: rng.Uint64N(1000)}
	if c.v == nil && c.parted && rng.IntN(3) == 0 {
		return story.Deed{Who: c.name, Does: "is on line"}
	}
	switch n := rng.IntN(400); {
	case n == 0 && len(h.all) > 1:
		d.Does, d.To = "removes the device", h.all[rng.IntN(len(h.all))].name
		return d
	case n == 1, h.often && n >= 388:
		return story.Deed{Who: "store", Does: "is set back"}
	case n < 5:
		return story.Deed{Who: "store", Does: "is remembered"}
	case n < 60:
		return story.Deed{Who: c.name, Does: pick(fates)}
	case n < 120:
		d.Does = "publishes"
		switch rng.IntN(5) {
		case 0:
			d.To = "the answer is lost"
		case 1:
			d.To = "a read fails"
		case 2:
			d.To = pick(deaths)
		}
		return d
	case n < 140:
		return story.Deed{Who: c.name, Does: "follows"}
	case n < 200:
		d.Does = pick(duties)
	default:
		d.Does = pick(works)
	}
	dirs := []string{"", "d/", "e/", "d/f/"}
	free := pick(dirs) + string(rune('a'+rng.IntN(4)))
	some := free
	if c.v != nil {
		var files []string
		for _, f := range c.files(h.known) {
			if f.path != counter && !strings.HasPrefix(f.path, sureDir+"/") {
				files = append(files, f.path)
			}
		}
		if len(files) > 0 {
			some = pick(files)
		}
		if d.Does == "exchanges" && len(files) > 0 {
			d.To = pick(files)
		}
	}
	d.At = some
	switch d.Does {
	case "saves", "saves the same":
		if rng.IntN(2) == 0 {
			d.At = free
		}
	case "renames", "links":
		d.To = free
	case "moves":
		d.At, d.To = strings.TrimSuffix(pick(dirs[1:]), "/"), strings.TrimSuffix(pick(dirs[1:]), "/")+string(rune('x'+rng.IntN(2)))
		if rng.IntN(4) == 0 { // a folder into another, and that into this by somebody else
			d.At, d.To = "d", "e/x"
			h.reply = &story.Deed{Who: h.all[rng.IntN(len(h.all))].name, Does: d.Does, At: "e", To: "d/x", N: d.N}
		}
	case "takes the name", "gives the name back":
		d.At = sureDir + "/" + string(rune('a'+rng.IntN(2)))
	case "leases the folder", "removes the folder":
		d.At = strings.TrimSuffix(pick(dirs[1:]), "/")
	case "folds", "trims", "days pass", "counts", "writes what is open", "closes":
		d.At = ""
	}
	return d
}
