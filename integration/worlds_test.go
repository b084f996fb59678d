package integration

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Environment of the worlds: how many, and the seed of the first.
const (
	envWorlds    = "HUSHFS_MACHINE_WORLDS"
	envWorldSeed = "HUSHFS_MACHINE_SEED"
)

// Three machines with a mount each work at once in one folder of a drive on MinIO, each
// behind a network of its own: it is cut, loses answers, fails. Their daemons are killed.
// When all is well again all see one tree, and what an fsync acknowledged, and nobody
// replaced who had it before him, is there: in its place or in a copy.
func TestThreeMachines(t *testing.T) {
	worlds, seed := int(given(t, envWorlds, 2)), given(t, envWorldSeed, rand.Uint64()>>16)
	t.Logf("%d worlds, %s=%d", worlds, envWorldSeed, seed)
	server := s3test.Start(t, s3test.MinIO)
	promises, conflicts, kills := 0, 0, 0
	for i := range worlds {
		w := newTrio(t, server, seed+uint64(i))
		w.play()
		promises, conflicts, kills = promises+w.promises, conflicts+w.conflicts, kills+w.kills
		if t.Failed() {
			return
		}
	}
	t.Logf("%d promises, %d conflict copies, %d kills", promises, conflicts, kills)
	if promises == 0 || conflicts == 0 || kills == 0 {
		t.Error("it was too quiet to show anything")
	}
}

// trio is one world.
type trio struct {
	t    *testing.T
	seed uint64
	all  []*actor

	mu       sync.Mutex          // guards the fields below
	owed     map[string]string   // contents that were acknowledged, and by whom they were written
	gone     map[string]struct{} // contents that somebody replaced who had them before him
	story    []string
	promises int

	conflicts, kills int
}

// actor is a machine and the program that works on it.
type actor struct {
	*machine
	w     *trio
	name  string
	rng   *rand.Rand
	proxy *s3test.Proxy
	d     *daemon
	made  int
}

func newTrio(t *testing.T, server *s3test.Server, seed uint64) *trio {
	w := &trio{t: t, seed: seed, owed: map[string]string{}, gone: map[string]struct{}{}}
	first := driveAt(t, server)
	for i, name := range []string{"laptop", "desk", "phone"} {
		m := first
		if i > 0 {
			m = first.another()
		}
		a := &actor{machine: m, w: w, name: name, rng: rand.New(rand.NewPCG(seed, uint64(i))), proxy: server.Proxy(t)}
		m.settings = append(settings(server), "AWS_ENDPOINT_URL="+a.proxy.Endpoint)
		w.all = append(w.all, a)
	}
	return w
}

func (w *trio) tell(a *actor, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, a.name+" "+fmt.Sprintf(format, args...))
}

func (w *trio) play() {
	for _, a := range w.all {
		a.d = a.mount()
	}
	for range 3 {
		var g sync.WaitGroup
		for _, a := range w.all {
			g.Go(a.work)
		}
		g.Wait()
		for _, a := range w.all {
			a.trouble()
		}
	}
	for _, a := range w.all {
		a.heal()
	}
	for range 2 { // the second brings what the first made of conflicts
		for _, a := range w.all {
			a.ok("sync")
		}
	}
	trees := map[string]map[string]string{}
	for _, a := range w.all {
		a.ok("sync")
		trees[a.name] = a.tree()
	}
	fresh := w.all[0].another()
	fresh.settings = w.all[0].settings
	d := fresh.mount()
	b := &actor{machine: fresh, w: w, name: "fresh"}
	want := b.tree()
	d.umount()
	for name, got := range trees {
		for path := range union(got, want) {
			if got[path] != want[path] {
				w.t.Errorf("seed %d: %s has %q in %s, a new machine %q", w.seed, name, got[path], path, want[path])
			}
		}
	}
	there := map[string]bool{}
	for path, content := range want {
		there[content] = true
		if strings.Contains(path, "(conflict") {
			w.conflicts++
		}
	}
	for content, who := range w.owed {
		if _, replaced := w.gone[content]; !replaced && !there[content] {
			w.t.Errorf("seed %d: %s was told that %q is durable, and it is nowhere", w.seed, who, content)
		}
	}
	for _, a := range w.all {
		a.d.umount()
	}
	if w.t.Failed() {
		w.t.Log(strings.Join(w.story, "\n"))
	}
}

func union(a, b map[string]string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			out[k] = struct{}{}
		}
	}
	return out
}

// work is what a program does for a while. What fails because its daemon was killed
// fails.
func (a *actor) work() {
	killed := a.rng.IntN(60) // beyond 25: not this time
	for i := range 25 {
		if i == killed {
			a.w.tell(a, "is killed at work")
			a.w.mu.Lock()
			a.w.kills++
			a.w.mu.Unlock()
			a.d.kill()
		}
		name := []string{"a", "b", "c.txt", "d/a", "d/b", "own-" + a.name}[a.rng.IntN(6)]
		path := a.in(name)
		a.made++
		content := fmt.Sprintf("%s wrote %d in world %d", a.name, a.made, a.w.seed)
		if a.rng.IntN(10) == 0 {
			content += strings.Repeat(" at length", 60_000)
		}
		var err error
		switch a.rng.IntN(12) {
		case 0:
			if err = os.Mkdir(a.in("d"), 0o755); errors.Is(err, fs.ErrExist) {
				err = nil
			}
		case 1:
			to := a.in([]string{"moved-" + a.name, "d/moved"}[a.rng.IntN(2)])
			if _, serr := os.Lstat(to); errors.Is(serr, fs.ErrNotExist) {
				err = os.Rename(path, to)
				name += " moved"
			}
		default:
			err = a.save(path, content)
		}
		if err != nil {
			a.w.tell(a, "%s: %v", name, err)
		}
	}
}

// save puts content in the place of what a file holds, through one descriptor: so it is
// sure what it replaces, whatever other machines do meanwhile.
func (a *actor) save(path, content string) error {
	_ = os.MkdirAll(filepath.Dir(path), 0o755)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	a.w.mu.Lock()
	a.w.gone[string(before)] = struct{}{}
	a.w.mu.Unlock()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	a.w.tell(a, "saved %s: %.40s (was %.40s)", path[len(a.mnt):], content, before)
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.owed[content] = a.name
	a.w.promises++
	return nil
}

// trouble is what happens to a machine between two works.
func (a *actor) trouble() {
	if a.d.ended() {
		a.detach()
		a.d = a.mountAgain()
	}
	switch a.rng.IntN(6) {
	case 0:
		a.w.tell(a, "is killed")
		a.w.kills++
		a.d.kill()
		a.detach()
		a.d = a.mountAgain()
	case 1:
		a.w.tell(a, "is off line")
		a.proxy.Spoil(s3test.Reset)
	case 2:
		a.w.tell(a, "has a bad line")
		a.proxy.Spoil(s3test.Where(every(3), s3test.LoseAnswer))
	case 3:
		a.w.tell(a, "has a server in trouble")
		a.proxy.Spoil(s3test.Where(every(4), s3test.Say(503, "SlowDown")))
	default:
		a.w.tell(a, "is well")
		a.proxy.Spoil()
	}
}

// heal ends the trouble.
func (a *actor) heal() {
	a.proxy.Spoil()
	if a.d.ended() {
		a.detach()
		a.d = a.mountAgain()
	}
}

// mountAgain mounts with a good line.
func (a *actor) mountAgain() *daemon {
	a.proxy.Spoil()
	return a.mount()
}

// tree is all that the machine shows, by path.
func (a *actor) tree() map[string]string {
	a.t.Helper()
	out := map[string]string{}
	must(a.t, filepath.WalkDir(a.mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == a.mnt {
			return err
		}
		name := strings.TrimPrefix(path, a.mnt+"/")
		if d.IsDir() {
			out[name] = "directory"
			return nil
		}
		b, err := os.ReadFile(path)
		out[name] = string(b)
		return err
	}))
	return out
}

// every says yes to each nth request, from many goroutines.
func every(n int64) func(*http.Request) bool {
	var seen atomic.Int64
	return func(*http.Request) bool { return seen.Add(1)%n == 0 }
}
