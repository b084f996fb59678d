package volume

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
)

// What was said last of an operation counts, in however many turns it was said.
func TestWhatStandsForOperations(t *testing.T) {
	rng := rand.New(rand.NewPCG(someSeed(t), 0))
	const n = 20_000
	var x instead
	want := map[meta.OpNo]string{}
	for turn := range 12 {
		var more instead
		every := []int{1, 7, 3000}[turn%3]
		for no := 1 + rng.IntN(every); no <= n; no += 1 + rng.IntN(2*every) {
			name := fmt.Sprintf("user.%d.%d", no, turn)
			r := journal.Replaced{No: meta.OpNo(no)}
			if want[r.No] = ""; rng.IntN(4) > 0 {
				r.Steps, want[r.No] = append(r.Steps, stepNamed(name)), name
			}
			if err := more.add(r); err != nil {
				t.Fatal(err)
			}
		}
		x.then(&more)
	}
	for no := meta.OpNo(1); no <= n+5; no++ {
		steps, ok, err := x.of(no)
		if err != nil {
			t.Fatal(err)
		}
		name, there := want[no]
		if ok != there || len(steps) > 1 || (len(steps) == 1) != (name != "") {
			t.Fatalf("operation %d: %d steps, %v; want %q, %v", no, len(steps), ok, name, there)
		}
		if len(steps) == 1 && string(meta.EncodeStep(steps[0])) != string(stepNamed(name)) {
			t.Fatalf("operation %d is not %q", no, name)
		}
	}
	if err := x.add(journal.Replaced{No: 1, Steps: [][]byte{{0}}}); err == nil {
		t.Error("taken, and it is no step")
	}
}

func stepNamed(name string) []byte {
	return meta.EncodeStep(&meta.Setxattr{Ref: meta.Ref{Home: meta.Root, Ino: 7}, Name: []byte(name), Value: []byte("some value")})
}

// What stands for very many operations takes little memory, after a restart as well.
func TestWhatStandsForManyTakesLittleMemory(t *testing.T) {
	const (
		n    = 100_000
		most = 48 // bytes of one
	)
	heap := func() int {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	empty := heap()
	var x, more instead
	for no := range n {
		w := &meta.Write{Ref: meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, uint64(no+1))}, Size: 3000}
		w.Extents = []meta.Extent{{Len: 3000, Pack: meta.MakePack(1, uint64(no/1000+1)), PackOff: uint32(no % 1000 * 3000)}}
		if err := more.add(journal.Replaced{No: meta.OpNo(no + 1), Steps: [][]byte{meta.EncodeStep(w)}}); err != nil {
			t.Fatal(err)
		}
	}
	x.then(&more)
	more = instead{}
	held := heap() - empty
	t.Logf("%d bytes for each", held/n)
	if held > n*most {
		t.Errorf("%d bytes for each, at most %d are allowed", held/n, most)
	}
	for no := range n {
		if _, ok, err := x.of(meta.OpNo(no + 1)); !ok || err != nil {
			t.Fatalf("operation %d: %v, %v", no+1, ok, err)
		}
	}
	if len(x.runs) == 0 || x.runs[0].open != nil || x.runs[0].data != nil {
		t.Error("what was read stays in memory")
	}
}
