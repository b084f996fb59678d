package adversary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/volume"
)

// Deed is one line of a story.
type Deed struct {
	Who  string // a machine, "both", or "store"
	What string // see machine.do, or the name of an attack; "honest" ends all attacks
	Draw uint64 // all that is left to chance in it
}

func (d Deed) String() string { return fmt.Sprintf("%-7s %s (%#x)", d.Who, d.What, d.Draw) }

// Story is what happens, in order.
type Story struct {
	Seed  uint64
	Deeds []Deed
}

func (s Story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d:\n", s.Seed)
	for _, d := range s.Deeds {
		fmt.Fprintf(&b, "  %v\n", d)
	}
	return b.String()
}

// acts are what a machine does, the frequent ones several times.
var acts = []string{
	"writes", "writes", "writes", "writes without fsync", "replaces", "replaces", "renames", "deletes",
	"reads", "reads", "sends", "sends", "remounts", "loses power", "newcomer",
}

// InTurn makes a story of the attacks given, one after the other, each while both
// machines begin anew, write, send and read, and a third one comes.
func InTurn(seed uint64, attacks []Attack) Story {
	r := sub(seed)
	st := Story{Seed: seed}
	for i, a := range attacks {
		one, two := "laptop", "desktop"
		if i%2 == 1 {
			one, two = two, one
		}
		st.Deeds = append(st.Deeds, Deed{"store", "remembers", r.Uint64()}, Deed{one, "writes", r.Uint64()}, Deed{"store", a.Name, r.Uint64()})
		for _, d := range []Deed{
			{Who: "both", What: "edit"}, {Who: one, What: "sends"}, {Who: two, What: "remounts"}, {Who: two, What: "replaces"}, {Who: two, What: "sends"},
			{Who: one, What: "reads"}, {Who: two, What: "reads"}, {Who: one, What: "remounts"}, {Who: one, What: "reads"}, {Who: two, What: "newcomer"},
			{Who: "store", What: "honest"},
		} {
			d.Draw = r.Uint64()
			st.Deeds = append(st.Deeds, d)
		}
	}
	return st
}

// Draw makes a story of so many rounds, each an attack or two, drawn, among deeds of the
// machines.
func Draw(seed uint64, rounds int) Story {
	r := sub(seed)
	st := Story{Seed: seed}
	names := []string{"laptop", "desktop"}
	machine := func(n int) {
		for range n {
			if r.IntN(5) == 0 {
				st.Deeds = append(st.Deeds, Deed{"both", "edit", 0})
			}
			st.Deeds = append(st.Deeds, Deed{names[r.IntN(2)], acts[r.IntN(len(acts))], r.Uint64()})
		}
	}
	attacks := Attacks()
	for range rounds {
		machine(r.IntN(3))
		if r.IntN(3) == 0 {
			st.Deeds = append(st.Deeds, Deed{"store", "remembers", r.Uint64()})
		}
		for range 1 + r.IntN(2) {
			st.Deeds = append(st.Deeds, Deed{"store", attacks[r.IntN(len(attacks))].Name, r.Uint64()})
		}
		machine(1 + r.IntN(3))
		if r.IntN(2) == 0 {
			who := names[r.IntN(2)]
			st.Deeds = append(st.Deeds, Deed{who, "remounts", r.Uint64()}, Deed{who, "reads", r.Uint64()})
		}
		st.Deeds = append(st.Deeds, Deed{"store", "honest", r.Uint64()})
	}
	return st
}

// Outcome is what became of a story.
type Outcome struct {
	Attacks int             // that were begun
	Bites   int             // answers that were untrue
	Of      map[string]int  // by attack: answers that were untrue while it lasted; see Attack.Of
	Said    map[string]Said // by attack that was alone: who said so
	Copies  int             // of the file that both change, in the end
	Split   bool            // the machines were shown two histories, and wrote to both
}

// Tell plays a story in a folder of its own, and judges. The error says which rule was
// broken, and by whom.
func Tell(s Story) (o Outcome, err error) {
	dir, err := os.MkdirTemp("", "adversary")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	w, err := newSiege(dir)
	if err != nil {
		return o, fmt.Errorf("begin: %w", err)
	}
	defer w.end()
	var ends []func()
	var begun []map[string]mark // of each that is on
	marks := map[string]mark{}
	o.Of, o.Said = map[string]int{}, w.said
	honest := func() {
		for i, a := range w.on {
			o.Of[a.Name] += w.bitten(a.Of, begun[i])
		}
		all(ends)()
		ends, w.on, begun = nil, nil, nil
	}
	for i, d := range s.Deeds {
		err := func() error {
			switch {
			case d.Who == "store" && d.What == "remembers":
				w.remember()
			case d.Who == "store" && d.What == "honest":
				err := w.named(marks)
				honest()
				if err != nil {
					return err
				}
				return w.healed()
			case d.Who == "store":
				if len(w.on) == 0 {
					marks = w.marks()
				}
				a := find(d.What)
				w.on, begun = append(w.on, a), append(begun, w.marks())
				ends = append(ends, a.begin(w, sub(d.Draw)))
				o.Attacks++
				return w.unable
			case d.Who == "both":
				return w.edits()
			default:
				return w.do(d)
			}
			return nil
		}()
		if err != nil {
			honest()
			return o, fmt.Errorf("deed %d, %v: %w", i+1, d, err)
		}
		if w.split {
			break // what comes after it is another drive for each
		}
	}
	honest()
	for _, m := range w.machines {
		o.Bites += w.store.Bites(m.name)
	}
	err = w.healed()
	o.Copies = w.copies
	if o.Split = w.split; err == nil && w.split {
		err = w.apart()
	}
	return o, err
}

// healed is the store honest again. Where it does not hold one history, that is all; else
// both machines come to what it holds.
func (w *siege) healed() error {
	w.store.believe()
	w.split = w.split || w.store.Twice()
	if _, err := w.read(); errors.Is(err, errBroken) {
		return err
	} else if err != nil {
		return broken("a reader cannot follow the chain of an honest store: %v", err)
	}
	if w.split {
		return nil
	}
	return w.converge()
}

func (w *siege) marks() map[string]mark {
	out := map[string]mark{}
	for _, m := range w.machines {
		out[m.name] = w.mark(m)
	}
	return out
}

// bitten is how often machines were told something untrue of some kinds of objects since
// then; no kinds are all.
func (w *siege) bitten(kinds string, since map[string]mark) (n int) {
	for _, who := range w.store.told() {
		for _, c := range w.store.Since(who, since[who].bites) {
			if kinds == "" || strings.Contains(kinds, kind(c.Name)) {
				n++
			}
		}
	}
	return n
}

// named wants each machine that was told something untrue to have said so.
func (w *siege) named(since map[string]mark) error {
	for _, m := range w.machines {
		if err := w.says(m, since[m.name], m.watch); err != nil {
			return err
		}
	}
	return nil
}

// machine of that name.
func (w *siege) named1(name string) *machine {
	for _, m := range w.machines {
		if m.name == name {
			return m
		}
	}
	panic("adversary: no machine is called " + name)
}

// edits has both machines change one file at the same time, as far as they are mounted.
func (w *siege) edits() error {
	errs := make([]error, len(w.machines))
	var g sync.WaitGroup
	for i, m := range w.machines {
		if errs[i] = w.mounts(m); errs[i] == nil && m.v != nil {
			g.Go(func() { errs[i] = rule(m.edit(w.both)) })
		}
	}
	g.Wait()
	return errors.Join(errs...)
}

// do does what a machine does. That something is refused is no fault while the store is
// what it is; what is shown must be true.
func (w *siege) do(d Deed) error {
	m, r := w.named1(d.Who), sub(d.Draw)
	if d.What == "newcomer" {
		return w.newcomer(r.Uint64())
	}
	if err := w.mounts(m); err != nil || m.v == nil {
		return err
	}
	sizes := []int{0, 1, 100, 5000, 70 << 10, 200 << 10, 300 << 10}
	size := sizes[r.IntN(len(sizes))]
	f := w.truth.owned(m.name, r.Uint64())
	switch d.What {
	case "writes":
		return rule(m.create(size, true))
	case "writes without fsync":
		return rule(m.create(size, false))
	case "replaces":
		if f != nil {
			return rule(m.replace(f, size))
		}
	case "renames":
		if f != nil {
			return rule(m.rename(f, fmt.Sprintf("renamed-%x", r.Uint32())))
		}
	case "deletes":
		if f != nil {
			return rule(m.unlink(f))
		}
	case "reads":
		_, _, err := m.look(false)
		return rule(err)
	case "sends":
		return rule(m.drain(patience))
	case "remounts":
		if err := rule(m.shut(2 * time.Second)); err != nil {
			return err
		}
		return w.mounts(m)
	case "loses power":
		return rule(m.shut(0))
	default:
		panic("adversary: no deed is called " + d.What)
	}
	return nil
}

// mounts mounts a machine, as far as it lets itself be. One that saw more than it is shown
// must not.
func (w *siege) mounts(m *machine) error {
	was, said := m.v, m.log.len()
	if err := m.open(); err != nil {
		return rule(err)
	}
	if was == nil && w.older[m.name] && m.v.Status().Stopped == "" {
		return broken("%s takes an older state than it saw for true", m.name)
	}
	if was == nil && w.older[m.name] && m.log.len() == said {
		return broken("%s is shown an older state than it saw, and says nothing of that in its log", m.name)
	}
	return nil
}

// rule passes on what breaks a rule; all else a hostile store may bring about.
func rule(err error) error {
	if errors.Is(err, errBroken) {
		return err
	}
	return nil
}

// newcomer is a machine without memory that unlocks by the passphrase and reads all.
func (w *siege) newcomer(draw uint64) error {
	dir, err := os.MkdirTemp(filepath.Dir(w.machines[0].dir), "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	who := w.machines[draw%uint64(len(w.machines))].name // sees the store as that one does
	w.guests++
	m := w.machine(dir, fmt.Sprintf("newcomer %d", w.guests))
	host := w.named1(who)
	m.log.known, m.shown.known = host.log.known.clone(), host.shown.known
	m.bucket = w.store.guest(who, m.name)
	b := m.bucket
	err = withinOf("a newcomer unlocks", 20*time.Second, func(ctx context.Context) error {
		u, err := drive.Unlock(ctx, b, drive.UnlockOptions{Passphrase: passphrase, Log: slog.New(slog.NewTextHandler(m.log, nil))})
		if err == nil {
			defer u.Wipe()
			m.unlock = u.Handover()
			if u.Main().ID != w.volume {
				return broken("the passphrase opens another drive")
			}
		}
		return err
	})
	if err != nil {
		m.refuses(err)
		return rule(err)
	}
	if err := m.open(); err != nil {
		return rule(err)
	}
	_, _, err = m.look(false)
	if err == nil {
		err = w.says(m, mark{}, m.watch)
	}
	if serr := m.shut(0); errors.Is(serr, errBroken) {
		return serr
	}
	return rule(err)
}

// converge wants both machines, now that the store is honest, to mount, to send what
// waits, and to come to one tree with all in it that was promised.
func (w *siege) converge() error {
	for _, m := range w.machines {
		defer m.shown.known.listen()() // what an attack put under free names stays, and is no news
	}
	for round := range 2 {
		for _, m := range w.machines {
			_ = m.shut(0)
			if err := m.open(); err != nil {
				return broken("%s does not mount with an honest store: %v", m.name, err)
			}
			if err := m.drain(30 * time.Second); err != nil {
				s := m.v.Status()
				return broken("%s cannot send to an honest store (round %d): %v; stopped %q, offline %q, %d pending\n%s", m.name, round, err, s.Stopped, s.Offline, s.PendingOps, m.log.since(m.log.len()-5))
			}
			if err := m.shut(30 * time.Second); err != nil {
				return broken("%s cannot lock with an honest store: %v", m.name, err)
			}
		}
	}
	var trees [][]string
	for _, m := range w.machines {
		if err := m.open(); err != nil {
			return broken("%s does not mount with an honest store: %v", m.name, err)
		}
		found, tree, err := m.look(true)
		if err != nil {
			return broken("%s cannot read from an honest store: %v", m.name, err)
		}
		if lost := w.truth.missing("", found); len(lost) > 0 {
			return broken("%s has lost: %s\nits tree:\n  %s\n%s", m.name, strings.Join(lost, "; "), strings.Join(tree, "\n  "), m.log.since(m.log.len()-10))
		}
		if s := m.v.Status(); s.Stopped != "" {
			return broken("%s writes nothing to an honest store: %s", m.name, s.Stopped)
		}
		m.watch()
		w.copies = max(w.copies, copies(tree, w.both.name))
		trees = append(trees, tree)
	}
	w.last = newest(w.store.Truth)
	if !slices.Equal(trees[0], trees[1]) {
		return broken("the machines do not come to one tree:\n  %s\nand\n  %s", strings.Join(trees[0], "\n  "), strings.Join(trees[1], "\n  "))
	}
	return nil
}

// copies are how many there are of a file in a tree, besides itself.
func copies(tree []string, name string) (n int) {
	for _, line := range tree {
		if strings.HasPrefix(line, name+" (conflict") {
			n++
		}
	}
	return n
}

// apart wants each machine, when the store has shown two histories and shows one of them
// now, to go on with it, or to refuse it and say why. Who goes on has lost nothing of its
// own that a program was promised; and if both do, they come to one tree.
func (w *siege) apart() error {
	trees := map[string][]string{}
	for range 2 { // who was first has not seen what the other sends
		clear(trees)
		for _, m := range w.machines {
			_ = m.shut(0)
			err := m.open()
			switch {
			case errors.Is(err, errBroken):
				return err
			case errors.Is(err, volume.ErrFork), errors.Is(err, volume.ErrRollback):
				continue
			case err != nil:
				return broken("%s refuses another history, and does not say that it is one: %v", m.name, err)
			}
			err = m.drain(10 * time.Second)
			if errors.Is(err, errBroken) {
				return err
			}
			stopped := m.v.Status().Stopped != ""
			found, tree, lerr := m.look(!stopped)
			if errors.Is(lerr, errBroken) {
				return lerr
			}
			if stopped || m.v.Status().Stopped != "" {
				continue
			}
			if err != nil {
				return broken("%s does not send, and its status does not say why: %v", m.name, err)
			}
			if lerr != nil {
				return broken("%s goes on with a history, and cannot read: %v", m.name, lerr)
			}
			if lost := w.truth.missing(m.name, found); len(lost) > 0 {
				return broken("%s goes on with a history, says nothing, and has lost: %s", m.name, strings.Join(lost, "; "))
			}
			trees[m.name] = tree
		}
	}
	one, ok := trees[w.machines[0].name]
	two, both := trees[w.machines[1].name]
	if ok && both && !slices.Equal(one, two) {
		return broken("both machines go on with one history, and do not come to one tree:\n  %s\nand\n  %s", strings.Join(one, "\n  "), strings.Join(two, "\n  "))
	}
	return nil
}

// Shrink leaves deeds out of a story that fails as long as it fails, for at most so many
// tries, and returns the shortest with what is wrong in it.
func Shrink(s Story, why error, tries int) (Story, error) {
	for size := max(len(s.Deeds)/2, 1); size >= 1 && tries > 0; size /= 2 {
		for at := 0; at+size <= len(s.Deeds) && tries > 0; tries-- {
			shorter := Story{s.Seed, slices.Delete(slices.Clone(s.Deeds), at, at+size)}
			if _, err := Tell(shorter); errors.Is(err, errBroken) {
				s, why = shorter, err
			} else {
				at += size
			}
		}
	}
	return s, why
}
