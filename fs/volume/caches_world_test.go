package volume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// Two machines change a few names, by one another, and have files open all the time, also those
// that have lost their names, across all that is followed: renames and further names that wait
// and are given up, granted, or done otherwise; files that are made again as other inodes; jumps
// over what was folded. After each deed the kernel has of every file what that holds. What was
// acknowledged is there in the end, unless somebody replaced or removed it who had seen it.
//
// HUSHFS_SEED repeats a run, HUSHFS_CACHES says how many worlds are tried.
func TestCachesOfWhatIsOpen(t *testing.T) {
	n, many := someSeed(t, "HUSHFS_CACHES"), 25
	if s := os.Getenv("HUSHFS_CACHES"); s != "" {
		var err error
		if many, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	jumps, became := 0, 0
	play := func(s *story.Story, rng *rand.Rand) (f *story.Failure) {
		synctest.Test(t, func(t *testing.T) {
			f = story.Try(t, func(t testing.TB) {
				for _, h := range playCaches(t, s, rng) {
					jumps, became = jumps+h.k.jumps, became+h.k.became
				}
			})
		})
		return f
	}
	for run := range uint64(many) {
		s := story.Story{Machines: 2, Seed: run}
		if f := play(&s, rand.New(rand.NewPCG(n, run))); f != nil {
			short := story.Shrink(s, f, story.Options{For: 3 * time.Minute}, func(s story.Story) *story.Failure { return play(&s, nil) })
			t.Fatalf("world %d: %s", run, short.Report(s, f))
		}
	}
	if t.Logf("%d worlds: %d jumps, %d open files became another inode", many, jumps, became); many >= 25 && (jumps == 0 || became == 0) {
		t.Error("the worlds were too quiet to show anything")
	}
}

// waitsIn has programs wait for the store to say that a name in a folder is theirs.
func waitsIn(dir string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(dir)
		if err == nil {
			err = m.v.SetXattr(m.t.Context(), a.Ref, []byte(DurabilityAttr), []byte(DurabilityRemote), 0)
		}
		return err
	}
}

// holder is a machine and its kernel.
type holder struct {
	*machine
	k    *caches
	w    *holders
	made int

	waits map[Given]bool // names whose programs wait for the store
}

type holders struct {
	*world
	all  []*holder
	owed map[string]string // contents that an fsync acknowledged, by whose
}

// pieces is of how many a file is that comes back as another inode.
const pieces = 300

func playCaches(t testing.TB, s *story.Story, rng *rand.Rand) []*holder {
	w := &holders{world: newWorld(t), owed: map[string]string{}}
	as(w.laptop, mkdir("d"), waitsIn("d"), write("a", "of a"), write("b", "of b"), write("c", ""), fragmented("c", pieces), drained)
	for _, m := range []*machine{w.laptop, w.machine("desk")} {
		m.fold, m.trim = 4, publish.TrimOptions{Keep: 5}
		as(m, caughtUp, write("of "+m.name, m.name), drained)
		w.all = append(w.all, &holder{machine: m, k: caching(m), w: w, waits: map[Given]bool{}})
	}
	do := func(d story.Deed) {
		h := w.all[0]
		if d.Who == "desk" {
			h = w.all[1]
		}
		h.does(d)
		h.k.right()
	}
	for _, d := range s.Deeds {
		do(d)
	}
	for range deedsOfAWorld {
		if rng == nil {
			break
		}
		d := drawHolder(rng)
		s.Deeds = append(s.Deeds, d)
		do(d)
	}
	for range 3 {
		for _, h := range w.all {
			h.follows("publishes")
			h.follows("follows")
			h.k.right()
		}
	}
	for _, f := range w.laptop.files(map[uint64]string{}) {
		delete(w.owed, f.content)
	}
	if len(w.owed) > 0 {
		t.Fatalf("acknowledged, and nowhere: %q, in\n%s", w.owed, w.laptop.tree())
	}
	if got, want := w.all[1].tree(), w.laptop.tree(); got != want {
		t.Fatalf("the machines see\n%s\nand\n%s", want, got)
	}
	return w.all
}

var holderDeeds = strings.Split("opens,opens,opens,opens,writes,writes,writes,writes and syncs,writes and syncs,closes,closes,saves,replaces,renames,renames,renames,renames surely,renames surely,hears,removes,links,links,links,exchanges,makes,follows,follows,follows,publishes,publishes,forgets,is far", ",")

func drawHolder(rng *rand.Rand) story.Deed {
	pick := func() string {
		return []string{"a", "b", "c", "d/a", "d/b", "e/a", "f/a"}[rng.IntN(7)]
	}
	d := story.Deed{Who: "laptop", Does: holderDeeds[rng.IntN(len(holderDeeds))], At: pick(), To: pick(), N: rng.Uint64N(100)}
	if rng.IntN(2) == 0 {
		d.Who = "desk"
	}
	return d
}

// does does a deed; what cannot be done is passed over.
func (h *holder) does(d story.Deed) {
	h.made++
	content := fmt.Sprintf("%s wrote %d", h.name, h.made)
	if d.N%4 == 0 {
		content = fmt.Sprint(alike, d.N%3)
	}
	n := uint64(len(h.k.open))
	switch d.Does {
	case "opens":
		if n < 5 {
			h.k.opens(d.At)
		}
	case "writes", "writes and syncs":
		if n > 0 {
			h.write(h.k.open[d.N%n], content, d.Does != "writes")
		}
	case "closes":
		if n > 0 {
			h.k.closes(int(d.N % n))
		}
	case "forgets":
		for _, n := range h.k.current() {
			if n.handles == 0 {
				delete(h.k.of, n.ref.Ino)
			}
		}
	case "hears":
		for g := range h.waits {
			_ = h.v.Named(g)
		}
		clear(h.waits)
	case "follows", "publishes", "is far":
		h.follows(d.Does)
	default:
		if err := h.names(d, content); err != nil {
			h.t.Fatalf("%s %s: %v", h.name, d.Does, err)
		}
	}
}

// names does a deed that is about names.
func (h *holder) names(d story.Deed, content string) (err error) {
	ctx := context.Background()
	for _, path := range []string{d.At, d.To} {
		if dir, _, ok := strings.Cut(path, "/"); ok {
			err = errors.Join(err, mkdir(dir)(h.machine))
		}
	}
	from, name, _, _ := h.find(d.At)
	to, as, _, _ := h.find(d.To)
	file, over := h.k.find(d.At), h.k.find(d.To)
	if err != nil || file == nil && d.Does != "saves" && d.Does != "makes" {
		return err
	}
	switch d.Does {
	case "saves", "makes":
		if file == nil {
			err = write(d.At, "")(h.machine)
		}
		if n := h.k.opens(d.At); n != nil && d.Does == "saves" {
			h.write(n, content, true)
		}
		if i := len(h.k.open) - 1; i >= 5 || d.Does == "saves" {
			h.k.closes(i)
		}
	case "replaces":
		tmp := fmt.Sprint("tmp ", h.name, h.made)
		delete(h.w.owed, string(h.k.holds(file)))
		if err = errors.Join(write(tmp, content)(h.machine), fsync(tmp)(h.machine), rename(tmp, d.At)(h.machine)); err == nil {
			h.owe(content)
		}
	case "renames", "renames surely":
		if over != nil && over != file {
			delete(h.w.owed, string(h.k.holds(over)))
		}
		if d.Does == "renames" {
			return h.v.Rename(ctx, from, name, to, as, 0)
		}
		var g Given
		if g, err = h.v.RenameSure(ctx, from, name, to, as, 0); g != (Given{}) {
			h.waits[g] = true
		}
	case "removes":
		delete(h.w.owed, string(h.k.holds(file)))
		err = h.v.Unlink(ctx, from, name)
	case "links":
		if over == nil {
			_, err = h.v.Link(ctx, file.ref, to, as)
		}
	case "exchanges":
		if over != nil {
			err = h.v.Rename(ctx, from, name, to, as, meta.Exchange)
		}
	}
	return err
}

// write has a program replace all that it has open.
func (h *holder) write(n *cached, content string, sync bool) {
	was := string(n.bytes)
	if err := h.k.writes(n, content); err != nil {
		h.t.Fatalf("%s writes to what is open: %v", h.name, err)
	}
	delete(h.w.owed, was)
	if !sync {
		return
	}
	if err := h.v.Fsync(context.Background(), n.held); err != nil {
		h.t.Fatalf("%s: fsync: %v", h.name, err)
	}
	a, err := h.v.Attr(context.Background(), n.held)
	if err == nil && a.Inode.Nlink > 0 {
		h.owe(content)
	}
}

// owe notes what was acknowledged, unless others write the same.
func (h *holder) owe(content string) {
	if !strings.HasPrefix(content, alike) {
		h.w.owed[content] = h.name
	}
}

// follows has the machine see what others did, or send what it did itself.
func (h *holder) follows(how string) {
	var err error
	switch how {
	case "follows":
		err = caughtUp(h.machine)
	case "publishes":
		err = drained(h.machine)
	case "is far": // what it did not follow is not there any more, one by one
		other := h.w.all[0]
		if other == h {
			other = h.w.all[1]
		}
		err = drained(other.machine)
		for i := range 3 {
			err = errors.Join(err, commits(fmt.Sprintf("%s%d.%d.", h.name, h.made, i), 6)(other.machine), folded(other.machine))
			sleeps(15*day, h.machine, other.machine)
		}
		err = errors.Join(err, write(fmt.Sprintf("%s%d", h.name, h.made), "last")(other.machine), drained(other.machine), trimmed(-1)(other.machine))
		other.k.right()
		if err == nil {
			err = caughtUp(h.machine)
		}
	}
	if err != nil {
		h.t.Fatalf("%s %s: %v", h.name, how, err)
	}
}
