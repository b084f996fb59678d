package volume

import (
	"context"
	"strings"
	"sync"
	"testing"

	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
)

// disks is a store in the place of which another one stands for a while, as a disk that
// was not mounted, or a backup that was put back too early.
type disks struct {
	store.Bucket
	other  store.Bucket
	swap   string        // a put of a name with this prefix goes to the other one, and all that follows
	slots  string        // and waits, if it is told to, until a slot was looked at
	looked chan struct{} // closed then; nil: it does not wait

	mu   sync.Mutex // guards the fields below
	once bool
	away bool
}

func (d *disks) now() store.Bucket {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return d.other
	}
	return d.Bucket
}

func (d *disks) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	b, err := d.now().Get(ctx, name, off, n)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.looked != nil && !d.once && strings.HasPrefix(name, d.slots) {
		d.once = true
		close(d.looked)
	}
	return b, err
}

func (d *disks) PutIfAbsent(ctx context.Context, name string, b []byte) error {
	if d.swap != "" && strings.HasPrefix(name, d.swap) {
		if d.looked != nil {
			<-d.looked
		}
		d.mu.Lock()
		d.away = true
		d.mu.Unlock()
	}
	return d.now().PutIfAbsent(ctx, name, b)
}

// back puts the store in its place again.
func (d *disks) back() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.swap, d.away = "", false
}

// Packs that went to another store are sent again before a commit names them.
func TestPacksWentElsewhere(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	d := &disks{Bucket: w.faults, other: w.objects.Clone(), slots: w.prefix("l")}
	m.bucket = d
	as(m, write("a", "1"), drained, write("f", big), fsync("f"))
	d.swap, d.looked = w.prefix("p"), make(chan struct{})
	as(m, refuses(drained, publish.ErrRollback))
	d.back()
	as(m, drained, lock)
	as(w.machine("desk"), read("f", big))
}

// So are tables before a checkpoint does.
func TestTablesWentElsewhere(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	d := &disks{Bucket: w.faults, other: w.objects.Clone()}
	m.bucket = d
	as(m, write("a", "1"), commits("b", 9))
	d.swap = w.prefix("t")
	as(m, refuses(folded, publish.ErrRollback))
	d.back()
	as(m, write("c", "1"), drained)
	desk := w.machine("desk")
	as(desk, read("a", "1"))
	if s := desk.v.Status(); len(s.Damaged) > 0 || strings.Contains(desk.log.String(), "damaged") {
		t.Errorf("a checkpoint names tables that are not there: %v\n%s", s.Damaged, desk.log)
	}
	as(m, folded, lock)
	as(desk, lock, read("a", "1"), read("c", "1"))
}
