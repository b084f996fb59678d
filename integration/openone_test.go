package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestOpenStaysOne has a file that was made here, and is open, be called otherwise on account of
// what another machine made: for the kernel who has it open and who goes by its name have one.
func TestOpenStaysOne(t *testing.T) {
	t.Parallel()
	there := newDrive(t)
	here := there.another()
	dThere, dHere := there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	for _, c := range []struct {
		name, file string
		theirs     func(p *pair)
	}{
		{"in a folder that both made", "e/f", func(p *pair) { must(p.t, os.Mkdir(p.elsewhere("e"), 0o755)) }},
		{"the same, by a file that was another", "f", func(p *pair) {
			must(p.t, os.WriteFile(p.elsewhere("x"), []byte("old"), 0o644))
			p.there.ok("sync", p.there.mnt)
			p.here.ok("sync", p.here.mnt)
			must(p.t, os.WriteFile(p.elsewhere("x"), []byte("base"), 0o644))
			must(p.t, os.Rename(p.elsewhere("x"), p.elsewhere("f")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pair{t, here, there, strings.NewReplacer(" ", "-", ",", "").Replace(c.name)}
			must(t, os.Mkdir(there.in(p.dir), 0o755))
			p.synced()
			c.theirs(p)
			if strings.Contains(c.file, "/") {
				must(t, os.Mkdir(p.at("e"), 0o755))
			}
			must(t, os.WriteFile(p.at(c.file), []byte("base"), 0o644))
			f := p.open(c.file, os.O_RDWR)
			p.followed()
			p.stays(f, []byte("base"))
			p.holds(p.at(c.file), []byte("base")) // the kernel has it
			_, err := f.WriteAt([]byte("HERE"), 0)
			must(t, err)
			p.holds(p.at(c.file), []byte("HERE"))
			g := p.open(c.file, os.O_RDWR)
			_, err = g.WriteAt([]byte("!"), 4)
			must(t, errors.Join(err, g.Close()))
			p.stays(f, []byte("HERE!"))
			must(t, errors.Join(f.Sync(), f.Close()))
			p.synced()
			p.holds(p.elsewhere(c.file), []byte("HERE!"))
			top, _, _ := strings.Cut(c.file, "/")
			p.alone(top)
		})
		here.t, there.t = t, t
	}
	dHere.umount()
	dThere.umount()
}
