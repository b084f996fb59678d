package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// squad is a few workers on one machine's mount.
type squad struct {
	m       *machine
	workers []worker
	notes   []string
}

// squad sends n workers into folders of their own, which are there to stay
// before the first of them begins.
func (m *machine) squad(name string, n int, seed uint64) *squad {
	m.t.Helper()
	s := &squad{m: m}
	for i := range n {
		w := worker{seed + uint64(i), m.in(fmt.Sprint(name, "-", i))}
		must(m.t, os.Mkdir(w.dir, 0o755))
		s.workers = append(s.workers, w)
		s.notes = append(s.notes, m.at(fmt.Sprint("notes-", name, "-", i)))
	}
	must(m.t, syncFolder(m.mnt))
	return s
}

// start starts the workers; the function that it returns waits for their end and
// tells whether each did all of its count.
func (s *squad) start(count int) (wait func() bool) {
	s.m.t.Helper()
	self, err := os.Executable()
	must(s.m.t, err)
	var all []*exec.Cmd
	for i, w := range s.workers {
		c := s.m.command(s.m.t.Context(), self, fmt.Sprint(w.seed), w.dir, s.notes[i], itoa(count))
		c.Env = append(c.Env, envTask+"=worker")
		must(s.m.t, c.Start())
		all = append(all, c)
	}
	return func() bool {
		s.m.t.Helper()
		whole := true
		for _, c := range all {
			c.Wait()
			switch code := c.ProcessState.ExitCode(); code {
			case 0:
			case 3:
				whole = false
			default:
				s.m.t.Errorf("a worker ended with code %d", code)
			}
		}
		return whole
	}
}

// verify checks every folder, also on another machine.
func (s *squad) verify(on *machine) (acked int) {
	s.m.t.Helper()
	for i, w := range s.workers {
		rel := w.dir[len(s.m.mnt):]
		n, wrong := worker{w.seed, on.mnt + rel}.verify(s.notes[i])
		acked += n
		for _, line := range wrong {
			s.m.t.Errorf("worker %d, seed %d: %s", i, w.seed, line)
		}
	}
	return acked
}

// The daemon's own steps, as failpoints name them: it is killed at each, the
// first time it comes by, and in a long run the second time as well, while two
// programs write. What fsync acknowledged is there at the next mount; once
// drained, on another machine.
func TestKilledAtEveryStep(t *testing.T) {
	steps := recordSteps(t)
	times := []string{"", ":2"}
	if given(t, envRounds, 0) == 0 {
		times = times[:1]
	}
	var mu sync.Mutex
	reached := map[string]bool{}
	t.Run("steps", func(t *testing.T) {
		for _, step := range steps {
			for _, nth := range times {
				t.Run(step+nth, func(t *testing.T) {
					t.Parallel()
					if killedAt(t, step+nth) {
						mu.Lock()
						reached[step] = true
						mu.Unlock()
					}
				})
			}
		}
	})
	for _, step := range steps {
		if !reached[step] {
			t.Errorf("the daemon was never killed at %s", step)
		}
	}
}

// killedAt tries one failpoint and reports whether the daemon died of it.
func killedAt(t *testing.T, failpoint string) bool {
	m := newDrive(t)
	d := m.start([]string{"HUSHFS_FAILPOINT=" + failpoint}, m.mountArgs(failpointFlags...)...)
	var s *squad
	if d.comesUp() {
		release := holdOrphan(m)
		if made := trySquad(m); made != nil {
			s = made
			s.start(failpointOps)()
		}
		if strings.HasPrefix(failpoint, "journal.carry") {
			fillJournal(m)
		}
		release()
		if !d.ended() {
			m.run("umount", "--timeout", "60s", m.mnt)
		}
	}
	died := d.await() == -1
	if !died && d.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the daemon ended with code %d", d.cmd.ProcessState.ExitCode())
	}

	d = m.mount()
	if s != nil {
		s.verify(m)
	}
	d = d.remount()
	if s != nil {
		s.verify(d.m)
	}
	d.umount()
	return died
}

// failpointOps is how much each of two workers does: enough to fill a journal
// file of 8 MiB and go on in the next.
const failpointOps = 400

// failpointFlags make the store slow enough for packs to wait in the journal.
var failpointFlags = []string{"--test-store-delay", "100ms"}

// holdOrphan keeps a file of two packs open that has no name: its packs stay in
// the journal while the operations around them leave. Errors are those of a
// daemon that died, and of no interest.
func holdOrphan(m *machine) (release func()) {
	f, err := os.Create(m.in("orphan"))
	if err != nil {
		return func() {}
	}
	os.Remove(m.in("orphan"))
	f.Write(pattern(1, 0, 8<<20))
	f.Sync()
	return func() { f.Close() }
}

// fillJournal writes several journal files full and waits until their operations
// have left, so that only the packs of the orphan keep them.
func fillJournal(m *machine) {
	for i := range 250 {
		if writeSynced(m.in("filling"), os.O_CREATE|os.O_TRUNC, pattern(uint64(i), 0, 200_000)) != nil {
			return
		}
	}
	m.run("wait", m.mnt)
}

// trySquad is squad for a mount that may be dead already.
func trySquad(m *machine) *squad {
	s := &squad{m: m}
	for i := range 2 {
		w := worker{uint64(i + 1), m.in(fmt.Sprint("w", i))}
		if os.Mkdir(w.dir, 0o755) != nil || syncFolder(m.mnt) != nil {
			break
		}
		s.workers = append(s.workers, w)
		s.notes = append(s.notes, m.at(fmt.Sprint("notes", i)))
	}
	if len(s.workers) == 0 {
		return nil
	}
	return s
}
