package mem

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hushfs/hushfs/store"
)

// Clone returns a bucket that holds the same objects and from then on lives
// its own life: a backup, a rolled back or a forked store.
func (b *Bucket) Clone() *Bucket {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return &Bucket{objects: maps.Clone(b.objects), names: slices.Clone(b.names)}
}

// Names returns the names of all objects, ascending.
func (b *Bucket) Names() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Clone(b.names)
}

// Overwrite puts data under the name whether or not it is taken, as only the
// store's operator can. It does not keep data. A name that is not allowed is
// a mistake in the test, and a panic.
func (b *Bucket) Overwrite(name string, data []byte) {
	if err := store.CheckName(name); err != nil {
		panic(fmt.Sprintf("mem: overwrite: %v", err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(name, data)
}
