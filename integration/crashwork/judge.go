package crashwork

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// Judgement of what is left of one worker's doing.
type Judgement struct {
	Past    *Past    // what is there for good from now on, if nothing is wrong
	Wrong   []string // what is wrong
	Firm    int      // things that were acknowledged, or are needed by what was
	Things  int      // that it did
	Left    int      // of these, in the order of names, up to the last that is left
	Skipped int      // that are not left
}

// Judge compares what worker id did, after what was there for good, with what is
// there now. With whole nothing may be missing: the drive was locked in order.
func Judge(id int, past *Past, notes []Note, seen map[string]*Seen, whole bool) *Judgement {
	j := &Judgement{Past: &Past{Last: past.Last, Used: maps.Clone(past.Used)}, Things: len(notes)}
	if j.Past.Used == nil {
		j.Past.Used = map[uint64]bool{}
	}
	j.numbers(notes)
	scout := newModel(id, past.tree(), len(notes)+1)
	scout.play(notes)
	m := newModel(id, past.tree(), scout.firm)
	m.play(notes)
	if whole {
		m.states, m.logAck = m.states[len(m.states)-1:], len(m.logged)
	}
	mine := map[string]*Seen{}
	for p, s := range seen {
		switch {
		case !own(id, p) || tolerated(p):
		case s.Err != nil:
			j.wrong("%s cannot be read: %v", p, s.Err)
		default:
			mine[p] = s
		}
	}
	j.Firm = m.firm + 1
	j.find(m, mine, whole)
	j.log(past.Log, m, seen[Log])
	return j
}

func (j *Judgement) wrong(format string, a ...any) {
	j.Wrong = append(j.Wrong, fmt.Sprintf(format, a...))
}

// numbers: no inode number is ever given twice.
func (j *Judgement) numbers(notes []Note) {
	for i, n := range notes {
		j.Past.Last = max(j.Past.Last, n.File&(1<<40-1), uint64(n.Ver))
		if n.Ino == 0 {
			continue
		}
		if j.Past.Used[n.Ino] {
			j.wrong("thing %d, %s %s: inode number %d was used before", i, n.Op, n.A, n.Ino)
		}
		j.Past.Used[n.Ino] = true
	}
}

// find looks for the state that is left.
func (j *Judgement) find(m *model, mine map[string]*Seen, whole bool) {
	var best []string // the smallest number of reasons
	for i, s := range m.states {
		if s.names == nil {
			continue
		}
		next := len(m.states) > i+1
		limit := m.step + 1
		if next {
			limit = m.states[i+1].step
		}
		why := differ(s.names, mine)
		var found map[*data]map[int]Val
		if len(why) == 0 {
			found, why = s.contents(mine, limit, whole)
		}
		if len(why) == 0 {
			j.Left, j.Skipped = s.step+1, m.states[len(m.states)-1].step-s.step
			j.Past.keep(s.names, mine, found)
			return
		}
		for k := range why {
			why[k] += fmt.Sprintf(" [taken for the state after thing %d of %d; acknowledged: %d]", s.step, m.step, m.firm)
		}
		if best == nil || len(why) <= len(best) {
			best = why
		}
	}
	if best == nil {
		best = []string{"there is no state that it could be in"}
	}
	j.Wrong = append(j.Wrong, best...)
}

// differ tells how names and attributes differ.
func differ(names tree, mine map[string]*Seen) (why []string) {
	links := map[*node]int{}
	for _, f := range names {
		links[f]++
	}
	inos := map[uint64]*node{}
	for _, p := range slices.Sorted(maps.Keys(names)) {
		f, s := names[p], mine[p]
		switch {
		case s == nil:
			why = append(why, p+" is not there")
		case s.Kind != f.kind || f.ino != 0 && s.Ino != f.ino:
			why = append(why, fmt.Sprintf("%s is kind %c inode %d, not kind %c inode %d", p, s.Kind, s.Ino, f.kind, f.ino))
		case inos[s.Ino] != nil && inos[s.Ino] != f:
			why = append(why, p+" is one with another file")
		case f.kind != 'l' && s.Mode != f.mode:
			why = append(why, fmt.Sprintf("%s has mode %o, not %o", p, s.Mode, f.mode))
		case s.To != f.to:
			why = append(why, fmt.Sprintf("%s leads to %s, not %s", p, s.To, f.to))
		case !maps.Equal(s.Attrs, f.attrs):
			why = append(why, fmt.Sprintf("%s has attributes %v, not %v", p, s.Attrs, f.attrs))
		case f.kind != 'd' && s.Links != links[f]:
			why = append(why, fmt.Sprintf("%s counts %d links, not %d", p, s.Links, links[f]))
		}
		if s != nil {
			inos[s.Ino] = f
		}
	}
	for _, p := range slices.Sorted(maps.Keys(mine)) {
		if names[p] == nil {
			why = append(why, p+" is there")
		}
	}
	return why
}

// contents compares all files, and returns what their blocks hold. Nothing may be
// there that was done at step limit or later.
func (s state) contents(mine map[string]*Seen, limit int, whole bool) (map[*data]map[int]Val, []string) {
	found := map[*data]map[int]Val{}
	first := map[*data]string{}
	var why []string
	for _, p := range slices.Sorted(maps.Keys(s.names)) {
		f := s.names[p]
		if f.kind != 'f' {
			continue
		}
		if q, ok := first[f.data]; ok {
			if !bytes.Equal(mine[p].Content, mine[q].Content) {
				why = append(why, p+" and "+q+" are one file and differ")
			}
			continue
		}
		first[f.data] = p
		vals, err := f.data.compare(mine[p].Content, s.step, limit, whole)
		if err != nil {
			why = append(why, p+": "+err.Error())
		}
		found[f.data] = vals
	}
	return found, why
}

// compare finds for each block what it holds among what it may hold.
func (d *data) compare(got []byte, last, limit int, whole bool) (map[int]Val, error) {
	vals := map[int]Val{}
	pick := func(n, firm int) int {
		if whole {
			return n - 1
		}
		return firm
	}
	size, firm := int64(len(got)), pick(len(d.sizes), since(d.sizes, func(g growth) stamp { return g.stamp }, d.size, last, d.pins))
	least, most, ok := d.sizes[firm].size, d.sizes[firm].size, false
	for _, g := range d.sizes[firm:] {
		if g.step >= limit {
			break
		}
		ok = ok || g.size == size
		least, most = min(least, g.size), max(most, g.size)
	}
	if !ok && (whole || size%blockSize != 0 || size < least || size > most) {
		return vals, fmt.Errorf("%d bytes; it may have between %d and %d", size, least, most)
	}
	for i := range blocksOf(size) {
		b := got[i*blockSize : min((i+1)*blockSize, len(got))]
		h := d.past(i)
		may := h[pick(len(h), since(h, func(c change) stamp { return c.stamp }, d.firm[i], last, d.pins)):]
		for len(may) > 1 && may[len(may)-1].step >= limit {
			may = may[:len(may)-1]
		}
		v, ok := match(b, may)
		if !ok {
			return vals, fmt.Errorf("block %d of %d is %s; it may be %v; before it was %v", i, blocksOf(size), describe(b), values(may), values(h[:len(h)-len(may)]))
		}
		if v.Len > 0 || v.Raw != nil {
			vals[i] = v.cut(len(b))
		}
	}
	return vals, nil
}

func values(h []change) (all []string) {
	for _, c := range h[max(0, len(h)-5):] {
		all = append(all, fmt.Sprintf("%v (thing %d)", c.val, c.step))
	}
	return all
}

// match finds a value that b is, the newest first. A page that was written through
// a mapping may be a mixture.
func match(b []byte, may []change) (Val, bool) {
	torn := false
	for _, c := range slices.Backward(may) {
		if c.val.is(b) {
			return c.val, true
		}
		torn = torn || c.torn
	}
	if !torn {
		return Val{}, false
	}
	var all [][]byte
	for _, c := range may {
		all = append(all, c.val.bytes())
	}
	for i := range b {
		if !slices.ContainsFunc(all, func(c []byte) bool { return c[i] == b[i] }) {
			return Val{}, false
		}
	}
	return Val{Raw: slices.Clone(b)}, true
}

// log: what was acknowledged is in the file of all, once, and in order; and no
// other block that says it is the worker's.
func (j *Judgement) log(firm []uint32, m *model, s *Seen) {
	j.Past.Log = slices.Clone(firm)
	want := append(slices.Clone(firm), m.logged[:m.logAck]...)
	may := m.logged[m.logAck:]
	if s == nil {
		if len(want) > 0 {
			j.wrong("the log is not there")
		}
		return
	}
	var got []uint32
	for at := 0; at < len(s.Content); at += blockSize {
		b := s.Content[at:min(at+blockSize, len(s.Content))]
		if v, ok := logged(b, m.id); ok {
			got = append(got, v)
		}
	}
	j.Past.Log = got
	for len(got) > 0 || len(want) > 0 || len(may) > 0 {
		switch {
		case len(want) > 0 && len(got) > 0 && got[0] == want[0]:
			got, want = got[1:], want[1:]
		case len(want) > 0:
			j.wrong("the log lacks version %d, which was acknowledged", want[0])
			return
		case len(got) == 0:
			return
		case len(may) == 0:
			j.wrong("the log has version %d, which was not appended, or not there", got[0])
			return
		case got[0] == may[0]:
			got, may = got[1:], may[1:]
		default:
			may = may[1:]
		}
	}
}

// logged is the version in a block of the log that is worker id's.
func logged(b []byte, id int) (uint32, bool) {
	if len(b) < blockSize {
		return 0, false
	}
	var v uint32
	for i := range 4 {
		v |= uint32(b[20+i]) << (8 * i)
	}
	return v, Val{File: uint64(id), Ver: v, Len: blockSize}.is(b)
}

// CheckLog wants every block of the log to be some worker's, or zeros: one that
// was lost between others.
func CheckLog(workers int, s *Seen) (wrong []string) {
	if s == nil {
		return nil
	}
	if s.Err != nil {
		return []string{"the log cannot be read: " + s.Err.Error()}
	}
	for at := 0; at < len(s.Content); at += blockSize {
		b := s.Content[at:min(at+blockSize, len(s.Content))]
		ok := Val{}.is(b)
		for id := range workers {
			_, is := logged(b, id)
			ok = ok || is
		}
		if !ok {
			wrong = append(wrong, fmt.Sprintf("the log at %d is %s", at, describe(b)))
		}
	}
	return wrong
}
