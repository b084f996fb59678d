package volume

import "testing"

// Where another machine has made the same file, that one stands for ours: what was written is
// in its place, and who wrote it hears of no copy.
func TestConfirmOfTheSame(t *testing.T) {
	laptop, desk := remotely(t, mkdir("d"))
	as(desk, write("d/n", "same"), drained)
	as(laptop, write("d/n", ""))
	h := laptop.opens("d/n", true)
	as(laptop, puts(h, 0, "same"), synced(h))
	laptop.run()
	if err := laptop.v.Confirm(t.Context(), h); err != nil {
		t.Errorf("the program that wrote the same hears %v", err)
	}
	as(laptop, shows(h, "same"), closes(h), bare)
	laptop.halt()
}
