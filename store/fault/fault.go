// Package fault is a store in which the accidents are written down beforehand.
//
// It wraps another store, passes every call on, and keeps a log, except where
// a rule says otherwise:
//
//	b := fault.Wrap(mem.New(), fault.On(fault.Put, 3, fault.LostAnswer).Prefix("v0/s/"))
//
// Nothing in it is left to chance: delays end when the test opens a gate, or by a
// clock that testing/synctest makes virtual, and late requests arrive when the test
// delivers them.
package fault

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/store"
)

var _ store.Bucket = (*Bucket)(nil)

// A Bucket is a store with rules. Use Wrap.
type Bucket struct {
	store store.Bucket

	mu     sync.Mutex // guards the fields below; not held over a call to store
	rules  []*armed
	late   []Request
	log    []Call
	counts map[Op]int
}

// A Call is one line of the log.
type Call struct {
	Op   Op
	Name string // for a List, the prefix
	Size int64  // bytes given to a Put or returned by a Get, objects returned by a List
	Err  error  // as the caller got it
}

// Wrap returns a bucket that keeps its objects in b.
func Wrap(b store.Bucket, rules ...Rule) *Bucket {
	w := &Bucket{store: b, counts: make(map[Op]int)}
	w.Add(rules...)
	return w
}

// Add appends rules. All that look at a call count it; the first that fires
// answers it.
func (b *Bucket) Add(rules ...Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rules {
		b.rules = append(b.rules, &armed{Rule: r})
	}
}

// Clear removes all rules. Calls that a rule already holds are not released.
func (b *Bucket) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = nil
}

// Deliver does, in their order, the requests that Late kept, and returns the
// answers, which their callers never got, as lines of a log.
func (b *Bucket) Deliver(ctx context.Context) []Call {
	b.mu.Lock()
	late := b.late
	b.late = nil
	b.mu.Unlock()
	var calls []Call
	for _, r := range late {
		calls = append(calls, line(r, r.Do(ctx)))
	}
	return calls
}

func (b *Bucket) keep(r Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late = append(b.late, r)
}

// Log returns the calls that have ended, in the order in which they ended.
func (b *Bucket) Log() []Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

// Counts returns how many calls of each operation have begun.
func (b *Bucket) Counts() map[Op]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.counts)
}

// PutIfAbsent implements store.Bucket.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	return b.call(ctx, Request{Op: Put, Name: name, Data: data}).Err
}

// Get implements store.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	a := b.call(ctx, Request{Op: Get, Name: name, Off: off, Length: length})
	return a.Data, a.Err
}

// List implements store.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	a := b.call(ctx, Request{Op: List, Name: prefix, After: after, Max: max})
	return a.Infos, a.Err
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	return b.call(ctx, Request{Op: Delete, Name: name}).Err
}

// Watch implements store.Watcher where the store does. No rule is about it.
func (b *Bucket) Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	return store.Watch(ctx, b.store, prefix, ready, told)
}

func (b *Bucket) call(ctx context.Context, r Request) Answer {
	r.bucket = b
	a := b.begin(r)(ctx, r)
	b.end(line(r, a))
	return a
}

// begin counts the call and chooses who answers it.
func (b *Bucket) begin(r Request) Action {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[r.Op]++
	do := Action(Pass)
	chosen := false
	for _, rule := range b.rules {
		if rule.fires(r.Op, r.Name) && !chosen {
			do, chosen = rule.do, true
		}
	}
	return do
}

func (b *Bucket) end(c Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, c)
}

func line(r Request, a Answer) Call {
	c := Call{Op: r.Op, Name: r.Name, Err: a.Err}
	switch r.Op {
	case Put:
		c.Size = int64(len(r.Data))
	case Get:
		c.Size = int64(len(a.Data))
	case List:
		c.Size = int64(len(a.Infos))
	}
	return c
}
