// Package check finds what is lost, leaked or forged.
//
// It reads a drive as a machine does that has never seen it: from the store alone. No
// cache is believed, nothing is written, and what is found is told as what it means for
// files: which one, which of its bytes, through which object, and why. A store that is
// away in the middle is no damage, and ends the check with the store's error.
//
// What must agree is checked against each other: every commit with the one after it,
// every table with what a commit says of it, every name with its inode, every extent
// with its pack, and every pack with what the store lists. Bytes of files are read only
// when asked for, all of them or a sample.
//
// Repair is a writer like any other: what it changes are operations in the journal of a
// mounted volume. It deletes no object.
package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
)

// Options of a check. Bucket and Drive must be set.
type Options struct {
	Bucket store.Bucket
	Drive  *drive.Unlocked

	// Data is the part of the packs whose bytes are read, 0 to 1. Below 1 they are
	// drawn by Seed.
	Data float64
	Seed uint64

	Notebook *Notebook        // remembers which packs were read; nil: nothing is remembered
	Progress func(Progress)   // told now and then how far the check is; nil: nobody is
	Log      *slog.Logger     // nil discards
	Now      func() time.Time // nil is time.Now
}

// Progress is how far a check is.
type Progress struct {
	Stage Stage
	Done  int64 // of Total; bytes for StageData
	Total int64 // 0: not known
}

// Stage is a part of the check.
type Stage string

// The stages, in their order.
const (
	StageKeys    Stage = "keys"
	StageCommits Stage = "commits"
	StageTables  Stage = "tables"
	StageTree    Stage = "tree"
	StageObjects Stage = "objects"
	StageData    Stage = "data"
	StageNames   Stage = "names"
)

const (
	// atOnce is how many objects are on their way at a time, and atOnceLarge how
	// many of those that may be large.
	atOnce      = 16
	atOnceLarge = 4

	// tableMemory and blockMemory are how many bytes of tables are kept, ready to be
	// read and as they come: the tree is gone through more than once.
	tableMemory = 8 << 20
	blockMemory = 48 << 20
)

// checker is a check at work.
type checker struct {
	o      Options
	log    *slog.Logger
	vol    crypt.VolumeID
	bucket *steady
	report *Report

	keys    *publish.Keys
	memory  *table.Memory
	blocks  *block.Reader
	loaded  *publish.Loaded
	state   *chain.State // at the head
	tree    meta.Reader  // what is gone through: the map as of the head
	fold    *chain.Checkpoint
	ids     map[chain.Slot]chain.ID // of the hints' slots, as far as they are known
	blind   bool                    // metadata is missing that nothing else tells
	refold  bool                    // the commits tell what a table does not
	slots   []listed                // up to the head, descending
	nodes   nodes
	packs   packs
	pending []*Finding       // whose files have no paths yet
	kept    map[Severity]int // how many of them there are
	fixes   []fix
	books   *books // what an account needs to know; nil: none is asked for
}

// Run checks a drive. The report is there also when an error ends the check before its
// end; it is then not whole. Errors are those of the store and of ctx, what Load of
// fs/sync says of a drive that cannot be read at all, and chain.ErrVersion where a newer
// program has gone on.
func Run(ctx context.Context, o Options) (*Report, error) {
	c := begin(o)
	defer c.blocks.Close()
	err := c.run(ctx)
	c.publish()
	c.report.fixes, c.report.blind = c.fixes, c.blind
	c.report.finish(c.o.Now())
	return c.report, err
}

// begin makes a checker that has done nothing yet. Its blocks are to be closed.
func begin(o Options) *checker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &checker{
		o: o, log: o.Log, vol: o.Drive.Main().ID, bucket: &steady{Bucket: o.Bucket},
		report: &Report{Drive: o.Drive.ID.String(), Mode: modeOf(o.Data), Begun: o.Now().UTC()},
		keys:   &publish.Keys{}, memory: table.NewMemory(tableMemory), ids: map[chain.Slot]chain.ID{}, kept: map[Severity]int{},
	}
	if o.Data > 0 && o.Data < 1 {
		c.report.Seed, c.report.Sample = o.Seed, o.Data
	}
	c.blocks = block.New(block.Options{
		Bucket: c.bucket, Cache: cache.Off(), Volume: c.vol, Key: c.keys.Key, Memory: blockMemory,
		Place: func(o block.Object) string { return chain.TableName(c.vol, o.Name) },
		Bad:   func(string, error) {},
	})
	return c
}

// run is the stages in turn.
func (c *checker) run(ctx context.Context) error {
	for _, stage := range []struct {
		name Stage
		do   func(context.Context) error
	}{
		{StageKeys, c.checkHeaders},
		{StageCommits, c.load},
		{StageKeys, c.checkHints},
		{StageCommits, c.checkCommits},
		{StageTables, c.checkTables},
		{StageTree, c.checkTree},
		{StageObjects, c.checkObjects},
		{StageData, c.checkData},
		{StageNames, c.tellLosses},
		{StageNames, c.nameFiles},
	} {
		c.o.Progress(Progress{Stage: stage.name})
		if err := stage.do(ctx); err != nil {
			if errors.Is(err, errEnd) {
				return nil
			}
			return fmt.Errorf("check %s: %w", stage.name, err)
		}
	}
	c.report.Whole = true
	return nil
}

func modeOf(data float64) Mode {
	switch {
	case data <= 0:
		return ModeQuick
	case data < 1:
		return ModeSample
	}
	return ModeData
}
