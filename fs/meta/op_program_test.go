package meta_test

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// Each device has its own note, and writes it when it is another one.
func TestSetProgram(t *testing.T) {
	state := new(metatest.Map)
	state.Apply(meta.InitBatch(clock, 0, 0))
	note := func(d meta.Device, version string, changes bool) {
		t.Helper()
		b, err := (&meta.SetProgram{Program: meta.Program{Version: version, Hash: [32]byte{byte(d)}}}).Apply(state, meta.Stamp{Device: d, No: 9, Time: clock})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Validate(); err != nil || b.Empty() == changes {
			t.Errorf("device %d, %s: %v, a batch of %d bytes", d, version, err, b.Size())
		}
		state.Apply(b)
	}
	note(1, "v1", true)
	note(2, "v1", true)
	note(1, "v1", false)
	note(1, "v2", true)
	all, err := meta.Programs(state)
	if err != nil || len(all) != 2 || all[1] != (meta.Program{Version: "v2", Hash: [32]byte{1}}) || all[2].Version != "v1" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := (&meta.SetProgram{}).Apply(state, meta.Stamp{Device: 1, No: 9}); err == nil {
		t.Error("no version, and no error")
	}
}
