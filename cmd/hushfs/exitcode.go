package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/s3"
)

// code is an exit code. The numbers are a promise to scripts: none changes its
// meaning, new ones are added behind.
type code int

const (
	codeOK         code = 0
	codeFailure    code = 1
	codeUsage      code = 2
	codeSecret     code = 3
	codeNoDrive    code = 4
	codeNotEmpty   code = 5
	codeNewer      code = 6
	codeMountpoint code = 7
	codeFUSE       code = 8
	codeMounted    code = 9
	codeNotMounted code = 10
	codeStore      code = 11
	codeHistory    code = 12
	codeTimeout    code = 13
	codeUndrained  code = 14
	codeState      code = 15
	codeDoctor     code = 16
	codeDamaged    code = 17
	codeMended     code = 18
	codeFork       code = 19
	codeFound      code = 20
	codeRemoved    code = 21
	codeConflicts  code = 22
	codeUnverified code = 23
	codeLeased     code = 24
)

// codes says what each code means, in the words of help and docs.
var codes = []struct {
	code    code
	meaning string
}{
	{codeOK, "it worked; of umount and wait: everything is in the store"},
	{codeFailure, "another failure; the message says which"},
	{codeUsage, "the command line is wrong, or a prompt would be needed without a terminal"},
	{codeSecret, "wrong passphrase or recovery words"},
	{codeNoDrive, "no drive at the store, or another one than expected"},
	{codeNotEmpty, "the place is not empty, or the file exists; nothing was touched"},
	{codeNewer, "written by a newer hushfs"},
	{codeMountpoint, "the mountpoint cannot be used, or is busy"},
	{codeFUSE, "FUSE cannot be used"},
	{codeMounted, "the drive is mounted already"},
	{codeNotMounted, "no drive is mounted there"},
	{codeStore, "the store cannot be reached, refuses, or is full"},
	{codeHistory, "the store shows an older or another history than this machine saw"},
	{codeTimeout, "the time given was over"},
	{codeUndrained, "not everything is in the store; the rest is safe in the local journal"},
	{codeState, "the local state cannot be used: network folder, foreign, damaged or full"},
	{codeDoctor, "of doctor: something stands in the way of a mount"},
	{codeDamaged, "of fsck: the drive is damaged, or was and is not wholly repaired"},
	{codeMended, "of fsck --repair: the drive was damaged, and all of it is repaired; what is lost stays lost"},
	{codeFork, "of accept-rollback and device rejoin: it was not accepted; of heads: another history was seen, or words differ"},
	{codeFound, "of audit-bucket: an object shows more than it may"},
	{codeRemoved, "this machine was removed from the drive"},
	{codeConflicts, "of conflicts --check: there are conflicts that nobody has resolved"},
	{codeUnverified, "of log --verify: the history is not as the drive's devices signed it"},
	{codeLeased, "of lease: another machine has a lease of it"},
}

// problem is an error as the user sees it: what happened, why, what to do next.
type problem struct {
	code code
	what string // "hushfs mount: no drive at file:///x"
	why  error  // nil when what says it all
	next string // a whole sentence; empty when there is nothing to advise
	busy bool   // see control.Problem
	dir  string // of the mount that it is about, if it is about one
}

func (p *problem) Error() string {
	if p.why == nil {
		return p.what
	}
	return p.what + ": " + p.why.Error()
}

func (p *problem) Unwrap() error { return p.why }

// usage is a problem with the command line itself.
func usage(format string, a ...any) *problem {
	return &problem{code: codeUsage, what: fmt.Sprintf(format, a...)}
}

// rules give an error of the packages below its code and advice; the first that
// matches counts.
var rules = []struct {
	is   error
	code code
	next string
}{
	{keyslot.ErrPassphrase, codeSecret, "Try again; with the recovery words it is: hushfs mount --recovery-file F STORE DIR"},
	{keyslot.ErrWords, codeSecret, "Compare the words with the paper, one by one."},
	{keyslot.ErrKDF, codeFailure, "The drive asks for more or less memory than hushfs accepts on this machine. Nothing was allocated. Try a machine with more memory, or the recovery words."},
	{keyslot.ErrDrive, codeNoDrive, "Check STORE: another drive lies there than the recovery file or this machine expects."},
	{drive.ErrOther, codeNoDrive, "Check STORE: another drive lies there than the recovery file or this machine expects."},
	{drive.ErrUnconfirmed, codeSecret, "Compare that id with the paper, then: hushfs mount --drive ID --recovery-file F STORE DIR"},
	{drive.ErrOlder, codeHistory, "Nothing was mounted. Was the store restored from a backup? Ask whoever runs it before you trust it. What else is missing: hushfs heads STORE. To look at what it has: hushfs mount --older STORE DIR. To put this machine's copy of the header back: hushfs accept-rollback STORE"},
	{drive.ErrBare, codeNoDrive, "The drive's headers, v0/h/ in STORE, are missing. Bring them back from a copy of the store; a machine that mounted it before opens it without, by its own copy. Make nothing new there."},
	{drive.ErrNoDrive, codeNoDrive, "Check STORE for a typing error: it is where the sealed objects lie, and not the folder in which the drive appears. If a drive was there, make nothing new in its place: bring its objects back from a copy of the store. Where there never was one: hushfs init STORE"},
	{dir.ErrMissing, codeNoDrive, "Check STORE for a typing error, and that its disk is mounted."},
	{dir.ErrNotDir, codeNoDrive, "STORE must be a directory."},
	{drive.ErrNotEmpty, codeNotEmpty, "Nothing was touched. Choose an empty or new directory."},
	{drive.ErrNewer, codeNewer, "Install a newer hushfs on this machine."},
	{keyslot.ErrNewer, codeNewer, "Install a newer hushfs on this machine."},
	{crypt.ErrVersion, codeNewer, "Install a newer hushfs on this machine."},
	{keyslot.ErrHeader, codeStore, "The drive's header in STORE is damaged or altered. Bring the object back from a copy of the store."},
	{publish.ErrElsewhere, codeNoDrive, "Check STORE: the header there opens, and is that of a drive in another place."},
	{block.ErrDamaged, codeStore, "Objects of STORE are damaged or missing, and nothing was mounted. Bring them back from a copy of the store."},
	{publish.ErrConflict, codeUndrained, "Nothing is lost: the changes stay sealed in the journal of this machine, and its next mount may be refused because of them. Keep the state folder; to go on meanwhile, move it away: this machine then joins the drive as a new one."},
	{publish.ErrRemoved, codeRemoved, "Nothing it has not sent will be taken. To look at the drive: hushfs mount --read-only STORE DIR. To save what waits here: hushfs device export-pending STORE FOLDER. To join again as a new machine: hushfs device rejoin STORE"},
	{volume.ErrNotRemoved, codeFailure, "Nothing was changed, and nothing is to be done: it is a device of the drive, or becomes one with its first change. Mount it: hushfs mount STORE DIR"},
	{volume.ErrUnexported, codeRemoved, "Save them first: hushfs device export-pending STORE FOLDER. Or leave them in the state folder: --discard"},
	{volume.ErrUndrained, codeUndrained, "The rest is safe in the journal of this machine; the next mount sends it."},
	{volume.ErrUnacceptable, codeFork, "Nothing was changed, and the store stays refused."},
	{volume.ErrRollback, codeHistory, "Nothing was mounted. Was the store restored from a backup? Ask whoever runs it before you trust it. To look at what it has: hushfs mount --older STORE DIR. To go on with that: hushfs accept-rollback STORE"},
	{publish.ErrRollback, codeHistory, "Nothing is lost: what waits stays sealed in the journal of this machine. Was the store restored from a backup, or is another disk in the place of the right one? Ask whoever runs it; when the store is what it was, all goes on."},
	{publish.ErrFork, codeHistory, "Nothing is lost: what waits stays sealed in the journal of this machine, and is sent when a person has looked. What was seen, and what to do: hushfs heads STORE"},
	{volume.ErrFork, codeHistory, "Nothing was mounted. What happened, as far as it is known: hushfs heads STORE. If a rollback was accepted on another machine, and you know of it: hushfs accept-rollback STORE. Else somebody may be showing two histories: ask whoever runs the store before you trust it, and compare the machines"},
	{journal.ErrNewer, codeNewer, "Install a newer hushfs on this machine. Keep the state folder: changes wait in it."},
	{volume.ErrJournal, codeState, "Nothing is lost: the journal stays as it is. Keep the state folder and report this."},
	{publish.ErrHeir, codeUsage, "Devices are named as status shows them, or by their numbers."},
	{volume.ErrWriter, codeState, "End the copy, and keep what is in this machine's state folder. To look at the drive: hushfs mount --read-only STORE DIR"},
	{state.ErrNewer, codeNewer, "Install a newer hushfs on this machine. Keep the state folder: changes may wait in it."},
	{chain.ErrVersion, codeNewer, "Install a newer hushfs on this machine."},
	{table.ErrVersion, codeNewer, "Install a newer hushfs on this machine."},
	{publish.ErrNoKey, codeStore, "Objects that every mount needs are missing from STORE or damaged. Bring them back from a copy of the store."},
	{volume.ErrUnfinished, codeState, "Nothing is lost, and what waits stays sealed in the state folder. A mount that may write goes on with it: hushfs mount STORE DIR"},
	{volume.ErrState, codeState, "If the folder came from another machine or drive, move it away: this machine then joins the drive as a new one."},
	{volume.ErrNoConflict, codeFailure, "It may be resolved already, here or elsewhere. See: hushfs conflicts"},
	{volume.ErrUnresolved, codeFailure, "Nothing was lost. See: hushfs conflicts"},
	{volume.ErrReadOnly, codeFailure, "Why: hushfs status"},
	{volume.ErrNoSpace, codeState, "Make room on the local disk and try again."},
	{s3.ErrLocation, codeUsage, "Write s3://bucket/prefix."},
	{s3.ErrOptions, codeUsage, "See: hushfs help s3"},
	{store.ErrFull, codeStore, "Make room in the store and try again."},
	{store.ErrDenied, codeStore, "Check the permissions of STORE."},
	{store.ErrUnavailable, codeStore, "Check that the disk or network of STORE is there and try again."},
	{dir.ErrNoLinks, codeStore, "Choose a directory on a file system with hard links, as ext4, xfs or btrfs."},
	{control.ErrNoDaemon, codeFailure, ""},
	{context.DeadlineExceeded, codeTimeout, "Try again, or with a longer --timeout."},
	{context.Canceled, codeFailure, ""},
	{syscall.ENOSPC, codeState, "Make room on the local disk and try again."},
	{syscall.EDQUOT, codeState, "Make room in your quota and try again."},
	{syscall.EROFS, codeState, "The folder must be writable."},
}

// explain finds the problem in err, or makes one out of it by rule; what is put
// in front of an error that has no words of its own. nil stays nil.
func explain(what string, err error) *problem {
	if err == nil {
		return nil
	}
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var travelled *control.Problem
	if errors.As(err, &travelled) {
		return &problem{code: code(travelled.Code), what: travelled.Message, next: travelled.Next, busy: travelled.Busy}
	}
	for _, r := range rules {
		if errors.Is(err, r.is) {
			switch r.is { // whose own words are a programmer's
			case context.Canceled:
				err = errors.New("interrupted")
			case context.DeadlineExceeded:
				err = errors.New("the time is over")
			}
			next := r.next
			if r.is == volume.ErrState && errors.Is(err, fs.ErrPermission) {
				next = "Check the owner and the mode of the folder and of what lies in it. Do not move it away: changes may wait there."
			}
			if r.code == codeStore {
				if advice := s3.Advice(err); advice != "" {
					next = capital(advice) + "."
					if errors.Is(err, s3.ErrBusy) || errors.Is(err, s3.ErrConflict) {
						next = gaveUp // a mount goes on trying, and a command has ended
					}
					err = withoutAdvice{err, advice}
				}
			}
			return &problem{code: r.code, what: what, why: err, next: next}
		}
	}
	return &problem{code: codeFailure, what: what, why: err}
}

// gaveUp is what to do when a busy store was asked for as long as a command does.
const gaveUp = "It was asked again for a while. Try later; if it stays, the server is too small."

// withoutAdvice is an error of a bucket whose advice is given as the next step.
type withoutAdvice struct {
	error
	advice string
}

func (e withoutAdvice) Error() string { return strings.Replace(e.error.Error(), "; "+e.advice, "", 1) }

func (e withoutAdvice) Unwrap() error { return e.error }

// wire is p as it goes to another process or to a program.
func (p *problem) wire() *control.Problem {
	return &control.Problem{Code: int(p.code), Message: p.Error(), Next: p.next, Busy: p.busy}
}

// text is p as it goes to a person: "what: why. Next step."
func (p *problem) text() string {
	s := strings.ReplaceAll(strings.TrimRight(p.Error(), ". \n"), "\n", "; ")
	if p.next != "" {
		s += ". " + p.next
	}
	return s
}
