package check

import (
	"context"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// losses finds which ranges of which files lie in what was lost of packs.
type losses struct {
	c     *checker
	of    map[*packRow]*Finding
	files int
}

// tellLosses makes a finding of each damaged pack, with the files that need it.
func (c *checker) tellLosses(ctx context.Context) error {
	l := &losses{c: c, of: map[*packRow]*Finding{}}
	var order []*packRow
	for i := range c.packs.rows {
		r := &c.packs.rows[i]
		if r.damage == nil {
			continue
		}
		l.of[r] = &Finding{Kind: KindPack, Severity: Note, Cause: r.damage.cause, Object: chain.PackName(c.vol, r.name), Detail: "pack: " + r.damage.detail}
		order = append(order, r)
	}
	if len(order) == 0 {
		return nil
	}
	all := map[meta.Ino]facts{}
	err := c.scan(ctx, kindOf(meta.InodeKey(meta.RootRef)), func(k, v []byte) error {
		ref, err := meta.ParseInodeKey(k)
		if err != nil {
			return nil
		}
		i, err := meta.DecodeInode(v)
		if err != nil {
			return nil
		}
		if i.Indexed {
			all[ref.Ino] = facts{i.Size, i.Version}
		}
		for _, e := range i.Extents {
			l.extent(ref, facts{i.Size, i.Version}, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.scan(ctx, kindOf(meta.ExtentKey(meta.Root, 1)), func(k, v []byte) error {
		ino, end, err := meta.ParseExtentKey(k)
		if err != nil {
			return nil
		}
		n := c.nodes.get(ino)
		if e, err := meta.DecodeExtent(end, v); err == nil && n != nil && n.is(nodeIndexed) {
			l.extent(n.ref(), all[ino], e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range order {
		f := l.of[r]
		if f.Severity != Lost {
			f.Detail += ". No file needs the part of it that is damaged"
		} else if f.Cause == Unreadable {
			f.Detail += ". A repair leaves its files alone: have the store give it, or take it away there"
		}
		c.find(*f)
	}
	return nil
}

// extent notes what a file has in the damaged part of a pack.
func (l *losses) extent(ref meta.Ref, is facts, e meta.Extent) {
	r := l.c.packs.get(e.Pack)
	f := l.of[r]
	if r == nil || f == nil {
		return
	}
	for _, s := range r.damage.lost {
		from, to := max(uint64(s.from), uint64(e.PackOff)), min(uint64(s.to), uint64(e.PackOff)+e.Len)
		if from >= to {
			continue
		}
		f.Severity = Lost
		l.lost(f, ref, is, Bytes{e.Off + from - uint64(e.PackOff), to - from})
	}
}

func (l *losses) lost(f *Finding, ref meta.Ref, is facts, b Bytes) {
	if n := len(f.Files); n > 0 && f.Files[n-1].ref == ref {
		f.Files[n-1].Lost = join(f.Files[n-1].Lost, b)
		return
	}
	if l.files++; l.files > maxFiles {
		l.c.report.More++
		return
	}
	f.Files = append(f.Files, File{Inode: uint64(ref.Ino), Size: is.size, Lost: []Bytes{b}, ref: ref, version: is.version})
}

// join adds a range to ascending, disjoint ones.
func join(all []Bytes, b Bytes) []Bytes {
	all = append(all, b)
	slices.SortFunc(all, func(a, b Bytes) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
	out := all[:1]
	for _, b := range all[1:] {
		last := &out[len(out)-1]
		if b.Offset <= last.Offset+last.Length {
			last.Length = max(last.Length, b.Offset+b.Length-last.Offset)
		} else {
			out = append(out, b)
		}
	}
	return out
}

// rescue turns lost ranges, of all findings together, into what is to be done for the
// files.
func (c *checker) rescue() {
	at := map[meta.Ino]int{}
	for _, f := range c.pending {
		if f.Cause == Unreadable {
			continue // the bytes may be there tomorrow
		}
		for _, l := range f.Files {
			i, ok := at[l.ref.Ino]
			if !ok {
				i = len(c.fixes)
				at[l.ref.Ino] = i
				c.fixes = append(c.fixes, fix{do: fixFile, ino: l.ref.Ino, ref: l.ref, facts: facts{l.Size, l.version}})
			}
			for _, b := range l.Lost {
				c.fixes[i].lost = join(c.fixes[i].lost, b)
			}
			why := f.Detail
			if f.Object != "" {
				why = fmt.Sprintf("%s: %s", f.Object, f.Detail)
			}
			if !slices.Contains(c.fixes[i].why, why) {
				c.fixes[i].why = append(c.fixes[i].why, why)
			}
		}
	}
}
