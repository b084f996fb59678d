package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/state"
)

// states looks at what this machine keeps of each drive.
func (e *examination) states(ctx context.Context) {
	if !e.placed {
		return
	}
	e.begin("What this machine keeps of its drives")
	var entries []os.DirEntry
	err := answers(ctx, statTimeout, func() (err error) { entries, err = os.ReadDir(e.where.state); return err })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.ok("states", "no drive was used here yet")
		return
	case err != nil:
		e.problem("states", "the state folder cannot be read: "+err.Error(), "It holds what is not in the store yet", "Check its owner and mode.")
		return
	}
	e.machineID()
	n := 0
	for _, d := range entries {
		if d.IsDir() {
			n++
			e.state(filepath.Join(e.where.state, d.Name()))
		}
	}
	if n == 0 {
		e.ok("states", "no drive was used here yet")
	}
}

// machineID is half of what tells a clone from its original.
func (e *examination) machineID() {
	id := strings.TrimSpace(e.file("etc/machine-id"))
	if len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" {
		return
	}
	e.warn("machine-id", "this machine has no id (/etc/machine-id)", "A clone of its disk is then not told from the original, and both would write as one device",
		"An administrator can make one: systemd-machine-id-setup. Each drive takes this machine for a new device then.")
}

// state looks at the folder of one drive. Its content is sealed; what can be seen
// without a passphrase is names, sizes and times.
func (e *examination) state(dir string) {
	name := "drive " + filepath.Base(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		e.problem("state", "the state of "+name+" cannot be read: "+err.Error(), "The drive cannot be mounted without", "Check owner and mode of "+dir)
		return
	}
	bad := false
	warn := func(check, found, why, next string) {
		bad = true
		e.warn(check, name+": "+found, why, next)
	}
	if err := private(dir); err != nil && !errors.Is(err, errOpen) {
		bad = true
		e.problem("state", name+": "+err.Error(), "The drive cannot be mounted with it", "Give it back to its owner, or move it away: this machine then joins the drive as a new one.")
	}
	if err := unreadable(dir); err != nil {
		bad = true
		e.problem("state", name+": "+err.Error(), "The drive cannot be mounted without it", "Check owner and mode of what lies there, and the disk: dmesg. Keep the folder as long as changes may wait in it.")
	}
	switch _, raw, err := state.Header(dir, keyslot.MaxSize); {
	case errors.Is(err, fs.ErrNotExist):
		// Made by a mount that was refused, or by a test of the store.
	case errors.Is(err, state.ErrNewer):
		bad = true
		e.problem("state-header", name+": its header was written by a newer hushfs", "This version does not know it", "Install a newer hushfs on this machine.")
	case err != nil:
		warn("state-header", "its copy of the drive's header is damaged: "+err.Error(), "It is compared with what the store shows", "Mounting makes a new copy; look at the disk.")
	default:
		if _, err := keyslot.Decode(raw); err != nil {
			warn("state-header", "its copy of the drive's header is damaged: "+err.Error(), "It is compared with what the store shows", "Mounting makes a new copy; look at the disk.")
		}
	}
	// The journals come after, since a living daemon may make and remove them.
	var journals []string
	kept := keptLeft(dir)
	for _, f := range entries {
		switch n := f.Name(); {
		case strings.HasPrefix(n, "evidence-"):
			warn("state-evidence", "the store has shown two histories ("+n+")", "As long as that file lies there nothing is sent", "See \"The store shows two histories\" in docs/operations.md.")
		case slices.Contains(kept, n):
			warn("state-kept", "a journal was set aside, with changes that the drive does not have, or may not have ("+n+")", "Nothing sends them", "To write them to a folder: "+exportKept(n, "STORE")+". Or remove it, if nothing of it is needed.")
		case n == "damaged-table":
			warn("state-table", "a damaged table was seen in the store", "The next mount that may write mends it", "Mount the drive, and let it be for a minute.")
		case strings.HasPrefix(n, "journal-") && f.IsDir():
			journals = append(journals, filepath.Join(dir, n))
		}
	}
	living := e.livingAt(dir)
	for _, j := range journals {
		bad = e.journal(name, j, living) || bad
	}
	if !bad && living == nil {
		e.ok("state", "%s: %s", name, holderText(dir))
	}
}

// unreadable is what keeps a mount from knowing who this machine is, as far as that can be
// seen without the passphrase; nil when nothing does. A folder that a mount was refused in
// has nothing to read.
func unreadable(dir string) error {
	for _, f := range []struct{ name, begins string }{{"secret", "HUSHSEC"}, {"state", "HUSHSTA"}} {
		b, err := os.ReadFile(filepath.Join(dir, f.name))
		var path *fs.PathError
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &path):
			return fmt.Errorf("its file %s cannot be read: %w", f.name, path.Err)
		case !strings.HasPrefix(string(b), f.begins):
			return fmt.Errorf("its file %s is damaged: it does not begin as hushfs writes it", f.name)
		}
	}
	return nil
}

// livingAt is the daemon that has the state folder dir, nil when none answers.
func (e *examination) livingAt(dir string) *control.Status {
	for _, d := range e.living {
		if d.status.State == dir {
			return &d.status
		}
	}
	return nil
}

// journal looks at one journal; living is the daemon that has it, if any.
func (e *examination) journal(name, dir string, living *control.Status) (bad bool) {
	var packs, ops space
	var aside []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a living daemon has removed it
		}
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return nil
		}
		switch {
		case strings.HasPrefix(d.Name(), "damaged-"):
			aside = append(aside, d.Name())
		case filepath.Dir(path) == dir && strings.HasPrefix(d.Name(), "keys"): // of epochs: no changes
		case filepath.Dir(path) == dir:
			ops.add(i)
		default:
			packs.add(i)
		}
		return nil
	})
	if err != nil {
		e.problem("journal", name+": its journal cannot be read: "+err.Error(), "What is not in the store yet lies in it", "Check owner and mode; look at the disk: dmesg")
		return true
	}
	if len(aside) > 0 {
		bad = true
		e.warn("journal-damaged", fmt.Sprintf("%s: %s of its journal kept aside (%s)", name, count(len(aside), "damaged file"), aside[0]), "Changes that were not in the store yet may be lost",
			"Copy the whole state folder away before the next mount, if what you miss matters; then look at the disk.")
	}
	if living != nil || ops.files+packs.files == 0 {
		return bad // a daemon has told what waits
	}
	since := time.Unix(max(ops.since, packs.since), 0)
	if packs.since != 0 && packs.since < ops.since || ops.since == 0 {
		since = time.Unix(packs.since, 0)
	}
	text := "changes may wait in its journal"
	if packs.files > 0 {
		text += fmt.Sprintf(", with %s of file data", size(packs.bytes))
	}
	e.warn("journal-waiting", fmt.Sprintf("%s: %s, since %s", name, text, since.Local().Format(time.DateTime)), "They are safe on this disk, and nowhere else", "Mount the drive: it sends them, or says why it cannot.")
	return true
}

// holderText says who has the lock of a state folder, or had it last.
func holderText(dir string) string {
	h := readHolder(dir)
	switch {
	case !free(dir) && h.PID != 0:
		return fmt.Sprintf("in use by pid %d (%s)", h.PID, comm(fmt.Sprintf("/proc/%d", h.PID)))
	case !free(dir):
		return "in use by another process"
	case h.Result != nil && !h.Result.Stored:
		return "not in use; the last mount did not send everything"
	case h.PID != 0 && h.Result == nil && h.Socket != "":
		return "not in use; the daemon of the last mount died, and nothing waits in a journal"
	}
	return "not in use, and nothing waits"
}
