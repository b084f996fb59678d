// Package linear has two or three machines, whose drive is mounted with --durability remote,
// race for names through the real kernel and a store that fails, and has porcupine judge
// the histories: create with O_EXCL, link, also of a file that had no name, mkdir, rename
// and fsync are to be as if one machine had done them, one after the other.
//
//   - A name is a set of at most one: open with O_EXCL, link, mkdir and rename that replaces
//     nothing say who took it, or that it was taken, whichever way each machine takes.
//   - A file that is replaced by rename, after fsync, is a register. It is read after
//     "hushfs sync", which fetches what is in the store.
//
// What ended with another error may have happened or not, and at any time after.
package linear

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// input is what a machine does to a name.
type input struct {
	name string
	op   op
	id   int // of the attempt, or the value that is written
	way  way // of take
}

type op uint8

const (
	take op = iota // by one of the ways
	put            // fsync and rename
	get            // sync and read
)

// output is what it was told. unknown: it may have happened.
type output struct {
	took, unknown bool
	value         int
}

// names is the model: the state of a name is the id of who took it, or its value; 0 none.
var names = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byName := map[string][]porcupine.Operation{}
		for _, o := range all {
			n := o.Input.(input).name
			byName[n] = append(byName[n], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byName {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, in, out any) (bool, any) {
		s, i, o := state.(int), in.(input), out.(output)
		switch i.op {
		case take:
			switch {
			case o.unknown && s == 0, o.took && s == 0:
				return true, i.id // one that is unknown and never happened comes last of all
			case o.unknown:
				return true, s
			}
			return !o.took && s != 0, s
		case put:
			return true, i.id
		}
		return o.value == s, s
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// recorder collects a history.
type recorder struct {
	began time.Time

	mu  sync.Mutex // guards ops
	ops []porcupine.Operation
}

func (r *recorder) do(client int, in input, do func() (output, error)) {
	call := time.Since(r.began).Nanoseconds()
	out, err := do()
	back := time.Since(r.began).Nanoseconds()
	if err != nil {
		if in.op == get {
			return // it says nothing
		}
		out, back = output{unknown: true}, math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: back})
}

// told is how often the operations were told what.
func (r *recorder) told() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := map[string]int{}
	by := map[string]way{}
	for _, o := range r.ops {
		if in, out := o.Input.(input), o.Output.(output); in.op == take && out.took {
			by[in.name] = in.way
		}
	}
	for _, o := range r.ops {
		in, out := o.Input.(input), o.Output.(output)
		switch {
		case out.unknown:
			told["unknown"]++
		case in.op == take && out.took:
			told["took"]++
		case in.op == take:
			told["taken"]++
			if w, ok := by[in.name]; ok && w != in.way {
				told["taken in another way"]++
			}
		case in.op == put:
			told["put"]++
		default:
			told["got"]++
		}
	}
	return told
}

// least is how often what must be told for a history to say anything.
var least = map[string]int{"took": 3, "taken": 1, "taken in another way": 1, "put": 3, "got": 1}

// tooFew is what was told too seldom; empty when nothing was.
func (r *recorder) tooFew() string {
	told := r.told()
	for what, n := range least {
		if told[what] < n {
			return what
		}
	}
	return ""
}

func TestLinear(t *testing.T) {
	lasts := 8 * time.Second
	if s := os.Getenv("HUSHFS_HISTORY"); s != "" {
		d, err := time.ParseDuration(s)
		must(t, err)
		lasts = d
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d machines", seed, 2+seed%2)
	server := s3test.Start(t, s3test.MinIO)
	fleet := newFleet(t, server, 2+int(seed%2), "remote")
	for i, m := range fleet {
		rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
		m.proxy.Spoil(some(rnd, 40, s3test.LoseAnswer), some(rnd, 40, s3test.Say(503, "SlowDown")), later(rnd, 30*time.Millisecond))
	}
	r := &recorder{began: time.Now()}
	until := r.began.Add(lasts)
	going := func() bool { // on a busy machine until there is something to judge
		now := time.Now()
		return now.Before(until) || now.Before(until.Add(5*time.Minute)) && r.tooFew() != ""
	}
	var ids struct {
		sync.Mutex
		n int
	}
	next := func() int {
		ids.Lock()
		defer ids.Unlock()
		ids.n++
		return ids.n
	}
	var g sync.WaitGroup
	for i, m := range fleet {
		// Names that all race for, one after the other: whoever is told that one is taken
		// goes on to the next.
		g.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(200+i)))
			for k := 0; going(); k++ {
				in := input{name: fmt.Sprintf("lock %d", k), op: take, id: next(), way: way(rnd.IntN(int(ways)))}
				r.do(2*i, in, func() (output, error) { return m.take(in.way, in.name) })
			}
		})
		g.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for going() {
				name, id := fmt.Sprintf("register %d", rnd.IntN(2)), next()
				if rnd.IntN(2) == 0 {
					r.do(2*i+1, input{name: name, op: put, id: id}, func() (output, error) { return output{}, m.put(name, id) })
				} else {
					r.do(2*i+1, input{name: name, op: get}, func() (out output, err error) { out.value, err = m.get(name); return })
				}
			}
		})
	}
	g.Wait()
	for _, m := range fleet {
		m.proxy.Spoil()
	}
	t.Logf("%d operations: %v", len(r.ops), r.told())
	result, info := porcupine.CheckOperationsVerbose(names, r.ops, 5*time.Minute)
	if result != porcupine.Ok {
		path := "/tmp/linear-" + strconv.FormatUint(seed, 10) + ".html"
		t.Errorf("the history is not linearizable (%v); see %s: %v", result, path, porcupine.VisualizePath(names, info, path))
	}
	if what := r.tooFew(); what != "" {
		t.Errorf("%d operations were told %q, too few to say anything", r.told()[what], what)
	}
	for _, m := range fleet {
		m.away()
	}
}

// A way is one in which take can take a name.
type way uint8

const (
	byOpen way = iota // with O_EXCL
	byLink
	byMkdir
	byTmpfile // and link
	byRename  // with RENAME_NOREPLACE

	ways // how many there are
)

// take takes a name, if nobody has it.
func (m *machine) take(by way, name string) (output, error) {
	path := m.in(name)
	var err error
	switch by {
	case byOpen:
		var f *os.File
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
			_ = f.Close() // it is empty
		}
	case byLink:
		err = os.Link(m.in(m.source), path)
	case byMkdir:
		err = os.Mkdir(path, 0o755)
	case byTmpfile:
		var fd int
		if fd, err = m.unnamed(); err == nil {
			// Before it began: a name that is given hears of no signal so soon.
			err = again(func() error { return link(fd, path) })
			_ = unix.Close(fd)
		}
	case byRename:
		from := m.in(m.source + " for " + name)
		if err = os.WriteFile(from, nil, 0o644); err == nil {
			err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return output{}, nil
	}
	return output{took: true}, err
}

// put writes a register.
func (m *machine) put(name string, value int) error {
	tmp := m.in("." + m.source + name)
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(value))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, m.in(name))
}

// get reads what is in the store of a register; 0 before it was written.
func (m *machine) get(name string) (int, error) {
	if err := m.run("sync", "--timeout", "30s", m.mnt); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(m.in(name))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b))
}

// The judge finds what is wrong, or its verdict says nothing.
func TestJudge(t *testing.T) {
	op := func(client int, in input, out output, call, back int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: back}
	}
	for name, c := range map[string]struct {
		ops []porcupine.Operation
		ok  bool
	}{
		"one wins":           {[]porcupine.Operation{op(0, input{name: "a", op: take, id: 1}, output{took: true}, 0, 10), op(1, input{name: "a", op: take, id: 2}, output{}, 5, 12)}, true},
		"two win":            {[]porcupine.Operation{op(0, input{name: "a", op: take, id: 1}, output{took: true}, 0, 10), op(1, input{name: "a", op: take, id: 2}, output{took: true}, 5, 12)}, false},
		"taken by nobody":    {[]porcupine.Operation{op(0, input{name: "a", op: take, id: 1}, output{}, 0, 10), op(1, input{name: "a", op: take, id: 2}, output{took: true}, 11, 12)}, false},
		"perhaps it won":     {[]porcupine.Operation{op(0, input{name: "a", op: take, id: 1}, output{unknown: true}, 0, math.MaxInt64), op(1, input{name: "a", op: take, id: 2}, output{}, 5, 12)}, true},
		"perhaps it did not": {[]porcupine.Operation{op(0, input{name: "a", op: take, id: 1}, output{unknown: true}, 0, math.MaxInt64), op(1, input{name: "a", op: take, id: 2}, output{took: true}, 5, 12)}, true},
		"an old value":       {[]porcupine.Operation{op(0, input{name: "r", op: put, id: 1}, output{}, 0, 10), op(1, input{name: "r", op: get}, output{value: 0}, 11, 12)}, false},
	} {
		if got := porcupine.CheckOperations(names, c.ops); got != c.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}
