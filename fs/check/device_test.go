package check

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A drive from which a device was removed, with what that had written, hints that it
// had signed, and packs, tables and ledgers of two epochs, is healthy.
func TestADeviceWasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.folds = 3
	desk := &world{t: t, objects: w.objects, unlock: w.unlock, vol: w.vol, dir: t.TempDir(), folds: 3}
	program := meta.Program{Version: "v1", Hash: [32]byte{1}}
	put := func(x *world, name string) { x.write(name, make([]byte, 300_000)) }
	put(w, "a")
	w.lock()
	for _, name := range []string{"b", "c", "d", "e"} {
		put(desk, name)
		desk.lock()
	}
	must(t, w.open().RemoveDevices(t.Context(), []int{2}))
	for _, name := range []string{"f", "g", "h", "i"} {
		put(w, name)
		w.lock()
	}
	w.craft([]meta.KV{{Key: meta.ProgramKey(1), Value: meta.AppendProgram(nil, program)}})
	for _, data := range []float64{0, 1} {
		r := w.check(data)
		if !r.Whole || len(r.Findings) > 0 {
			t.Errorf("data %v: %+v", data, r.Findings)
		}
	}
}
