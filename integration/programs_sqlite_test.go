package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// sqliteMode is a way in which SQLite keeps its promise.
type sqliteMode struct {
	journal     string // pragma journal_mode
	synchronous string // pragma synchronous
	file        string // what the journal's name ends in
}

var (
	// A commit is the journal's removal, which SQLite syncs only if asked to.
	sqliteRollback = sqliteMode{"delete", "extra", "-journal"}
	sqliteWAL      = sqliteMode{"wal", "full", "-wal"}
)

// A bank has sqliteAccounts accounts, and no money comes or goes.
const (
	sqliteAccounts = 300
	sqliteMoney    = 1000 // of each at first
)

// A bank whose clerks are killed, and the daemon under them, in the middle of a
// transaction so large that half of it is in the file already, and in a stream of
// small ones. All that was committed is there, nothing else, and SQLite finds its
// file whole; on another machine, too, which gets it with a transaction in it that
// was never ended.
func (mode sqliteMode) program(t *testing.T, m *machine) {
	d := m.mount()
	b := &bank{t: t, mode: mode, path: m.in("bank.db")}
	b.make(m)

	b.half(m).kill()
	b.check(m, "after a writer was killed in a transaction")
	b.stream(m, func(p *dialogue) { must(t, p.cmd.Process.Kill()) })
	b.check(m, "after a writer was killed between transactions")

	for range programRounds(t) {
		half := b.half(m)
		d.kill()
		half.kill()
		d = m.mount()
		b.check(m, "after the daemon was killed in a transaction")
		b.stream(m, func(*dialogue) { d.kill() })
		d = m.mount()
		b.check(m, "after the daemon was killed between transactions")
	}

	b.several(m)
	b.check(m, "after three writers at a time")
	b.half(m).kill()

	d = d.remount()
	b.path = d.m.in("bank.db")
	b.check(d.m, "on a new machine")
	b.transfer(b.open(d.m))
	b.check(d.m, "after a transaction on a new machine")
	d.umount()
}

// bank is a database and what is known of it.
type bank struct {
	t    *testing.T
	mode sqliteMode
	path string
	done int  // transactions 1 to done are committed
	more bool // perhaps one more is
	soft bool // the last of them was seen, but its writer may not have synced it
}

// open is SQLite's shell with the database open; it ends at the first error.
func (b *bank) open(m *machine) *dialogue {
	b.t.Helper()
	p := m.dialogue(nil, "sqlite3", "-batch", "-bail", b.path)
	b.must(p, ".timeout 60000", "pragma synchronous="+b.mode.synchronous+";")
	return p
}

// must has SQLite do something that may not fail, and returns its answer.
func (b *bank) must(p *dialogue, lines ...string) (answer string) {
	b.t.Helper()
	for _, line := range lines {
		var err error
		if answer, err = p.ask(line, "select '"+answered+"';"); err != nil {
			b.t.Fatalf("sqlite3, %s: %s: %v\n%s", b.mode.journal, line, err, answer)
		}
	}
	return answer
}

func (b *bank) make(m *machine) {
	b.t.Helper()
	p := b.open(m)
	if got := b.must(p, "pragma journal_mode="+b.mode.journal+";"); got != b.mode.journal {
		b.t.Fatalf("SQLite says that the journal's mode is %q, want %q", got, b.mode.journal)
	}
	b.must(p,
		"create table account (id integer primary key, money integer not null, pad blob);",
		"create table done (n integer primary key);",
		fmt.Sprintf("with recursive i(n) as (values (1) union all select n+1 from i where n < %d) insert into account select n, %d, randomblob(900) from i;", sqliteAccounts, sqliteMoney))
	p.kill()
	b.check(m, "when it was made")
}

// move is a transaction, of which SQLite tells when it has committed it.
func move(n int) string {
	return fmt.Sprintf("begin immediate; update account set money = money - %d, pad = randomblob(%d) where id = %d; update account set money = money + %d where id = %d; insert into done values (%d); commit; select 'done %d';",
		n%50, 300+n*37%1500, n%sqliteAccounts+1, n%50, n*7%sqliteAccounts+1, n, n)
}

// transfer makes one transaction.
func (b *bank) transfer(p *dialogue) {
	b.t.Helper()
	b.must(p, move(b.done+1))
	b.done++
	b.soft = false
	p.kill()
}

// half is a writer in the middle of a transaction that has changed every account
// but not ended, and did not find room for it in memory.
func (b *bank) half(m *machine) *dialogue {
	b.t.Helper()
	p := b.open(m)
	b.must(p, "pragma cache_size=10;", "begin immediate;",
		"update account set money = money - 7, pad = randomblob(1200);", fmt.Sprintf("insert into done values (%d);", b.done+1_000_000))
	size, err := strconv.Atoi(strings.TrimSpace(m.tool("stat", "-c", "%s", b.path+b.mode.file)))
	if err != nil || size < 100_000 {
		b.t.Fatalf("half a transaction has put %d bytes into the journal (%v): it is none that could be lost", size, err)
	}
	return p
}

// stream is a writer with one transaction after the other, until end ends it.
func (b *bank) stream(m *machine, end func(*dialogue)) {
	b.t.Helper()
	p := b.open(m)
	first := b.done
	for n := range 200 { // as many as the pipe holds
		p.tell(move(first + n + 1))
	}
	note := func(line string) {
		if n, err := strconv.Atoi(strings.TrimPrefix(line, "done ")); err == nil && n == b.done+1 {
			b.done = n
		}
	}
	for b.done < first+25 {
		note(p.line())
	}
	b.soft = false
	end(p)
	for _, line := range p.kill() {
		note(line)
	}
	b.more = true
}

// several writers share the database.
func (b *bank) several(m *machine) {
	b.t.Helper()
	const writers, each = 3, 20
	var all []*dialogue
	for w := range writers {
		p := b.open(m)
		for n := range each {
			p.tell(move(b.done + n*writers + w + 1))
		}
		all = append(all, p)
	}
	for _, p := range all {
		for n := range each {
			if s := p.line(); !strings.HasPrefix(s, "done ") {
				b.t.Fatalf("writer of several, transaction %d: %s", n, s)
			}
		}
		p.kill()
	}
	b.done += writers * each
	b.soft = false
}

// check has SQLite look at its file, and counts.
func (b *bank) check(m *machine, when string) {
	b.t.Helper()
	p := b.open(m)
	if got := b.must(p, "pragma integrity_check;"); got != "ok" {
		b.t.Fatalf("%s, %s: integrity_check says\n%s", b.mode.journal, when, got)
	}
	if got := b.must(p, "pragma journal_mode;"); got != b.mode.journal {
		b.t.Errorf("%s, %s: the journal's mode is %q", b.mode.journal, when, got)
	}
	if got, want := b.must(p, "select count(*), sum(money) from account;"), fmt.Sprint(sqliteAccounts, "|", sqliteAccounts*sqliteMoney); got != want {
		b.t.Errorf("%s, %s: accounts and money are %s, want %s", b.mode.journal, when, got, want)
	}
	got := b.must(p, "select count(*), coalesce(max(n), 0) from done;")
	p.kill()
	switch {
	case b.more && got == fmt.Sprint(b.done+1, "|", b.done+1):
		// Its writer was killed before it told of it, and perhaps before it synced it:
		// until the next commit it may go again with the daemon.
		b.done++
		b.soft = true
	case b.soft && got == fmt.Sprint(b.done-1, "|", b.done-1):
		b.done--
		b.soft = false
	}
	b.more = false
	if want := fmt.Sprint(b.done, "|", b.done); got != want {
		b.t.Fatalf("%s, %s: number and last of the transactions are %s, committed were %s", b.mode.journal, when, got, want)
	}
}
