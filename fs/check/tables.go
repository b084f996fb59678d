package check

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
)

// checkTables reads every block of every table of the newest checkpoint. When one is
// damaged the commits are read instead, as a mount does; only where they are not all
// there is something lost.
func (c *checker) checkTables(ctx context.Context) error {
	if c.fold == nil {
		return nil
	}
	runs, err := table.DecodeRuns(c.fold.Tables)
	if err != nil {
		c.find(Finding{Kind: KindTable, Severity: Damaged, Cause: Forged, Slot: uint64(c.fold.Slot), Object: chain.SlotName(c.vol, c.state.Announced().Slot), Detail: fmt.Sprintf("checkpoint of slot %d: %v", c.fold.Slot, err)})
		c.refold = true
		return c.instead(ctx, nil)
	}
	var mu sync.Mutex // guards bad and done
	var bad []*Finding
	gone := map[crypt.Name]bool{}
	done, total := 0, 0
	for _, r := range runs {
		total += len(r)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // a table may have 64 MiB
	for _, r := range runs {
		for _, t := range r {
			g.Go(func() error {
				f, err := c.checkTable(gctx, t)
				mu.Lock()
				defer mu.Unlock()
				done++
				c.o.Progress(Progress{Stage: StageTables, Done: int64(done), Total: int64(total)})
				if f != nil {
					bad, gone[t.Name] = append(bad, f), true
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.report.Counts.Tables = total
	if len(bad) == 0 && !c.refold {
		return nil
	}
	left := make([]table.Run, 0, len(runs))
	for _, r := range runs {
		if r = slices.DeleteFunc(slices.Clone(r), func(t table.Table) bool { return gone[t.Name] }); len(r) > 0 {
			left = append(left, r)
		}
	}
	if err := c.instead(ctx, left); err != nil {
		return err
	}
	for _, f := range bad {
		if c.blind {
			f.Severity = Lost
			f.Detail += ". Nothing else tells what it held: names, attributes or places of files are lost until it is brought back from a copy of the store"
		} else {
			f.Detail += ". Nothing is lost: all commits are there and tell the same. --repair folds them again, as the next mount that meets it does"
		}
		c.find(*f)
	}
	return nil
}

// checkTable reads one; a finding says what is wrong with it.
func (c *checker) checkTable(ctx context.Context, t table.Table) (*Finding, error) {
	o := object{crypt.TypeTable, t.Name, t.Length, t.Epoch, chain.TableName(c.vol, t.Name)}
	content := make([]byte, t.Length)
	d, err := c.verify(ctx, o, func(off int64, plain []byte) { copy(content[off:], plain) })
	if err != nil {
		return nil, err
	}
	if d == nil {
		if err := table.Check(t, content); err != nil {
			d = &damage{cause: Forged, detail: fmt.Sprintf("it is well sealed, and no table: %v", err)}
		}
	}
	if d == nil {
		return nil, nil
	}
	return &Finding{Kind: KindTable, Severity: Damaged, Cause: d.cause, Object: o.place, Detail: "table: " + d.detail}, nil
}

// instead goes through the commits, of which the tables are made, when they are all
// there. Else what the tables that are left tell has to do.
func (c *checker) instead(ctx context.Context, left []table.Run) error {
	l := c.loaded
	if !c.refold {
		var err error
		if l, err = c.follow(ctx, true); err != nil && !tableDamaged(err) {
			return err
		} else if err != nil {
			l = nil
		}
	}
	if l != nil && l.Trouble == nil && l.Chain.Slot >= c.state.Slot {
		c.refold, c.tree = true, l.Confirmed
		c.fixes = append(c.fixes, fix{do: fixTables})
		return nil
	}
	c.blind = true
	above, err := c.above(ctx)
	if err != nil {
		return err
	}
	confirmed := view.NewConfirmed(uint64(c.fold.Slot), table.NewSet(left, publish.Source{Blocks: c.blocks}, c.memory), c.fold.Usage)
	for _, b := range above {
		confirmed.Apply(uint64(b.Slot), b.Batch, b.Usage)
	}
	c.tree = confirmed
	return nil
}

// above are the commits above the checkpoint, ascending.
func (c *checker) above(ctx context.Context) ([]*chain.Commit, error) {
	var all []*chain.Commit
	for _, l := range slices.Backward(c.slots) {
		s := l.slot
		if _, ok := c.ids[s]; !ok || s <= c.fold.Slot {
			continue
		}
		objects, err := c.commits(ctx, []chain.Slot{s})
		if err != nil {
			return nil, err
		}
		if commit, err := c.state.Open(s, objects[0]); err == nil && c.ids[s] == commit.ID {
			all = append(all, commit)
		}
	}
	return all, nil
}

// tablesOf are the names of a checkpoint's tables.
func tablesOf(k *chain.Checkpoint) (map[crypt.Name]bool, error) {
	runs, err := table.DecodeRuns(k.Tables)
	if err != nil {
		return nil, err
	}
	used := map[crypt.Name]bool{}
	for _, r := range runs {
		for _, t := range r {
			used[t.Name] = true
		}
	}
	return used, nil
}
