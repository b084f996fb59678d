package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// debt is what the machines were promised.
type debt struct {
	owed     map[string]string          // contents that an fsync acknowledged and who was told
	pieces   map[string]string          // bytes that only some file must hold, and who was told
	ever     map[string]string          // all that was once owed, and to whom
	replaced map[string]map[string]bool // who replaced it who had seen it
	changed  map[string]change          // contents that were made of others
	at       map[string]string          // what its machine had published when a content was promised
}

// change is how a content was made of another one.
type change struct {
	more  string // that was appended; empty: it was cut
	whole bool   // the other one waited when this one was made, and all that it was made of
}

func newDebt() debt {
	return debt{map[string]string{}, map[string]string{}, map[string]string{}, map[string]map[string]bool{}, map[string]change{}, map[string]string{}}
}

func (b *debt) owe(content string, c *citizen) {
	b.owed[content], b.ever[content], b.at[content] = c.name, c.name, c.published()
}

// published tells apart what a machine has published at times.
func (c *citizen) published() string {
	_, no, _ := c.v.state.Device()
	return fmt.Sprint(no, c.v.state.Known())
}

// gone says that a machine replaced, or removed, a content that it had seen.
func (b *debt) gone(content, who string) {
	if b.replaced[content] == nil {
		b.replaced[content] = map[string]bool{}
	}
	b.replaced[content][who] = true
	delete(b.owed, content)
	for p := range b.pieces {
		if strings.Contains(content, p) {
			delete(b.pieces, p)
		}
	}
}

// makes notes that a machine made a content of another: more bytes, or fewer. What it is
// made of waits as long as nothing of the machine was published since.
func (c *citizen) makes(content, before, more string) {
	was, changed := c.h.changed[before]
	whole := c.h.ever[before] == c.name && c.h.debt.at[before] == c.published() && (!changed || was.whole && was.more != "")
	c.h.changed[content] = change{more, whole}
}

// contents are the files of a store.
func (h *era) contents(name string) (there, paths map[string]bool, l *loadedWorld) {
	m := h.machine(name)
	m.bucket, m.ro = h.objects, true
	m.mustOpen()
	there, paths = map[string]bool{}, map[string]bool{}
	for _, f := range m.files(map[uint64]string{}) {
		there[f.content], paths[f.path] = true, true
	}
	l = h.loaded(m)
	m.crash()
	return there, paths, l
}

// loadedWorld is the history that a store shows.
type loadedWorld struct {
	ids     map[chain.ID]bool
	devices map[meta.Device]bool
}

// madeBy is a commit that a store had once.
type madeBy struct {
	prev   chain.ID
	device meta.Device
}

// loaded follows the chain that a machine sees, and notes who made which commit.
func (h *era) loaded(m *machine) *loadedWorld {
	h.t.Helper()
	l, err := m.v.loadChain(h.t.Context(), false)
	if err != nil {
		h.fail("load: %v", err)
	}
	w := &loadedWorld{map[chain.ID]bool{}, map[meta.Device]bool{}}
	for _, d := range l.Chain.Ledger.AllDevices() {
		w.devices[d.No] = true
	}
	if _, _, err := l.ID(h.t.Context(), 1); err != nil {
		h.fail("load: %v", err)
	}
	for slot := l.Chain.Slot; slot > 0; slot-- {
		id, ok := l.Near(slot)
		if !ok {
			continue
		}
		w.ids[id] = true
		object, err := h.objects.Get(h.t.Context(), chain.SlotName(h.vol, slot), 0, -1)
		if err != nil {
			continue // trimmed
		}
		if c, err := l.Chain.Open(slot, object); err == nil && c.ID == id {
			h.commits[id] = madeBy{c.Prev, c.Device}
		}
	}
	return w
}

// older sets the store back to what is remembered of it. All that it knows then must stay,
// and all that waits on the machines: what only the lost part of the store had is nobody's
// debt any more.
func (h *era) older() bool {
	if h.old == nil {
		return false
	}
	h.tally.Setbacks++
	h.setBack, h.uncounted = true, true
	clear(h.leased)
	mayWait := map[string]bool{}
	for _, c := range h.all {
		mayWait[c.name] = c.v == nil || c.v.view.Pending().Len() > 0
		c.dies()
	}
	now, _, _ := h.contents("judge of what was")
	h.objects = h.old.Clone()
	old, paths, shown := h.contents("judge of what is")
	for _, c := range h.all {
		c.wire()
	}
	for path := range h.taken {
		if !paths[path] {
			delete(h.taken, path)
		}
	}
	for version := range h.known {
		if !shown.devices[meta.WrittenBy(version)] {
			delete(h.known, version) // another may get its number
		}
	}
	for piece := range h.pieces {
		if holds(now, piece) && !holds(old, piece) {
			delete(h.pieces, piece)
			h.tally.Lost++
		}
	}
	for content, who := range h.owed {
		made, changed := h.changed[content]
		switch {
		case old[content]:
		case now[content]:
			delete(h.owed, content)
			h.tally.Lost++
		case changed && !made.whole:
			// It waits to be made of what is lost, perhaps.
			delete(h.owed, content)
			if made.more != "" {
				h.pieces[made.more] = who
			}
		case changed && made.more == "":
			// Where the history that is accepted has no place for the file, it is
			// recovered as it was written, before it was cut.
			delete(h.owed, content)
			h.pieces[content] = who
			h.tally.Waited++
		default:
			h.tally.Waited++
		}
	}
	for content := range old {
		who, was := h.ever[content]
		if !was || now[content] || h.owed[content] != "" {
			continue
		}
		back := true
		for r := range h.replaced[content] {
			back = back && !mayWait[r]
		}
		if back {
			h.tally.Back++
			h.owed[content] = who
		}
	}
	return true
}

// goesOn has a machine accept that the store was set back, and holds what it is told is
// missing against what is.
func (c *citizen) goesOn() error {
	h := c.h
	s, err := c.accepting()
	if err != nil || s == nil {
		return err
	}
	h.tally.Accepted++
	m := h.machine("judge of what is missing")
	m.bucket, m.ro = h.objects, true
	m.mustOpen()
	shown := h.loaded(m)
	m.crash()
	missing, devices, all, seen := 0, map[meta.Device]int{}, false, true
	for id := s.Seen.ID; !all; {
		seen = seen && c.saw[id] // as far as it began at a checkpoint, it saw none one by one
		if all = shown.ids[id]; all {
			break
		}
		made, ok := h.commits[id]
		if !ok {
			break // it was trimmed before anybody looked
		}
		missing++
		devices[made.device]++
		id = made.prev
	}
	told := s.Missing
	exact := told.Most == told.Slots
	if all && (told.Slots > uint64(missing) || told.Most > 0 && told.Most < uint64(missing)) {
		h.fail("%s is told that %v are missing, and %d are", c.name, told, missing)
	}
	if all && seen && missing < chain.RememberedMax && (!exact || told.Unknown > 0) {
		h.fail("%s is told of %d missing changes, which it saw, no more than %v", c.name, missing, told)
	}
	if exact {
		h.tally.Exact++
	}
	for _, d := range told.Devices {
		if n := devices[d.Device]; all && d.Commits > n || all && exact && told.Unknown == 0 && d.Commits < n {
			h.fail("%s is told that %v are missing, and of device %d there are %d", c.name, told, d.Device, n)
		}
	}
	return nil
}

// holds says whether one of the contents has a piece in it.
func holds(contents map[string]bool, piece string) bool {
	for content := range contents {
		if strings.Contains(content, piece) {
			return true
		}
	}
	return false
}

// whatIsOwed looks for all that must be there.
func (h *era) whatIsOwed(there map[string]bool, tree string) {
	for _, content := range slices.Sorted(maps.Keys(h.owed)) {
		if who := h.owed[content]; !there[content] {
			h.fail("%s was told that %.40q is durable, and it is nowhere in\n%s", who, content, tree)
		}
	}
	for piece, who := range h.pieces {
		if !holds(there, piece) {
			h.fail("%s was told that %.40q is durable, and no file holds it in\n%s", who, piece, tree)
		}
	}
}
