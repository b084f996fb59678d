package view

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// Two machines make the same folder of files, as two clones of one repository: that the
// files hold the same is asked of all at once, not of one for each time that all is
// executed again.
func TestManySameAreAskedAtOnce(t *testing.T) {
	p := newPair(t)
	a, b := p.all[0], p.all[1]
	const files = 300
	for _, m := range []*machine{a, b} {
		for i := range files {
			p.run(m, fmt.Sprintf("put f%d text", i))
		}
	}
	known := map[[2]uint64]bool{}
	asked := 0
	o := meta.RebaseOptions{Device: "b", NewIno: b.newIno, Place: b.places, Same: func(ours, theirs meta.Content) (bool, error) {
		k := [2]uint64{ours.Version, theirs.Version}
		if known[k] {
			return true, nil
		}
		known[k] = true
		return false, fmt.Errorf("pair: %w", meta.ErrUnknown)
	}}
	for a.view.Pending().Len() > 0 {
		a.publish(600)
	}
	for {
		asked++
		_, err := b.view.Follow(p.chain[b.next:], o, forgotten)
		if err == nil {
			break
		}
		if !errors.Is(err, meta.ErrUnknown) {
			t.Fatal(err)
		}
	}
	if asked > 3 {
		t.Errorf("all was executed %d times", asked)
	}
	count := 0
	_ = meta.ReadDir(b.view.merged(), meta.Root, nil, func([]byte, meta.Dirent) bool { count++; return true })
	if count != files {
		t.Errorf("%d files, want %d", count, files)
	}
}
