package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/sync"
)

// unreached are steps that no sound machine comes by, with the reason.
var unreached = map[string]string{
	"journal.abandon": "only after a write or a sync of the local disk has failed; fs/journal tests it with a failing disk",
	"journal.aside":   "only for a journal file that was damaged; fs/journal tests it with damaged files",
}

// recordSteps runs what the failpoints are tried on without any, and returns the
// steps that the daemon came by. They must be all that the packages declare.
func recordSteps(t *testing.T) []string {
	t.Helper()
	m := newDrive(t)
	file := m.at("steps")
	d := m.start([]string{"HUSHFS_STEPS_FILE=" + file}, m.mountArgs(failpointFlags...)...)
	d.awaitMounted()
	release := holdOrphan(m)
	s := trySquad(m)
	if !s.start(failpointOps)() {
		t.Fatal("a worker failed without a failpoint")
	}
	fillJournal(m)
	release()
	d.umount()
	met := strings.Fields(string(read(t, file)))
	slices.Sort(met)
	for _, step := range slices.Concat(journal.Steps, pack.Steps, sync.Steps) {
		_, known := unreached[step]
		switch there := slices.Contains(met, step); {
		case !there && !known:
			t.Errorf("the daemon never came by %s: make the workers do what leads there", step)
		case there && known:
			t.Errorf("the daemon came by %s: take it out of unreached", step)
		}
	}
	return met
}

// A state drained after a kill at a step must not depend on local state; nor may
// two operations ever get one number. This is the journal's promise as the store
// shows it: the same history, killed or not, ends in the same tree.
func TestKilledOrNotEndsInTheSameTree(t *testing.T) {
	t.Parallel()
	tree := func(kill bool) map[string]string {
		m := newDrive(t)
		d := m.mount()
		for i := range 6 {
			must(t, os.Mkdir(m.in(fmt.Sprint("d", i)), 0o755))
			must(t, writeSynced(m.in(fmt.Sprint("d", i), "f"), os.O_CREATE, pattern(uint64(i), 0, i*50_000)))
			must(t, os.Rename(m.in(fmt.Sprint("d", i), "f"), m.in(fmt.Sprint("d", i), "g")))
			if i > 0 {
				must(t, os.Remove(m.in(fmt.Sprint("d", i-1), "g")))
				must(t, os.Link(m.in(fmt.Sprint("d", i), "g"), m.in(fmt.Sprint("d", i-1), "h")))
			}
			must(t, syncFolder(m.in(fmt.Sprint("d", i))))
			must(t, syncFolder(m.mnt))
			if kill {
				d.kill()
				d = m.mount()
			}
		}
		d = d.remount()
		defer d.umount()
		all := manifest(t, d.m.mnt)
		for name, line := range all { // two runs differ in their times
			before, after, _ := strings.Cut(line, " mtime ")
			_, after, _ = strings.Cut(after, " ")
			all[name] = before + after
		}
		return all
	}
	sameManifest(t, "killed after every step", tree(false), tree(true))
}
