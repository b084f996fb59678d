package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Environment of the backlog: how many operations wait on the machine that was off line,
// and the seed of the moments at which it is killed.
const (
	envBacklog     = "HUSHFS_BACKLOG"
	envBacklogSeed = "HUSHFS_BACKLOG_SEED"
)

const (
	// backlogMemory is what a daemon may take, at its peak, however much waits.
	backlogMemory = 300 << 20
	// backlogFolder is how many files are made in one folder.
	backlogFolder = 500
	// manyOperations make a backlog of which each file is larger and each wait longer.
	manyOperations = 100_000
	// Of so many operations a backlog takes so many bytes, or it is not what it is to be.
	allOperations = 500_000
	allBytes      = 7 << 29
)

// A machine writes for long with no line to the store: half as many files as operations
// are asked for. Meanwhile another changes some of the same files, and makes others of the
// same name, and a third is removed, so that all that waits has to be sealed anew. With the
// line back what waits is executed again over that and sent, though the daemon is killed
// while it replays, while it follows, while it seals and while it sends. It never takes
// more memory than it may, what the other wrote has its name, what this one wrote to the
// same file is in a copy, and a new machine sees all.
func TestBacklog(t *testing.T) {
	t.Parallel()
	b := newBacklog(t, int(given(t, envBacklog, 10_000)), given(t, envBacklogSeed, rand.Uint64()>>16))
	t.Logf("%d files, %d of them written on both, %s=%d", b.files, b.both, envBacklogSeed, b.seed)
	b.begin()
	b.offLine()
	b.back()
	b.judge()
}

// backlog is one such story.
type backlog struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	files  int // that the laptop makes
	both   int // that both write
	size   int // of one file, about
	rounds int // kills of each kind
	limit  time.Duration
	laptop *machine // the one that is off line
	desk   *machine
	lost   int           // number of the device that is removed meanwhile
	seals  string        // the step of sealing anew at which the laptop's first daemon dies
	line   *s3test.Proxy // the laptop's
	d      *daemon       // of the laptop
	wave   int           // of the desk's changes
	sends  int           // requests that send what waits, fewer than that

	peak atomic.Int64 // of the laptop's daemons, bytes
}

func newBacklog(t *testing.T, operations int, seed uint64) *backlog {
	b := &backlog{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), files: operations / 2, both: operations / 100, size: 2 << 10, rounds: 1, limit: 5 * time.Minute}
	if operations >= manyOperations {
		b.size, b.rounds, b.limit = 14<<10, 2, 20*time.Minute
	}
	return b
}

// sized is the length of a file: most are small, few are large.
func (b *backlog) sized(i int) int {
	if i%200 == 7 {
		return b.size * 40
	}
	return b.size/2 + i*7919%(b.size*3/4)
}

func (b *backlog) name(i int) string { return fmt.Sprintf("d/%d/f%d", i/backlogFolder, i) }
func shared(i int) string            { return fmt.Sprintf("both/%d/f%d", i/backlogFolder, i) }

// mine and theirs are what the two machines write to a file that both know.
func mine(i int) []byte         { return fmt.Appendf(nil, "the laptop wrote %d, off line", i) }
func theirs(i, wave int) []byte { return fmt.Appendf(nil, "the desk wrote %d in wave %d", i, wave) }

// begin makes the files that both machines know.
func (b *backlog) begin() {
	server := s3test.Start(b.t, s3test.MinIO)
	b.desk = driveAt(b.t, server)
	b.desk.mount()
	b.each(b.both, func(i int) error { return write(b.desk.in(shared(i)), []byte("as it was")) })
	b.stored(b.desk)
	lost := b.desk.another()
	d := lost.mount()
	lost.put("lost")
	b.stored(lost)
	b.lost = lost.device()
	d.umount()
	b.laptop, b.line = b.desk.another(), server.Proxy(b.t)
	b.laptop.settings = append(settings(server), "AWS_ENDPOINT_URL="+b.line.Endpoint)
	b.seals = pack.ResealSteps[b.rng.IntN(len(pack.ResealSteps))]
	b.d = b.mount("HUSHFS_FAILPOINT=" + b.seals)
	must(b.t, write(b.laptop.in("here"), nil)) // it is a device then
	b.stored(b.laptop)
}

// mount mounts the laptop's drive; its memory is watched until it ends. It returns when
// the mount answers.
func (b *backlog) mount(env ...string) *daemon {
	b.t.Helper()
	d := b.start(env...)
	b.until("mounted", func() bool { return d.ended() || strings.Contains(d.logged(), "Mounted at ") })
	if d.ended() {
		b.t.Fatalf("the daemon ended, %v:\n%s", d.cmd.ProcessState, d.logged())
	}
	return d
}

// start is mount, and returns at once.
func (b *backlog) start(env ...string) *daemon {
	d := b.laptop.start(env, b.laptop.mountArgs("--cache-size", "16GiB", "--poll", "1s", "--drain-timeout", "1s")...)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-d.end:
				return
			case <-tick.C:
				b.look(d)
			}
		}
	}()
	return d
}

// look notes the memory of a daemon.
func (b *backlog) look(d *daemon) {
	n := highWater(d.cmd.Process.Pid)
	for was := b.peak.Load(); n > was && !b.peak.CompareAndSwap(was, n); was = b.peak.Load() {
	}
}

// highWater is the most memory that a process ever had, in bytes; 0 when it is gone.
func highWater(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	line, _, _ := strings.Cut(after, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n << 10
}

func (b *backlog) until(what string, done func() bool) {
	b.t.Helper()
	eventually(b.t, what, b.limit, done)
}

// stored waits until all that a machine wrote is in the store.
func (b *backlog) stored(m *machine) {
	b.t.Helper()
	must(b.t, syncAll(m.mnt))
	b.until("all is in the store", func() bool { return m.run("wait", "--timeout", "1m", m.mnt).code == 0 })
}

// each calls fn for the numbers below n, from several goroutines.
func (b *backlog) each(n int, fn func(i int) error) {
	b.t.Helper()
	var next atomic.Int64
	var g sync.WaitGroup
	errs := make([]error, 4)
	for w := range errs {
		g.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = fn(i)
			}
		})
	}
	g.Wait()
	must(b.t, errors.Join(errs...))
}

// write writes a file, and makes the folder for it when that is not there.
func write(path string, content []byte) error {
	err := os.WriteFile(path, content, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, content, 0o644)
		}
	}
	return err
}

func syncAll(mnt string) error {
	f, err := os.Open(mnt)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// says notes the peak so far.
func (b *backlog) says(what string, since time.Time) {
	b.t.Logf("%-38s %7.1f s; peak so far %d MiB", what, time.Since(since).Seconds(), b.peak.Load()>>20)
}

// offLine is what happens while the line is down.
func (b *backlog) offLine() {
	began := time.Now()
	b.line.Spoil(s3test.Reset)
	var g sync.WaitGroup
	g.Go(func() {
		b.deskWrites()
		b.desk.ok("device", "remove", "--yes", "--leaked", "no", b.desk.mnt, itoa(b.lost))
	})
	b.each(b.files, func(i int) error { return write(b.laptop.in(b.name(i)), pattern(uint64(i), 0, b.sized(i))) })
	b.each(b.both, func(i int) error { return write(b.laptop.in(shared(i)), mine(i)) })
	g.Wait()
	must(b.t, syncAll(b.laptop.mnt))
	waiting := b.laptop.statusVolume().PendingOps
	b.says(fmt.Sprintf("%d operations made off line", waiting), began)
	journals, err := filepath.Glob(filepath.Join(b.laptop.stateDir(), "journal-*"))
	must(b.t, err)
	packs, err := filepath.Glob(filepath.Join(b.laptop.stateDir(), "journal-*", "packs"))
	must(b.t, err)
	all, inPacks := du(b.t, journals...), du(b.t, packs...)
	b.t.Logf("the journal takes %d MiB, and the packs beside it %d MiB", (all-inPacks)>>20, inPacks>>20)
	if b.files >= allOperations/2 && all < allBytes {
		b.t.Errorf("%d MiB wait, fewer than %d", all>>20, allBytes>>20)
	}
	b.sends = waiting/4000 + int(inPacks>>23) + 1
	if waiting < 2*b.files {
		b.t.Errorf("%d operations wait, of %d files", waiting, b.files)
	}
}

// deskWrites has the desk change, in a new wave, a part of what the laptop has changed
// off line, and make files of the same names as the laptop's and of others.
func (b *backlog) deskWrites() {
	wave := b.wave
	b.wave++
	b.each(b.both, func(i int) error {
		if wave > 0 && i%7 != wave%7 {
			return nil
		}
		return write(b.desk.in(shared(i)), theirs(i, wave))
	})
	b.each(20, func(i int) error {
		i += wave * 20
		if err := write(b.desk.in(b.name(i)), theirs(i, wave)); err != nil {
			return err
		}
		return write(b.desk.in(fmt.Sprintf("desk/%d", i)), theirs(i, wave))
	})
	b.stored(b.desk)
}

// dies kills the laptop's daemon.
func (b *backlog) dies() {
	b.t.Helper()
	b.look(b.d)
	b.d.kill()
	b.laptop.detach()
}

// within is a moment up to d from now.
func (b *backlog) within(d time.Duration) time.Duration {
	return time.Duration(b.rng.Int64N(int64(max(d, time.Millisecond))))
}

// comes waits until the daemon has said a word, at most for d; it says whether it did.
func (b *backlog) comes(word string, d time.Duration) bool {
	b.t.Helper()
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		if strings.Contains(b.d.logged(), word) {
			return true
		}
		if b.d.ended() {
			b.t.Fatalf("the daemon ended, %v:\n%s", b.d.cmd.ProcessState, b.d.logged())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// What a daemon says when all that waited was executed again, and when the mount is there.
const (
	replayed = "journal replayed"
	isUp     = "Mounted at "
)

// back is what happens when the line is there again: at first for reading alone, so that
// nothing is sent before all has been executed again several times.
func (b *backlog) back() {
	began := time.Now()
	b.line.Spoil(s3test.Where(s3test.Puts(""), s3test.Reset))
	looks := func() { b.laptop.run("sync", "--timeout", "1s", b.laptop.mnt) } // it does not send
	b.until("it seals anew, and dies at "+b.seals, func() bool { looks(); return b.d.ended() })
	b.laptop.detach()
	b.says("followed, and killed at "+b.seals, began)
	began = time.Now()
	b.d = b.mount()
	b.until("the desk's files are seen", func() bool {
		looks()
		_, err := os.Stat(b.laptop.in("desk", "0"))
		return err == nil
	})
	b.says("mounted again", began)
	began = time.Now()
	if r := b.laptop.run("umount", b.laptop.mnt); r.code != 14 {
		b.t.Fatalf("umount: %+v", r)
	}
	b.d.await()
	b.says("unmounted", began)

	b.deskWrites()
	began = time.Now()
	b.d = b.start()
	if !b.comes(replayed, b.limit) {
		b.t.Fatal("nothing was replayed")
	}
	replay := time.Since(began)
	if !b.comes(isUp, b.limit) {
		b.t.Fatal("it does not follow")
	}
	follow := time.Since(began) - replay
	b.says(fmt.Sprintf("mounted again, the replay %.1f s", replay.Seconds()), began)
	b.dies()
	for range b.rounds {
		b.killed(replay, follow)
	}
	inTime := 0
	for range 2 * b.rounds {
		if b.killedSending() {
			inTime++
		}
	}
	if inTime == 0 {
		b.t.Error("it was never killed while it sent")
	}

	began = time.Now()
	b.line.Spoil()
	b.d = b.mount()
	b.says("mounted for the last time", began)
	b.stored(b.laptop)
	b.says("all is in the store", began)
	b.laptop.ok("umount", b.laptop.mnt)
	b.d.await()
}

// killed kills the daemon at a chance moment of a replay and of following, and between
// following and its record in the journal.
func (b *backlog) killed(replay, follow time.Duration) {
	began := time.Now()
	b.d = b.start()
	done := b.comes(replayed, b.within(replay))
	b.dies()
	b.says(fmt.Sprintf("killed, replayed: %v", done), began)

	b.deskWrites()
	began = time.Now()
	b.d = b.start()
	b.comes(replayed, b.limit)
	done = b.comes(isUp, b.within(follow))
	b.dies()
	b.says(fmt.Sprintf("killed, followed: %v", done), began)

	b.deskWrites()
	began = time.Now()
	b.d = b.start("HUSHFS_FAILPOINT=sync.followed")
	b.until("the daemon dies", b.d.ended)
	b.laptop.detach()
	b.says("killed before it was written down", began)
}

// killedSending lets some of what is sent through, and kills the daemon while one request
// hangs whose outcome it does not know. It says whether something was left to send.
func (b *backlog) killedSending() bool {
	began := time.Now()
	var puts atomic.Int64
	through := int64(b.rng.IntN(b.sends))
	b.sends -= int(through) * 3 / 4
	late := func(r *http.Request) bool { return r.Method == http.MethodPut && puts.Add(1) > through }
	spoil := s3test.Spoiler(s3test.Hang)
	if b.rng.IntN(2) == 0 {
		spoil = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(httptest.NewRecorder(), r)
				s3test.Hang(nil).ServeHTTP(w, r)
			})
		}
	}
	b.line.Spoil(s3test.Where(late, spoil))
	b.d = b.start()
	left := -1
	b.until("a request hangs, or all is sent", func() bool {
		if strings.Contains(b.d.logged(), isUp) {
			left = b.laptop.statusVolume().PendingOps
		}
		return puts.Load() > through || left == 0
	})
	b.dies()
	b.says(fmt.Sprintf("killed, %d requests sent, %d to go", through, left), began)
	return left != 0
}

// judge has a new machine look at all.
func (b *backlog) judge() {
	began := time.Now()
	fresh := b.desk.another()
	d := fresh.mount("--cache-size", "256MiB")
	b.desk.ok("sync", b.desk.mnt)
	b.each(b.files, func(i int) error {
		if i < 20*b.wave {
			return b.hasBoth(fresh, b.name(i), theirs(i, i/20), pattern(uint64(i), 0, b.sized(i)))
		}
		return holds(fresh, b.name(i), pattern(uint64(i), 0, b.sized(i)))
	})
	b.each(b.both, func(i int) error { return b.hasBoth(fresh, shared(i), theirs(i, b.newest(i)), mine(i)) })
	b.each(20*b.wave, func(i int) error { return holds(fresh, fmt.Sprintf("desk/%d", i), theirs(i, i/20)) })
	must(b.t, holds(fresh, "lost", []byte("of lost")))
	d.umount()
	b.says("a new machine read all", began)
	if peak := b.peak.Load(); peak >= backlogMemory {
		b.t.Errorf("a daemon took %d MiB", peak>>20)
	}
}

// newest is the wave in which the desk wrote a shared file last.
func (b *backlog) newest(i int) int {
	for wave := b.wave - 1; wave > 0; wave-- {
		if i%7 == wave%7 {
			return wave
		}
	}
	return 0
}

// holds wants a content in a file.
func holds(m *machine, name string, want []byte) error {
	got, err := os.ReadFile(m.in(name))
	if err != nil || bytes.Equal(got, want) {
		return err
	}
	return fmt.Errorf("%s holds %d bytes %.60q, want %d bytes %.60q", name, len(got), got, len(want), want)
}

// hasBoth wants what the desk wrote to a file under its name, and what the laptop wrote in
// a copy beside it.
func (b *backlog) hasBoth(m *machine, name string, theirs, mine []byte) error {
	if err := holds(m, name, theirs); err != nil {
		return err
	}
	beside, err := os.ReadDir(filepath.Dir(m.in(name))) // filepath.Glob hides errors
	if err != nil {
		return err
	}
	var copies []string
	for _, e := range beside {
		if strings.HasPrefix(e.Name(), path.Base(name)+" (conflict") {
			copies = append(copies, path.Join(path.Dir(name), e.Name()))
		}
	}
	for _, c := range copies {
		if holds(m, c, mine) == nil {
			return nil
		}
	}
	return fmt.Errorf("what the laptop wrote to %s is in none of %q; %d names are in the folder, and of it `hushfs conflicts` has:\n%s", name, copies, len(beside), m.ok("conflicts", m.mnt, name))
}
