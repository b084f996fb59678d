package volume

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
)

// Machines that are called the same get names that tell them apart, also when they join
// in one moment.
func TestNamesOfDevices(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, mkdir("d"), drained)
	same := []*machine{w.machine("laptop"), w.machine("laptop"), w.machine("laptop"), w.machine("laptop-2")}
	for _, m := range same {
		m.mustOpen()
	}
	var g sync.WaitGroup
	for i, m := range same {
		g.Go(func() {
			if err := write("f"+string(rune('a'+i)), "1")(m); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	for _, m := range same {
		as(m, drained)
	}
	long := strings.Repeat("ä", chain.MaxDeviceName/2)
	as(w.machine(long), write("l", "1"), drained)
	last := w.machine(long)
	as(last, write("m", "1"), drained)
	list, err := last.v.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range list {
		names = append(names, d.Name)
		if err := chain.CheckDeviceName(d.Name); err != nil {
			t.Errorf("%q: %v", d.Name, err)
		}
	}
	slices.Sort(names)
	want := []string{"laptop", "laptop-2", "laptop-3", "laptop-4", "laptop-5", long[:len(long)-2] + "-2", long}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	// Each knows its own, now and when it comes back.
	for _, m := range same {
		s := m.v.Status()
		i := slices.IndexFunc(list, func(d Device) bool { return d.No == s.Device })
		if i < 0 || list[i].Name != s.DeviceName {
			t.Errorf("device %d takes itself for %q: %+v", s.Device, s.DeviceName, list)
		}
		as(m, lock)
		m.mustOpen()
		if again := m.v.Status().DeviceName; again != s.DeviceName {
			t.Errorf("%q, and %q after a mount", s.DeviceName, again)
		}
	}
}
