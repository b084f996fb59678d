package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/volume"
)

// Who was removed before is not removed again, and nobody is told so.
func TestRemovedBefore(t *testing.T) {
	a, said := quiet(t)
	list := []volume.Device{{No: 1, This: true}, {No: 2, Name: "desk", Removed: 9}, {No: 3, Name: "old"}}
	if left := a.notRemoved(list, []int{2, 3, 3, 4}); !slices.Equal(left, []int{3, 4}) {
		t.Errorf("%v are to be removed", left)
	}
	if left := a.notRemoved(list, []int{2}); len(left) != 0 {
		t.Errorf("%v are to be removed", left)
	}
	if n := strings.Count(said(), "device 2 (desk) was removed before, in slot 9"); n != 2 {
		t.Errorf("it is told %d times: %s", n, said())
	}
}
