package integration

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/integration/adversary"
)

// besieged is a machine whose mount may not come, or not do what it is asked for, since
// its store lies.
type besieged struct {
	*machine
	s *adversary.Siege
	d *daemon // nil while it is not mounted
	n string

	heard int // bytes of the daemon's log that were noted
}

// rises mounts; what the command says when it does not is for others to judge.
func (m *besieged) rises() bool {
	m.t.Helper()
	if m.d != nil {
		return true
	}
	m.s.Mounts(m.n)
	d := m.start(nil, m.mountArgs("--io-timeout", "2s", "--drain-timeout", "2s", "--timeout", "60s")...)
	m.heard = 0
	if !d.comesUp() {
		m.s.Logs(m.n, d.logged())
		m.s.Refuses(m.n, d.logged())
		if code := d.await(); code == 2 || code < 0 { // of a crash in Go, or a signal
			m.t.Errorf("%s: the daemon died:\n%s", m.n, d.logged())
		}
		return false
	}
	m.d = d
	m.tells()
	return true
}

// tells notes what the machine says of its store, in its log and by its status.
func (m *besieged) tells() {
	m.t.Helper()
	if m.d == nil {
		return
	}
	m.hears(m.d)
	m.soon("the status", func() {
		if r := m.run("status", "--json"); r.code != 0 {
			m.t.Errorf("%s: status: %d, %s", m.n, r.code, r.stderr)
		} else if err := m.s.Shows(m.n, r.stdout); err != nil {
			m.t.Errorf("%s: status: %v", m.n, err)
		}
	})
}

// hears notes what a daemon logged since.
func (m *besieged) hears(d *daemon) {
	m.t.Helper()
	text := d.logged()
	whole := strings.LastIndexByte(text, '\n') + 1
	m.s.Logs(m.n, text[m.heard:whole])
	m.heard = whole
}

// soon runs what must come back, whatever the store does.
func (m *besieged) soon(what string, fn func()) {
	m.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		m.t.Fatalf("%s: %s hangs", m.n, what)
	}
}

// writes makes a file, and has it synced.
func (m *besieged) writes(size int) {
	name, content, promise := m.s.File("mount-"+m.n, size)
	m.soon("writing", func() {
		if writeSynced(m.in(name), os.O_CREATE, content) == nil && syncFolder(m.mnt) == nil {
			promise()
		}
	})
}

// looks reads all, and has it judged.
func (m *besieged) looks(whole bool) map[string][]byte {
	m.t.Helper()
	tree := map[string][]byte{}
	m.soon("reading", func() {
		entries, err := os.ReadDir(m.mnt)
		if err != nil && whole {
			m.t.Errorf("%s: %v", m.n, err)
		}
		for _, e := range entries {
			if e.Name() == ".hushfs" {
				continue
			}
			b, err := os.ReadFile(m.in(e.Name()))
			if err == nil {
				tree[e.Name()] = b
			} else if whole && !errors.Is(err, os.ErrNotExist) {
				m.t.Errorf("%s: with an honest store: %v", m.n, err)
			}
		}
	})
	if err := m.s.Judge(m.n, tree, whole); err != nil {
		m.t.Errorf("%v", err)
	}
	return tree
}

// falls ends the mount: by hand, or by a kill.
func (m *besieged) falls(kill bool) {
	m.t.Helper()
	if m.d == nil {
		return
	}
	m.tells()
	d := m.d
	m.d = nil
	m.s.Falls(m.n)
	defer m.hears(d)
	if kill {
		d.kill()
		m.detach()
		return
	}
	m.soon("unmounting", func() { m.run("umount", m.mnt) })
	m.soon("draining", func() { d.await() })
}

// Two mounts of the program, each before a store that deceives it, with all attacks in
// turn, drawn from a seed. HUSHFS_ADVERSARY_MOUNTS says how many attacks there are to be.
func TestAdversary(t *testing.T) {
	t.Parallel()
	rounds, seed := 4, uint64(1) // the same ones, but in the long form
	if n, err := strconv.Atoi(os.Getenv("HUSHFS_ADVERSARY_MOUNTS")); err == nil {
		rounds, seed = n, uint64(time.Now().UnixNano())
	}
	if n, err := strconv.ParseUint(os.Getenv("HUSHFS_ADVERSARY_SEED"), 0, 64); err == nil {
		seed = n
	}
	t.Logf("HUSHFS_ADVERSARY_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	attacks := adversary.Attacks()
	r.Shuffle(len(attacks), func(i, j int) { attacks[i], attacks[j] = attacks[j], attacks[i] })
	for done := 0; done < rounds && !t.Failed(); {
		done += siege(t, r, attacks, done, rounds)
	}
}

// siege is one drive and some attacks on it, in the order of attacks from the number at
// on; it returns how many there were.
func siege(t *testing.T, r *rand.Rand, attacks []adversary.Attack, at, rounds int) int {
	t.Helper()
	s, err := adversary.New(t.TempDir())
	must(t, err)
	server := httptest.NewServer(s.Store())
	defer server.Close()
	var both []*besieged
	for _, name := range []string{"laptop", "desktop"} {
		m := newMachine(t)
		m.store = "s3://" + name
		m.settings = []string{"AWS_ENDPOINT_URL=" + server.URL, "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=here"}
		must(t, os.WriteFile(m.pass, []byte(adversary.Passphrase()+"\n"), 0o600))
		b := &besieged{machine: m, s: s, n: name}
		both = append(both, b)
		defer b.falls(true)
		if !b.rises() {
			t.Fatalf("%s does not mount with an honest store", name)
		}
		b.writes(100 << 10)
		b.falls(false)
	}
	n := 0
	for ; n < 8 && at+n < rounds && !t.Failed(); n++ {
		a := attacks[(at+n)%len(attacks)]
		draw := r.Uint64()
		t.Logf("attack %d: %s (%#x)", at+n+1, a.Name, draw)
		end := s.Begin(a.Name, draw)
		for range 2 {
			for _, m := range both {
				if !m.rises() {
					continue
				}
				m.writes([]int{10, 5000, 200 << 10}[r.IntN(3)])
				m.looks(false)
				if r.IntN(2) == 0 {
					m.falls(r.IntN(2) == 0)
				}
			}
		}
		for _, m := range both {
			if err := s.Named(m.n, m.tells); err != nil {
				t.Errorf("attack %d: %v", at+n+1, err)
			}
		}
		end()
		if s.Split() {
			return n + 1 // two histories: each goes on with its own, and here is but one
		}
		done := s.Settles()
		converges(t, both)
		for _, m := range both {
			m.tells()
		}
		done()
	}
	return n
}

// converges wants both machines to send what waits and to show the same, now that the
// store is honest.
func converges(t *testing.T, both []*besieged) {
	t.Helper()
	for range 2 {
		for _, m := range both {
			m.falls(false)
			if !m.rises() {
				t.Fatalf("%s does not mount with an honest store", m.n)
			}
			m.soon("waiting", func() {
				if r := m.run("wait", "--timeout", "60s", m.mnt); r.code != 0 {
					t.Errorf("%s cannot send to an honest store: %d, %s", m.n, r.code, r.stderr)
				}
			})
		}
	}
	both[0].falls(false)
	if !both[0].rises() {
		t.Fatalf("%s does not mount with an honest store", both[0].n)
	}
	one, two := both[0].looks(true), both[1].looks(true)
	if a, b := slices.Sorted(maps.Keys(one)), slices.Sorted(maps.Keys(two)); !slices.Equal(a, b) {
		t.Errorf("the machines show different trees:\n%q\n%q", a, b)
	}
}
