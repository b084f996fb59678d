package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// looker lists a folder that is known here, over and over, and keeps the longest
// time that it took.
type looker struct {
	stop chan struct{}
	done sync.WaitGroup
	most time.Duration
	at   time.Time // when that was
	n    int
	err  error
}

// look begins with it.
func look(dir string) *looker {
	l := &looker{stop: make(chan struct{})}
	l.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for l.err == nil {
			select {
			case <-l.stop:
				return
			case <-tick.C:
			}
			began := time.Now()
			entries, err := os.ReadDir(dir)
			for _, e := range entries {
				if _, ierr := e.Info(); err == nil {
					err = ierr
				}
			}
			if took := time.Since(began); took > l.most {
				l.most, l.at = took, began
			}
			l.err = err
			l.n++
		}
	})
	return l
}

// hangs is what a call takes at least that waits for a server which says nothing: a
// request is given up after 8 s.
const hangs = 6 * time.Second

// end stops it and judges. The limit finds what hangs; how fast it is otherwise
// depends on what else the machine does, and is logged.
func (l *looker) end(t *testing.T, when string) {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	t.Logf("%s: ls %d times, at most %v (at %s)", when, l.n, l.most, l.at.Format(time.TimeOnly))
	if l.err != nil || l.most > hangs || l.n == 0 {
		t.Errorf("%s: ls %d times, at most %v: %v", when, l.n, l.most, l.err)
	}
}

// The server is killed, hangs, is slow, refuses and cuts connections, and takes no
// keys, while programs write. They notice nothing, what is known is listed at once,
// and each time all goes on by itself. In the end another machine has everything.
func TestEveryFaultOfTheNetwork(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := machineAt(t, server)
	m.keysInFile(server, server.Secret)
	line := newLine(t, server, m)
	m.init()
	d := m.mount()
	known := m.in("known")
	must(t, os.Mkdir(known, 0o755))
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(known, fmt.Sprint(i)), []byte("x"), 0o644))
	}
	m.ok("wait", m.mnt)
	var squads []*squad
	for i, f := range []struct {
		name        string
		noticed     bool // it lasts until status says so
		begin, mend func()
	}{
		{"killed", true, server.Kill, func() { must(t, server.Run(t.Context())) }},
		{"stopped", true, func() { must(t, server.Pause()) }, func() { must(t, server.Resume()) }},
		{"slow", false, func() { line.set(20_000) }, func() { line.set(unlimited) }},
		{"a byte now and then", false, func() { line.set(1) }, func() { line.set(unlimited) }},
		{"silent", false, func() { line.set(held) }, func() { line.set(unlimited) }},
		{"cut off", true, line.down, func() { line.set(unlimited) }},
		{"takes no keys", true, func() { m.keysInFile(server, "not-"+server.Secret); m.settings = line.settings(m) },
			func() { m.keysInFile(server, server.Secret); m.settings = line.settings(m) }},
	} {
		s := m.squad(fmt.Sprint("round", i), 2, uint64(1000*i))
		squads = append(squads, s)
		m.ok("wait", m.mnt)
		l := look(known)
		f.begin()
		began := time.Now()
		if wait := s.start(25); !wait() {
			t.Errorf("%s: a program failed", f.name)
		}
		t.Logf("%s: two programs wrote 25 times each in %v", f.name, time.Since(began))
		if f.noticed {
			within(t, f.name+": status says so", 30*time.Second, func() bool { return m.statusVolume().Offline != "" })
			t.Logf("%s: noticed after %v: %s", f.name, time.Since(began), m.statusVolume().Offline)
		}
		l.end(t, f.name)
		f.mend()
		began = time.Now()
		m.ok("wait", m.mnt)
		t.Logf("%s: everything in the store %v after it was mended", f.name, time.Since(began))
		if v := m.status()[0].Volume; !v.Stored || v.Stopped != "" || len(v.Damaged) > 0 {
			t.Errorf("%s, mended: %+v", f.name, v)
		}
	}
	for _, s := range squads {
		s.verify(m)
	}
	m.settings = settings(server) // another machine has no file with keys
	d = d.remount()
	acked := 0
	for _, s := range squads {
		acked += s.verify(d.m)
	}
	t.Logf("%d things acknowledged and found", acked)
	d.umount()
}

// settings are the machine's, through the line.
func (l *line) settings(m *machine) []string {
	return []string{"AWS_ENDPOINT_URL=http://" + l.listener.Addr().String()}
}

// Status says quickly that a server which takes connections and says nothing is
// away, since when, and when it is tried again; the log says it once.
func TestAHangingServerIsNoticed(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := machineAt(t, server)
	line := newLine(t, server, m)
	m.init()
	d := m.mount()
	known := time.Now() // that it answers
	must(t, writeSynced(m.in("a"), os.O_CREATE, []byte("a")))
	m.ok("wait", m.mnt)
	line.set(held)
	began := time.Now()
	must(t, writeSynced(m.in("b"), os.O_CREATE, []byte("b")))
	var v statusVolume
	eventually(t, "status says that nothing answers", time.Minute, func() bool {
		v = m.statusVolume()
		return v.Offline != ""
	})
	t.Logf("noticed after %v: %s", time.Since(began), v.Offline)
	if v.OfflineSince.Before(known) || v.OfflineSince.After(time.Now()) {
		t.Errorf("off line since %v", v.OfflineSince)
	}
	line.set(unlimited)
	m.ok("wait", m.mnt)
	if v := m.statusVolume(); v.Offline != "" || !v.OfflineSince.IsZero() || !v.NextTry.IsZero() {
		t.Errorf("back: %+v", v)
	}
	if n := d.count("store is off line"); n != 1 {
		t.Errorf("the log says %d times that it is off line:\n%s", n, d.logged())
	}
	if n := d.count("the store answers again"); n != 1 {
		t.Errorf("the log says %d times that it answers again:\n%s", n, d.logged())
	}
	d.umount()
}
