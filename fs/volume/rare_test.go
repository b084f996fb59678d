package volume

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The steps of the journal that an ordinary life does not come to.

func TestJournalOfManyFiles(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	var met once
	m.step = met.step
	m.mustOpen()
	// A pack that is closed early and named late keeps its file of the journal.
	floats, err := m.touch("floats")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("pack"), 1<<20+1)
	if err := m.v.Write(t.Context(), floats.Ref, 0, content); err != nil {
		t.Fatal(err)
	}
	inline := strings.Repeat("x", 250<<10)
	for i := range 175 {
		as(m, write("b", inline[i:]), func(m *machine) error { return m.v.persist() })
		if i%20 == 19 {
			as(m, func(m *machine) error { return m.v.sync.Publish(t.Context()) })
		}
	}
	as(m, fsync("floats"))
	was := m.tree()
	m.crash()
	as(m, read("floats", string(content)), read("b", inline[174:]))
	if got := m.tree(); got != was {
		t.Errorf("replayed:\n%s\nbefore:\n%s", got, was)
	}
	as(m, lock)
	for _, step := range []string{"journal.extend", "journal.rotate", "journal.carry"} {
		if !slices.Contains(met.names(), step) {
			t.Errorf("%s was never met", step)
		}
	}
}

// A disk that refuses a write costs the program an error, and nothing else.
func TestJournalWriteFails(t *testing.T) {
	// In a process of its own: the limit is that of all files that a process writes.
	const child = "HUSHFS_TEST_FULL"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	w := newWorld(t)
	m := w.laptop
	var met once
	m.step = met.step
	as(m, write("a", "1"), fsync("a"), write("b", "2"))
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 64, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	_, _, b, _ := m.find("b")
	err := m.v.Fsync(context.Background(), b.Ref)
	m.v.settle(context.Background(), 0)
	noted := m.v.Status().Warnings
	if lerr := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); lerr != nil {
		t.Fatal(lerr)
	}
	if err == nil || len(noted) == 0 {
		t.Errorf("fsync: %v, warnings %q", err, noted)
	}
	as(m, fsync("b"))
	m.v.settle(context.Background(), 0)
	if s := m.v.Status(); len(s.Warnings) != 0 {
		t.Errorf("warnings stay: %q", s.Warnings)
	}
	m.crash()
	as(m, read("a", "1"), read("b", "2"), lock)
	if !slices.Contains(met.names(), "journal.abandon") {
		t.Error("journal.abandon was never met")
	}
}

// What the local disk lost is said, as long as the mount lasts; the rest is kept and goes
// on.
func TestDamagedJournal(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	var met once
	m.step = met.step
	as(m, write("a", "1"), fsync("a"), write("b", "2"), fsync("b"), write("c", big), fsync("c"), write("d", "4"), fsync("d"))
	m.crash()
	files, err := filepath.Glob(filepath.Join(m.state(), "journal-*", "ops-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q: %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(raw, "\x00"))
	raw[8192+(end-8192)/2] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	as(m, read("a", "1"), read("d", "4"))
	m.v.settle(context.Background(), 0)
	if s := m.v.Status(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "damage") {
		t.Errorf("warnings %q", s.Warnings)
	}
	// The pack file whose record is lost may help whoever mends it.
	if packs, _ := filepath.Glob(filepath.Join(m.state(), "journal-*", "packs", "*")); len(packs) == 0 {
		t.Error("the pack file is gone")
	}
	as(m, write("e", "5"), lock)
	as(w.machine("desktop"), read("a", "1"), read("e", "5"))
	if !slices.Contains(met.names(), "journal.aside") {
		t.Error("journal.aside was never met")
	}
}

// A pack file that is gone from the local disk: nothing is published that names
// it, and it is said why.
func TestLostPackFile(t *testing.T) {
	for name, harm := range map[string]func(string) error{
		"missing": os.Remove,
		"cut":     func(p string) error { return os.Truncate(p, 1000) },
		"torn": func(p string) error {
			b, err := os.ReadFile(p)
			if err == nil {
				clear(b[len(b)-300:])
				err = os.WriteFile(p, b, 0o600)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.laptop
			as(m, write("a", big), fsync("a"), write("b", "2"), fsync("b"))
			m.crash()
			packs, err := filepath.Glob(filepath.Join(m.state(), "journal-*", "packs", "*"))
			if err != nil || len(packs) != 1 {
				t.Fatalf("%q: %v", packs, err)
			}
			if err := harm(packs[0]); err != nil {
				t.Fatal(err)
			}
			as(m, read("b", "2"))
			if err := drained(m); err == nil {
				t.Error("published")
			}
			if s := m.v.Status(); s.Stored || !strings.Contains(s.Stopped, "local disk") {
				t.Errorf("status %+v", s)
			}
			as(w.machine("desktop"), missing("a"))
		})
	}
}

// While state cannot be written the journal forgets nothing, and nothing further
// is published; afterwards it goes on.
func TestStateNotWritable(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("a", "1"), fsync("a"))
	inTheWay := filepath.Join(m.state(), "state.new")
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := drained(m); err == nil {
			t.Error("published, and not remembered")
		}
	}
	if s := m.v.Status(); len(s.Warnings) == 0 {
		t.Error("no warning")
	}
	as(m, write("b", "2"), fsync("b"))
	if n := len(w.names("l")); n != 2 {
		t.Errorf("%d slots", n)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	m.crash()
	as(m, read("a", "1"), read("b", "2"), lock)
	if n := m.number(); n != 1 {
		t.Errorf("device %d", n)
	}
	as(w.machine("desktop"), read("a", "1"), read("b", "2"))
}
