package adversary

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// ledger is what the honest machines wrote: all bytes and names that a machine may ever
// show, and which of them must be there in the end.
type ledger struct {
	mu    sync.Mutex // guards the fields below
	files map[uint64]*file
	next  uint64
	names map[string]given
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

	// A file of both machines is changed in place by each, also at the same time.
	shared bool
	owed   map[uint64]string // by version: who was promised it
	seen   map[uint64]bool   // versions that somebody read and then wrote over
}

// given is what a name stands for.
type given struct {
	file  uint64
	whole bool // it was given to a file that had its content; else it is empty before it is written
}

// version is a content that was written.
type version struct{ file, no uint64 }

func newLedger() *ledger {
	return &ledger{files: map[uint64]*file{}, names: map[string]given{}, bytes: map[[32]byte]version{}}
}

// create notes a new file that owner is about to make, of size bytes.
func (l *ledger) create(owner, dir string, size int) (*file, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	f := &file{id: l.next, owner: owner, name: fmt.Sprintf("%s-%d", owner, l.next)}
	l.files[f.id] = f
	l.names[f.name] = given{file: f.id}
	return f, l.version(f, size)
}

// share notes a new file that both machines change, and which owner is about to make.
func (l *ledger) share(owner string) (*file, []byte) {
	f, content := l.create(owner, "", sharedSize)
	l.mu.Lock()
	defer l.mu.Unlock()
	f.shared, f.owner = true, "both"
	f.owed, f.seen = map[uint64]string{}, map[uint64]bool{}
	return f, content
}

// sharedSize is that of each version of a shared file: it is written over in one go.
const sharedSize = 3000

// instead notes that who read a version of a shared file is about to write over it.
func (l *ledger) instead(f *file, read version) (content []byte, no uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.seen[read.no] = true
	content = l.version(f, sharedSize)
	return content, f.newest
}

// owe notes that a version of a shared file was promised to somebody.
func (l *ledger) owe(f *file, no uint64, who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.owed[no] = who
}

// rewrite notes another content of a file that is about to be written.
func (l *ledger) rewrite(f *file, size int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version(f, size)
}

func (l *ledger) version(f *file, size int) []byte {
	f.newest++
	b := fmt.Appendf(nil, "hushfs %d %06d %d\n", f.id, f.newest, size)
	r := rand.NewChaCha8(sha256.Sum256(b))
	more := make([]byte, size)
	_, _ = r.Read(more)
	b = append(b, more...)
	l.bytes[sha256.Sum256(b)] = version{f.id, f.newest}
	return b
}

// name notes that a name is about to be given to a file, which is whole, or is to be
// written yet.
func (l *ledger) name(name string, f *file, whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[name] = given{f.id, whole}
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
	_, ok := l.given(name)
	return ok
}

func (l *ledger) given(name string) (given, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	base, _, _ := strings.Cut(name, " (")
	g, ok := l.names[base]
	return g, ok
}

// shows finds what who shows under a name: a version of the file that the name was given
// to. Nothing at all is what a file holds before it is written, its version 0.
func (l *ledger) shows(who, name string, content []byte) (version, error) {
	g, ok := l.given(name)
	if !ok {
		return version{}, broken("%s shows the name %q, which nobody gave", who, name)
	}
	if len(content) == 0 {
		if g.whole {
			return version{}, broken("%s shows nothing in %q, which was given to a file that was written", who, name)
		}
		return version{file: g.file}, nil
	}
	l.mu.Lock()
	v, ok := l.bytes[sha256.Sum256(content)]
	l.mu.Unlock()
	if !ok {
		return v, broken("%s shows a content of %q that nobody wrote: %s", who, name, l.near(content))
	}
	if v.file != g.file {
		return v, broken("%s shows version %d of file %d in %q, which is a name of file %d", who, v.no, v.file, name, g.file)
	}
	return v, nil
}

// near says what a content that nobody wrote resembles, for people.
func (l *ledger) near(content []byte) string {
	head, _, _ := bytes.Cut(content[:min(len(content), 60)], []byte("\n"))
	zeros := len(content) - len(bytes.TrimLeft(content, "\x00"))
	return fmt.Sprintf("%d bytes, the first %d of them zeros, beginning with %q", len(content), zeros, head)
}

// missing says which promise a tree does not hold, to one machine, or to all when that is
// empty; found are the versions in it. Of a shared file each that was promised must be
// there, in its place or in a copy, unless somebody wrote over it who had read it.
func (l *ledger) missing(who string, found map[version]bool) (lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := map[uint64]uint64{}
	for v := range found {
		newest[v.file] = max(newest[v.file], v.no)
	}
	for id := uint64(1); id <= l.next; id++ {
		f := l.files[id]
		for _, no := range slices.Sorted(maps.Keys(f.owed)) {
			if (who == "" || f.owed[no] == who) && !f.seen[no] && !found[version{id, no}] {
				lost = append(lost, fmt.Sprintf("file %d (%s) of both: version %d was promised to %s, and nobody wrote over it who read it", id, f.name, no, f.owed[no]))
			}
		}
		if who != "" && f.owner != who || f.deleted || f.promised == 0 || newest[id] >= f.promised {
			continue
		}
		lost = append(lost, fmt.Sprintf("file %d (%s) of %s: version %d was promised, version %d is there", id, f.name, f.owner, f.promised, newest[id]))
	}
	return lost
}

// sub derives a generator from a draw: a deed does the same in a shorter story.
func sub(draw uint64) *rand.Rand {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], draw)
	return rand.New(rand.NewChaCha8(seed))
}
