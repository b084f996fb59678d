package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestSameAgain has a file that is open here be changed elsewhere, and then hold again what
// it held. What is written to it then is seen by all who go by its name: the kernel has one
// cache of it. Where that cannot be, since somebody opened it meanwhile, it goes to a copy.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	for _, c := range []struct {
		name string
		was  string
		run  func(p *pair, write func())
	}{
		{"read by name", "base base", func(p *pair, write func()) {
			write()
			p.holds(p.at("f.txt"), []byte("MINE base"))
			g := p.open("f.txt", os.O_RDWR)
			_, err := g.WriteAt([]byte("BASE"), 5)
			must(p.t, errors.Join(err, g.Sync(), g.Close()))
			p.holds(p.at("f.txt"), []byte("MINE BASE"))
			p.synced()
			p.holds(p.elsewhere("f.txt"), []byte("MINE BASE"))
			p.alone("f.txt")
		}},
		{"open to others", "base base", func(p *pair, write func()) {
			g := p.open("f.txt", os.O_RDONLY)
			write()
			p.stays(g, []byte("base base"))
			p.synced()
			p.holds(p.elsewhere("f.txt"), []byte("base base"))
			p.copied("f.txt", []byte("MINE base"))
		}},
		{"empty, open to others", "", func(p *pair, write func()) {
			g := p.open("f.txt", os.O_RDONLY)
			write()
			p.stays(g, nil)
			p.holds(p.at("f.txt"), nil)
			p.synced()
			p.holds(p.elsewhere("f.txt"), nil)
			p.copied("f.txt", []byte("MINE"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pair{t, here, there, strings.NewReplacer(" ", "-", ",", "").Replace(c.name)}
			must(t, os.Mkdir(there.in(p.dir), 0o755))
			was := []byte(c.was)
			p.put("f.txt", was)
			f := p.open("f.txt", os.O_RDWR)
			for _, b := range [][]byte{[]byte("else"), was} {
				must(t, os.WriteFile(p.elsewhere("f.txt"), b, 0o644))
				p.synced()
				p.holds(p.at("f.txt"), b) // the kernel has it
			}
			c.run(p, func() {
				_, err := f.WriteAt([]byte("MINE"), 0)
				must(t, errors.Join(err, f.Sync()))
				p.stays(f, append([]byte("MINE"), was[min(4, len(was)):]...))
			})
			must(t, f.Close())
		})
		here.t, there.t = t, t
	}
	dHere.umount()
	dThere.umount()
}
