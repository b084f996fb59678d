package volume

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// Two programs wait for one name: each hears what became of its own operation, and of
// neither anything is left.
func TestTwoWaitForOneName(t *testing.T) {
	var q tentative
	name := []byte("lock")
	q.add(5, meta.RootRef, name)
	q.add(6, meta.RootRef, name)
	q.add(7, meta.RootRef, name)
	q.none(7, meta.RootRef, name) // the number goes to something else
	if q.has(7) || !q.has(5) || !q.has(6) {
		t.Error("another one is forgotten than that which was not executed")
	}
	q.followed([]meta.Refusal{{No: 5, Err: meta.ErrExist}, {No: 7, Err: meta.ErrExist}}, nil)
	if err := q.end(meta.RootRef, name); !errors.Is(err, meta.ErrExist) {
		t.Errorf("the first hears %v", err)
	}
	if !q.has(6) {
		t.Error("the second is not waited for any more")
	}
	if err := q.end(meta.RootRef, name); err != nil {
		t.Errorf("the second hears %v", err)
	}
	if len(q.waiting)+len(q.names)+len(q.refused) > 0 {
		t.Errorf("left: %v, %v, %v", q.waiting, q.names, q.refused)
	}
}
