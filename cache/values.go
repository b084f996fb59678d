package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// values keeps small things: what is put goes from the queue to a log and into
// memory, and from there, when it is enough for a table, into the youngest of the
// generations. One goroutine writes.
type values struct {
	setup
	c    *Cache
	dir  string // absolute, without symbolic links
	geo  geometry
	id   [16]byte
	seal Sealer

	writing sync.Mutex // held over a batch and all else that changes log and youngest; before Cache.mu
	log     *valueLog  // of what is in fresh; nil when that is empty. Guarded by writing
	next    uint64     // number of the next log or generation. Guarded by writing

	list  sync.RWMutex     // guards the fields below; the last lock
	fresh map[string]entry // in no table yet; changed only with writing held too
	held  int64            // cost of fresh
	gens  []*generation    // oldest first; tables are added to the last
	busy  *generation      // not to be removed now

	bytes   atomic.Int64 // on disk
	lookups atomic.Uint64
	crowded atomic.Bool  // too much of the tables is mapped
	mapped  atomic.Int64 // bytes of memory that others have mapped, when it was last seen

	queue
	stop, done chan struct{}
}

func newValues(c *Cache, g geometry) *values {
	return &values{
		setup: setup{secret: c.o.Key, logger: c.o.Log, sys: c.sys, maps: &sync.RWMutex{}},
		c:     c, dir: filepath.Join(c.o.Dir, valuesDir), geo: g,
		fresh: map[string]entry{},
		queue: newQueue(max(2<<20, g.table)),
		stop:  make(chan struct{}), done: make(chan struct{}),
	}
}

// get looks in the queue, in memory, then from the youngest generation to the
// oldest.
func (v *values) get(key string) ([]byte, error) {
	e, ok := v.queue.find(key)
	v.list.RLock()
	if !ok {
		e, ok = v.fresh[key]
	}
	gens := slices.Clone(v.gens)
	v.list.RUnlock()
	if ok && e.dead {
		return nil, ErrAbsent
	} else if ok {
		return append(make([]byte, 0, len(e.value)), e.value...), nil
	}
	if v.lookups.Add(1)%64 == 0 && v.sys.mapped() > v.mapped.Load()+maxMapped && v.crowded.CompareAndSwap(false, true) {
		v.queue.knock()
	}
	for i, g := range slices.Backward(gens) {
		if g.bad.Load() {
			continue
		}
		sealed, dead, found, err := g.get([]byte(key))
		switch {
		case err != nil:
			v.spoiled(g, err)
			continue
		case !found:
			continue
		case dead:
			return nil, ErrAbsent
		}
		value, err := v.seal.Open(nil, sealed, v.ad(key))
		if err != nil {
			v.c.forged.Add(1)
			v.put(key, entry{dead: true})
			return nil, ErrAbsent
		}
		// What is used shall outlive its generation, when that goes soon, if what is
		// new leaves room.
		if i < (len(gens)+3)/4 && v.bytes.Load()+3*v.geo.generation > v.geo.share {
			if v.queue.add(key, entry{value: bytes.Clone(value)}, v.queue.limit/2) {
				v.queue.knock()
			}
		}
		return value, nil
	}
	return nil, ErrAbsent
}

// ad is the associated data of a sealed value.
func (v *values) ad(key string) []byte {
	return append(v.id[:len(v.id):len(v.id)], key...)
}

func (v *values) put(key string, e entry) {
	limit := v.queue.limit
	if e.dead {
		limit *= 2 // that something is to be forgotten is let in a little longer
	}
	if v.queue.add(key, e, limit) {
		v.queue.knock()
	}
}

// spoiled has a generation thrown away that answers neither with a value nor
// with absence.
func (v *values) spoiled(g *generation, err error) {
	if g.bad.CompareAndSwap(false, true) {
		v.c.damaged(err)
		v.queue.knock()
	}
}

// run writes what is queued until stop is closed.
func (v *values) run() {
	defer close(v.done)
	for {
		select {
		case <-v.stop:
			return
		case <-v.queue.wake:
			v.flush(false)
		}
	}
}

// flush writes all that is queued now, and the records that are due, or all.
func (v *values) flush(all bool) {
	for {
		v.c.records(all)
		if !v.step() {
			return
		}
	}
}

// step writes one batch; false when there is none.
func (v *values) step() bool {
	v.writing.Lock()
	defer v.writing.Unlock()
	v.sweep()
	v.unmap()
	batch, size := v.queue.take(v.geo.table / 8)
	if len(batch) == 0 {
		return false
	}
	err := v.write(batch, size)
	v.queue.landed()
	v.c.report(ofValues, err)
	return true
}

// write adds a batch to the log and to what is fresh. v.writing is held.
func (v *values) write(batch map[string]entry, size int64) error {
	if v.log != nil && v.log.lost() {
		v.vanished()
	}
	if err := v.c.roomForValues(size + size/4 + 64<<10); err != nil {
		return err
	}
	// The log grows too when a key is put again and again.
	if v.held+size > v.geo.table || v.log != nil && v.log.size > 2*v.geo.table {
		if err := v.turn(); err != nil {
			return err
		}
	}
	if v.log == nil {
		err := os.MkdirAll(v.dir, 0o700)
		if err == nil {
			v.log, err = createLog(v.dir, v.next)
		}
		if err != nil {
			return err
		}
		v.next++
	}
	before := v.log.bytes
	v.c.step(stepLog)
	err := v.log.append(v.sys, v.id, v.seal, batch)
	v.bytes.Add(v.log.bytes - before)
	if err != nil {
		return err
	}
	v.list.Lock()
	defer v.list.Unlock()
	for key, e := range batch {
		if old, ok := v.fresh[key]; ok {
			v.held -= cost(key, old)
		}
		v.fresh[key] = e
		v.held += cost(key, e)
	}
	return nil
}

// turn makes a table of what is fresh, and begins a new log. v.writing is held.
func (v *values) turn() error {
	v.trim()
	g, isNew := v.youngest()
	defer v.release()
	entries := make([]sealedEntry, 0, len(v.fresh))
	for key, e := range v.fresh {
		if e.dead {
			entries = append(entries, sealedEntry{key: key, meta: metaDead})
			continue
		}
		entries = append(entries, sealedEntry{key: key, value: v.seal.Seal(nil, e.value, v.ad(key))})
	}
	before := g.bytes
	v.c.step(stepTurn)
	err := g.add(entries)
	v.bytes.Add(g.bytes - before)
	if err != nil {
		if errors.Is(err, errBroken) {
			v.spoiled(g, err)
		}
		if isNew {
			v.discard(g)
		}
		return err
	}
	v.list.Lock()
	if isNew {
		v.gens = append(v.gens, g)
	}
	v.fresh, v.held = map[string]entry{}, 0
	v.list.Unlock()
	if isNew {
		v.c.markAll() // records in the oldest generation will be missed
	}
	v.c.step(stepTurned)
	v.dropLog()
	return nil
}

// dropLog removes the log. v.writing is held.
func (v *values) dropLog() {
	if v.log == nil {
		return
	}
	v.bytes.Add(-v.log.bytes)
	if err := v.log.remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.c.left.Add(v.log.bytes)
	}
	v.log = nil
}

// youngest is the generation that the next table goes to, a new one when the
// last is full. It is not removed until it is released.
func (v *values) youngest() (g *generation, isNew bool) {
	v.list.Lock()
	defer v.list.Unlock()
	if n := len(v.gens); n > 0 {
		g = v.gens[n-1]
	}
	if g == nil || g.bad.Load() || g.bytes+v.geo.spare > v.geo.generation {
		g, isNew = &generation{setup: v.setup, dir: generationDir(v.dir, v.next)}, true
		v.next++
	}
	v.busy = g
	return g, isNew
}

func (v *values) release() {
	v.list.Lock()
	defer v.list.Unlock()
	v.busy = nil
}

// trim drops the oldest generations that leave no room in the share for the next
// table, and the log after it. v.writing is held.
func (v *values) trim() {
	for v.bytes.Load()+v.geo.spare > v.geo.share && v.dropOldest() > 0 {
	}
}

// dropOldest removes the oldest generation, and tells how many bytes that gave
// back: 0 when there is none, or it cannot be removed.
func (v *values) dropOldest() int64 {
	v.list.Lock()
	if len(v.gens) == 0 || v.gens[0] == v.busy {
		v.list.Unlock()
		return 0
	}
	g := v.gens[0]
	v.gens = v.gens[1:]
	v.list.Unlock()
	return v.discard(g)
}

// discard removes a generation that is no longer listed.
func (v *values) discard(g *generation) int64 {
	v.bytes.Add(-g.bytes)
	v.c.step(stepDrop)
	if err := g.remove(); err != nil {
		v.c.left.Add(g.bytes) // what could not be removed is found by the next Open
		return 0
	}
	return g.bytes
}

// sweep removes the generations that are spoiled. v.writing is held.
func (v *values) sweep() {
	v.list.Lock()
	var bad []*generation
	v.gens = slices.DeleteFunc(v.gens, func(g *generation) bool {
		if !g.bad.Load() {
			return false
		}
		bad = append(bad, g)
		return true
	})
	v.list.Unlock()
	for _, g := range bad {
		v.discard(g)
	}
}

// maxMapped is how much memory of this process may be of mapped tables: it
// counts as its own, though the kernel could take it away.
const maxMapped = 64 << 20

// unmap gives that memory back.
func (v *values) unmap() {
	if !v.crowded.CompareAndSwap(true, false) {
		return
	}
	v.maps.Lock()
	v.sys.unmap(v.dir)
	v.maps.Unlock()
	v.mapped.Store(v.sys.mapped()) // by others
}

// empty removes everything. v.writing is held.
func (v *values) empty() {
	for v.dropOldest() > 0 {
	}
	v.list.Lock()
	v.fresh, v.held = map[string]entry{}, 0
	v.list.Unlock()
	v.dropLog()
}

// vanished starts anew when somebody removed the folder. v.writing is held.
func (v *values) vanished() {
	v.empty()
	v.c.restore()
}

// giveUp removes everything, because the room is needed.
func (v *values) giveUp() {
	if !v.writing.TryLock() {
		return // who writes asks for room too
	}
	defer v.writing.Unlock()
	v.empty()
}

// close writes what is queued and closes Badger.
func (v *values) close() error {
	close(v.stop)
	<-v.done
	v.flush(true)
	v.c.closed.Store(true)
	v.writing.Lock()
	defer v.writing.Unlock()
	return v.shut()
}

// shut closes Badger and the log.
func (v *values) shut() (err error) {
	v.c.step(stepClose)
	v.list.Lock()
	defer v.list.Unlock()
	for _, g := range v.gens {
		err = errors.Join(err, g.sync())
		g.close()
	}
	if len(v.gens) > 0 || v.log != nil {
		err = errors.Join(err, syncFile(v.dir))
	}
	v.gens, v.fresh = nil, nil
	if v.log != nil {
		err = errors.Join(err, v.log.f.Sync(), v.log.f.Close())
		v.log = nil
	}
	return err
}
