package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
)

// acceptFlags of hushfs accept-rollback.
type acceptFlags struct {
	secret  secretFlags
	s3      s3Flags
	confirm string
	timeout time.Duration // for the drain of an earlier mount
}

// acceptResult is what accept-rollback prints with --json.
type acceptResult struct {
	Drive    string             `json:"drive"`
	Setback  *setbackJSON       `json:"setback"`  // null: nothing but the header was older, or nothing
	Accepted *volume.Acceptance `json:"accepted"` // null: nothing was accepted
	Header   bool               `json:"header"`   // the drive's header was put back
	Kept     []string           `json:"kept"`     // journals that were set aside on this machine and not exported
}

// acceptSentence is what a person types. It is in none of the examples: it is to be read.
const acceptSentence = "give them up"

func (a *app) acceptCommand() *cobra.Command {
	var o acceptFlags
	c := &cobra.Command{
		Use:   "accept-rollback [flags] STORE",
		Short: "Go on with a store that was set back",
		Long: `Go on with a store that shows less, or something else, than this machine saw:
after a backup of it was restored, say, and the rest is lost for good.

It is shown what is missing: how many changes, from when, by which devices, and
which files are missing, older, or back that had been deleted, as far as this
machine still knows. Then you are asked. Try everything else before: a copy of the
store that has the missing objects heals it without any loss, and changes that are
given up are given up on purpose.

When you agree, this machine becomes a new device, since numbers that it used are
in what is missing. It writes into the history that it was set back, up to where, and
by whom that was accepted; hushfs heads and log show it. What waits in its journal is
done again on what the store has; what fits nowhere comes to files recovered-… in the
root folder. Other machines that saw more refuse the store until each of them accepts
by itself.

A machine that was removed in what the store has is refused (21): it saves what waits
by hushfs device export-pending, and joins anew by hushfs device rejoin, which asks
the same. A device that was removed in what is given up is one again, and reads and
writes what is written from then on: look at hushfs device list, and remove it again.

The drive must be unmounted. Without a terminal, --confirm takes the words that
hushfs heads shows for the store: then exactly that state is accepted, or none.

Ends with 0 when it is done, or nothing was missing; 19 when it was not accepted.`,
		Example: `  hushfs heads ~/Cloud/home                  what is missing, and nothing else
  hushfs mount --older ~/Cloud/home ~/Look   look at what the store has
  hushfs accept-rollback ~/Cloud/home`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.StringVar(&o.confirm, "confirm", "", "accept, without being asked, the state whose `WORDS` hushfs heads shows for the store")
	f.DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`, as 90s, for an earlier mount that still sends (default: as long as it takes)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.acceptRollback(ctx, o, args[0]) })
}

func (a *app) acceptRollback(ctx context.Context, o acceptFlags, storeArg string) error {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return err
	}
	if o.timeout < 0 {
		return usage("--timeout is negative")
	}
	if err := o.secret.check(); err != nil {
		return err
	}
	words, err := spoken("confirm", o.confirm)
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
	id, err := a.peek(ctx, at, where.state)
	if err != nil {
		return explain("nothing was changed", err)
	}
	held, err := a.holdDrive(ctx, where, at, id, o.timeout)
	if err != nil {
		return err
	}
	defer func() { held.release() }()
	got, handover, err := a.unlockInChild(ctx, unlockRequest{location: at, Secret: o.secret, Older: true})
	if err != nil {
		return err
	}
	defer wipe(handover)
	if got != id {
		// The newest header was no header of the drive that opened.
		other, err := a.holdDrive(ctx, where, at, got, o.timeout)
		if err != nil {
			return err
		}
		held.release()
		held = other
	}
	u, err := drive.FromHandover(handover)
	if err != nil {
		return explain("nothing was changed", err)
	}
	defer u.Wipe()
	log := a.asideLog()
	b, err := a.openStore(ctx, at, false, log)
	if err != nil {
		return err
	}
	defer b.Close()

	r := acceptResult{Drive: u.ID.String()}
	v, err := volume.Open(ctx, volume.Options{
		Bucket: b, Drive: u, State: held.state, Cache: where.cacheDir(got), DeviceName: deviceName(), NoCache: makePrivate(where.cacheDir(got)),
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Log: log, Writer: writer(u),
		Accept: func(s *volume.Setback) error {
			r.Setback = setbackOf(s)
			r.Setback.Waiting = &s.Waiting
			return a.confirmRollback(ctx, u, s, words)
		},
	})
	if errors.Is(err, volume.ErrNothingMissing) {
		if r.Header, err = a.putBack(ctx, u, b); err != nil {
			return explain("nothing was changed", err)
		}
		r.Kept = keptLeft(held.state)
		return a.accepted(r, storeArg)
	}
	if err != nil {
		return explain("nothing was accepted", err)
	}
	done := v.Acceptance()
	r.Accepted = &done
	var missing error
	r.Header, missing = a.putBack(ctx, u, b)
	// What waited is to reach the store; after an interruption it stays in the journal.
	if err := v.Shutdown(ctx); err != nil {
		return explain("the rollback is accepted, but what waited is not in the store", errors.Join(missing, err))
	}
	if missing != nil {
		return headerMissing("the rollback is accepted, and all that waited is in the store, which shows an older header than this machine saw", missing)
	}
	r.Kept = keptLeft(held.state)
	return a.accepted(r, storeArg)
}

// putBack puts this machine's header back where the store shows an older one, and says
// what it met in its place.
func (a *app) putBack(ctx context.Context, u *drive.Unlocked, b store.Bucket) (bool, error) {
	done, junk, err := u.PutBack(ctx, b)
	for _, name := range junk {
		a.warn("%s has the name of a drive header, and does not verify: somebody put it into the store. It is passed over, and does no harm", name)
	}
	return done, err
}

// headerMissing is the problem that a header could not be put back when all else was done.
func headerMissing(what string, err error) *problem {
	p := explain(what, err)
	p.next = strings.TrimSpace(p.next + " To put the header back later: hushfs accept-rollback STORE")
	return p
}

// accepted tells how it went.
func (a *app) accepted(r acceptResult, store string) error {
	if a.json {
		a.print(r)
		return nil
	}
	if r.Header {
		a.say("The drive's header was put back into the store.")
	}
	if r.Accepted == nil {
		a.say("The store has all that this machine knows of. There is nothing to accept.")
		a.showKept(r.Kept, store)
		return nil
	}
	x := r.Accepted
	a.say("Accepted. This machine is device %d now, and the drive is at slot %d.", x.Device, x.Slot)
	if x.Executed+x.Left > 0 {
		a.say("Of what waited here %s done again; %d could not be, and what they wrote lies in the root folder as recovered-… (%s).", was(x.Executed, "change"), x.Left, count(x.Recovered, "file"))
	}
	a.showKept(r.Kept, store)
	a.say("A device that was removed in what was given up is one again, and can read what is written now. Look: hushfs device list STORE. Remove it again: hushfs device remove STORE NUMBER")
	a.say("Every other machine that saw more refuses the store until accept-rollback is run there. Check what is left with: hushfs fsck STORE")
	return nil
}

func was(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " was"
	}
	return fmt.Sprintf("%d %ss were", n, thing)
}

// filesAsked is how many files are named before the question; all are in the JSON.
const filesAsked = 200

// confirmRollback shows what is missing, and asks.
func (a *app) confirmRollback(ctx context.Context, u *drive.Unlocked, s *volume.Setback, words []string) error {
	f := chain.Fingerprint(u.Main().ID, s.Store)
	have := keyslot.Spoken(f[:])
	out := a.stderr
	if !a.json {
		out = a.stdout
	}
	line := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	line("%s.", capital(s.Error()))
	if len(s.Files) > 0 {
		line("As far as this machine knows (from %d of the missing changes):", s.Known)
		for _, f := range s.Files[:min(len(s.Files), filesAsked)] {
			line("  %-8s %s", f.What, missingText(f))
		}
		if n := len(s.Files) - filesAsked; n > 0 {
			line("  and %d more (--json names them all)", n)
		}
	} else {
		line("Which files are concerned is not known here any more.")
	}
	switch {
	case s.Waiting > 0 && s.Removed != nil:
		line("%s in the journal of this machine, and will not come into the drive.", capital(waits(s.Waiting)))
	case s.Waiting > 0:
		line("%s in the journal of this machine, and will be done again on what the store has.", capital(waits(s.Waiting)))
	}
	line("The state that would be gone on with, slot %d of the store:\n  %s", s.Store.Slot, strings.Join(have, " "))
	refused := &problem{code: codeFork, what: "nothing was accepted", next: "Nothing was changed, and the store stays refused."}
	if words != nil {
		if !slices.Equal(words, have) {
			refused.why = errors.New("the words are not those of the state that the store shows")
			return refused
		}
		return nil
	}
	t, err := a.openTerminal()
	if err != nil {
		refused.why, refused.next = err, "To accept without being asked: --confirm, with the words of the state that is to be accepted."
		return refused
	}
	defer t.Close()
	answer, err := t.line(ctx, fmt.Sprintf("\nWhat is missing will be given up. There is no way back.\nTo do that, type %q: ", acceptSentence))
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != acceptSentence {
		return refused
	}
	return nil
}

func waits(n int) string {
	if n == 1 {
		return "1 change waits"
	}
	return fmt.Sprintf("%d changes wait", n)
}

func missingText(f volume.MissingFile) string {
	text := check.Printable(f.Path)
	if f.Path == "" {
		text = fmt.Sprintf("inode %d", f.Ino)
	}
	if f.Versions > 0 {
		text += fmt.Sprintf(" (%s)", count(f.Versions, "version"))
	}
	return text
}
