package check

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// packRow is a pack's record, and what was found of it.
type packRow struct {
	no      meta.PackNo
	name    crypt.Name
	length  uint32
	epoch   uint32
	needed  bool // an extent lies in it
	retired bool
	listed  bool
	damage  *damage // nil: none was found
}

func (p *packRow) object(v crypt.VolumeID) object {
	return object{crypt.TypePack, p.name, int64(p.length), crypt.Epoch(p.epoch), chain.PackName(v, p.name)}
}

// packs are all records, ascending by number.
type packs struct {
	rows []packRow
}

func (t *packs) get(no meta.PackNo) *packRow {
	i, ok := slices.BinarySearchFunc(t.rows, no, func(r packRow, no meta.PackNo) int {
		switch {
		case r.no < no:
			return -1
		case r.no > no:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &t.rows[i]
}

// byName returns the rows in the order of their objects' names.
func (t *packs) byName() []*packRow {
	all := make([]*packRow, len(t.rows))
	for i := range t.rows {
		all[i] = &t.rows[i]
	}
	slices.SortStableFunc(all, func(a, b *packRow) int { return bytes.Compare(a.name[:], b.name[:]) })
	return all
}

// checkObjects holds the packs that files need against what the store lists, in one
// listing and without a download. What the store holds besides is garbage.
func (c *checker) checkObjects(ctx context.Context) error {
	rows := c.packs.byName()
	next := 0
	var odd []*packRow // listed with another size
	err := c.bucket.each(ctx, chain.PackPrefix(c.vol), func(i store.Info) error {
		name, ok := chain.ParsePackName(c.vol, i.Name)
		if !ok {
			c.garbage(i)
			return nil
		}
		for next < len(rows) && bytes.Compare(rows[next].name[:], name[:]) < 0 {
			next++
		}
		known := false
		for ; next < len(rows) && rows[next].name == name; next++ {
			known = true
			r := rows[next]
			r.listed = true
			if i.Size != crypt.ObjectSize(int64(r.length)) && r.needed {
				odd = append(odd, r)
			}
		}
		if !known {
			c.garbage(i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// One with another size is read at once: what is longer may still hold it all.
	for _, r := range odd {
		d, err := c.verify(ctx, r.object(c.vol), nil)
		if err != nil {
			return err
		}
		if d == nil {
			c.find(Finding{Kind: KindPack, Severity: Note, Cause: Longer, Object: chain.PackName(c.vol, r.name), Detail: "pack: something was added behind its end; all of it can be read"})
			continue
		}
		r.damage = d
	}
	for _, r := range rows {
		if !r.needed {
			c.report.Garbage.Packs++
			c.report.Garbage.InPacks += crypt.ObjectSize(int64(r.length))
			continue
		}
		c.report.Counts.Packs++
		c.report.Counts.PackBytes += crypt.ObjectSize(int64(r.length))
		if !r.listed {
			cause, detail := Missing, "it is not in the store"
			r.damage = &damage{cause, detail, r.object(c.vol).all()}
		}
		if _, ok := c.state.EpochKey(crypt.Epoch(r.epoch)); !ok {
			r.damage = &damage{Forged, fmt.Sprintf("its record names epoch %d, which there is not", r.epoch), r.object(c.vol).all()}
		}
	}
	return c.others(ctx)
}

// others counts tables and whatever else that nobody needs.
func (c *checker) others(ctx context.Context) error {
	if c.fold == nil {
		return nil
	}
	used, err := tablesOf(c.fold)
	if err != nil {
		return nil // told already
	}
	return c.bucket.each(ctx, chain.TablePrefix(c.vol), func(i store.Info) error {
		if n, ok := chain.ParseTableName(c.vol, i.Name); !ok || !used[n] {
			c.garbage(i)
		}
		return nil
	})
}

func (c *checker) garbage(i store.Info) {
	c.report.Garbage.Objects++
	c.report.Garbage.Bytes += i.Size
}
