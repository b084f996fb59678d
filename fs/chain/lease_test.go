package chain

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// fenced knows of a lease that whatever the desktop does would break, up to a slot.
type fenced struct {
	past
	until Slot
}

func (f fenced) Fenced(_ *meta.Batch, by meta.Device, slot Slot) bool {
	return by != 1 && slot <= f.until
}

// A commit that breaks a lease is junk for everybody, however well it is signed.
func TestLeasedCommit(t *testing.T) {
	w := newWorld(t)
	w.first()
	desktop := device(t, 0x60)
	if no := w.enrol(desktop, "desktop"); no != 2 {
		t.Fatalf("desktop is device %d", no)
	}
	object := w.build(3, desktop, 2, 1, 3, nil).Object
	for until, want := range map[Slot]Verdict{2: Valid, 3: Junk, 9: Junk} {
		if j := w.Judge(3, object, fenced{until: until}); j.Verdict != want {
			t.Errorf("leased up to slot %d: %v (%s), want %v", until, j.Verdict, j.Reason, want)
		}
	}
	own := w.build(3, w.laptop, 1, w.LastOp[1]+1, w.LastOp[1]+1, nil)
	if j := w.Judge(3, own.Object, fenced{until: 9}); j.Verdict != Valid {
		t.Errorf("the holder's own: %v (%s)", j.Verdict, j.Reason)
	}
}
