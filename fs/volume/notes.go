package volume

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// notes are what a person should know: objects that are damaged, and things
// that went wrong and were not mended yet. They hold no file name.
type notes struct {
	mu       sync.Mutex // guards the fields below; nothing is taken after it
	damaged  map[string]bool
	warnings map[string]string // by subject
	dead     uint64            // slots that were loaded and hold nobody's commit
	doubt    doubt
	folders  []uint64 // inodes of those whose names cannot be read, foldersMost at most
}

// foldersMost is how many folders that cannot be listed are named.
const foldersMost = 20

// doubt are slots that held no commit when the chain was loaded, above all that did.
type doubt struct {
	names []string // of the first of them
	n     uint64
	upto  chain.Slot
}

// slots takes over what Load found in slots that hold no commit.
func (n *notes) slots(l *publish.Loaded) {
	for _, d := range l.Damaged {
		n.damage(d)
	}
	if l.Stray > 0 {
		n.warn("slots", fmt.Errorf("%d objects lie above the first free slot and are nobody's commits (the first: %s). Somebody put them into the store; they do no harm there", l.Stray, l.StrayFirst))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	last, upto := l.Doubtful()
	n.dead, n.doubt = uint64(l.Dead), doubt{l.Damaged[:min(last, len(l.Damaged))], uint64(last), upto}
}

// skipped is how many slots hold nobody's commit, of those that were loaded, where the
// newest commit is that of head. What was in doubt is none as soon as one goes on over it.
func (n *notes) skipped(head chain.Slot) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.doubt.n > 0 && head > n.doubt.upto {
		for _, name := range n.doubt.names {
			delete(n.damaged, name)
		}
		n.dead, n.doubt = n.dead+n.doubt.n, doubt{}
	}
	return n.dead
}

// damage remembers an object that is missing or does not verify.
func (n *notes) damage(object string) (isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.damaged == nil {
		n.damaged = map[string]bool{}
	}
	isNew = !n.damaged[object]
	n.damaged[object] = true
	return isNew
}

// whole forgets an object that is what it was.
func (n *notes) whole(object string) (was bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was = n.damaged[object]
	delete(n.damaged, object)
	return was
}

// warn remembers what is wrong with a subject until mend is called for it.
func (n *notes) warn(subject string, err error) (isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.warnings == nil {
		n.warnings = map[string]string{}
	}
	text := subject + ": " + err.Error()
	isNew = n.warnings[subject] != text
	n.warnings[subject] = text
	return isNew
}

// unlisted remembers a folder whose names cannot be read, and says whether that is news.
func (n *notes) unlisted(ino uint64) (isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.folders, ino) || len(n.folders) == foldersMost {
		return false
	}
	n.folders = append(n.folders, ino)
	return true
}

func (n *notes) mend(subject string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.warnings, subject)
}

// has says whether something is wrong with a subject.
func (n *notes) has(subject string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.warnings[subject] != ""
}

// list returns damaged objects and warnings, sorted.
func (n *notes) list() (damaged, warnings []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	damaged, warnings = []string{}, []string{}
	for o := range n.damaged {
		damaged = append(damaged, o)
	}
	for _, w := range n.warnings {
		warnings = append(warnings, w)
	}
	if len(n.folders) > 0 {
		inos := strings.Trim(fmt.Sprint(n.folders), "[]")
		warnings = append(warnings, "folders: what the store says lies in the folders with these inode numbers can be nobody's names, and they cannot be listed: "+inos+". A machine with a fault, or one that means harm, wrote it; which object it is: hushfs fsck STORE")
	}
	slices.Sort(damaged)
	slices.Sort(warnings)
	return damaged, warnings
}
