package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A database cluster with checksums under pgbench. PostgreSQL is killed with all
// its processes, then the daemon under it; each time it recovers, and has every
// transaction that was acknowledged. It goes to the new machine as a crash left
// it, and recovers there.
func programPostgres(t *testing.T, m *machine) {
	d := m.mount()
	c := newCluster(m)
	c.tool("initdb", "-k", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-D", c.data)
	c.start()
	c.sql("create table acks (n integer primary key)")
	c.tool("pgbench", "-i", "-s", "1", "-q")
	c.tool("pgbench", "-n", "-c", "2", "-t", "50")
	c.check("after the first run")

	for range programRounds(t) {
		c.work(true, 20, c.kill)
		c.start()
		c.check("after kill -9 of PostgreSQL")
		c.work(true, 20, d.kill)
		c.kill()
		d = m.mount()
		c.start()
		c.check("after kill -9 of the daemon")
	}

	c.stop()
	c.tool("pg_checksums", "--check", "-D", c.data)
	c.start()
	sum := c.sum()
	c.work(false, 10, c.kill)

	d = d.remount()
	c.moveTo(d.m)
	c.start()
	c.check("on a new machine")
	if got := c.sum(); got != sum {
		t.Errorf("sums of what is in the tables are %s on a new machine, they were %s", got, sum)
	}
	c.work(true, 10, c.stop)
	c.tool("pg_checksums", "--check", "-D", c.data)
	d.umount()
}

// cluster is one that a server of the machine's user serves, and what is known
// of it.
type cluster struct {
	m      *machine
	bin    string // folder of its programs
	data   string
	socket string // folder of it
	server *exec.Cmd
	gone   chan struct{} // closed when server has ended
	acks   int           // 1 to acks are acknowledged
	more   bool          // perhaps one more is committed
	moves  int           // rows of pgbench_history at least
}

func newCluster(m *machine) *cluster {
	m.t.Helper()
	c := &cluster{m: m, bin: postgresPrograms(m)}
	c.moveTo(m)
	m.t.Cleanup(func() {
		if m.t.Failed() {
			for _, m := range []*machine{m, c.m} {
				b, _ := os.ReadFile(m.at("postgres.log"))
				m.t.Logf("PostgreSQL's log:\n%s", tail(b))
			}
		}
	})
	return c
}

// postgresPrograms is the folder of the newest version's programs, which Debian
// keeps out of PATH.
func postgresPrograms(m *machine) string {
	m.t.Helper()
	if p, err := exec.LookPath("initdb"); err == nil {
		p, err = filepath.EvalSymlinks(p) // the others are beside it, not beside the link
		must(m.t, err)
		return filepath.Dir(p)
	}
	best, newest := "", 0
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		found, err := filepath.Glob(pattern)
		must(m.t, err)
		for _, dir := range found {
			version, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "pgsql-"))
			if _, missing := os.Stat(filepath.Join(dir, "initdb")); err == nil && missing == nil && version > newest {
				best, newest = dir, version
			}
		}
	}
	if best == "" {
		m.t.Fatal("PostgreSQL is missing: make setup")
	}
	return best
}

// moveTo goes on with the cluster on another machine.
func (c *cluster) moveTo(m *machine) {
	m.t.Helper()
	c.m, c.data, c.socket = m, m.in("cluster"), m.mkdir("socket")
	m.t.Cleanup(c.kill)
}

// env has clients find the server.
func (c *cluster) env() []string {
	return []string{"PGHOST=" + c.socket, "PGUSER=postgres", "PGDATABASE=postgres", "PGOPTIONS=-c client_min_messages=warning"}
}

func (c *cluster) tool(name string, args ...string) string {
	c.m.t.Helper()
	return c.m.toolIn("/", c.env(), filepath.Join(c.bin, name), args...)
}

func (c *cluster) sql(query string) string {
	c.m.t.Helper()
	return strings.TrimSpace(c.tool("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", query))
}

// start starts the server and waits until it has recovered.
func (c *cluster) start() {
	c.m.t.Helper()
	log, err := os.OpenFile(c.m.at("postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(c.m.t, err)
	defer log.Close()
	c.server = c.m.command(c.m.t.Context(), filepath.Join(c.bin, "postgres"), "-D", c.data, "-k", c.socket, "-c", "listen_addresses=", "-c", "fsync=on")
	c.server.Stdout, c.server.Stderr = log, log
	must(c.m.t, c.server.Start())
	gone := make(chan struct{})
	c.gone = gone
	go func(server *exec.Cmd) {
		defer close(gone)
		server.Wait() // how it ended is in ProcessState
	}(c.server)
	eventually(c.m.t, "PostgreSQL is ready", patience, func() bool {
		if c.ended() {
			c.m.t.Fatalf("PostgreSQL ended, %v", c.server.ProcessState)
		}
		ready := c.m.command(c.m.t.Context(), filepath.Join(c.bin, "pg_isready"), "-q")
		ready.Env = append(ready.Env, c.env()...)
		return finish(c.m.t, ready).code == 0
	})
}

func (c *cluster) ended() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// stop has the server shut down in order.
func (c *cluster) stop() {
	c.m.t.Helper()
	must(c.m.t, c.server.Process.Signal(syscall.SIGINT))
	eventually(c.m.t, "PostgreSQL shuts down", patience, c.ended)
	if code := c.server.ProcessState.ExitCode(); code != 0 {
		c.m.t.Fatalf("PostgreSQL ended with code %d", code)
	}
}

// kill is kill -9 of the server with all its processes, none of which can start
// another meanwhile.
func (c *cluster) kill() {
	if c.server == nil || c.ended() {
		return
	}
	pid := c.server.Process.Pid
	syscall.Kill(pid, syscall.SIGSTOP)
	family := childrenOf(c.m.t, pid)
	for _, p := range append(family, pid) {
		syscall.Kill(p, syscall.SIGKILL) // it may have ended
	}
	<-c.gone
	eventually(c.m.t, "PostgreSQL's processes are gone", time.Minute, func() bool {
		for _, p := range family {
			if alive(p) {
				return false
			}
		}
		return true
	})
}

// childrenOf are the processes that a process has started.
func childrenOf(t testing.TB, parent int) (all []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var state string
		var ppid int
		_, rest, _ := strings.Cut(string(b), ") ")
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil && ppid == parent {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			must(t, err)
			all = append(all, pid)
		}
	}
	return all
}

// work commits one row after the other, with pgbench beside it if there is to be
// load, and has end end it when n are acknowledged.
func (c *cluster) work(load bool, n int, end func()) {
	c.m.t.Helper()
	p := c.m.dialogue(c.env(), filepath.Join(c.bin, "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1")
	var bench *dialogue
	if load {
		bench = c.m.dialogue(c.env(), filepath.Join(c.bin, "pgbench"), "-n", "-c", "2", "-T", "600", "-P", "1")
		moved := c.history()
		eventually(c.m.t, "pgbench is at work", time.Minute, func() bool { return c.history() > moved+10 })
	}
	first := c.acks
	for i := range 1000 {
		p.tell(fmt.Sprintf("insert into acks values (%d) returning n;", first+i+1))
	}
	for c.acks < first+n {
		s := p.line()
		if s != strconv.Itoa(c.acks+1) {
			c.m.t.Fatalf("psql says %q, want %d", s, c.acks+1)
		}
		c.acks++
	}
	c.moves = c.history()
	end()
	for _, line := range p.kill() {
		if line == strconv.Itoa(c.acks+1) {
			c.acks++
		}
	}
	if load {
		bench.kill()
	}
	c.more = true
}

// history is how many transactions pgbench has committed.
func (c *cluster) history() int {
	c.m.t.Helper()
	n, err := strconv.Atoi(c.sql("select count(*) from pgbench_history"))
	must(c.m.t, err)
	return n
}

// check counts what was acknowledged; and all sums of pgbench's tables are one,
// since each of its transactions adds the same to all.
func (c *cluster) check(when string) {
	c.m.t.Helper()
	got := c.sql("select count(*), coalesce(max(n), 0) from acks")
	if c.more && got == fmt.Sprintf("%d|%[1]d", c.acks+1) {
		c.acks++ // committed, and killed before it was told
	}
	c.more = false
	if want := fmt.Sprintf("%d|%[1]d", c.acks); got != want {
		c.m.t.Fatalf("%s: number and last of the rows are %s, acknowledged were %s", when, got, want)
	}
	if n := c.history(); n < c.moves {
		c.m.t.Fatalf("%s: %d transactions of pgbench are there, %d were", when, n, c.moves)
	}
	sums := c.sql(`select sum(abalance) = (select sum(tbalance) from pgbench_tellers)
		and sum(abalance) = (select sum(bbalance) from pgbench_branches)
		and sum(abalance) = (select coalesce(sum(delta), 0) from pgbench_history), count(*) from pgbench_accounts`)
	if sums != "t|100000" {
		c.m.t.Fatalf("%s: sums are equal, and number of accounts: %s", when, sums)
	}
}

// sum stands for all that is in pgbench's tables.
func (c *cluster) sum() (all string) {
	c.m.t.Helper()
	for _, table := range []string{"accounts", "branches", "tellers", "history"} {
		all += c.sql("select md5(string_agg(row, '|' order by row)) from (select t::text as row from pgbench_"+table+" t) rows") + " "
	}
	return all
}
