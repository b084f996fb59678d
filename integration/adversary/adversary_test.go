package adversary

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// number is a setting of the long run.
func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// told plays a story, and shows it, made shorter, when it fails.
func told(t *testing.T, s Story) Outcome {
	t.Helper()
	t.Logf("story %d", s.Seed) // before, for a crash
	o, err := Tell(s)
	if err != nil {
		short, why := Shrink(s, err, int(number(t, "HUSHFS_ADVERSARY_SHRINK", 20)))
		t.Errorf("%v\n%v\nmade shorter:\n%v%v", err, s, short, why)
	}
	return o
}

// silent says what an attack did not bring about that it must in some story; empty: nothing.
func silent(a Attack, o Outcome) string {
	said := o.Said[a.Name]
	switch {
	case o.Of[a.Name] == 0:
		return "nobody was told anything untrue"
	case a.Unlogged == "" && said.Log == 0:
		return "nobody's log names it"
	case a.Unshown == "" && said.Status == 0:
		return "nobody's status names it"
	case a.Unlogged == "" && a.Unshown == "" && said.Both == 0:
		return "nobody names it in the log and by the status"
	}
	return ""
}

// Each attack is tried, one after the other on a few drives; one after which there may be
// two histories has a drive of its own.
func TestAttacks(t *testing.T) {
	seed := number(t, "HUSHFS_ADVERSARY_SEED", 1)
	var stories [][]Attack
	var some []Attack
	for _, a := range Attacks() {
		if a.Splits {
			stories = append(stories, []Attack{a})
			continue
		}
		if some = append(some, a); len(some) == 10 {
			stories, some = append(stories, some), nil
		}
	}
	stories = append(stories, some)
	// All at once, whatever the machine: they mostly wait for answers that do not come.
	var wg sync.WaitGroup
	for _, attacks := range stories {
		wg.Go(func() {
			o := told(t, InTurn(seed, attacks))
			t.Logf("%s ... %+v", attacks[0].Name, o)
			if o.Attacks != len(attacks) && !o.Split {
				t.Errorf("%s ...: %+v of %d attacks", attacks[0].Name, o, len(attacks))
			}
			for _, a := range attacks {
				// What nobody is deceived by, or nobody ever speaks of, shows nothing. What is
				// drawn may be what nobody reads, and be settled by a second look.
				for n, o := uint64(1), o; silent(a, o) != "" && !t.Failed(); n++ {
					if n > 5 {
						t.Errorf("%s: %s in %d stories", a.Name, silent(a, o), n)
						break
					}
					o = told(t, InTurn(seed+n, []Attack{a}))
					t.Logf("%s, seed %d: %+v", a.Name, seed+n, o)
				}
			}
		})
	}
	wg.Wait()
}

// Stories of all attacks, drawn from a seed that is printed. HUSHFS_ADVERSARY_ROUNDS says
// how many attacks there are to be at least.
func TestRandom(t *testing.T) {
	rounds := int(number(t, "HUSHFS_ADVERSARY_ROUNDS", 6))
	drawn := uint64(1) // the same ones, but in the long form
	if os.Getenv("HUSHFS_ADVERSARY_ROUNDS") != "" {
		drawn = uint64(time.Now().UnixNano())
	}
	seed := number(t, "HUSHFS_ADVERSARY_SEED", drawn)
	t.Logf("HUSHFS_ADVERSARY_SEED=%d", seed)
	var sum Outcome
	var all Said
	for n := uint64(0); sum.Attacks < rounds && !t.Failed(); n++ {
		o := told(t, Draw(seed+n, 4))
		sum.Attacks, sum.Bites = sum.Attacks+o.Attacks, sum.Bites+o.Bites
		for _, one := range o.Said {
			all.Log, all.Status, all.Both = all.Log+one.Log, all.Status+one.Status, all.Both+one.Both
		}
	}
	t.Logf("%d attacks, %d untrue answers; told by machines: %+v", sum.Attacks, sum.Bites, all)
}

// Two machines change one file at the same time, again and again, and nobody attacks: what
// each was promised is in its place or in a copy.
func TestBothChangeOneFile(t *testing.T) {
	var s Story
	for range 4 {
		s.Deeds = append(s.Deeds, Deed{"both", "edit", 0}, Deed{"both", "edit", 0}, Deed{"laptop", "sends", 0}, Deed{"desktop", "loses power", 0}, Deed{"desktop", "sends", 0})
	}
	o, err := Tell(s)
	if err != nil {
		t.Fatal(err)
	}
	if o.Copies == 0 {
		t.Error("nobody's change met another's: there is no copy")
	}
}

// Of a file that both change nothing may be missing that was promised, unless somebody
// wrote over it who had read it.
func TestNothingSharedIsMissing(t *testing.T) {
	l := newLedger()
	f, _ := l.share("laptop")
	l.owe(f, 1, "laptop")
	first := version{f.id, 1}
	for range 2 { // the second before it saw what the first did
		_, no := l.instead(f, first)
		l.owe(f, no, "laptop")
	}
	l.instead(f, version{f.id, 2}) // nobody was promised that
	for fact, c := range map[string]struct {
		found map[version]bool
		fine  bool
	}{
		"nothing":                         {nil, false},
		"what somebody wrote over":        {map[version]bool{first: true}, false},
		"one of two":                      {map[version]bool{{f.id, 2}: true}, false},
		"the other of two":                {map[version]bool{{f.id, 3}: true}, true},
		"what nobody was promised beside": {map[version]bool{{f.id, 3}: true, {f.id, 4}: true}, true},
	} {
		if lost := l.missing("", c.found); (len(lost) == 0) != c.fine {
			t.Errorf("%s: %q", fact, lost)
		}
	}
	if lost := l.missing("desktop", nil); len(lost) > 0 {
		t.Errorf("the desktop was promised nothing: %q", lost)
	}
}

// The judge sees what no machine may show, and what is missing.
func TestJudge(t *testing.T) {
	s, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	name, content, promise := s.File("tablet", 1000)
	promise()
	other, otherContent, promised := s.File("tablet", 10)
	promised()
	s.s.truth.name("renamed", s.s.truth.owned("tablet", 0), true)
	altered := append([]byte(nil), content...)
	altered[500] ^= 1
	for fact, c := range map[string]struct {
		tree  map[string][]byte
		whole bool
		fine  bool
	}{
		"nothing":                 {nil, false, true},
		"nothing of what was":     {nil, true, false},
		"the file":                {map[string][]byte{name: content}, false, true},
		"both":                    {map[string][]byte{name: content, other: otherContent}, false, true},
		"another's content":       {map[string][]byte{name: otherContent}, false, false},
		"exchanged":               {map[string][]byte{name: otherContent, other: content}, false, false},
		"another's in a conflict": {map[string][]byte{name + " (conflict, laptop, 2026-01-01)": otherContent}, false, false},
		"a new name":              {map[string][]byte{"renamed": content}, false, true},
		"a new name, empty":       {map[string][]byte{"renamed": nil}, false, false},
		"nothing of no name":      {map[string][]byte{"forged": nil}, false, false},
		"the file, still empty":   {map[string][]byte{name: nil}, false, true},
		"the file in a conflict":  {map[string][]byte{name + " (conflict, laptop, 2026-01-01)": content}, false, true},
		"another bit":             {map[string][]byte{name: altered}, false, false},
		"cut":                     {map[string][]byte{name: content[:999]}, false, false},
		"zeros":                   {map[string][]byte{name: make([]byte, 1000)}, false, false},
		"another name":            {map[string][]byte{"forged": content}, false, false},
	} {
		if err := s.Judge("laptop", c.tree, c.whole); (err == nil) != c.fine {
			t.Errorf("%s: %v", fact, err)
		}
	}
}

// What a machine put into a slot that was free, since the store had taken something away,
// is not given up for junk; and where it stands against another machine's, that is known.
func TestWhatWasPutMeanwhileStays(t *testing.T) {
	const name = "v0/s/volume/l/slot"
	for fact, c := range map[string]struct{ was, twice bool }{"junk": {false, false}, "another's commit": {true, true}} {
		s := NewStore()
		if c.was {
			if err := s.Face("desktop").PutIfAbsent(t.Context(), name, []byte("was")); err != nil {
				t.Fatal(err)
			}
		} else {
			s.Truth.Overwrite(name, []byte("was"))
		}
		end := s.Spoil(name, nil)
		if err := s.Face("laptop").PutIfAbsent(t.Context(), name, []byte("mine")); err != nil {
			t.Fatal(err)
		}
		end()
		b, err := s.Truth.Get(t.Context(), name, 0, -1)
		if want := map[bool]string{false: "mine", true: "was"}[c.was]; err != nil || string(b) != want || s.Twice() != c.twice {
			t.Errorf("%s: %q, twice %v, %v", fact, b, s.Twice(), err)
		}
	}
}

// A commit that the store itself put in the place of another was put by nobody, and what
// lay there comes back, whoever made that.
func TestWhatChangedPlacesComesBack(t *testing.T) {
	const one, two = "v0/s/volume/l/slot1", "v0/s/volume/l/slot2"
	s := NewStore()
	s.Truth.Overwrite(one, []byte("of whoever made the drive"))
	if err := s.Face("desktop").PutIfAbsent(t.Context(), two, []byte("a commit")); err != nil {
		t.Fatal(err)
	}
	s.Spoil(one, []byte("a commit"))()
	if b, err := s.Truth.Get(t.Context(), one, 0, -1); err != nil || string(b) != "of whoever made the drive" || s.Twice() {
		t.Errorf("%q, twice %v, %v", b, s.Twice(), err)
	}
}

// Of an object that is not what it was, a part may be true: who asked for that was told
// nothing untrue.
func TestPartsThatAreTrue(t *testing.T) {
	const name = "v0/s/volume/l/slot"
	was := bytes.Repeat([]byte("0123456789"), 10)
	changed := bytes.Clone(was)
	changed[20] ^= 1
	for _, c := range []struct {
		fact     string
		now      []byte
		off, len int64
		untrue   bool
	}{
		{"all", changed, 0, -1, true},
		{"before it", changed, 0, 20, false},
		{"up to it", changed, 0, 21, true},
		{"behind it", changed, 21, -1, false},
		{"the end", changed, -79, -1, false},
		{"the end and it", changed, -80, -1, true},
		{"nothing of it", changed, 30, 0, false},
		{"the beginning of what was cut", was[:50], 0, 50, false},
		{"the end of what was cut", was[:55], -10, -1, true},
		{"more than was left", was[:50], 40, 20, true},
		{"what was taken away", nil, 0, 10, true},
	} {
		s := NewStore()
		s.Truth.Overwrite(name, was)
		end := s.Spoil(name, c.now)
		_, _ = s.Face("laptop").Get(t.Context(), name, c.off, c.len)
		end()
		_, _ = s.Face("laptop").Get(t.Context(), name, 0, -1) // it is honest again
		if got := s.Bites("laptop"); got != map[bool]int{true: 1}[c.untrue] {
			t.Errorf("%s: told something untrue %d times", c.fact, got)
		}
	}
	s := NewStore()
	end := s.Spoil(name, was)
	if _, err := s.Face("laptop").Get(t.Context(), name, -1, -1); err != nil || s.Bites("laptop") != 1 {
		t.Errorf("where there was nothing: told something untrue %d times, %v", s.Bites("laptop"), err)
	}
	end()
}

// What is nobody's tells as little when it is something else; but that nothing is there
// where something was is untrue.
func TestJunkForJunk(t *testing.T) {
	const name = "v0/s/volume/l/slot"
	s := &siege{store: NewStore()}
	ask := func(what string, untrue int) {
		t.Helper()
		before := s.store.Bites("laptop")
		_, _ = s.store.Face("laptop").Get(t.Context(), name, 0, -1)
		if got := s.store.Bites("laptop") - before; got != untrue {
			t.Errorf("%s: told something untrue %d times, not %d", what, got, untrue)
		}
	}
	s.plant(name, []byte("junk"))
	ask("what was put where nothing was", 1)
	s.store.believe()
	ask("what lies there", 0)
	end := s.store.Spoil(name, []byte("a bomb"))
	ask("another", 0)
	end()
	defer s.store.Spoil(name, nil)()
	ask("what was taken away", 1)
}

// Who is shown another store is told something untrue as far as that lacks what others see.
func TestWhatAShownStoreLacks(t *testing.T) {
	const a, b = "v0/s/volume/l/a", "v0/s/volume/l/b"
	s := NewStore()
	s.Truth.Overwrite(b, []byte("there for all"))
	own := s.Truth.Clone()
	s.Show("laptop", own)
	laptop := s.Face("laptop")
	ask := func(what string, untrue int) {
		t.Helper()
		before := s.Bites("laptop")
		_, _ = laptop.Get(t.Context(), a, 0, -1)
		_, _ = laptop.List(t.Context(), "v0/", "", 1)
		_, _ = laptop.List(t.Context(), "v0/", "", 0)
		if got := s.Bites("laptop") - before; got != untrue {
			t.Errorf("%s: told something untrue %d times, not %d", what, got, untrue)
		}
	}
	ask("all alike", 0)
	if err := laptop.PutIfAbsent(t.Context(), a, []byte("its own")); err != nil {
		t.Fatal(err)
	}
	ask("more than others see", 0)
	s.Truth.Overwrite(a, []byte("another"))
	ask("something else", 1)
	_ = own.Delete(t.Context(), a)
	ask("less", 3)
}

// A hint in which the store altered boxes that no machine opens has told none of them
// anything untrue; one that is altered anywhere else has.
func TestAlteredHintsCount(t *testing.T) {
	s, err := newSiege(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	name := s.names("k")[0]
	was := s.object(name)
	const head, box, boxes = 46, 1168, 16
	quiet := 0
	for i := range boxes + 2 {
		b := bytes.Clone(was)
		switch i {
		case boxes:
			b[head-10] ^= 1
		case boxes + 1:
			b[len(b)-1] ^= 1
		default:
			b[head+i*box+500] ^= 1
		}
		before := s.store.Bites("laptop")
		end := s.store.Spoil(name, b)
		if got, err := s.store.Face("laptop").Get(t.Context(), name, 0, -1); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		end()
		told := s.store.Bites("laptop") - before
		if i >= boxes && told != 1 {
			t.Errorf("outside of the boxes: told something untrue %d times", told)
		}
		if i < boxes && told == 0 {
			quiet++
		}
	}
	if quiet != boxes-1 {
		t.Errorf("%d boxes of %d can be altered and nobody is told; all but the owner's should be", quiet, boxes)
	}
}
