package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestLimitFor(t *testing.T) {
	for live, want := range map[int64]int64{0: memoryGoal, 100 << 20: memoryGoal, 184 << 20: memoryGoal, 256 << 20: 296 << 20, 1 << 30: 1128 << 20} {
		if got := limitFor(live); got != want {
			t.Errorf("%d MiB in use: %d MiB, want %d", live>>20, got>>20, want>>20)
		}
	}
}

// The limit goes up with what is in use, and down again. Whoever sets one himself keeps it.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	end := limitMemory(func(string) string { return "1GiB" })
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("with GOMEMLIMIT it is %d", got)
	}
	end()
	end = limitMemory(func(string) string { return "" })
	becomes := func(what string, right func(limit int64) bool) {
		t.Helper()
		for until := time.Now().Add(time.Minute); ; runtime.Gosched() {
			runtime.GC()
			if limit := debug.SetMemoryLimit(-1); right(limit) {
				return
			} else if time.Now().After(until) {
				t.Fatalf("%s: the limit is %d MiB", what, limit>>20)
			}
		}
	}
	becomes("little in use", func(limit int64) bool { return limit == memoryGoal })
	much := make([]byte, 400<<20) // not touched: the machine need not have it
	becomes("much in use", func(limit int64) bool { return limit >= 440<<20 && limit < math.MaxInt64 })
	runtime.KeepAlive(much)
	becomes("little again", func(limit int64) bool { return limit == memoryGoal })
	end()
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("at the end it is %d, it was %d", got, before)
	}
}
