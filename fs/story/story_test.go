package story

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// begins is a story of so many deeds that do nothing.
func begins(n int) Story {
	s := Story{Machines: 3, Seed: 77}
	for i := range n {
		s.Deeds = append(s.Deeds, Deed{Who: fmt.Sprint("m", i%3), Does: "sleeps", N: uint64(i)})
	}
	return s
}

func does(s Story, what string) int {
	return slices.IndexFunc(s.Deeds, func(d Deed) bool { return d.Does == what })
}

func TestShrinkLeavesWhatMatters(t *testing.T) {
	s := begins(100)
	s.Deeds[17] = Deed{Who: "m1", Does: "writes", At: "d/x", N: 9}
	s.Deeds[18] = Deed{Who: "m2", Does: "looks", At: "x"}
	s.Deeds[80] = Deed{Who: "m2", Does: "renames", At: "d/x", To: "d/longer", N: 1000}
	play := func(s Story) *Failure {
		w, r := does(s, "writes"), does(s, "renames")
		switch {
		case w < 0 && r >= 0:
			return &Failure{Kind: "another", Text: "nothing to rename"}
		case w >= 0 && r > w && s.Deeds[r].N >= 1 && s.Machines > 1 && s.Deeds[r].At == s.Deeds[w].At && s.Deeds[r].To != s.Deeds[r].At:
			return &Failure{Kind: "lost", Text: fmt.Sprint("of ", len(s.Deeds))}
		}
		return nil
	}
	short := Shrink(s, play(s), Options{}, play)
	want := `{Name: "", Machines: 2, Seed: 0, Deeds: []story.Deed{
	{Who: "m1", Does: "writes", At: "x"},
	{Who: "m1", Does: "renames", At: "x", To: "longer", N: 1},
}},`
	if got := short.String(); got != want || !short.Whole || short.Kind != "lost" || short.Text != "of 2" {
		t.Errorf("%+v\n%s\nwant\n%s", short, got, want)
	}
	if len(s.Deeds) != 100 || s.Deeds[17].N != 9 {
		t.Error("it changed the story that it was given")
	}
}

func TestShrinkEnds(t *testing.T) {
	n := 0
	always := func(Story) *Failure { n++; return &Failure{Kind: "x"} }
	if short := Shrink(begins(40), always(Story{}), Options{}, always); len(short.Deeds) != 0 || !short.Whole {
		t.Errorf("%d deeds are left: %+v", len(short.Deeds), short)
	}
	n = 0
	never := func(Story) *Failure { n++; return nil }
	short := Shrink(begins(40), &Failure{Kind: "x"}, Options{Runs: 10}, never)
	if n != 10 || short.Runs != 10 || short.Whole || len(short.Deeds) != 40 {
		t.Errorf("%d runs: %+v", n, short)
	}
	// What fails now and then fails, when it is asked often enough.
	n = 0
	seldom := func(s Story) *Failure {
		if n++; n%3 == 0 && does(s, "writes") >= 0 {
			return &Failure{Kind: "x"}
		}
		return nil
	}
	s := begins(40)
	s.Deeds[3].Does = "writes"
	if short := Shrink(s, &Failure{Kind: "x"}, Options{Again: 3}, seldom); len(short.Deeds) != 1 || !short.Whole {
		t.Errorf("%d deeds are left", len(short.Deeds))
	}
}

func TestTry(t *testing.T) {
	for name, c := range map[string]struct {
		play func(t testing.TB)
		want *Failure
	}{
		"nothing": {func(t testing.TB) { t.Helper(); t.Log("x") }, nil},
		"fatal":   {func(t testing.TB) { t.Fatalf("lost %d", 3); panic("not reached") }, &Failure{"lost %d", "lost 3"}},
		"errors":  {func(t testing.TB) { t.Errorf("lost %d", 3); t.Fatal("and", 4) }, &Failure{"lost %d", "lost 3"}},
		"error":   {func(t testing.TB) { t.Error("a", 4) }, &Failure{"error", "a 4"}},
		"panics":  {func(testing.TB) { panic("oh") }, &Failure{"panic: oh", "panic: oh\n"}},
		"in the end": {func(t testing.TB) {
			t.Cleanup(func() { t.Fatal("late") })
		}, &Failure{"fatal", "late"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Try(t, c.play)
			if (f == nil) != (c.want == nil) || f != nil && (f.Kind != c.want.Kind || !strings.HasPrefix(f.Text, c.want.Text)) {
				t.Errorf("%+v, want %+v", f, c.want)
			}
		})
	}
	if t.Failed() {
		return
	}
	var dir string
	var ctx context.Context
	var order []int
	Try(t, func(t testing.TB) {
		dir, ctx = t.TempDir(), t.Context()
		t.Cleanup(func() { order = append(order, 1) })
		t.Cleanup(func() { order = append(order, 2) })
		if ctx.Err() != nil {
			t.Fatal("it has ended already")
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) || ctx.Err() == nil || !slices.Equal(order, []int{2, 1}) {
		t.Errorf("it leaves something: %v, %v, %v", err, ctx.Err(), order)
	}
}
