// Package heaptest measures how much memory something takes. Tests use it, nobody else.
package heaptest

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// Peak calls fn and returns by how many bytes the heap grew meanwhile at most, garbage
// included, as far as looking now and then shows it.
func Peak(fn func()) (bytes uint64) {
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	runtime.GC()
	begun, most := heap(), uint64(0)
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, heap())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	fn()
	close(done)
	looking.Wait()
	return most - min(begun, most)
}
