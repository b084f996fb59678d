package sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// LoadOptions say whose chain to load, from where. All must be set but Whole, and what may
// be nil.
type LoadOptions struct {
	Bucket   store.Bucket
	Volume   crypt.VolumeID
	Identity *identity.Identity
	Tables   *block.Reader // reads tables, by the keys of Keys
	Keys     *Keys         // told what keys there are
	Memory   *table.Memory
	Log      *slog.Logger

	// Whole has the chain followed from slot 1, or from as low as there are commits: for a
	// machine that found a table of the checkpoint damaged. False is quicker.
	Whole bool

	// Settled are commits of other histories that a person has looked into: their slots
	// are dead.
	Settled []chain.Link

	// Keep is given each commit that the chain moved over, for as long as it may be
	// useful to say what it was; nil is none. It must not change object.
	Keep func(slot chain.Slot, object []byte)

	// Slots keeps the commits above the checkpoint, which others may trim; nil: nobody.
	Slots *LocalSlots

	// Wrong are the checkpoints that are passed over; nil: none. They grow while the chain
	// is followed.
	Wrong *WrongFolds

	// Passing is told now and then how far it is while many dead slots are passed over:
	// where they begin, and up to where the store has something; nil: nobody is.
	Passing func(from, at, last chain.Slot)

	// Hints is told which hints are passed over; nil: the log alone is.
	Hints *PassedHints
}

// Loaded is the chain as the store shows it, followed to its end.
type Loaded struct {
	Chain     *chain.State
	Confirmed *view.Confirmed
	Next      chain.Slot // the first slot that is free
	Trouble   error      // why nothing may be written; the state is that before it

	// Damaged are slots above the newest commit that is shown: what lies there is no
	// commit, or nothing does and more above it. The first of them.
	Damaged []string

	// Skipped are slots that hold nobody's commit, and commits went on over them, so there
	// never was one in the history that is shown. Dead is how many there are above the
	// checkpoint that was begun with, Skipped the first of them.
	Skipped []string
	Dead    int

	// Stray is how many objects lie above the first slot that is free and are nobody's
	// commits, of the lowest and the highest, and StrayFirst the first of them.
	Stray      int
	StrayFirst string

	// Unled are commits that announce a checkpoint by which the way further back leads, and
	// that are missing or altered, as far as they were met: what lies under them was reached
	// without them, or is not shown.
	Unled []string

	// Evidence is the object that shows two histories, and its slot; nil: none.
	Evidence     []byte
	EvidenceSlot chain.Slot

	// Claim is the commit that a device of this history vouches for, and that is not
	// shown; slot 0: none. Trouble says so too.
	Claim chain.Link

	// Above is a slot above one that is absent, with a commit in it; 0: none. Nothing can
	// be written while it is there.
	Above chain.Slot

	o       LoadOptions
	ids     map[chain.Slot]chain.ID // of the valid commits, as far as they are known
	lowest  chain.Slot              // of those that ids has all of, up to the head
	before  chain.Link              // the announcing commit that leads further back
	newest  *chain.Ledger           // that of the hint, which may be ahead of the chain
	key     *crypt.Key              // of its epoch
	hint    *chain.Hint
	under   chain.Slot // only checkpoints that were announced below are begun with; 0: all
	begun   chain.Slot // of the announcing commit that was begun with, and its object
	object  []byte
	tables  *table.Set
	bytes   int64             // of the commits above the checkpoint
	ledgers map[chain.ID]bool // heads that the ledger had on the way
	dead    int               // dead slots since the last commit
	forks   forks
	earlier bool       // what came later is known to be there
	counted chain.Slot // slots below it are in Dead or Doubtful of what this came from; 0: below Next
	ended   bool       // a slot is absent: the chain ends before it
}

// hintsPage is how many hints are listed at a time, newest first, and hintsMax
// how many are tried.
const (
	hintsPage = 64
	hintsMax  = 4 * hintsPage
)

// Load finds the volume's key and ledger, and follows the chain from the newest
// checkpoint, or from slot 1, to the first slot that is absent. Whatever lies above it
// is nobody's commit, since everybody takes the first slot that is free; a commit there
// shows that the store is missing one. The hint that all this was found by is a claim,
// signed by a device, that there was a slot: a store that does not show it is missing
// commits as well.
func Load(ctx context.Context, o LoadOptions) (*Loaded, error) {
	if o.Hints == nil {
		o.Hints = NewPassedHints(o.Log, nil)
	}
	f, err := findLedger(ctx, o.Bucket, o.Volume, o.Identity, o.Hints)
	if err != nil {
		return nil, err
	}
	l, err := load(ctx, o, f, 0)
	if err != nil {
		return nil, err
	}
	if at := l.Chain.Announced(); l.begun > 0 && l.Trouble == nil && at.Slot == l.begun && l.ids[at.Slot] != at.ID {
		// The commit that announced it is none of this chain's.
		o.Log.Error("checkpoint passed over: its commit is not valid", "announced", uint64(at.Slot))
		if l, err = load(ctx, o, f, at.Slot); err != nil {
			return nil, err
		}
	}
	l.claim()
	l.outgrown(f)
	return l, nil
}

// load follows the chain, from the newest checkpoint that a hint leads to and that was
// announced below the slot under, 0 is none; or from as low as it can.
func load(ctx context.Context, o LoadOptions, f found, under chain.Slot) (*Loaded, error) {
	if o.Wrong == nil {
		o.Wrong = NewWrongFolds()
	}
	l := &Loaded{o: o, newest: f.ledger, key: f.key, hint: f.hint, ledgers: map[chain.ID]bool{}, forks: newForks(o.Settled)}
	l.under = under
	begin := l.begin
	if o.Whole {
		begin = l.beginLow
	}
	if err := begin(ctx); err != nil {
		return nil, err
	}
	return l, l.follow(ctx, math.MaxUint64)
}

// beginFirst begins before slot 1.
func (l *Loaded) beginFirst() error {
	start, err := chain.NewState(l.o.Volume, l.key, l.newest)
	if err != nil {
		return err
	}
	l.start(start, table.NewSet(nil, Source{l.o.Tables}, l.o.Memory), view.NewConfirmed(0, nil, meta.Usage{}))
	l.ids = map[chain.Slot]chain.ID{0: start.Head}
	return nil
}

// beginAt begins with the checkpoint that the commit at announces.
func (l *Loaded) beginAt(ctx context.Context, at chain.Link) error {
	c, err := l.announcing(ctx, at)
	if err != nil {
		return err
	}
	k := c.Checkpoint
	start, err := chain.NewStateAt(l.o.Volume, l.key, l.newest, c)
	if err != nil {
		return err
	}
	runs, err := table.DecodeRuns(k.Tables)
	if err != nil {
		return fmt.Errorf("checkpoint of slot %d: %w", k.Slot, err)
	}
	if l.ids, err = k.IDs(l.o.Volume); err != nil {
		return err
	}
	tables := table.NewSet(runs, Source{l.o.Tables}, l.o.Memory)
	l.start(start, tables, view.NewConfirmed(uint64(k.Slot), tables, k.Usage))
	l.lowest, l.before = k.Base.Slot, k.Before
	return nil
}

func (l *Loaded) start(st *chain.State, tables *table.Set, confirmed *view.Confirmed) {
	st.Identity = l.o.Identity
	l.Chain, l.tables, l.Confirmed, l.Next = st, tables, confirmed, st.Slot+1
	for _, r := range st.Ledger.Suffix(0) {
		l.ledgers[r.Hash()] = true
	}
	l.o.Keys.learn(st)
}

// announcing gets the commit that announces a checkpoint.
func (l *Loaded) announcing(ctx context.Context, at chain.Link) (*chain.Commit, error) {
	object, err := l.o.Bucket.Get(ctx, chain.SlotName(l.o.Volume, at.Slot), 0, chain.MaxCommit+1)
	if err != nil {
		return nil, fmt.Errorf("get slot %d: %w", at.Slot, err)
	}
	c, err := chain.OpenAnnouncing(l.o.Volume, l.key, l.newest, at, object)
	if err == nil {
		l.begun, l.object = at.Slot, object
	}
	return c, err
}

// leads is announcing of a checkpoint by which the way leads further back. Nil without an
// error: the commit is missing or altered, which Unled says.
func (l *Loaded) leads(ctx context.Context, at chain.Link) (*chain.Commit, error) {
	c, err := l.announcing(ctx, at)
	if err != nil && !passing(ctx, err) {
		c, err = l.announcing(ctx, at) // what comes whole now is no damage
	}
	if err == nil || passing(ctx, err) {
		return c, err
	}
	name := chain.SlotName(l.o.Volume, at.Slot)
	l.o.Log.Warn("checkpoint passed over", "object", name, "announced", uint64(at.Slot), "err", err)
	if !slices.Contains(l.Unled, name) {
		l.Unled = append(l.Unled, name)
	}
	return nil, nil
}

// ID returns the id of the commit in a slot; false when the slot holds none. For a slot
// under the checkpoint it goes back over the checkpoints before, as long as each ends
// where the one after it begins; and where they do not lead there, over the commits.
func (l *Loaded) ID(ctx context.Context, slot chain.Slot) (chain.ID, bool, error) {
	for slot < l.lowest && l.before.Slot > 0 {
		c, err := l.leads(ctx, l.before)
		if err != nil {
			return chain.ID{}, false, err
		}
		if c == nil {
			break
		}
		if c.Checkpoint.Link != (chain.Link{Slot: l.lowest, ID: l.ids[l.lowest]}) {
			break
		}
		ids, err := c.Checkpoint.IDs(l.o.Volume)
		if err != nil {
			break
		}
		maps.Copy(l.ids, ids)
		l.lowest, l.before = c.Checkpoint.Base.Slot, c.Checkpoint.Before
	}
	if slot < l.lowest {
		if err := l.walk(ctx); err != nil {
			return chain.ID{}, false, err
		}
	}
	id, ok := l.ids[slot]
	return id, ok, nil
}

// Near is ID for slots whose ids are known already.
func (l *Loaded) Near(slot chain.Slot) (chain.ID, bool) {
	id, ok := l.ids[slot]
	return id, ok
}

// passing tells an error that another try may not have from one of what is there.
func passing(ctx context.Context, err error) bool {
	return err != nil && (errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDenied) || ctx.Err() != nil)
}

// walk learns the ids under the lowest that is known from the commits themselves. Where
// these do not lead to it nothing is learned.
func (l *Loaded) walk(ctx context.Context) error {
	w := &Loaded{o: l.o, newest: l.newest, key: l.key, hint: l.hint, ledgers: map[chain.ID]bool{}, forks: newForks(l.o.Settled)}
	w.o.Keys, w.o.Keep, w.o.Slots = &Keys{}, nil, nil
	there, err := l.firstThere(ctx)
	if err != nil || !there {
		return err
	}
	if err := w.beginFirst(); err != nil {
		return err
	}
	if err := w.follow(ctx, l.lowest); err != nil {
		return err
	}
	if id, ok := w.ids[l.lowest]; ok && id == l.ids[l.lowest] {
		maps.Copy(l.ids, w.ids)
		l.lowest = 0
	}
	return nil
}

// claim holds the chain against what a hint says of it. It counts when the chain
// knows the device that signed it and had the ledger that it names; or when that
// ledger, which the owner signed, goes on where the chain's ends: then what made it
// longer is not shown.
func (l *Loaded) claim() {
	h := l.hint
	if got, ok := l.ids[h.Slot]; l.Trouble != nil || ok && got == h.Commit {
		return
	}
	goesOn := extends(l.newest, l.Chain.Ledger)
	if !goesOn && l.Chain.Ledger.GaveUp(h.Slot, h.Ledger.Head) {
		return // a person knows
	}
	d, known := l.newest.Device(h.Device)
	if _, still := l.Chain.Ledger.Device(h.Device); !(still && l.ledgers[h.Ledger.Head]) && !goesOn || !known {
		why := fmt.Errorf("device %d signed it, and it is not of this history", h.Device)
		l.o.Hints.pass(passedHint{name: chain.HintName(l.o.Volume, h.Slot), slot: h.Slot, err: why, lies: true})
		return
	}
	l.Claim = chain.Link{Slot: h.Slot, ID: h.Commit}
	l.Trouble = fmt.Errorf("%w: device %d (%s) vouches for slot %d, and it is not there", ErrRollback, h.Device, d.Name, h.Slot)
}

// outgrown holds an absent slot below others against the hints that a newer program seems
// to have made: it went on from here perhaps, and trimmed. That the store was set back
// may be as well, but who writes on there would write where nobody looks.
func (l *Loaded) outgrown(f found) {
	if !l.ended || l.Trouble != nil && !errors.Is(l.Trouble, ErrRollback) {
		return
	}
	if h, _ := newerOf(f.over, l.Chain.Slot, l.Chain.Ledger); h.name != "" {
		l.Trouble, l.Claim = wentNewer(h.name, l.Next, l.Trouble), chain.Link{}
	}
}

// wentNewer is the error of who cannot tell whether a newer program trimmed a slot; why is
// what else there is to say of it, nil: nothing.
func wentNewer(hint string, next chain.Slot, why error) error {
	also := ""
	if why != nil {
		also = fmt.Sprintf(" (%v)", why)
	}
	return newer{fmt.Errorf("slot %d is not there, and later ones are%s: a newer version of hushfs seems to have written %s, which this version cannot read, and may have trimmed that slot. Nothing is written until a newer version is installed here, or that hint is gone; what waits stays in the journal of this machine", next, also, hint)}
}

// extends says whether long has records after those of short, and the same before.
func extends(long, short *chain.Ledger) bool {
	return long.Len() > short.Len() && long.Suffix(short.Len() - 1)[0].Hash() == short.Head()
}
