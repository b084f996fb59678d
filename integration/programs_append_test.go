package integration

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// appendRecords appends records to the file $1 as writer $2 until it is ended, or
// $3 are written. It opens the file for each, or, with keep for $4, once. Each is
// a single write(2): the writer, a number, filling and an end.
const appendRecords = `
fill=----------------------------------------------------------------
fill=$fill$fill$fill$fill
[ "$4" = each ] || exec 3>>"$1"
i=0
while [ "$i" -lt "$3" ]; do
	i=$((i + 1))
	record="$2 $i $(printf '%.*s' $((i * 37 % 250)) "$fill") end"
	if [ "$4" = each ]; then echo "$record" >>"$1"; else echo "$record" >&3; fi
done`

// writers is how many there are.
const writers = 4

// Four processes append to one file, which two of them open again for each
// record: none is lost, torn or written over, in memory and on the new machine.
// Then the daemon is killed while they append: what fsync had acknowledged is
// there, and after it nothing but whole records, each writer's in order.
func programAppend(t *testing.T, m *machine) {
	const each = 600
	d := m.mount()
	start := func(file string, count int) (all []*dialogue) {
		for w := range writers {
			how := []string{"each", "keep"}[w%2]
			all = append(all, m.dialogue(nil, "sh", "-euc", appendRecords, "sh", file, itoa(w), itoa(count), how))
		}
		return all
	}
	for _, p := range start(m.in("log"), each) {
		if said := p.rest(); len(said) > 0 || p.cmd.ProcessState.ExitCode() != 0 {
			t.Fatalf("a writer ended with %v:\n%s", p.cmd.ProcessState, strings.Join(said, "\n"))
		}
	}
	want := [writers]int{each, each, each, each}
	if got := recordsIn(t, m.in("log"), false); got != want {
		t.Errorf("the writers' records are %v, want %v", got, want)
	}

	all := start(m.in("killed"), 1<<30)
	eventually(t, "all writers are at work", time.Minute, func() bool {
		b, err := os.ReadFile(m.in("killed"))
		n := countRecords(b)
		return err == nil && min(n[0], n[1], n[2], n[3]) > 50
	})
	must(t, syncFolder(m.mnt))
	f, err := os.Open(m.in("killed"))
	must(t, err)
	before := countRecords(read(t, m.in("killed")))
	must(t, f.Sync())
	must(t, f.Close())
	d.kill()
	for _, p := range all {
		p.kill()
	}
	d = m.mount()
	got := recordsIn(t, m.in("killed"), true)
	for w := range got {
		if got[w] < before[w] {
			t.Errorf("writer %d: %d records are there, and fsync had acknowledged %d", w, got[w], before[w])
		}
	}

	d = d.remount()
	if got := recordsIn(t, d.m.in("log"), false); got != want {
		t.Errorf("on a new machine the writers' records are %v, want %v", got, want)
	}
	if now := recordsIn(t, d.m.in("killed"), true); now != got {
		t.Errorf("on a new machine the records of the file whose daemon was killed are %v, they were %v", now, got)
	}
	d.umount()
}

// recordsIn are the numbers of records of each writer; every one must be whole,
// and the writer's next. A file cut off by a crash may end in a piece of one.
func recordsIn(t *testing.T, path string, crashed bool) (n [writers]int) {
	t.Helper()
	b := read(t, path)
	lines := bytes.SplitAfter(b, []byte("\n"))
	for i, line := range lines[:len(lines)-1] {
		w, number, ok := record(line)
		if !ok || number != n[w]+1 {
			t.Fatalf("%s: line %d is %q, after records %v", path, i, line, n)
		}
		n[w]++
	}
	if last := lines[len(lines)-1]; len(last) > 0 && !crashed {
		t.Fatalf("%s ends in %q", path, last)
	}
	return n
}

// countRecords counts those of a file that is being written.
func countRecords(b []byte) (n [writers]int) {
	for line := range bytes.Lines(b) {
		if w, _, ok := record(line); ok {
			n[w]++
		}
	}
	return n
}

// record is a line's writer and number, if it is a whole record.
func record(line []byte) (writer, number int, ok bool) {
	rest, whole := bytes.CutSuffix(line, []byte(" end\n"))
	fields := bytes.SplitN(rest, []byte(" "), 3)
	if !whole || len(fields) != 3 {
		return 0, 0, false
	}
	writer, err1 := strconv.Atoi(string(fields[0]))
	number, err2 := strconv.Atoi(string(fields[1]))
	filling := strings.Repeat("-", number*37%250)
	return writer, number, err1 == nil && err2 == nil && writer >= 0 && writer < writers && string(fields[2]) == filling
}
