package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// Three machines with journals, caches and states of their own work at once on one
// drive, over a store that fails now and then. They are killed, locked, parted from the
// store and left off line. In the end all see one tree, and each content that an fsync
// acknowledged and nobody replaced who had seen it is there: in its place or in a copy.
//
// HUSHFS_SEED repeats a run, HUSHFS_WORLDS says how many worlds are tried.
func TestWorlds(t *testing.T) {
	if testing.Short() {
		t.Fatal("this test has no short form")
	}
	n, many := uint64(time.Now().UnixNano()), 12
	if s := os.Getenv("HUSHFS_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("HUSHFS_WORLDS"); s != "" {
		var err error
		if many, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HUSHFS_SEED=%d", n)
	sum := tally{}
	for run := range many {
		if !t.Run(fmt.Sprint(run), func(t *testing.T) { newEra(t, n, uint64(run)).play(&sum) }) {
			return
		}
	}
	t.Logf("%d worlds: %+v", many, sum)
	if many >= 12 && (sum.Conflicts == 0 || sum.Promises == 0 || sum.Kills == 0) {
		t.Error("the worlds were too quiet to show anything")
	}
}

// tally counts what happened.
type tally struct{ Acts, Promises, Kills, Outages, Conflicts, Operations int }

// era is one world, and what it owes.
type era struct {
	*world
	rng   *rand.Rand
	all   []*citizen
	made  int
	known map[uint64]string // contents by version
	owed  map[string]string // contents that an fsync acknowledged and who was told
	story []string
	tally *tally
}

// citizen is one machine of the world.
type citizen struct {
	*machine
	h      *era
	line   *fault.Bucket
	parted bool
}

func newEra(t *testing.T, seed, run uint64) *era {
	h := &era{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, run)), known: map[uint64]string{}, owed: map[string]string{}}
	for i := range 2 + int(run%2) {
		m := h.laptop
		if i > 0 {
			m = h.machine([]string{"", "desk", "phone"}[i])
		}
		c := &citizen{machine: m, h: h, line: fault.Wrap(h.objects)}
		c.fold = 6 + h.rng.IntN(10)
		m.bucket = c.line
		h.all = append(h.all, c)
	}
	return h
}

func (h *era) tell(format string, args ...any) {
	h.story = append(h.story, fmt.Sprintf(format, args...))
}

func (h *era) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(h.story, "\n"))
}

func (h *era) play(sum *tally) {
	h.tally = sum
	for range 120 {
		sum.Acts++
		h.all[h.rng.IntN(len(h.all))].act()
	}
	h.settle()
	want := h.all[0].tree()
	for _, c := range h.all[1:] {
		if got := c.tree(); got != want {
			h.fail("%s sees\n%s\n%s sees\n%s", c.name, got, h.all[0].name, want)
		}
	}
	fresh := h.machine("fresh")
	fresh.bucket = h.objects
	fresh.mustOpen()
	if got := fresh.tree(); got != want {
		h.fail("a new machine sees\n%s\nwant\n%s", got, want)
	}
	there := map[string]bool{}
	for _, f := range fresh.files(h.known) {
		there[f.content] = true
		if strings.Contains(f.path, "(conflict") {
			sum.Conflicts++
		}
	}
	for _, content := range slices.Sorted(maps.Keys(h.owed)) {
		if !there[content] {
			h.fail("%s was told that %q is durable, and it is nowhere in\n%s", h.owed[content], content, want)
		}
	}
}

// settle ends all trouble and brings everything to everybody.
func (h *era) settle() {
	for _, c := range h.all {
		c.reach()
	}
	for range 3 {
		for _, c := range h.all {
			if err := c.mount(); err != nil {
				h.fail("%s does not mount in the end: %v", c.name, err)
			}
			if err := drained(c.machine); err != nil {
				h.fail("%s does not publish in the end: %v", c.name, err)
			}
		}
	}
	for _, c := range h.all {
		if err := c.v.sync.CatchUp(context.Background()); err != nil {
			h.fail("%s does not follow in the end: %v", c.name, err)
		}
		if left := c.v.view.Pending().Len(); left > 0 {
			h.fail("%s has %d operations left", c.name, left)
		}
	}
}

// file is what a machine sees of a file.
type seenFile struct {
	path    string
	content string
}

// files lists all files that a machine sees. What it cannot read now may be known, by its
// version.
func (m *machine) files(known map[uint64]string) (out []seenFile) {
	m.t.Helper()
	var walk func(path string, dir meta.Ref)
	walk = func(path string, dir meta.Ref) {
		list, err := m.v.List(context.Background(), dir)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range list {
			p := strings.TrimPrefix(path+"/"+string(e.Name), "/")
			if e.Kind == meta.Dir {
				walk(p, e.Ref)
				continue
			}
			a, err := m.v.Attr(context.Background(), e.Ref)
			if err != nil {
				m.t.Fatal(err)
			}
			content, err := m.content(a)
			if errors.Is(err, store.ErrUnavailable) {
				out = append(out, seenFile{p, known[a.Inode.Version]}) // it has no cache
				continue
			}
			known[a.Inode.Version] = string(content)
			if err != nil {
				m.t.Fatalf("%s: read %s: %v", m.name, p, err)
			}
			out = append(out, seenFile{p, string(content)})
		}
	}
	walk("", meta.RootRef)
	return out
}

// mount opens a machine that is locked.
func (c *citizen) mount() error {
	if c.v != nil {
		return nil
	}
	return c.open()
}

func (c *citizen) part() {
	c.parted = true
	for _, op := range []fault.Op{fault.Put, fault.Get, fault.List} {
		c.line.Add(fault.On(op, 0, fault.Fail(store.ErrUnavailable)))
	}
}

func (c *citizen) reach() {
	c.parted = false
	c.line.Clear()
}

// act does something at the machine.
func (c *citizen) act() {
	h := c.h
	if c.v == nil {
		if c.parted && h.rng.IntN(3) == 0 {
			c.reach()
		}
		if err := c.mount(); err != nil {
			if !c.parted {
				h.fail("%s does not mount: %v", c.name, err)
			}
			return
		}
		h.tell("%s mounts", c.name)
	}
	switch draw := h.rng.IntN(40); {
	case draw == 0:
		h.tell("%s is killed", c.name)
		h.tally.Kills++
		c.crash()
	case draw == 1:
		err := c.shut(50 * time.Millisecond)
		h.tell("%s is locked: %v", c.name, err)
	case draw == 2:
		h.tally.Outages++
		h.tell("%s is off line", c.name)
		c.part()
	case draw < 6:
		if c.parted {
			h.tell("%s is on line", c.name)
			c.reach()
		}
	case draw < 12:
		c.publish()
	case draw < 14:
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if !c.parted {
			ctx = context.Background()
		}
		h.tell("%s follows: %v", c.name, c.v.sync.CatchUp(ctx))
	default:
		c.change()
	}
}

// publish sends what waits; a fault may come between.
func (c *citizen) publish() {
	h := c.h
	if !c.parted {
		slots := strings.TrimSuffix(h.prefix("l"), "/")
		switch h.rng.IntN(5) {
		case 0: // taken, and the answer is lost
			c.line.Add(fault.On(fault.Put, 1, fault.Twice).Prefix(slots))
		case 1:
			c.line.Add(fault.On(fault.Get, 1+h.rng.IntN(3), fault.Fail(store.ErrUnavailable)))
		case 2: // killed between
			steps := []string{"sync.build", "sync.attempt", "sync.put", "sync.taken", "sync.remembered", "sync.settled"}
			at := steps[h.rng.IntN(len(steps))]
			c.step = func(name string) {
				if name == at {
					panic(killed(at))
				}
			}
		}
	}
	err := c.mayDie(c.send)
	c.step = nil
	if !c.parted {
		c.line.Clear()
	}
	h.tell("%s publishes: %v", c.name, err)
	if c.v != nil {
		if stopped, _ := c.v.sync.Trouble(); stopped != "" {
			h.fail("%s has stopped: %s", c.name, stopped)
		}
	}
}

// send publishes, but does not wait long for a store that is away.
func (c *citizen) send() error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if !c.parted {
		ctx = context.Background()
	}
	if err := c.v.pinOld(ctx, 0); err != nil {
		return err
	}
	return c.v.sync.Publish(ctx)
}

// killed is where a machine died.
type killed string

// mayDie calls fn, in which the machine may be killed.
func (c *citizen) mayDie(fn func() error) (err error) {
	defer func() {
		switch at := recover().(type) {
		case nil:
		case killed:
			c.h.tally.Kills++
			err = fmt.Errorf("killed at %s", string(at))
			c.step = nil
			c.crash()
		default:
			panic(at)
		}
	}()
	return fn()
}

// change does what a program may do.
func (c *citizen) change() {
	h := c.h
	h.tally.Operations++
	files := c.files(h.known)
	dirs := []string{"", "d/", "e/", "d/f/"}
	name := func() string { return dirs[h.rng.IntN(len(dirs))] + string(rune('a'+h.rng.IntN(4))) }
	var some seenFile
	if len(files) > 0 {
		some = files[h.rng.IntN(len(files))]
	} else {
		some.path = name()
	}
	at := func(path string) (seen seenFile, ok bool) {
		for _, f := range files {
			if f.path == path {
				return f, true
			}
		}
		return seen, false
	}
	h.made++
	content := fmt.Sprintf("%s wrote %d", c.name, h.made)
	if h.rng.IntN(8) == 0 {
		content += strings.Repeat(fmt.Sprintf(" and %d", h.made), 90_000)
	}
	var err error
	what := ""
	switch draw := h.rng.IntN(16); {
	case draw < 7: // save, and be sure
		path := some.path
		if draw < 4 {
			path = name()
		}
		what = "saves " + path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			err = errors.Join(mkdir(path[:strings.IndexByte(path, '/')])(c.machine), mkdir(path[:i])(c.machine))
		}
		if err == nil {
			err = write(path, content)(c.machine)
		}
		if err == nil {
			if old, ok := at(path); ok {
				delete(h.owed, old.content)
			}
			if err = fsync(path)(c.machine); err == nil {
				h.tally.Promises++
				h.owed[content] = c.name
			}
		}
	case draw < 9: // save as editors do
		what = "replaces " + some.path
		if err = write(some.path+"~", content)(c.machine); err == nil {
			if err = fsync(some.path + "~")(c.machine); err == nil {
				h.tally.Promises++
				h.owed[content] = c.name
			}
			if old, ok := at(some.path + "~"); ok {
				delete(h.owed, old.content)
			}
			if rerr := rename(some.path+"~", some.path)(c.machine); rerr == nil {
				delete(h.owed, some.content)
			}
		}
	case draw < 11:
		what = "removes " + some.path
		if err = unlink(some.path)(c.machine); err == nil {
			delete(h.owed, some.content)
		}
	case draw < 14:
		to := name()
		what = "renames " + some.path + " to " + to
		if err = rename(some.path, to)(c.machine); err == nil {
			if old, ok := at(to); ok && to != some.path {
				delete(h.owed, old.content)
			}
		}
	default:
		from, to := dirs[1+h.rng.IntN(3)], dirs[1+h.rng.IntN(3)]
		what = "moves " + from + " to " + to
		err = rename(strings.TrimSuffix(from, "/"), strings.TrimSuffix(to, "/")+string(rune('x'+h.rng.IntN(2))))(c.machine)
	}
	h.tell("%s %s (%.24s): %v", c.name, what, content, err)
	c.files(h.known)
	for _, bad := range []error{meta.ErrConflict, meta.ErrMalformed} {
		if errors.Is(err, bad) {
			h.fail("%s %s: %v", c.name, what, err)
		}
	}
}
