package powerloss

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// write is n bytes of one value.
func write(file int, off int64, b byte, n int) Event {
	return Event{kind: written, file: file, off: off, data: bytes.Repeat([]byte{b}, n)}
}

// drawn is what every mode leaves of a history, many times.
func drawn(t *testing.T, events []Event, check func(mode Mode, dir string)) {
	t.Helper()
	d := NewDisk(&History{start: []Event{{kind: made, file: 1, folder: true, name: "d"}}, events: events})
	for d.Step() != nil {
	}
	r := rand.New(rand.NewPCG(1, 2))
	to := t.TempDir()
	for range 60 {
		for mode := range Modes {
			if there, err := d.Draw(mode, r).Write("d", to); err != nil || !there {
				t.Fatal(there, err)
			}
			check(mode, to)
		}
	}
}

func read(t *testing.T, dir, name string) (b []byte, there bool) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return b, err == nil
}

// What was synced is there, whatever is drawn.
func TestSynced(t *testing.T) {
	old := bytes.Repeat([]byte{1}, 10_000)
	drawn(t, []Event{
		{kind: made, file: 2, dir: 1, name: "a"}, write(2, 0, 1, 10_000), {kind: synced, file: 2}, {kind: settled, file: 1},
		{kind: made, file: 3, dir: 1, name: "b"}, write(3, 0, 3, 100),
	}, func(mode Mode, dir string) {
		if b, _ := read(t, dir, "a"); !bytes.Equal(b, old) {
			t.Errorf("%v: %d bytes of what was synced, or others", mode, len(b))
		}
	})
}

// What was not synced is there in any part, sector by sector; all of these come up.
func TestUnsynced(t *testing.T) {
	kinds := map[string]int{}
	drawn(t, []Event{
		{kind: made, file: 2, dir: 1, name: "a"}, write(2, 0, 1, 3*pageSize), {kind: synced, file: 2}, {kind: settled, file: 1},
		write(2, 0, 2, 2*pageSize), write(2, pageSize, 3, 4*pageSize),
	}, func(mode Mode, dir string) {
		b, _ := read(t, dir, "a")
		if len(b) < 3*pageSize || len(b) > 5*pageSize || len(b)%pageSize != 0 {
			t.Fatalf("%v: %d bytes", mode, len(b))
		}
		for at := 0; at < len(b); at += sectorSize {
			s := b[at : at+sectorSize]
			uniform := bytes.Count(s, s[:1]) == len(s)
			may := map[byte]bool{1: at < 3*pageSize, 2: at < 2*pageSize, 3: at >= pageSize, 0: at >= 3*pageSize}
			if mode != Garbage && (!uniform || !may[s[0]]) || !uniform && at < 3*pageSize {
				t.Fatalf("%v: the sector at %d holds %x…", mode, at, s[:4])
			}
			if !uniform {
				kinds["noise"]++
			}
			if page := b[at/pageSize*pageSize:][:pageSize]; page[0] != page[pageSize-1] && uniform {
				kinds["a torn page"]++
			}
		}
		switch {
		case b[0] == 1 && b[pageSize] == 3:
			kinds["the later without the earlier"]++
		case b[0] == 2 && b[pageSize] == 1:
			kinds["the earlier without the later"]++
		case b[0] == 2 && b[pageSize] == 2:
			kinds["overwritten once"]++
		}
		if len(b) == 5*pageSize && b[4*pageSize] == 0 {
			kinds["the size without the bytes"]++
		}
	})
	for _, k := range []string{"noise", "a torn page", "the later without the earlier", "the earlier without the later", "overwritten once", "the size without the bytes"} {
		if kinds[k] == 0 {
			t.Errorf("never drawn: %s", k)
		}
	}
}

// A rename is there or not, and never half; names that were not synced come and go
// by themselves.
func TestNames(t *testing.T) {
	kinds := map[string]int{}
	drawn(t, []Event{
		{kind: made, file: 2, dir: 1, name: "old"}, {kind: settled, file: 1},
		{kind: renamed, file: 2, dir: 1, name: "old", toDir: 1, toName: "new"},
		{kind: made, file: 3, dir: 1, name: "x"}, {kind: made, file: 4, dir: 1, name: "y"}, {kind: removed, dir: 1, name: "y"},
	}, func(mode Mode, dir string) {
		_, was := read(t, dir, "old")
		_, is := read(t, dir, "new")
		if was == is {
			t.Fatalf("%v: old %v, new %v", mode, was, is)
		}
		_, x := read(t, dir, "x")
		_, y := read(t, dir, "y")
		switch {
		case was && x:
			kinds["x before the rename"]++
		case is && !x:
			kinds["the rename before x"]++
		}
		if y {
			kinds["y not removed"]++
		}
	})
	if len(kinds) != 3 {
		t.Errorf("drawn: %v", kinds)
	}
}

// A folder's sync brings the whole of a rename from another, and what was done to
// these names before, and nothing else.
func TestSettled(t *testing.T) {
	d := NewDisk(&History{events: []Event{
		{kind: made, file: 1, folder: true, name: "d"}, {kind: made, file: 2, folder: true, name: "e"}, {kind: settled, file: 0},
		{kind: made, file: 3, dir: 2, name: "a"}, {kind: made, file: 4, dir: 2, name: "b"},
		{kind: renamed, file: 3, dir: 2, name: "a", toDir: 1, toName: "a"}, {kind: settled, file: 1},
	}})
	for d.Step() != nil {
	}
	i := d.Draw(Nothing, rand.New(rand.NewPCG(1, 1)))
	if len(i.names[1]) != 1 || i.names[1]["a"] != 3 || len(i.names[2]) != 0 {
		t.Errorf("left: %v", i.names)
	}
}

// Sizes: cut, grown, cut again; holes stay holes.
func TestResized(t *testing.T) {
	c := newContent()
	w := write(1, 0, 7, 6000)
	c.apply(&w)
	for _, size := range []int64{5000, 9000, 4096, 5000} {
		c.apply(&Event{kind: resized, size: size})
	}
	c.apply(&Event{kind: punched, off: 100, size: 200})
	want := append(bytes.Repeat([]byte{7}, 4096), make([]byte, 904)...)
	clear(want[100:300])
	if b := c.bytes(); !bytes.Equal(b, want) {
		t.Errorf("%d bytes, or others", len(b))
	}
}
