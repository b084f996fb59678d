package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A worker is a process that writes in one folder of its own until something
// fails, and notes outside of the mount what it is about to do and what fsync
// has acknowledged. Its verifier replays the notes: what was acknowledged is
// there; of the one thing that was not, there is any beginning; nothing else.
//
// All bytes follow from the worker's seed and a number, so the notes hold none:
//
//	put N S     the file N has version S as content, by temporary file, fsync,
//	            rename, fsync of the folder
//	append N S  version S is appended to N, fsync
//	over N S    version S is written over the beginning of N in place, fsync
//	remove N S  N is removed, fsync of the folder
//	ok          the last of these was acknowledged
type worker struct {
	seed uint64
	dir  string
}

// names is how many files a worker has.
const names = 12

type note struct {
	op      string
	name    int
	version int
	acked   bool
}

// workerMain is the process: SEED DIR NOTES COUNT. It ends with 0 after COUNT
// things, or with 3 at the first that fails.
func workerMain(args []string) int {
	if len(args) != 4 {
		return 2
	}
	seed, err1 := strconv.ParseUint(args[0], 10, 64)
	count, err2 := strconv.Atoi(args[3])
	notes, err3 := os.OpenFile(args[2], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err := errors.Join(err1, err2, err3); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w := worker{seed, args[1]}
	r := rand.New(rand.NewPCG(seed, 1))
	there := map[int]bool{}
	for version := range count {
		n := note{name: r.IntN(names), version: version}
		switch k := r.IntN(10); {
		case !there[n.name] || k < 4:
			n.op = "put"
		case k < 7:
			n.op = "append"
		case k < 9:
			n.op = "over"
		default:
			n.op = "remove"
		}
		there[n.name] = n.op != "remove"
		fmt.Fprintf(notes, "%s %d %d\n", n.op, n.name, n.version)
		if err := w.do(n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
		fmt.Fprintln(notes, "ok")
	}
	return 0
}

// content is version v: up to 40 kB, at times 600 kB, so that some goes inline
// into the journal and some through a pack.
func (w worker) content(v int) []byte {
	r := rand.New(rand.NewPCG(w.seed, uint64(v)+100))
	n := r.IntN(40_000)
	if r.IntN(12) == 0 {
		n = r.IntN(600_000)
	}
	return pattern(w.seed+uint64(v)*1_000_003, 0, n)
}

func (w worker) path(name int) string { return filepath.Join(w.dir, fmt.Sprint("file", name)) }

func (w worker) do(n note) error {
	switch n.op {
	case "put":
		temp := filepath.Join(w.dir, "temporary")
		if err := writeSynced(temp, os.O_CREATE|os.O_TRUNC, w.content(n.version)); err != nil {
			return err
		}
		if err := os.Rename(temp, w.path(n.name)); err != nil {
			return err
		}
		return syncFolder(w.dir)
	case "append":
		return writeSynced(w.path(n.name), os.O_APPEND, w.content(n.version))
	case "over":
		return writeSynced(w.path(n.name), 0, w.content(n.version))
	case "remove":
		if err := os.Remove(w.path(n.name)); err != nil {
			return err
		}
		return syncFolder(w.dir)
	}
	return fmt.Errorf("no such thing as %q", n.op)
}

func writeSynced(path string, flags int, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func readNotes(path string) ([]note, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []note
	for s := bufio.NewScanner(f); s.Scan(); {
		var n note
		if s.Text() == "ok" {
			all[len(all)-1].acked = true
		} else if _, err := fmt.Sscanf(s.Text(), "%s %d %d", &n.op, &n.name, &n.version); err != nil {
			return nil, fmt.Errorf("note %q: %w", s.Text(), err)
		} else {
			all = append(all, n)
		}
	}
	return all, nil
}

// verify compares the folder with the notes and says what is wrong, and how many
// things were acknowledged.
func (w worker) verify(notesPath string) (acked int, wrong []string) {
	notes, err := readNotes(notesPath)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // it was ended before its first note
	}
	if err != nil {
		return 0, []string{err.Error()}
	}
	want := map[int][]byte{} // nil: not there
	last := note{name: -1}
	for _, n := range notes {
		if !n.acked {
			last = n // no other follows
			continue
		}
		acked++
		want[n.name] = w.after(want[n.name], n, -1)
	}
	for name := range names {
		got, err := os.ReadFile(w.path(name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			wrong = append(wrong, err.Error())
			continue
		}
		if same(got, err == nil, want[name]) {
			continue
		}
		if name == last.name && w.partly(want[name], last, got, err == nil) {
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s: %d bytes, there: %v; acknowledged are %d bytes (nil: %v); the last, not acknowledged: %+v",
			w.path(name), len(got), err == nil, len(want[name]), want[name] == nil, last))
	}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return acked, append(wrong, err.Error())
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "file") && !(e.Name() == "temporary" && last.op == "put") {
			wrong = append(wrong, "a name that should not be there: "+e.Name())
		}
	}
	return acked, wrong
}

// after is the content of n's file once n is done to was; of what n writes only
// the first part bytes, all for -1. A file that is there is never nil.
func (w worker) after(was []byte, n note, part int) []byte {
	if n.op == "remove" {
		return nil
	}
	b := w.content(n.version)
	if part >= 0 {
		b = b[:part]
	}
	switch n.op {
	case "append":
		return append(slices.Clip(was), b...)
	case "over":
		out := append([]byte{}, b...)
		if len(was) > len(b) {
			out = append(out, was[len(b):]...)
		}
		return out
	}
	return append([]byte{}, b...)
}

func same(got []byte, there bool, want []byte) bool {
	return there == (want != nil) && bytes.Equal(got, want)
}

// partly accepts what a crash may leave of n: all of it; of an append any
// beginning; of a write in place any mixture of old and new by the pages in which
// the kernel hands it over.
func (w worker) partly(was []byte, n note, got []byte, there bool) bool {
	full := w.after(was, n, -1)
	if same(got, there, full) {
		return true
	}
	switch n.op {
	case "append":
		return there && len(got) >= len(was) && bytes.HasPrefix(full, got)
	case "over":
		if !there || len(got) < len(was) || len(got) > len(full) {
			return false
		}
		const page = 4096
		for off := 0; off < len(got); off += page {
			end := min(off+page, len(got))
			old := off < len(was) && bytes.Equal(got[off:min(end, len(was))], was[off:min(end, len(was))]) && end <= len(was)
			if !old && !bytes.Equal(got[off:end], full[off:end]) {
				return false
			}
		}
		return true
	}
	return false
}
