package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// saveSteps are how an office program saves a document: lock file, temporary
// file, fsync, rename over the document, fsync of the folder. $new is where the
// new version comes from.
var saveSteps = []string{
	`(set -C; echo me >'.~lock.doc#')`,
	`cp "$new" .doc.tmp`,
	`sync .doc.tmp`,
	`mv -f .doc.tmp doc`,
	`sync .`,
	`rm '.~lock.doc#'`,
}

// A document that is being saved, while the program is killed after each step,
// or the daemon: it is the old one or the new one, whole, and the new one for
// good once the save has reached the folder's fsync.
func programOffice(t *testing.T, m *machine) {
	d := m.mount()
	save := &saver{t: t}
	s := save.program(m)
	for _, step := range saveSteps {
		s.must(save.prepare(m, 1) + step)
	}
	save.sure = 1
	save.check(m, "after a save without a kill")

	for _, killed := range []string{"the program", "the daemon"} {
		for last := range saveSteps {
			s := save.program(m)
			next := save.sure + 1
			s.must(save.prepare(m, next))
			for i, step := range saveSteps[:last+1] {
				s.must(step)
				if i >= 4 {
					save.sure = next
				}
			}
			if killed == "the daemon" {
				d.kill()
				s.kill()
				d = m.mount()
			} else {
				s.kill()
				if last >= 3 { // the rename is done, and nothing undoes it
					save.sure = next
				}
			}
			save.check(m, fmt.Sprintf("%s was killed after %q", killed, saveSteps[last]))
			must(t, removeAny(m.in(".~lock.doc#"), m.in(".doc.tmp")))
		}
	}

	// Saved over and over, until the daemon goes.
	first := save.sure
	for v := range 60 {
		save.prepare(m, first+1+v)
	}
	over := m.dialogue(nil, "sh", "-euc", `cd "$1"; v=$2; while :; do new=$3/v$v; `+strings.Join(saveSteps, "; ")+`; echo "saved $v"; v=$((v + 1)); done`,
		"sh", m.mnt, itoa(first+1), m.home)
	note := func(line string) {
		if v, err := strconv.Atoi(strings.TrimPrefix(line, "saved ")); err == nil {
			save.sure = v
		}
	}
	for save.sure < first+10 {
		note(over.line())
	}
	d.kill()
	for _, line := range over.rest() {
		note(line)
	}
	d = m.mount()
	save.check(m, "the daemon was killed while a program saved over and over")
	d = d.remount()
	save.check(d.m, "on a new machine")
	d.umount()
}

// saver knows which version of the document is saved for sure; the next one may
// be there as well.
type saver struct {
	t    *testing.T
	sure int
}

// program is a shell in the document's folder.
func (save *saver) program(m *machine) shell { return m.shell(m.mnt) }

// document is a version: some fit into one write, some do not.
func document(version int) []byte { return pattern(uint64(version), 0, 20_000+version*7919%300_000) }

// prepare puts a version where the steps look for it, and says so to the shell.
func (save *saver) prepare(m *machine, version int) string {
	save.t.Helper()
	path := m.at("v" + itoa(version))
	must(save.t, os.WriteFile(path, document(version), 0o600))
	return "new=" + path + "; "
}

// check wants the version that is saved, or the next one, and then keeps to that.
func (save *saver) check(m *machine, when string) {
	save.t.Helper()
	got := read(save.t, m.in("doc"))
	for _, version := range []int{save.sure, save.sure + 1} {
		if bytes.Equal(got, document(version)) {
			save.sure = version
			return
		}
	}
	save.t.Fatalf("%s: the document has %d bytes and is neither version %d (%d bytes) nor the next (%d bytes)",
		when, len(got), save.sure, len(document(save.sure)), len(document(save.sure+1)))
}

// removeAny removes files that may be there.
func removeAny(paths ...string) (all error) {
	for _, path := range paths {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}
