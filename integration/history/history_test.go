package history

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func w(m, no, n int) Event { return Event{true, Register{m, no}, n} }
func r(m, no, n int) Event { return Event{false, Register{m, no}, n} }

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		h    History
		says string // empty: it is right
	}{
		"nothing":                   {History{{}, {}}, ""},
		"old, and then newer":       {History{{w(0, 0, 1), w(0, 0, 2)}, {r(0, 0, 0), r(0, 0, 1), r(0, 0, 2)}}, ""},
		"one is left out":           {History{{w(0, 0, 1), w(0, 0, 2)}, {r(0, 0, 0), r(0, 0, 2)}}, ""},
		"it goes back":              {History{{w(0, 0, 1), w(0, 0, 2)}, {r(0, 0, 2), r(0, 0, 1)}}, "before"},
		"own write not seen":        {History{{w(0, 0, 1), r(0, 0, 0)}}, "its own"},
		"own write seen":            {History{{r(0, 0, 0), w(0, 0, 1), r(0, 0, 1)}}, ""},
		"what nobody wrote":         {History{{w(0, 0, 1)}, {r(0, 0, 2)}}, "nobody"},
		"the second, not the first": {History{{w(0, 0, 1), w(0, 1, 1)}, {r(0, 1, 1), r(0, 0, 0)}}, "no order"},
		"the first, not the second": {History{{w(0, 0, 1), w(0, 1, 1)}, {r(0, 0, 1), r(0, 1, 0)}}, ""},
		"two see it either way round": {History{{w(0, 0, 1)}, {w(1, 0, 1)},
			{r(0, 0, 1), r(1, 0, 0)}, {r(1, 0, 1), r(0, 0, 0)}}, "no order"},
		"two see it the same way": {History{{w(0, 0, 1)}, {w(1, 0, 1)},
			{r(0, 0, 1), r(1, 0, 0)}, {r(1, 0, 0), r(0, 0, 1)}}, ""},
		"both see only their own": {History{{w(0, 0, 1), r(1, 0, 0)}, {w(1, 0, 1), r(0, 0, 0)}}, ""},
	} {
		err := c.h.Check()
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want one that says %q", name, err, c.says)
		}
	}
}

// Machines that see prefixes of one order are found right, whatever the prefixes; one
// that misses a write that it must have seen is not.
func TestCheckRandom(t *testing.T) {
	wrong := 0
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := random(rnd, false)
		if err := h.Check(); err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, err, h)
		}
		if random(rand.New(rand.NewPCG(seed, 1)), true).Check() != nil {
			wrong++
		}
	}
	if wrong < 100 {
		t.Errorf("%d of 300 machines that see other orders were found", wrong)
	}
}

// random is a history of three machines. With liar the last of them sees the writes of
// the others in another order than these were made in.
func random(rnd *rand.Rand, liar bool) History {
	const machines, registers = 3, 2
	h := make(History, machines)
	var log []write // the one order
	made := map[Register]int{}
	upto := make([]int, machines)
	for range 200 {
		m := rnd.IntN(machines)
		switch rnd.IntN(3) {
		case 0:
			reg := Register{m, rnd.IntN(registers)}
			made[reg]++
			log = append(log, write{reg, made[reg]})
			h[m] = append(h[m], Event{true, reg, made[reg]})
		case 1:
			upto[m] += rnd.IntN(len(log) - upto[m] + 1)
		case 2:
			reg := Register{rnd.IntN(machines), rnd.IntN(registers)}
			n := 0
			for i, w := range log {
				late := liar && m == machines-1 && w.No == 0 && w.Machine != m && i+10 > upto[m]
				if w.Register == reg && (reg.Machine == m || i < upto[m] && !late) {
					n = w.count
				}
			}
			h[m] = append(h[m], Event{false, reg, n})
		}
	}
	return h
}
