package crashwork

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Env is what a worker's process wants in its environment: calls that a drive
// answers are not begun anew because the runtime sends itself a signal.
const Env = "GODEBUG=asyncpreemptoff=1"

// Options of a worker.
type Options struct {
	ID    int
	Seed  uint64 // its bit 8 makes all workers of a round lazy, since one that asks for something to be kept has more kept than its own
	Base  string // folder in the drive that holds the folders of all workers
	State string // file with what is there for good, as Judge gives it; empty: nothing
	Notes string // file that is appended to
	Count int    // how many things it does
}

// Args are the arguments of Main.
func (o Options) Args() []string {
	return []string{strconv.Itoa(o.ID), strconv.FormatUint(o.Seed, 10), o.Base, o.State, o.Notes, strconv.Itoa(o.Count)}
}

// Main is the process of a worker.
func Main(args []string) int {
	if len(args) != 6 {
		return 2
	}
	id, err1 := strconv.Atoi(args[0])
	seed, err2 := strconv.ParseUint(args[1], 10, 64)
	count, err3 := strconv.Atoi(args[5])
	past, err4 := LoadPast(args[3])
	notes, err5 := os.OpenFile(args[4], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w := &worker{id: id, base: args[2], notes: notes, r: rand.New(rand.NewPCG(seed, uint64(id))), m: newModel(id, past.tree(), 0), last: past.Last, lazy: seed>>8&1 == 1}
	code := 0
	for range count {
		if err := w.next(); err != nil {
			w.note(Note{Err: err.Error()})
			if code = w.codeOf(err); code != Died {
				fmt.Fprintf(os.Stderr, "worker %d, seed %d: %v\n", id, seed, err)
			}
			break
		}
	}
	if w.held != nil {
		w.held.Close()
	}
	return code
}

// worker is one at work.
type worker struct {
	id    int
	base  string
	notes *os.File
	r     *rand.Rand
	m     *model
	last  uint64   // number of the newest file, and of versions
	held  *os.File // has no name any more
	lazy  bool     // it seldom asks for anything to be kept
}

// syncs says whether the worker asks now for something to be kept, which it may.
func (w *worker) syncs() bool { return !w.lazy || w.r.IntN(25) == 0 }

// errMisread: bytes are not those that were written.
var errMisread = errors.New("misread")

// codeOf tells a drive that died, after which every call fails in its own way,
// from one that refuses.
func (w *worker) codeOf(err error) int {
	var st unix.Statfs_t
	dead := unix.Statfs(w.base, &st) // what the kernel does not keep
	switch {
	case errors.Is(err, errMisread):
		return Misread
	case errors.Is(dead, unix.ENOTCONN), errors.Is(dead, unix.ECONNABORTED):
		return Died
	}
	return Refused
}

// note writes a line at the end of the notes, in one call.
func (w *worker) note(n Note) {
	b, err := json.Marshal(n)
	if err == nil {
		_, err = w.notes.Write(append(b, '\n'))
	}
	if err != nil {
		panic(err) // without notes nothing can be judged
	}
}

// roomWithin is how long a worker waits for a drive that says that it is full.
const roomWithin = 30 * time.Second

// act notes one thing, does it, and notes that it was done. What is refused for
// lack of room has not happened, and is tried again.
func (w *worker) act(n Note) error {
	w.note(n)
	ino, err := w.run(&n)
	for began := time.Now(); errors.Is(err, unix.ENOSPC) && time.Since(began) < roomWithin; {
		<-time.After(5 * time.Millisecond)
		ino, err = w.run(&n)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", n.Op, n.A, err)
	}
	n.Done, n.Ino = true, ino
	w.note(Note{Done: true, Ino: ino})
	w.m.do(&n)
	w.m.states = w.m.states[:0] // the judge's
	w.m.step++
	return nil
}

// again calls fn until no signal ends it: Go's runtime sends some.
func again(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

func (w *worker) at(p string) string { return filepath.Join(w.base, p) }

// errGone: the drive died under a mapping.
var errGone = errors.New("the drive is gone under a mapping")

// mapped stores blocks of a file through a mapping.
func (w *worker) mapped(n *Note) (err error) {
	f, err := os.OpenFile(w.at(n.A), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := unix.Mmap(int(f.Fd()), int64(n.At)*blockSize, n.N*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Munmap(b)) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errGone
		}
	}()
	for i := range n.N {
		length := blockSize
		if i == n.N-1 {
			length = n.Len
		}
		copy(b[i*blockSize:], block(n.File, n.At+i, n.Ver)[:length])
	}
	if n.Flag == "sync" {
		return again(func() error { return unix.Msync(b, unix.MS_SYNC) })
	}
	return nil
}

// check reads a file and compares it with what was written.
func (w *worker) check(p string) error {
	f, err := os.Open(w.at(p))
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	d := w.m.names[p].data
	if int64(len(got)) != d.length() {
		return fmt.Errorf("%w: %d bytes, want %d", errMisread, len(got), d.length())
	}
	for i := range blocksOf(int64(len(got))) {
		b := got[i*blockSize : min((i+1)*blockSize, len(got))]
		if !d.now(i).is(b) {
			return fmt.Errorf("%w: block %d is %s, want %v", errMisread, i, describe(b), d.now(i))
		}
	}
	return nil
}

// paths are those of the worker's names of some kinds that pass.
func (w *worker) paths(kinds string, pass func(string, *node) bool) []string {
	var all []string
	for p, f := range w.m.names {
		for i := range kinds {
			if f.kind == kinds[i] && (pass == nil || pass(p, f)) {
				all = append(all, p)
			}
		}
	}
	slices.Sort(all)
	return all
}

// pick is one of them; empty when there is none.
func (w *worker) pick(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[w.r.IntN(len(all))]
}

// fresh is a new number.
func (w *worker) fresh() uint64 {
	w.last++
	return uint64(w.id+1)<<40 | w.last
}

// attributes of an inode, by name.
func (w *worker) attributes(p string) []string {
	return slices.Sorted(maps.Keys(w.m.names[p].attrs))
}
