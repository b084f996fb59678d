package volume

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publishing "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store/dir"
)

// life is what a child process is told: a machine, a random history, and the step
// at which it is killed.
type life struct {
	Dir, Store, Log string
	Unlock          []byte
	Seed            uint64
	Ops             int
	Die             string // step; empty is the end of the history
	Nth             int
}

const lifeEnv = "HUSHFS_TEST_LIFE"

func TestMain(m *testing.M) {
	if told := os.Getenv(lifeEnv); told != "" {
		if err := live(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		die()
	}
	os.Exit(m.Run())
}

// die is kill -9.
func die() {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {}
}

// live is the life of a child. It logs each state that a crash may leave, and each
// time that everything up to the last is durable.
func live(told string) error {
	var l life
	if err := json.Unmarshal([]byte(told), &l); err != nil {
		return err
	}
	log, err := os.OpenFile(l.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	b, err := dir.Open(l.Store, dir.Options{})
	if err != nil {
		return err
	}
	n := 0
	m := &machine{name: "laptop", bucket: b, unlock: l.Unlock, dir: l.Dir, log: &lines{}}
	met := map[string]bool{}
	var mu sync.Mutex // guards met and n
	m.step = func(name string) {
		mu.Lock()
		defer mu.Unlock()
		if !met[name] {
			met[name] = true
			fmt.Fprintln(log, "step", name)
		}
		if name != l.Die {
			return
		}
		if n++; n == l.Nth {
			die() // no other goroutine comes further than its next step
		}
	}
	if err := m.open(); err != nil {
		return err
	}
	h := history{m: m, rng: rand.New(rand.NewPCG(l.Seed, 1)), log: log, unpinned: map[meta.Ino]int{}}
	for range l.Ops {
		if err := h.next(); err != nil {
			return err
		}
	}
	return nil
}

// history does random things to a small tree, one after the other. Files are closed
// after each write.
//
// A crash leaves what operations made, and these follow each other in order: so what
// is logged is the tree without the data that floats. Only data that was closed, is
// more than goes inline, and was neither synced nor renamed nor given a time since may do that, until
// the next tick; and what it is when it becomes an operation is what a program saw.
type history struct {
	m        *machine
	rng      *rand.Rand
	log      io.Writer
	unpinned map[meta.Ino]int // by inode, bytes written since it had none that float
}

// next does one thing.
func (h *history) next() error {
	ctx := context.Background()
	name := func() string { return fmt.Sprintf("f%d", h.rng.IntN(6)) }
	a := name()
	_, _, f, ferr := h.m.find(a)
	var err error
	switch h.rng.IntN(15) {
	case 0, 1, 2:
		err = h.write(a, h.rng.IntN(40<<10))
	case 3:
		err = h.write(a, 200<<10+h.rng.IntN(200<<10)) // about what goes inline at most
	case 4:
		if h.rng.IntN(4) == 0 {
			err = h.write(a, 5<<20) // fills a pack
		}
	case 5:
		err = unlink(a)(h.m)
	case 6:
		if b := name(); b != a && ferr == nil {
			err = h.land(f.Ref, func() error { return rename(a, b)(h.m) })
		}
	case 7:
		if ferr == nil {
			err = h.m.v.Truncate(ctx, f.Ref, uint64(h.rng.IntN(1+int(f.Inode.Size)+100)), nil)
			if err == nil && h.floats(f.Ref) {
				err = errors.New("a file that was truncated floats")
			}
		}
	case 8, 9:
		err = h.durable(h.m.v.persist)
	case 10:
		// As the clock does it.
		if err = h.land(meta.RootRef, func() error { return h.m.v.ripen(ctx, settleAge) }); err == nil {
			err = h.durable(h.m.v.persist)
		}
	case 11:
		if ferr == nil {
			err = h.fsync(f.Ref)
		}
	case 12:
		if err = h.land(meta.RootRef, func() error { return h.m.v.pinOld(ctx, 0) }); err == nil {
			err = h.durable(func() error { return h.m.v.sync.Publish(ctx) })
		}
		if err == nil && h.rng.IntN(2) == 0 {
			err = h.m.v.sync.Fold(ctx)
		}
	case 13:
		if ferr == nil {
			at := meta.Time{Sec: h.rng.Int64N(1 << 31)}
			err = h.land(f.Ref, func() error { return h.m.v.Setattr(ctx, f.Ref, meta.Setattr{Valid: meta.SetMtime, Mtime: at}) })
		}
	default:
		err = mkdir(fmt.Sprintf("d%d", h.rng.IntN(3)))(h.m)
	}
	if err != nil && !errors.Is(err, meta.ErrNotExist) { // the history did not know
		return err
	}
	return h.note()
}

// write writes n random bytes somewhere in a file.
func (h *history) write(name string, n int) error {
	f, err := h.m.touch(name)
	if err != nil {
		return err
	}
	b := make([]byte, n+1)
	for i := range b {
		b[i] = byte(h.rng.Uint32())
	}
	if err := h.m.v.Write(context.Background(), f.Ref, uint64(h.rng.IntN(64<<10)), b); err != nil {
		return err
	}
	if err := h.m.v.Flush(context.Background(), f.Ref); err != nil {
		return err
	}
	if h.unpinned[f.Ref.Ino] += len(b); h.unpinned[f.Ref.Ino] <= inlineMax && h.floats(f.Ref) {
		return errors.New("a small file floats after its close")
	}
	return nil
}

// fsync is Fsync with its state logged before that is durable.
func (h *history) fsync(ref meta.Ref) error {
	v := h.m.v
	err := h.land(ref, func() error {
		v.seal(ref, false)
		return v.locked(context.Background(), func() error { return v.pin(ref.Ino) })
	})
	if err != nil {
		return err
	}
	return h.durable(func() error { return v.Fsync(context.Background(), ref) })
}

// durable does what makes all durable that was logged.
func (h *history) durable(how func() error) error {
	err := how()
	if err == nil {
		fmt.Fprintln(h.log, "durable")
	}
	return err
}

// note logs the state that a crash may leave from now on.
func (h *history) note() error {
	tree, err := h.ashore(meta.RootRef)
	if err == nil {
		fmt.Fprintf(h.log, "state %x\n", sha256.Sum256([]byte(tree)))
	}
	for ino := range h.unpinned {
		if !h.floats(meta.Ref{Ino: ino}) {
			delete(h.unpinned, ino)
		}
	}
	return err
}

// land does what makes operations of all data of an inode, or of what is below it, and
// sees that they make of it what a program saw before.
func (h *history) land(ref meta.Ref, how func() error) error {
	var seen bytes.Buffer
	if err := h.m.v.describe(&seen, "", ref); err != nil {
		return err
	}
	if err := how(); err != nil {
		return err
	}
	now, err := h.ashore(ref)
	if err != nil {
		return err
	}
	if was, is := timeless(seen.String()), timeless(now); was != is {
		return fmt.Errorf("a program saw\n%sand the operations made\n%s", was, is)
	}
	return h.note()
}

// timeless takes times and versions out of a description.
func timeless(tree string) string {
	var out strings.Builder
	for line := range strings.Lines(tree) {
		f := strings.Fields(line)
		fmt.Fprintln(&out, slices.Delete(f, len(f)-2, len(f)-1))
	}
	return out.String()
}

// ashore describes an inode, and what is below it, without what floats.
func (h *history) ashore(ref meta.Ref) (string, error) {
	v := h.m.v
	swap := func(to map[meta.Ino]*dirty) (was map[meta.Ino]*dirty) {
		v.mu.Lock()
		defer v.mu.Unlock()
		was, v.dirty = v.dirty, to
		return was
	}
	afloat := swap(map[meta.Ino]*dirty{})
	defer swap(afloat)
	var out bytes.Buffer
	err := v.describe(&out, "", ref)
	return out.String(), err
}

func (h *history) floats(ref meta.Ref) bool {
	h.m.v.mu.Lock()
	defer h.m.v.mu.Unlock()
	return h.m.v.dirty[ref.Ino] != nil
}

// lives is one machine through many processes, each of which is killed.
type lives struct {
	t     *testing.T
	m     *machine
	life  life
	seals seals
	met   once
	was   string // hash of the tree before the next life
}

func newLives(t *testing.T) *lives {
	root := t.TempDir()
	l := &lives{t: t, seals: seals{}}
	l.life = life{Dir: filepath.Join(root, "laptop"), Store: filepath.Join(root, "store"), Log: filepath.Join(root, "log")}
	b, err := dir.Open(l.life.Store, dir.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	l.m = &machine{t: t, name: "laptop", bucket: b, dir: l.life.Dir, log: &lines{}}
	l.m.step = l.met.step
	l.life.Unlock, _ = makeDrive(t, b, l.m.state())
	l.m.unlock = l.life.Unlock
	t.Cleanup(l.m.crash)
	l.was = l.look()
	return l
}

// look mounts, returns the hash of the tree, and leaves as a kill would.
func (l *lives) look() string {
	l.t.Helper()
	l.m.mustOpen()
	sum := sha256.Sum256([]byte(l.m.tree()))
	if s := l.m.v.Status(); s.Device != 1 || len(s.Warnings) > 0 || s.Stopped != "" {
		l.t.Errorf("device %d, warnings %q, stopped %q", s.Device, s.Warnings, s.Stopped)
	}
	l.m.crash()
	return hex.EncodeToString(sum[:])
}

// one lives one life and checks what it leaves: one of the states that the tree
// was in, no older than the last that was durable.
func (l *lives) one(seed uint64, ops int, step string, nth int) {
	l.t.Helper()
	l.life.Seed, l.life.Ops, l.life.Die, l.life.Nth = seed, ops, step, nth
	states := l.child()
	l.seals.collect(l.t, l.life.Dir, l.life.Store)
	now := l.look()
	if !slices.Contains(states, now) {
		l.t.Fatalf("seed %d, killed at %s, %d: the tree is in none of the %d states after the last durable one", seed, step, nth, len(states))
	}
	l.was = now
}

// child runs a process until it is killed, and returns the states that may be left.
func (l *lives) child() (states []string) {
	l.t.Helper()
	told, err := json.Marshal(l.life)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.RemoveAll(l.life.Log); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lifeEnv+"="+string(told))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() >= 0 {
		l.t.Fatalf("seed %d: the child was not killed: %v: %s", l.life.Seed, err, out)
	}
	log, err := os.Open(l.life.Log)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	states = []string{l.was}
	for s := bufio.NewScanner(log); s.Scan(); {
		what, rest, _ := strings.Cut(s.Text(), " ")
		switch what {
		case "step":
			l.met.step(rest)
		case "state":
			states = append(states, rest)
		case "durable":
			states = states[len(states)-1:]
		}
	}
	return states
}

// drain locks in order and compares with a machine that has only the store.
func (l *lives) drain() {
	l.t.Helper()
	as(l.m, lock)
	l.seals.collect(l.t, l.life.Dir, l.life.Store)
	far := &machine{t: l.t, name: "far", bucket: l.m.bucket, unlock: l.m.unlock, dir: l.t.TempDir(), log: &lines{}}
	far.mustOpen()
	defer far.crash()
	if sum := sha256.Sum256([]byte(far.tree())); hex.EncodeToString(sum[:]) != l.was {
		l.t.Error("another machine sees another tree")
	}
}

// seals remembers what was sealed under which salt. A salt belongs to one
// plaintext for ever: sealing a second one under it would give both away.
type seals map[string][]byte

// collect looks at every sealed object and journal file below the folders.
func (s seals) collect(t *testing.T, roots ...string) {
	t.Helper()
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "cache" {
				return fs.SkipDir // what is there are copies, some with holes
			}
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.HasPrefix(d.Name(), "ops-") || strings.HasPrefix(d.Name(), "damaged-") {
				s.file(t, d.Name(), bytes.TrimRight(b, "\x00"))
			} else if tail, err := crypt.ParseTail(b); err == nil {
				hash := tail.HeaderHash() // salt, type and epoch
				s.object(t, d.Name(), string(hash[:]), b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s seals) object(t *testing.T, name, salt string, b []byte) {
	t.Helper()
	if was, ok := s[salt]; ok && !bytes.Equal(was, b) {
		t.Errorf("%s: two objects under one salt", name)
	}
	s[salt] = b
}

// file: a journal file's salt stands at 16 in its header, and it only grows.
func (s seals) file(t *testing.T, name string, b []byte) {
	t.Helper()
	if len(b) < 48 {
		return
	}
	salt := string(b[:48])
	was := s[salt]
	if n := min(len(was), len(b)); !bytes.Equal(was[:n], b[:n]) {
		t.Errorf("%s: two contents under one salt", name)
	}
	if len(b) > len(was) {
		s[salt] = b
	}
}

// commonSteps are met in an ordinary life; the others need a full or failing disk
// or damage, see TestRareSteps.
func commonSteps() []string {
	rare := []string{"journal.abandon", "journal.aside", "journal.carry", "journal.rotate", "journal.extend"}
	all := slices.Concat(journal.Steps, pack.Steps, publishing.Steps, publishing.FoldSteps)
	return slices.DeleteFunc(all, func(s string) bool { return slices.Contains(rare, s) })
}

// someSeed is that of HUSHFS_SEED, which repeats a run; without it, another one each time
// where one of the variables asks for a long form, and else always the same.
func someSeed(t *testing.T, long ...string) uint64 {
	t.Helper()
	seed := uint64(1)
	if slices.ContainsFunc(long, func(name string) bool { return os.Getenv(name) != "" }) {
		seed = rand.Uint64()
	}
	if s := os.Getenv("HUSHFS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HUSHFS_SEED=%d", seed)
	return seed
}

func TestKilledAtEveryStep(t *testing.T) {
	l := newLives(t)
	seed := someSeed(t)
	for i, step := range commonSteps() {
		l.one(seed+uint64(i), 30, step, 1+i%3)
		if i%7 == 6 {
			l.drain()
		}
	}
	l.drain()
	for _, step := range commonSteps() {
		if !slices.Contains(l.met.names(), step) {
			t.Errorf("%s was never met", step)
		}
	}
}

func TestKilledAtRandom(t *testing.T) {
	seed := someSeed(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	steps := commonSteps()
	l := newLives(t)
	for range 8 {
		l.one(rng.Uint64(), 10+rng.IntN(40), steps[rng.IntN(len(steps))], 1+rng.IntN(8))
	}
	l.drain()
}
