package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/volume"
)

// keptSubject begins the warning about journals that were set aside, as those of a volume
// begin with what they are about. It is no reason why something is not sent.
const keptSubject = "kept: "

// keptLeft names the journals that were set aside in a state folder and not exported since.
// A folder that cannot be read has none: what needs it says so.
func keptLeft(state string) []string {
	all, _ := volume.KeptIn(state)
	names := []string{}
	for _, k := range all {
		if !k.Exported {
			names = append(names, k.Name)
		}
	}
	return names
}

// exportKept is the command that exports a journal which was set aside.
func exportKept(name, store string) string {
	return "hushfs device export-pending --kept " + name + " " + shellQuote(store) + " FOLDER"
}

// keptText says what was set aside, and how it can be had.
func keptText(names []string, store string) string {
	text := fmt.Sprintf("changes made on this machine that the drive does not have, or may not have, lie sealed in the state folder, in %s", names[0])
	if n := len(names) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text + ". To write them to a folder, with the drive unmounted: " + exportKept(names[0], store) + ". Who needs nothing of them removes " + names[0] + " from the state folder"
}

// showKept tells of journals that were set aside.
func (a *app) showKept(names []string, store string) {
	if len(names) > 0 {
		a.say("%s.", capital(keptText(names, store)))
	}
}

// keptThere is a problem when no journal of that name was set aside on this machine. It is
// found before a passphrase is asked for.
func (a *app) keptThere(ctx context.Context, o deviceFlags, storeArg, name string) error {
	state, err := a.stateOf(ctx, o, storeArg)
	if err != nil {
		return err
	}
	all, err := volume.KeptIn(state)
	if err != nil {
		return explain("look for what was set aside", err)
	}
	if slices.ContainsFunc(all, func(k volume.Kept) bool { return k.Name == name }) {
		return nil
	}
	p := &problem{code: codeUsage, what: "nothing was exported", why: fmt.Errorf("%s is not kept in the state folder of this machine", check.Printable(name)), next: "None is kept of this drive. What waits in its journal: hushfs device export-pending " + shellQuote(storeArg) + " FOLDER"}
	if len(all) > 0 {
		var names []string
		for _, k := range all {
			names = append(names, k.Name)
		}
		p.next = "Kept are: " + strings.Join(names, ", ")
	}
	return p
}

// stateOf is the state folder of the drive in STORE, as far as a header tells which it is.
func (a *app) stateOf(ctx context.Context, o deviceFlags, storeArg string) (string, error) {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return "", err
	}
	where, err := findPlaces(a.env)
	if err != nil {
		return "", err
	}
	id, err := a.peek(ctx, at, where.state)
	if err != nil {
		return "", explain("the drive was not opened", err)
	}
	return where.stateDir(id)
}
