package volume

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// As far away as is promised, 0.1 s a request, what others write is seen within 2 s, also
// what they begin with after a pause, when nothing tells how much it will be.
func TestFollowsFromFarther(t *testing.T) {
	for _, every := range []time.Duration{110 * time.Millisecond, 210 * time.Millisecond, 700 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			as(w.laptop, mkdir("d"), drained)
			desk := w.machine("desktop")
			desk.ro = true
			far := &afar{Bucket: w.faults, way: 100 * time.Millisecond}
			desk.bucket = far
			desk.mustOpen()
			var mu sync.Mutex // guards seen
			seen := map[string]time.Time{}
			desk.v.Watch(ear(func(c Change) {
				mu.Lock()
				defer mu.Unlock()
				for _, n := range c.Names {
					seen[string(n.Name)] = time.Now()
				}
			}))
			desk.run()
			defer desk.halt()
			end := desk.using(t, time.Second)
			defer end()
			far.mu.Lock()
			far.gets, far.most = 0, 0
			far.mu.Unlock()
			began := time.Now()
			stored := map[string]time.Time{}
			for k := 0; time.Since(began) < 4*time.Second; k++ {
				name := fmt.Sprintf("file %d", k)
				as(w.laptop, write("d/"+name, "x"), drained)
				stored[name] = time.Now()
				time.Sleep(every)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			oldest := time.Duration(0)
			for name, at := range stored {
				if seen[name].IsZero() {
					t.Fatalf("%s was not seen", name)
				}
				oldest = max(oldest, seen[name].Sub(at))
			}
			if oldest > 2*time.Second {
				t.Errorf("a commit comes every %v: seen after %v", every, oldest)
			}
			if far.most > 16 || far.gets > 2*len(stored)+10 {
				t.Errorf("a commit comes every %v: %d requests for %d, %d at a time", every, far.gets, len(stored), far.most)
			}
		})
	}
}
