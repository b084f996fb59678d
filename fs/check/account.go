package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
)

// Account says what an object of the store is there for. It names files of the drive:
// it is for the drive's user, and not for a log.
type Account struct {
	Object   string    `json:"object"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"` // by the store's clock
	Kind     string    `json:"kind"`     // "header", "hint", "ledger", "commit", "table", "pack", "unknown"
	State    Purpose   `json:"state"`
	Detail   string    `json:"detail"`          // in words, for people
	Since    *Since    `json:"since,omitempty"` // of garbage
	Slot     uint64    `json:"slot,omitempty"`  // of a commit, or of the one that names it
	Used     uint64    `json:"used,omitempty"`  // bytes of a pack that files have
	Length   uint64    `json:"length,omitempty"`
	Files    []Carried `json:"files,omitempty"` // whose bytes a pack carries
}

// Purpose is whether an object is needed.
type Purpose string

// What an object is there for.
const (
	InUse    Purpose = "in use"  // the present needs it
	Kept     Purpose = "kept"    // nothing of the present needs it; history does
	Unneeded Purpose = "garbage" // nothing needs it
)

// Since is from when on an object is garbage.
type Since struct {
	Slot   uint64    `json:"slot,omitempty"` // of the commit that made it so; 0: no commit did
	Before bool      `json:"before"`         // at Slot it was already; when, the store does not tell any more
	Time   time.Time `json:"time"`           // of the commit, by its author's clock; else the store's date of the object
}

// Carried is a file that has bytes in a pack.
type Carried struct {
	Inode uint64   `json:"inode"`
	Paths []string `json:"paths"`
	Bytes []Bytes  `json:"bytes"` // ranges of the file, ascending
}

// ErrNoObject: the object that was asked for is not in the store.
var ErrNoObject = errors.New("object is not in the store")

// filesAtOnce is how many files have their paths looked for in one go through the tree,
// and rangesShown how many ranges of a file are told.
const (
	filesAtOnce = 20_000
	rangesShown = 100
)

// Explain accounts for one object, or for all when object is "": each goes to tell, in
// the order of the store's listing but for packs, which come last. What is damaged is
// not told here; Run does that.
//
// Errors are those of Run, and ErrNoObject.
func Explain(ctx context.Context, o Options, object string, tell func(Account) error) error {
	c := begin(o)
	defer c.blocks.Close()
	c.books = &books{superseded: map[crypt.Name]chain.Slot{}}
	for _, stage := range []struct {
		name Stage
		do   func(context.Context) error
	}{{StageCommits, c.load}, {StageKeys, c.checkHints}, {StageCommits, c.checkCommits}, {StageTables, c.checkTables}, {StageTree, c.checkTree}} {
		c.o.Progress(Progress{Stage: stage.name})
		if err := stage.do(ctx); errors.Is(err, errEnd) {
			return fmt.Errorf("account: %w", publish.ErrNoKey)
		} else if err != nil {
			return fmt.Errorf("account, %s: %w", stage.name, err)
		}
	}
	a := &accountant{checker: c, tell: tell, wanted: object}
	if err := a.run(ctx); err != nil {
		return err
	}
	if object != "" && !a.told {
		return fmt.Errorf("%w: %s", ErrNoObject, object)
	}
	return nil
}

// books are what the stages of a check note for an account.
type books struct {
	valid      []chain.Slot              // of commits, descending
	superseded map[crypt.Name]chain.Slot // tables, and the slot that announced the first checkpoint without them; 0: the newest has them
	newer      chain.Slot                // that announced the checkpoint above the one at hand
	hints      []*chain.Hint             // that open, newest first
}

// hint notes one that opens. They come newest first.
func (b *books) hint(h *chain.Hint) {
	if b != nil {
		b.hints = append(b.hints, h)
	}
}

// commit notes a valid one. They come from the head down.
func (b *books) commit(c *chain.Commit) {
	if b == nil {
		return
	}
	b.valid = append(b.valid, c.Slot)
	if c.Checkpoint == nil {
		return
	}
	used, err := tablesOf(c.Checkpoint)
	if err != nil {
		return
	}
	for n := range used {
		if _, ok := b.superseded[n]; !ok {
			b.superseded[n] = b.newer
		}
	}
	b.newer = c.Slot
}

// accountant goes through the store.
type accountant struct {
	*checker
	tell   func(Account) error
	wanted string // "": all
	told   bool
	packs  []store.Info // that the store lists, and are wanted
	newest string       // header
	times  map[chain.Slot]time.Time
}

func (a *accountant) run(ctx context.Context) error {
	a.times = map[chain.Slot]time.Time{}
	err := a.bucket.each(ctx, "", func(i store.Info) error {
		if strings.HasPrefix(i.Name, keyslot.Prefix) && a.newest == "" {
			a.newest = i.Name
		}
		if a.wanted != "" && i.Name != a.wanted {
			return nil
		}
		if _, ok := chain.ParsePackName(a.vol, i.Name); ok {
			a.packs = append(a.packs, i)
			return nil
		}
		account, err := a.account(ctx, i)
		if err != nil {
			return err
		}
		return a.out(account)
	})
	if err != nil {
		return err
	}
	return a.accountPacks(ctx)
}

func (a *accountant) out(account Account) error {
	a.told = true
	return a.tell(account)
}

// account is that of an object which is no pack.
func (a *accountant) account(ctx context.Context, i store.Info) (Account, error) {
	at := Account{Object: i.Name, Size: i.Size, Modified: i.Modified, Kind: "unknown", State: Unneeded,
		Since: &Since{Time: i.Modified}, Detail: "it is nothing of this drive; hushfs passes over it"}
	if counter, err := keyslot.ParseObjectName(i.Name); err == nil {
		at.Kind = "header"
		at.use(i.Name == a.newest, Kept, "drive header %d: the ways into the drive, and its sealed keyring", counter)
		return at, nil
	}
	if slot, ok := chain.ParseSlotName(a.vol, i.Name); ok {
		return at, a.commit(ctx, &at, slot)
	}
	if slot, ok := chain.ParseHintName(a.vol, i.Name); ok {
		a.hint(ctx, &at, slot)
		return at, nil
	}
	if n, ok := chain.ParseLedgerName(a.vol, i.Name); ok {
		a.ledger(ctx, &at, n)
		return at, nil
	}
	if n, ok := chain.ParseTableName(a.vol, i.Name); ok {
		a.table(ctx, &at, n)
	}
	return at, nil
}

// use sets what an object is there for: the present needs it, or else what is said.
func (at *Account) use(now bool, no Purpose, format string, args ...any) {
	at.State, at.Detail, at.Since = no, fmt.Sprintf(format, args...), nil
	if now {
		at.State = InUse
	}
}

// commit accounts for what lies in a slot.
func (a *accountant) commit(ctx context.Context, at *Account, slot chain.Slot) error {
	at.Kind, at.Slot = "commit", uint64(slot)
	_, found := slices.BinarySearchFunc(a.books.valid, slot, func(have, want chain.Slot) int { return int(int64(want) - int64(have)) })
	if !found {
		at.Detail = fmt.Sprintf("slot %d holds nobody's commit, and everybody skips it", slot)
		if slot > a.state.Slot {
			at.Detail = fmt.Sprintf("slot %d lies above the newest commit, and holds none that can be read", slot)
		}
		return nil
	}
	objects, err := a.commits(ctx, []chain.Slot{slot})
	if err != nil {
		return err
	}
	commit, err := a.state.Open(slot, objects[0])
	if err != nil {
		at.Detail = fmt.Sprintf("slot %d cannot be opened any more: %v", slot, err)
		return nil
	}
	at.use(slot > a.state.Folded().Slot, Kept, "slot %d: %s", slot, a.commitText(commit))
	if at.State == Kept {
		at.Detail += fmt.Sprintf(". It lies under the checkpoint of slot %d, and the present does not need it", a.state.Folded().Slot)
	}
	return nil
}

// commitText says who wrote a commit, and what.
func (a *accountant) commitText(c *chain.Commit) string {
	name := ""
	if d, ok := a.state.Ledger.Device(c.Device); ok {
		name = " " + Printable(d.Name)
	}
	text := fmt.Sprintf("device %d%s, %s", c.Device, name, c.Time.UTC().Format(time.DateTime))
	if c.Last >= c.First {
		text += fmt.Sprintf(", its operations %d to %d", c.First, c.Last)
	}
	text += fmt.Sprintf(": %d written, %d deleted", len(c.Batch.Puts), len(c.Batch.Deletes)+len(c.Batch.Ranges))
	if c.Checkpoint != nil {
		text += fmt.Sprintf("; announces the checkpoint of slot %d", c.Checkpoint.Slot)
	}
	if len(c.Records) > 0 {
		text += fmt.Sprintf("; %d records of the ledger", len(c.Records))
	}
	return text
}

// hint accounts for where a new machine begins.
func (a *accountant) hint(ctx context.Context, at *Account, slot chain.Slot) {
	at.Kind, at.Slot = "hint", uint64(slot)
	for n, h := range a.books.hints {
		if h.Slot != slot {
			continue
		}
		at.use(n == 0 || slot == 0, Unneeded, "hint of slot %d: where a new machine begins", slot)
		if h.Fold.Slot > 0 {
			at.Detail += fmt.Sprintf(", with the checkpoint that slot %d announced", h.Fold.Slot)
		}
		if n > 0 && slot > 0 {
			newer := a.books.hints[n-1].Slot
			at.Since = &Since{Slot: uint64(newer), Time: a.commitTime(ctx, newer)}
			at.Detail += fmt.Sprintf("; that of slot %d is newer", newer)
		}
		return
	}
	at.Detail = fmt.Sprintf("hint of slot %d, which does not open or is not believed", slot)
}

// ledger accounts for a list of who may do what.
func (a *accountant) ledger(ctx context.Context, at *Account, name crypt.Name) {
	at.Kind = "ledger"
	for n, h := range a.books.hints {
		if h.Ledger.Name != name {
			continue
		}
		at.Slot = uint64(h.Slot)
		at.use(n == 0 || h.Slot == 0, Unneeded, "ledger: who may do what, as the hint of slot %d names it", h.Slot)
		if at.State == Unneeded {
			newer := a.books.hints[n-1].Slot
			at.Since = &Since{Slot: uint64(newer), Time: a.commitTime(ctx, newer)}
		}
		return
	}
	at.Detail = "ledger that no hint names: a machine was interrupted, or its hint is gone"
}

// table accounts for folded metadata.
func (a *accountant) table(ctx context.Context, at *Account, name crypt.Name) {
	at.Kind = "table"
	by, known := a.books.superseded[name]
	switch {
	case !known:
		at.Detail = "table that no checkpoint in the store names: a machine was interrupted in folding, or another was faster"
	case by == 0:
		at.Slot = uint64(a.state.Announced().Slot)
		at.use(true, InUse, "table of the newest checkpoint, of slot %d: names, attributes and places of files", a.state.Folded().Slot)
	default:
		at.Slot = uint64(by)
		at.Since = &Since{Slot: uint64(by), Time: a.commitTime(ctx, by)}
		at.Detail = fmt.Sprintf("table that the checkpoint announced in slot %d does without", by)
	}
}

// commitTime is when a commit was made, by its author's clock; zero when it cannot be
// read.
func (a *accountant) commitTime(ctx context.Context, s chain.Slot) time.Time {
	if t, ok := a.times[s]; ok {
		return t
	}
	objects, err := a.commits(ctx, []chain.Slot{s})
	if err != nil || objects[0] == nil {
		return time.Time{}
	}
	c, err := a.state.Open(s, objects[0])
	if err != nil {
		return time.Time{}
	}
	a.times[s] = c.Time.UTC()
	return a.times[s]
}
