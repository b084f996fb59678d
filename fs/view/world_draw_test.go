package view

import (
	"math/rand/v2"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
)

// deeds are what a machine does, the frequent ones several times.
var deeds = strings.Split("makes a file,makes a file,makes a file,makes a folder,makes a link,makes a device,"+
	"writes,writes,writes,writes,copies into,truncates,punches a hole,locks,unlocks,"+
	"sets the mode,sets mode and time,sets an attribute,sets an attribute,removes an attribute,"+
	"links,removes,removes,removes,renames,renames,renames,renames,exchanges,resolves,"+
	"leases,takes the lease,keeps the lease,gives the lease back", ",")

// draw draws a deed that is about what the machine shows.
func (f *fleet) draw(rng *rand.Rand) story.Deed {
	if d := f.reply; d != nil {
		f.reply = nil
		return *d
	}
	m := f.all[rng.IntN(len(f.all))]
	d := story.Deed{Who: m.name()}
	switch rng.IntN(14) {
	case 0:
		d.Does, d.N = "follows", rng.Uint64N(2)
		return d
	case 1:
		d.Does, d.N = "publishes", rng.Uint64N(600)
		return d
	}
	dirs, paths, files := []string{""}, []string(nil), []string(nil)
	var walk func(dir meta.Ref, path string)
	walk = func(dir meta.Ref, path string) {
		must(f.t, meta.ReadDir(m.view.merged(), dir.Ino, nil, func(n []byte, e meta.Dirent) bool {
			at := path + string(n)
			paths = append(paths, at)
			switch e.Kind {
			case meta.Dir:
				dirs = append(dirs, at+"/")
				walk(e.Ref, at+"/")
			case meta.File:
				files = append(files, at)
			}
			return true
		}))
	}
	walk(meta.RootRef, "")
	name := string(rune('a' + rng.IntN(5)))
	if rng.IntN(12) == 0 {
		name = strings.Repeat(name, meta.MaxName)
	}
	free := dirs[rng.IntN(len(dirs))] + name
	some := func(of []string) string {
		if len(of) == 0 {
			return free
		}
		return of[rng.IntN(len(of))]
	}
	d.Does, d.N = deeds[rng.IntN(len(deeds))], rng.Uint64N(1000)
	switch d.Does {
	case "makes a file", "makes a folder", "makes a link", "makes a device":
		d.At = free
	case "writes", "copies into", "truncates", "punches a hole", "locks", "unlocks":
		d.At = some(files)
	case "links":
		d.At, d.To = some(files), free
	case "renames":
		d.At, d.To = some(paths), free
		if n := len(dirs); n > 2 && rng.IntN(3) == 0 {
			// A folder into another, and that into this by somebody else.
			at := 1 + rng.IntN(n-1)
			from, to := dirs[at], dirs[1+at%(n-1)]
			d.At, d.To = strings.TrimSuffix(from, "/"), to+name
			other := f.all[int(m.id)%len(f.all)].name()
			f.reply = &story.Deed{Who: other, Does: d.Does, At: strings.TrimSuffix(to, "/"), To: from + name, N: d.N}
		}
	case "exchanges":
		d.At, d.To = some(paths), some(paths)
	case "resolves":
	default:
		d.At = some(paths)
	}
	return d
}
