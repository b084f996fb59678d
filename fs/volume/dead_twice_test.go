package volume

import "testing"

// A slot that nobody's commit lies in counts once, also where what waits was made on a
// state below it, and the machine goes over it again from there.
func TestDeadSlotsCountOnce(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(m, write("a", "1"), drained, write("waits", "1"), fsync("waits"))
	m.crash()
	w.laptop.mustOpen()
	as(w.laptop, upToDate)
	w.squat(w.objects, 3)
	as(w.laptop, write("b", "1"), drained)
	as(m, stateOf(3, 0, t), read("b", "1"), read("waits", "1"), drained, stateOf(3, 0, t))
}
