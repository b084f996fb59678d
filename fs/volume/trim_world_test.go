package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// trimmedWorld is a drive with four checkpoints, of which the commits under the oldest are
// gone.
func trimmedWorld(t *testing.T) (w *world, tree string) {
	t.Helper()
	w = newWorld(t)
	w.laptop.trim = publish.TrimOptions{Keep: 5}
	rounds(w, w.laptop, "a", 4, 9)
	sleeps(30 * day)
	as(w.laptop, write("last", "1"), drained, trimmed(-1))
	return w, w.laptop.tree()
}

// announcements are the slots that announce checkpoints, ascending.
func (w *world) announcements() (l []chain.Slot) {
	st := seen(w, w.objects, w.laptop).Chain
	for _, s := range w.slots() {
		if c, err := st.Open(s, w.object(chain.SlotName(w.vol, s))); err == nil && c.Checkpoint != nil {
			l = append(l, s)
		}
	}
	return l
}

// Where the newest checkpoint of a trimmed drive is damaged, the one before it and the
// commits between show what there was up to the damage.
func TestTrimmedAndDamaged(t *testing.T) {
	later(t, func(t *testing.T) {
		w, _ := trimmedWorld(t)
		at := w.announcements()
		as(w.laptop, lock)
		w.change(chain.SlotName(w.vol, at[len(at)-1]), func(b []byte) []byte { b[20] ^= 1; return b })
		m := w.machine("desktop")
		m.ro = true
		m.mustOpen()
		as(m, read("a0.3", "3"), read("a3.8", "8"))
		if s := m.v.Status(); len(s.Damaged) == 0 || s.Stopped == "" {
			t.Errorf("damage is not told: %+v", s)
		}
		as(m, lock)

		for _, s := range at {
			if err := w.objects.Delete(t.Context(), chain.SlotName(w.vol, s)); err != nil {
				t.Fatal(err)
			}
		}
		m = w.machine("third")
		m.ro = true
		if err := m.open(); !errors.Is(err, publish.ErrTrimmed) {
			t.Errorf("with no checkpoint left: %v", err)
		}
	})
}

// A machine that found a table damaged reads the commits instead, as far as there are
// any.
func TestTrimmedAndDistrusted(t *testing.T) {
	later(t, func(t *testing.T) {
		w, tree := trimmedWorld(t)
		as(w.laptop, lock)
		if err := os.WriteFile(filepath.Join(w.laptop.state(), distrustName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.laptop.mustOpen()
		if got := w.laptop.tree(); got != tree {
			t.Errorf("the tree is\n%s\nwant\n%s", got, tree)
		}
		if n := w.laptop.v.view.Snapshot().Base(); n == 0 || n >= uint64(w.announcements()[3]) {
			t.Errorf("it begins at slot %d", n)
		}
		as(w.laptop, write("x", "1"), drained, folded, lock)
		as(w.machine("third"), read("x", "1"), read("a0.0", "0"))
	})
}

// Machines that write, fold, trim, sleep for weeks, are killed and come back lose nothing
// that was promised, and agree in the end. Slots are trimmed, and machines go on above them.
func TestTrimWorlds(t *testing.T) {
	worlds, first := 3, someSeed(t, "HUSHFS_TRIM_WORLDS")
	if n, err := strconv.Atoi(os.Getenv("HUSHFS_TRIM_WORLDS")); err == nil {
		worlds = n
	}
	if os.Getenv("HUSHFS_SEED") != "" {
		worlds = 1
	}
	gone, jumps := 0, 0
	for i := range worlds {
		seed := first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			later(t, func(t *testing.T) {
				g, j := trimWorld(t, rand.New(rand.NewPCG(seed, 0)))
				gone, jumps = gone+g, jumps+j
			})
		})
	}
	t.Logf("%d worlds: %d slots were trimmed, %d times a machine went on above them", worlds, gone, jumps)
	if worlds >= 3 && !t.Failed() && gone == 0 {
		t.Error("nothing was trimmed")
	}
	if worlds >= 30 && !t.Failed() && jumps == 0 {
		t.Error("no machine slept while commits were trimmed")
	}
}

// trimWorld says how many slots were trimmed, and how often a machine went on above them.
func trimWorld(t *testing.T, r *rand.Rand) (gone, jumps int) {
	w := newWorld(t)
	machines := []*machine{w.laptop, w.machine("desktop"), w.machine("tablet")}
	for _, m := range machines {
		m.trim = publish.TrimOptions{Keep: 5}
		m.near = []int64{-1, 32 << 20}[r.IntN(2)]
	}
	var promised, story []string
	awake := map[*machine]bool{}
	for _, m := range machines {
		awake[m] = true
	}
	did := func(format string, args ...any) { story = append(story, fmt.Sprintf(format, args...)) }
	try := func(m *machine, what string, a act) {
		t.Helper()
		did("%s %s", m.name, what)
		m.mustOpen()
		if err := a(m); err != nil {
			t.Fatalf("%s: %s: %v\n%s", m.name, what, err, strings.Join(story, "\n"))
		}
	}
	for n := range 150 {
		m := machines[r.IntN(len(machines))]
		if !awake[m] {
			if r.IntN(12) > 0 {
				continue
			}
			awake[m] = true
			did("%s comes back", m.name)
		}
		switch r.IntN(19) {
		case 0, 1, 2, 3:
			name, content := fmt.Sprintf("f%d", n), fmt.Sprintf("of %s %d", m.name, n)
			try(m, "writes "+name, write(name, content))
			try(m, "syncs "+name, fsync(name))
			promised = append(promised, content)
		case 4:
			shared := write(fmt.Sprintf("shared%d", r.IntN(3)), fmt.Sprint(m.name, n))
			try(m, "writes shared", func(m *machine) error {
				err := shared(m)
				if errors.Is(err, ErrStale) || errors.Is(err, meta.ErrExist) {
					err = shared(m) // its first write made it a device, and it met others
				}
				return err
			})
		case 5, 6, 7:
			try(m, "publishes", drained)
		case 8:
			try(m, "follows", upToDate)
		case 9, 14, 15, 16:
			try(m, "folds", func(m *machine) error {
				if _, no, _ := m.v.state.Device(); no == 0 {
					return nil // it never wrote
				}
				return errors.Join(drained(m), folded(m))
			})
		case 10:
			did("%s is killed", m.name)
			m.crash()
		case 11:
			did("%s sleeps", m.name)
			awake[m] = false
			if r.IntN(2) == 0 {
				m.crash()
			}
			if r.IntN(4) == 0 {
				_ = os.RemoveAll(filepath.Join(m.state(), "slots"))
			}
		case 12:
			d := time.Duration(3+r.IntN(15)) * day
			did("%v go by", d)
			sleeps(d, machines...)
		case 13, 17, 18:
			try(m, "trims", trimmed(-1))
		}
	}
	for range 2 {
		for _, m := range machines {
			try(m, "publishes", drained)
		}
	}
	for _, m := range machines {
		try(m, "follows", upToDate)
	}
	third := w.machine("new")
	want := ""
	for _, m := range append(slices.Clone(machines), third) {
		m.mustOpen()
		if got := m.tree(); want == "" {
			want = got
		} else if got != want {
			t.Fatalf("%s sees\n%s\nwant\n%s\n%s", m.name, got, want, strings.Join(story, "\n"))
		}
	}
	gone = int(w.slots()[len(w.slots())-1]) - len(w.slots())
	for _, m := range machines {
		jumps += strings.Count(m.log.String(), "this machine slept, and went on")
	}
	t.Logf("%d slots were trimmed, %d times a machine went on above them", gone, jumps)
	all := third.everything()
	for _, p := range promised {
		if !strings.Contains(all, "="+p+"\n") {
			t.Errorf("%q is nowhere\n%s\n%s", p, all, strings.Join(story, "\n"))
		}
	}
	return gone, jumps
}

// A machine that slept next to a checkpoint comes back: the commit of its head was trimmed,
// and the one behind it was not, since it announces the checkpoint. What the machine sends
// goes on from there, and nobody says that the store was set back.
func TestSleepsNextToACheckpoint(t *testing.T) {
	later(t, func(t *testing.T) {
		w := newWorld(t)
		w.laptop.trim = publish.TrimOptions{Keep: 5}
		desk := w.machine("desktop")
		as(w.laptop, write("a", "1"), drained)
		as(desk, write("b", "2"), drained)
		head := w.slots()[len(w.slots())-1]
		as(w.laptop, upToDate, folded)
		if at := w.announcements(); !slices.Contains(at, head+1) {
			t.Fatalf("checkpoints are announced in %d, and the head was %d", at, head)
		}
		rounds(w, w.laptop, "c", 4, 9)
		sleeps(30*day, desk)
		as(w.laptop, write("last", "3"), drained, trimmed(-1))
		if l := w.slots(); slices.Contains(l, head) || !slices.Contains(l, head+1) {
			t.Fatalf("there are %d, and the head was %d", l, head)
		}
		as(desk, write("d", "4"), drained, read("last", "3"), read("b", "2"))
		as(w.laptop, upToDate, read("d", "4"))
		if strings.Contains(desk.log.String(), "set back") {
			t.Error(desk.log.String())
		}
	})
}
