package adversary

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// ledger is what the honest machines wrote: all bytes and names that a machine may ever
// show, and which of them must be there in the end.
type ledger struct {
	mu    sync.Mutex // guards the fields below
	files map[uint64]*file
	next  uint64
	names map[string]bool
	bytes map[[32]byte]version
}

// file is one that one machine alone changes.
type file struct {
	id       uint64
	name     string
	owner    string
	newest   uint64 // version that was written
	promised uint64 // the newest that fsync promised; 0: none
	deleted  bool   // or it was tried
}

// version is a content that was written.
type version struct{ file, no uint64 }

func newLedger() *ledger {
	return &ledger{files: map[uint64]*file{}, names: map[string]bool{}, bytes: map[[32]byte]version{}}
}

// create notes a new file that owner is about to make, of size bytes.
func (l *ledger) create(owner, dir string, size int) (*file, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	f := &file{id: l.next, owner: owner, name: fmt.Sprintf("%s-%d", owner, l.next)}
	l.files[f.id] = f
	l.names[f.name] = true
	return f, l.version(f, size)
}

// rewrite notes another content of a file that is about to be written.
func (l *ledger) rewrite(f *file, size int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version(f, size)
}

func (l *ledger) version(f *file, size int) []byte {
	f.newest++
	b := fmt.Appendf(nil, "hushfs %d %d %d\n", f.id, f.newest, size)
	r := rand.NewChaCha8(sha256.Sum256(b))
	more := make([]byte, size)
	_, _ = r.Read(more)
	b = append(b, more...)
	l.bytes[sha256.Sum256(b)] = version{f.id, f.newest}
	return b
}

// name notes that a name is about to be given.
func (l *ledger) name(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[name] = true
}

// promise notes that a version is durable.
func (l *ledger) promise(f *file, no uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.promised = max(f.promised, no)
}

func (l *ledger) forget(f *file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.deleted = true
}

// owned returns a file of owner's that a draw picks; nil when there is none.
func (l *ledger) owned(owner string, draw uint64) *file {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*file
	for id := uint64(1); id <= l.next; id++ {
		if f := l.files[id]; f.owner == owner && !f.deleted && f.promised > 0 {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[draw%uint64(len(all))]
}

// knownName tells whether somebody gave that name, or a machine may have made it of one,
// to keep both sides of a conflict.
func (l *ledger) knownName(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.names[name] {
		return true
	}
	base, _, ok := strings.Cut(name, " (")
	return ok && l.names[base]
}

// known finds what a content is; nothing at all is what a file holds before it is written.
func (l *ledger) known(content []byte) (v version, ok bool) {
	if len(content) == 0 {
		return version{}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok = l.bytes[sha256.Sum256(content)]
	return v, ok
}

// near says what a content that nobody wrote resembles, for people.
func (l *ledger) near(content []byte) string {
	head, _, _ := bytes.Cut(content[:min(len(content), 60)], []byte("\n"))
	zeros := len(content) - len(bytes.TrimLeft(content, "\x00"))
	return fmt.Sprintf("%d bytes, the first %d of them zeros, beginning with %q", len(content), zeros, head)
}

// missing says which promise a tree does not hold; found are the versions in it.
func (l *ledger) missing(found map[uint64]uint64) (lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := uint64(1); id <= l.next; id++ {
		f := l.files[id]
		if f.deleted || f.promised == 0 || found[id] >= f.promised {
			continue
		}
		lost = append(lost, fmt.Sprintf("file %d (%s) of %s: version %d was promised, version %d is there", id, f.name, f.owner, f.promised, found[id]))
	}
	return lost
}

// sub derives a generator from a draw: a deed does the same in a shorter story.
func sub(draw uint64) *rand.Rand {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], draw)
	return rand.New(rand.NewChaCha8(seed))
}
