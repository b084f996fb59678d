package volume

import (
	"slices"
	"sync"
)

// notes are what a person should know: objects that are damaged, and things
// that went wrong and were not mended yet. They hold no file name.
type notes struct {
	mu       sync.Mutex // guards the fields below; nothing is taken after it
	damaged  map[string]bool
	warnings map[string]string // by subject
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
	slices.Sort(damaged)
	slices.Sort(warnings)
	return damaged, warnings
}
