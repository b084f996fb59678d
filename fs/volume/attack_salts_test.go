package volume

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// collector keeps all that it was ever sent, whatever becomes of it.
type collector struct {
	store.Bucket
	mu  sync.Mutex // guards put
	put [][]byte
}

func (c *collector) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	c.mu.Lock()
	c.put = append(c.put, bytes.Clone(data))
	c.mu.Unlock()
	return c.Bucket.PutIfAbsent(ctx, name, data)
}

// all adds what was sent to what was sealed, and finds no salt twice.
func (c *collector) all(t *testing.T, s seals) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.put {
		// The boxes of a hint stand before its envelope, and are its own.
		if h, err := chain.ParseHint(b); err == nil {
			b = b[hintHead+h.Boxes()*identity.BoxSize:]
		}
		tail, err := crypt.ParseTail(b)
		if err != nil {
			continue // a header of the drive
		}
		hash := tail.HeaderHash()
		s.object(t, fmt.Sprintf("an object of type %v", tail.Type()), string(hash[:]), b)
	}
}

// The store was sent packs and a commit, and the machine loses the end of its journal with
// the power: wherever it is torn, it seals what is written then under other
// salts than what the store has, and nothing twice.
func TestAttackTornJournal(t *testing.T) {
	w := newWorld(t)
	was := &collector{Bucket: w.objects}
	m := w.laptop
	m.bucket = was
	as(m, write("a", "base"), drained, write("a", big), fsync("a"), write("b", "inline"), fsync("b"))
	if err := onItsWay(m); err != nil { // packs are sent, and the commit is written down
		t.Fatal(err)
	}
	path, records := m.records()
	if len(records) < 3 {
		t.Fatalf("%d records", len(records))
	}
	sealed, saved := seals{}, t.TempDir()
	sealed.collect(t, m.state())
	was.all(t, sealed)
	packs := len(w.names("p"))
	copyFolder(t, m.state(), saved)
	sent := w.objects.Clone()
	if packs == 0 {
		t.Fatal("nothing was sent early")
	}
	every := number(t, roundsEnv, 0) > 0
	for i, r := range records {
		for k, cut := range []int{0, 1, 9, r[1] - 1} {
			if !every && k != i%4 {
				continue
			}
			m.restore(saved)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for j := r[0] + cut; j < len(b); j++ {
				b[j] = 0 // preallocated space that was never written
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			again := &collector{Bucket: sent.Clone()}
			m.bucket = again
			other := strings.Repeat(fmt.Sprint("other ", i, cut, " "), 60_000)
			as(m, write("a", other), write("c", other), fsync("a"), fsync("c"), write("b", "other"), drained, read("a", other), read("b", "other"))
			m.crash()
			sealed.collect(t, m.state())
			again.all(t, sealed)
			third := w.machine("third")
			third.bucket = again
			as(third, read("a", other), read("c", other), read("b", "other"))
			third.crash()
		}
	}
	t.Logf("%d records, %d salts", len(records), len(sealed))
}
