package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// headsFlags of hushfs heads.
type headsFlags struct {
	secret  secretFlags
	s3      s3Flags
	slot    uint64
	compare string
	confirm string
	timeout time.Duration // for the drain of an earlier mount, with --confirm
}

// headsResult is what heads prints with --json.
type headsResult struct {
	Drive    string         `json:"drive"`
	Store    *headJSON      `json:"store"`   // the newest change that the store shows
	Machine  *headJSON      `json:"machine"` // the newest that this machine remembers; null: none
	Minimum  *headJSON      `json:"minimum"` // what a new machine is shown at least; null: nothing
	At       *headJSON      `json:"at,omitempty"`
	Compared string         `json:"compared,omitempty"` // same, different or unknown, with --compare
	Slot     uint64         `json:"slot,omitempty"`     // where the words that were compared are the same
	Setback  *setbackJSON   `json:"setback"`            // null: the store has all that is known
	Proofs   []proofJSON    `json:"proofs"`             // of another history, not settled
	Settled  int            `json:"settled,omitempty"`  // how many --confirm settled
	Accepted []acceptedJSON `json:"accepted"`
	Trouble  string         `json:"trouble"` // why nothing can be written; empty: it can
}

type headJSON struct {
	Slot   uint64   `json:"slot"`
	Commit string   `json:"commit"`
	Words  []string `json:"words"`
	Device int      `json:"device,omitempty"`
	Name   string   `json:"device_name,omitempty"`
	Gone   bool     `json:"device_removed,omitempty"` // since then
	Time   string   `json:"time,omitempty"`
}

type proofJSON struct {
	File   string `json:"file"`
	Slot   uint64 `json:"slot"`
	Commit string `json:"commit,omitempty"`
	Device int    `json:"device,omitempty"`
	Name   string `json:"device_name,omitempty"`
}

type acceptedJSON struct {
	Slot   uint64 `json:"slot"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Device int    `json:"device"`
	Name   string `json:"device_name"`
	Gone   bool   `json:"device_removed,omitempty"` // since then
	Time   string `json:"time"`
}

func (a *app) headsCommand() *cobra.Command {
	var o headsFlags
	c := &cobra.Command{
		Use:   "heads [flags] STORE",
		Short: "Show the newest change in words, to compare machines by voice",
		Long: `Show which change is the newest that the store shows, as eight words, and
whether it follows from what this machine remembers. Nothing is mounted, and the
drive may be mounted meanwhile.

Two machines that have the same words for the same slot have the same history up
to there. When one of them is further on, ask it for the words of the other's slot
with --slot. With --compare hushfs looks for the words that somebody tells you: it
says same, different or unknown. A store that shows different histories to different
machines cannot be found out in any other way before a change of the one reaches the
other.

With --confirm the words come from a machine that you trust. When they are of this
machine's history, and of no slot before the histories parted, commits of another
history that were seen are settled: this machine passes over them and writes again.
The drive must be unmounted.

Ends with 0 when all fits, 1 when --slot is none of this history, 12 when the store shows less or something else than is
known, 19 when words differ or another history was seen and is not settled.`,
		Example: `  hushfs heads ~/Cloud/home
  hushfs heads --slot 1234 s3://bucket/home
  hushfs heads --compare 'abandon ability able about above absent absorb abstract' ~/Cloud/home
  hushfs heads --confirm 'abandon ability able about above absent absorb abstract' ~/Cloud/home`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.Uint64Var(&o.slot, "slot", 0, "show the words of slot `NUMBER`; with --compare, compare with these")
	f.StringVar(&o.compare, "compare", "", "say whether this history has the `WORDS` that another machine shows; four letters of each are enough")
	f.StringVar(&o.confirm, "confirm", "", "the `WORDS` are of a machine that you trust: what contradicts them is passed over from now on")
	f.DurationVar(&o.timeout, "timeout", 0, "with --confirm, wait at most this `DURATION`, as 90s, for an earlier mount that still sends (default: as long as it takes)")
	return a.command(c, func(ctx context.Context, args []string) error {
		for _, given := range []struct{ flag, words, what string }{{"compare", o.compare, "compared"}, {"confirm", o.confirm, "settled"}} {
			if f.Changed(given.flag) && strings.TrimSpace(given.words) == "" {
				return usage("--%s is empty: nothing would be %s", given.flag, given.what) // as of a variable that is not set
			}
		}
		return a.heads(ctx, o, args[0])
	})
}

func (o *headsFlags) check() error {
	switch {
	case o.compare != "" && o.confirm != "":
		return usage("--compare asks, --confirm says: one of them")
	case o.confirm != "" && o.slot != 0:
		return usage("--slot is for looking and for --compare")
	case o.timeout < 0:
		return usage("--timeout is negative")
	}
	return o.secret.check()
}

func (a *app) heads(ctx context.Context, o headsFlags, storeArg string) error {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	flag := "compare"
	if o.confirm != "" {
		flag = "confirm"
	}
	words, err := spoken(flag, o.compare+o.confirm)
	if err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	where, err := findPlaces(a.env)
	if err != nil {
		return err
	}
	if o.confirm != "" {
		id, err := a.peek(ctx, at, where.state)
		if err != nil {
			return explain("nothing was compared", err)
		}
		state, err := where.stateDir(id)
		if err != nil {
			return err
		}
		held, err := a.lockDrive(ctx, state, "heads --confirm", o.timeout)
		if err != nil {
			return explain("lock the drive's state", err)
		}
		defer held.release()
	}
	if err := a.drivePeeked(ctx, at); err != nil {
		return err
	}
	// A header that was set back is one more thing to show, and no reason to show nothing.
	id, handover, err := a.unlockInChild(ctx, unlockRequest{location: at, Secret: o.secret, Older: true})
	if err != nil {
		return err
	}
	defer wipe(handover)
	u, err := drive.FromHandover(handover)
	if err != nil {
		return explain("nothing was compared", err)
	}
	defer u.Wipe()
	state, err := where.stateDir(id)
	if err != nil {
		return err
	}
	log := a.asideLog()
	b, err := a.openStore(ctx, at, true, log)
	if err != nil {
		return err
	}
	defer b.Close()
	h, err := volume.Look(ctx, volume.Options{Bucket: b, Drive: u, State: state, Cache: where.cacheDir(id), DeviceName: deviceName(), Log: log})
	if err != nil {
		return explain("nothing was compared", err)
	}
	defer h.Close()
	return a.showHeads(ctx, o, u.ID, h, words)
}

// spoken reads words that somebody said, given with a flag; none are nil.
func spoken(flag, text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	words, err := keyslot.ParseSpoken(text)
	if err != nil {
		return nil, usage("--%s takes the words that hushfs heads shows: %v", flag, strings.TrimPrefix(err.Error(), keyslot.ErrWords.Error()+": "))
	}
	return words, nil
}

// How words compare.
const (
	wordsSame      = "same"
	wordsDifferent = "different"
	wordsUnknown   = "unknown"
)

// showHeads prints what Look found, compares, and makes an exit code of it.
func (a *app) showHeads(ctx context.Context, o headsFlags, id drive.ID, h *volume.Heads, words []string) error {
	r := headsResult{
		Drive: id.String(), Store: headOf(h, h.Store), Machine: headOf(h, h.Machine), Minimum: headOf(h, h.Minimum), Setback: setbackOf(h.Setback),
		Proofs: []proofJSON{}, Accepted: []acceptedJSON{}, Trouble: h.Trouble,
	}
	for _, p := range h.Proofs {
		j := proofJSON{File: p.File, Slot: uint64(p.Slot), Device: int(p.Device), Name: p.Name}
		if p.Opens {
			j.Commit = p.Commit.String()
		}
		r.Proofs = append(r.Proofs, j)
	}
	for _, x := range h.Accepted {
		name, gone := h.Device(x.Device)
		r.Accepted = append(r.Accepted, acceptedJSON{
			Slot: uint64(x.At), From: uint64(x.Seen.Slot), To: uint64(x.Had.Slot), Device: int(x.Device), Name: name, Gone: gone, Time: x.Time.UTC().Format(time.RFC3339),
		})
	}
	var shown volume.Head
	if o.slot > 0 {
		found, ok, err := h.At(ctx, chain.Slot(o.slot))
		if err != nil {
			return explain("nothing was compared", err)
		}
		if ok {
			shown, r.At = found, headOf(h, found)
		}
	}
	switch {
	case o.confirm != "":
		n, err := h.Settle(words)
		if err != nil {
			return explain("nothing was settled", &problem{code: codeFork, what: "nothing was settled", why: err,
				next: fmt.Sprintf("The words must come from a machine whose history is to go on. Ask it with: hushfs heads --slot %d STORE", h.Store.Slot)})
		}
		r.Settled = n
		if n > 0 {
			r.Proofs = r.Proofs[:0]
		}
	case o.compare != "":
		r.Compared = wordsUnknown
		if slot, ok := h.Find(words); ok && (o.slot == 0 || uint64(slot) == o.slot) {
			r.Compared, r.Slot = wordsSame, uint64(slot)
		} else if ok || r.At != nil {
			r.Compared = wordsDifferent
			if r.At != nil && slices.Equal(shown.Words, words) {
				r.Compared, r.Slot = wordsSame, o.slot
			}
		}
	}
	if a.json {
		a.print(r)
	} else {
		a.sayHeads(o, r, h)
	}
	switch {
	case r.Compared == wordsDifferent, len(r.Proofs) > 0:
		return &told{&problem{code: codeFork, what: "the histories differ"}}
	case r.Setback != nil:
		return &told{&problem{code: codeHistory, what: "the store was set back"}}
	case r.Compared == wordsUnknown:
		return &told{&problem{code: codeFailure, what: "the words are unknown"}}
	case o.slot > 0 && r.At == nil && o.compare == "":
		return &told{&problem{code: codeFailure, what: "there is no such slot"}}
	}
	return nil
}

// sayHeads is that for people.
func (a *app) sayHeads(o headsFlags, r headsResult, h *volume.Heads) {
	a.say("The store shows %s:\n  %s", headText(h.Store), strings.Join(r.Store.Words, " "))
	switch {
	case h.Machine.Slot == 0:
		a.say("This machine remembers nothing of the drive.")
	case h.Machine.Link == h.Store.Link:
		a.say("This machine remembers the same.")
	case h.Setback == nil:
		a.say("This machine remembers slot %d, which is part of that.", h.Machine.Slot)
	default:
		a.say("This machine remembers %s:\n  %s", headText(h.Machine), strings.Join(r.Machine.Words, " "))
	}
	if o.slot > 0 {
		if r.At == nil {
			a.say("Slot %d: nothing lies there that is part of this history; its newest is slot %d.", o.slot, h.Store.Slot)
		} else {
			a.say("Slot %d:\n  %s", o.slot, strings.Join(r.At.Words, " "))
		}
	}
	for _, x := range h.Accepted {
		a.say("In slot %d device %d (%s) said that the store had been set back, and that this was accepted (%s): of what had been up to slot %d, slots above %d were given up.",
			x.At, x.Device, deviceText(h, x.Device), x.Time.Local().Format(time.DateTime), x.Seen.Slot, x.Had.Slot)
	}
	if h.Setback != nil {
		a.say("THE STORE WAS SET BACK: %s.", check.Printable(h.Setback.Error()))
		if h.Setback.Removed != nil {
			a.say("Was it restored from a backup? Ask whoever runs it. To look at it: hushfs mount --older STORE DIR. To save what waits here: hushfs device export-pending STORE FOLDER. To go on with it, as a new machine: hushfs device rejoin STORE")
		} else {
			a.say("Was it restored from a backup? Ask whoever runs it. To look at it: hushfs mount --older STORE DIR. To go on with it: hushfs accept-rollback STORE")
		}
	}
	if r.Settled > 0 {
		a.say("Settled: %s of another history. Mount the drive to go on.", count(r.Settled, "commit"))
	} else {
		for _, p := range h.Proofs {
			a.say("ANOTHER HISTORY WAS SEEN: %s.", check.Printable(p.String()))
		}
		if len(h.Proofs) > 0 {
			a.say("Compare this machine with the others. When another one, that you trust, has the words above for slot %d (there: hushfs heads --slot %d STORE): hushfs heads --confirm 'WORDS' STORE", h.Store.Slot, h.Store.Slot)
		} else if o.confirm != "" {
			a.say("There is nothing to settle: no other history was seen.")
		}
	}
	if h.Trouble != "" && len(r.Proofs) == 0 && r.Settled == 0 && h.Setback == nil {
		a.say("Nothing can be written: %s.", check.Printable(h.Trouble))
	}
	switch r.Compared {
	case wordsSame:
		a.say("SAME: the other machine is at slot %d of this very history.", r.Slot)
	case wordsDifferent:
		a.say("DIFFERENT: the other machine has another history, or its words are of another slot.")
	case wordsUnknown:
		a.say("%s", unknownText(o.slot, h.Store.Slot))
	}
}

// unknownText says what it may mean that words are of no slot that was looked at: only the
// newest slots are known here by heart, any other is looked up by its number.
func unknownText(asked uint64, newest chain.Slot) string {
	if asked > 0 {
		return fmt.Sprintf("UNKNOWN: slot %d is none that can be compared here. The other machine has seen newer changes, or another history: ask it for the words of slot %d.", asked, newest)
	}
	return fmt.Sprintf("UNKNOWN: no slot that is known here has these words. The other machine is behind by much, has seen newer changes, or has another history. Ask it which slot they are of, and compare with that one: hushfs heads --slot N --compare 'WORDS' STORE. Where it is above %d, ask it for the words of slot %d.", newest, newest)
}

func headText(h volume.Head) string {
	text := fmt.Sprintf("slot %d", h.Slot)
	if h.Device != 0 {
		text += fmt.Sprintf(", by device %d (%s), %s by its clock", h.Device, check.Printable(h.Name), h.Time.Local().Format(time.DateTime))
	}
	return text
}

// deviceText is what a device is called, and whether it still is one.
func deviceText(h *volume.Heads, no meta.Device) string {
	name, gone := h.Device(no)
	if gone {
		return check.Printable(name) + ", removed since"
	}
	return check.Printable(name)
}

func headOf(all *volume.Heads, h volume.Head) *headJSON {
	if h.Slot == 0 {
		return nil
	}
	j := &headJSON{Slot: uint64(h.Slot), Commit: h.ID.String(), Words: h.Words, Device: int(h.Device), Name: h.Name}
	if h.Device != 0 {
		_, j.Gone = all.Device(h.Device)
		j.Time = h.Time.UTC().Format(time.RFC3339)
	}
	return j
}

// setbackJSON is volume.Setback for programs.
type setbackJSON struct {
	Fork    bool                 `json:"fork"` // another commit, not a missing one
	By      string               `json:"known_by"`
	Seen    uint64               `json:"seen_slot"`
	Had     uint64               `json:"store_slot"`
	Same    uint64               `json:"same_slot"` // 0: unknown
	Above   uint64               `json:"above_slot,omitempty"`
	Missing json.RawMessage      `json:"missing"`
	Files   []volume.MissingFile `json:"files"`
	Known   int                  `json:"commits_looked_into"`
	Waiting *int                 `json:"waiting,omitempty"` // nil: who says so has not looked into the journal
	Damaged []string             `json:"damaged"`
	Removed bool                 `json:"removed"` // in what the store has, this machine is no device any more
}

func setbackOf(s *volume.Setback) *setbackJSON {
	if s == nil {
		return nil
	}
	missing, err := json.Marshal(s.Missing)
	if err != nil {
		missing = []byte("null") // it holds numbers, times and names
	}
	return &setbackJSON{
		Fork: s.Fork, By: string(s.By), Seen: uint64(s.Seen.Slot), Had: uint64(s.Store.Slot), Same: uint64(s.Same.Slot), Above: uint64(s.Above),
		Missing: missing, Files: append([]volume.MissingFile{}, s.Files...), Known: s.Known, Damaged: append([]string{}, s.Damaged...), Removed: s.Removed != nil,
	}
}
