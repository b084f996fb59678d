package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/integration/crashwork"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Environment of the crash rounds: how many, and the seed to begin with. Chance
// decides when the daemon is killed, and which programs came how far by then, so
// a seed repeats what is tried and not what comes of it.
const (
	envRounds = "HUSHFS_CRASH_ROUNDS"
	envSeed   = "HUSHFS_CRASH_SEED"
)

// crashWorkers is how many programs work in a round, manyRounds how many rounds
// must have led past every step.
const (
	crashWorkers = 4
	manyRounds   = 99
)

// given is a number from the environment.
func given(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	must(t, err)
	return n
}

// Many times the daemon is killed while programs work (see crashwork): at chance
// moments, at its own steps, while it mounts, sends, and unmounts. What was
// acknowledged is there each time, and nothing that cannot be; a machine that has
// only the store sees the same. All of it happens to one drive.
func TestCrashRounds(t *testing.T) {
	rounds := int(given(t, envRounds, 20))
	seed := given(t, envSeed, rand.Uint64()>>16)
	t.Logf("%d rounds, %s=%d", rounds, envSeed, seed)
	for i, kind := range []string{"directory", "MinIO"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var m *machine
			if kind == "MinIO" {
				m = driveAt(t, s3test.Start(t, s3test.MinIO))
			} else {
				m = newDrive(t)
			}
			c := newCrashes(m, seed+uint64(i))
			c.rounds(rounds / 2)
			c.end()
		})
	}
}

// crashes is one drive through all of its rounds.
type crashes struct {
	t     *testing.T
	m     *machine
	d     *daemon
	r     *rand.Rand
	seed  uint64
	round int
	past  []*crashwork.Past
	steps []string       // to be killed at
	died  map[string]int // step: how often it was
	kinds map[string]int // of rounds
	done  int            // things
	firm  int            // of these, acknowledged or needed by what was
	lost  int            // of these, not left
	flags []string       // of mount
}

func newCrashes(m *machine, seed uint64) *crashes {
	m.t.Helper()
	t := m.t.(*testing.T)
	c := &crashes{t: t, m: m, seed: seed, r: rand.New(rand.NewPCG(seed, 0)), died: map[string]int{}, kinds: map[string]int{}}
	c.steps = slices.DeleteFunc(allSteps(), func(s string) bool {
		_, never := unreached[s]
		_, seldom := elsewhere[s]
		return never || seldom
	})
	c.r.Shuffle(len(c.steps), func(i, j int) { c.steps[i], c.steps[j] = c.steps[j], c.steps[i] })
	for range crashWorkers {
		c.past = append(c.past, &crashwork.Past{})
	}
	c.mount()
	must(t, os.MkdirAll(m.in("work", crashwork.Shared), 0o755))
	must(t, writeSynced(m.in("work", crashwork.Log), os.O_CREATE, nil))
	for _, dir := range []string{m.in("work", crashwork.Shared), m.in("work"), m.mnt} {
		must(t, syncFolder(dir))
	}
	return c
}

// elsewhere are steps that the rounds come by seldom or not at all, with where they
// are tried.
var elsewhere = map[string]string{
	"journal.rotate": "once a journal file is full: TestKilledAtEveryStep",
	"journal.carry":  "while packs keep old journal files: TestKilledAtEveryStep",
	"cache.turn":     "after more metadata than a round makes: cache tests it with a process that is killed",
	"cache.turned":   "the same",
	"cache.drop":     "the same",
}

// allSteps are those that the packages declare.
func allSteps() []string {
	return slices.Concat(journal.Steps, pack.Steps, publish.Steps, publish.FoldSteps, cache.Steps)
}

// mount mounts with flags of chance: a small cache, a slow store.
func (c *crashes) mount(env ...string) {
	c.t.Helper()
	c.chooseFlags()
	c.begin(env...)
	c.d.awaitMounted()
}

// begin starts a daemon, which notes the steps that it comes by.
func (c *crashes) begin(env ...string) {
	c.t.Helper()
	c.d = c.m.start(append(env, "HUSHFS_STEPS_FILE="+c.m.at("steps")), c.m.mountArgs(c.flags...)...)
}

func (c *crashes) chooseFlags() {
	c.flags = nil
	if c.r.IntN(2) == 0 {
		c.flags = append(c.flags, "--cache-size", "64MiB")
	}
	if c.r.IntN(3) == 0 {
		c.flags = append(c.flags, "--test-store-delay", fmt.Sprint(c.r.IntN(300), "ms"))
	}
}

// rounds crashes the drive so many times, each kind of crash in its turn.
func (c *crashes) rounds(n int) {
	c.t.Helper()
	kinds := []struct {
		name string
		do   func() (whole bool)
	}{
		{"at a step", c.atStep},
		{"at a moment", c.atMoment},
		{"at a step", c.atStep},
		{"while it unmounts", c.unmounting},
		{"after wait", c.afterWait},
		{"at a step", c.atStep},
		{"at a moment", c.atMoment},
	}
	for c.round = range n {
		k := kinds[c.round%len(kinds)]
		c.kinds[k.name]++
		whole := k.do()
		for c.r.IntN(3) == 0 {
			c.kinds["while it mounts"]++
			c.mounting()
		}
		c.mount()
		c.judge(c.m, whole)
		if c.t.Failed() {
			c.t.Fatalf("round %d of seed %d: %s, with %v", c.round, c.seed, k.name, c.flags)
		}
		if c.round%10 == 9 {
			c.elsewhere()
		}
	}
}

// notes is the file of worker id in this round.
func (c *crashes) notes(id int) string { return c.m.at(fmt.Sprintf("notes-%d-%d", c.round, id)) }

// start lets all workers do count things each. The function that it returns waits
// for them; alive says whether the drive had to live until they were done.
func (c *crashes) start(count int) (wait func(alive bool)) {
	c.t.Helper()
	self, err := os.Executable()
	must(c.t, err)
	var all []*exec.Cmd
	for id := range crashWorkers {
		o := crashwork.Options{ID: id, Seed: c.seed + uint64(c.round)<<8, Base: c.m.in("work"), State: c.m.at(fmt.Sprint("past-", id)), Notes: c.notes(id), Count: count}
		must(c.t, c.past[id].Save(o.State))
		p := c.m.command(c.t.Context(), self, o.Args()...)
		p.Env = append(p.Env, envTask+"=crashwork", crashwork.Env)
		p.Stderr = new(strings.Builder)
		must(c.t, p.Start())
		all = append(all, p)
	}
	return func(alive bool) {
		c.t.Helper()
		for id, p := range all {
			p.Wait()
			code := p.ProcessState.ExitCode()
			if code != 0 && (code != crashwork.Died || alive) {
				c.t.Errorf("worker %d ended with code %d: %s", id, code, p.Stderr)
			}
		}
	}
}

// moment is a short while of chance.
func (c *crashes) moment(most time.Duration) <-chan time.Time {
	return time.After(time.Duration(c.r.Int64N(int64(most))))
}

// atMoment kills the daemon at a moment of chance.
func (c *crashes) atMoment() (whole bool) {
	wait := c.start(1 << 30)
	<-c.moment(1500 * time.Millisecond)
	c.d.kill()
	wait(false)
	return false
}

// atStep lets it kill itself at a step, while programs work or while it unmounts.
func (c *crashes) atStep() (whole bool) {
	c.d.kill()
	step := c.steps[0]
	c.steps = append(c.steps[1:], step)
	c.chooseFlags()
	nth := 1
	if c.r.IntN(4) == 0 {
		nth += c.r.IntN(5)
	}
	c.begin("HUSHFS_FAILPOINT=" + step + ":" + itoa(nth))
	if c.d.comesUp() {
		c.start(120)(false)
		whole = !c.d.ended() && c.m.run("umount", c.m.mnt).code == 0
	}
	if c.d.ended() && c.d.cmd.ProcessState.ExitCode() == -1 {
		c.died[step]++
	}
	c.d.kill()
	return whole
}

// unmounting kills it a moment after umount has begun.
func (c *crashes) unmounting() (whole bool) {
	wait := c.start(100)
	wait(true)
	allExecuted()
	u := c.m.command(c.t.Context(), hushfs, "umount", c.m.mnt)
	must(c.t, u.Start())
	<-c.moment(400 * time.Millisecond)
	c.d.kill()
	u.Wait()
	// The kernel has handed everything over once it has let go.
	return u.ProcessState.ExitCode() == 0
}

// afterWait kills it when wait has said that everything is in the store.
func (c *crashes) afterWait() (whole bool) {
	wait := c.start(100)
	wait(true)
	c.m.ok("wait", c.m.mnt)
	c.d.kill()
	return true
}

// mounting kills it while it mounts: in the replay, or while it settles what was
// on its way.
func (c *crashes) mounting() {
	var env []string
	if c.r.IntN(2) == 0 {
		step := c.steps[c.r.IntN(len(c.steps))]
		env = append(env, "HUSHFS_FAILPOINT="+step)
	}
	c.chooseFlags()
	c.begin(env...)
	select {
	case <-c.d.end:
	case <-c.moment(800 * time.Millisecond):
	}
	c.d.kill()
}

// judge compares what is there with what was done in this round, and before.
func (c *crashes) judge(on *machine, whole bool) {
	c.t.Helper()
	seen, err := crashwork.Look(on.in("work"))
	must(c.t, err)
	for id := range crashWorkers {
		notes, err := crashwork.ReadFile(c.notes(id))
		must(c.t, err)
		j := crashwork.Judge(id, c.past[id], notes, seen, whole)
		for _, w := range j.Wrong {
			c.t.Errorf("worker %d: %s", id, w)
		}
		c.past[id] = j.Past
		c.done, c.firm, c.lost = c.done+j.Things, c.firm+j.Firm, c.lost+j.Skipped
		if !c.t.Failed() {
			must(c.t, os.RemoveAll(c.notes(id)))
		} else {
			keep := fmt.Sprintf("/var/tmp/crash-%d-%d-%d", c.seed, c.round, id)
			_ = os.Rename(c.notes(id), keep)
			c.t.Logf("notes of worker %d are in %s", id, keep)
		}
	}
	for _, w := range crashwork.CheckLog(crashWorkers, seen[crashwork.Log]) {
		c.t.Error(w)
	}
}

// elsewhere locks the drive and looks at it with a machine that has nothing but
// the store, which must show the same.
func (c *crashes) elsewhere() {
	c.t.Helper()
	was := manifest(c.t, c.m.mnt)
	e := c.d.remount()
	sameManifest(c.t, "on another machine", was, manifest(c.t, e.m.mnt))
	c.judge(e.m, true)
	e.umount()
	c.mount()
	c.judge(c.m, true)
}

// end locks the drive for good and tells what was done.
func (c *crashes) end() {
	c.t.Helper()
	c.elsewhere()
	c.d.umount()
	met := strings.Fields(string(read(c.t, c.m.at("steps"))))
	var never, unmet []string
	for _, step := range c.steps {
		if c.died[step] == 0 {
			never = append(never, step)
		}
		if !slices.Contains(met, step) {
			unmet = append(unmet, step)
		}
	}
	if len(unmet) > 0 && c.round >= manyRounds {
		c.t.Errorf("in %d rounds the daemon never came by %v", c.round+1, unmet)
	}
	slices.Sort(never)
	c.t.Logf("%d things done, %d acknowledged or needed by what was, %d not left; killed %v; it came by %d of %d steps and was killed at %v; not at %v; did not come by %v",
		c.done, c.firm, c.lost, c.kinds, len(met), len(c.steps), c.died, never, unmet)
}
