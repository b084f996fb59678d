package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// memoryGoal is how many bytes Go's runtime takes in a daemon before the collector works
// harder. What a daemon keeps near on purpose is bounded, and is about 110 MiB when all of
// it is full: tables 24 and their sealed bytes 8, file data 32 and what is on its way 16,
// reading ahead 24, packs that are open or being sent. A hundred thousand waiting
// operations, executed again over another machine's, are 21 MiB beside that, and as many
// inodes that the kernel knows 10. The program itself and mapped files, about 20 MiB, come
// on top of the goal.
const memoryGoal = 216 << 20

// limitMemory keeps this process near memoryGoal as long as that costs little: where more
// than that is in use, the limit is a twelfth above it, so that the collector runs no more
// often than after each twelfth. A limit that stayed below would have it take half of the
// processor for nothing. Whoever sets GOMEMLIMIT decides himself.
func limitMemory(env func(string) string) (end func()) {
	if env("GOMEMLIMIT") != "" {
		return func() {}
	}
	g := &memoryGuard{limit: memoryGoal}
	was := debug.SetMemoryLimit(memoryGoal)
	g.watch()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ended = true
		debug.SetMemoryLimit(was)
	}
}

// memoryGuard follows the collector: it is called after each collection, and nothing runs
// between two.
type memoryGuard struct {
	mu    sync.Mutex // guards the fields below
	limit int64      // set last
	ended bool
}

// watch has the limit looked at after the next collection, and from then on after each.
func (g *memoryGuard) watch() {
	sentinel := &struct{ pointer *memoryGuard }{g} // with a pointer it is an object of its own
	runtime.AddCleanup(sentinel, func(g *memoryGuard) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.ended {
			return
		}
		if limit := limitFor(inUse()); limit != g.limit {
			g.limit = limit
			debug.SetMemoryLimit(limit)
		}
		g.watch()
	}, g)
}

// inUse is how many bytes the last collection found in use.
func inUse() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(s[0].Value.Uint64())
}

// limitFor is the limit for so many bytes in use, in steps, since setting one stops the
// program for a moment.
func limitFor(live int64) int64 {
	const (
		step   = 8 << 20
		beside = 12 << 20 // of the runtime: stacks, and what it knows of the heap
	)
	return max(memoryGoal, (live+live/12+beside+step-1)/step*step)
}
