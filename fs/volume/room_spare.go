package volume

// tend looks after the room: it gives the spare file away when the disk is full
// and takes it back when there is room again.
func (v *Volume) tend() {
	if v.o.ReadOnly {
		return
	}
	v.room.look(0)
	v.room.shrink()
	v.noted("space for sending", v.spare.keep(isFull(v.packs.Err())))
}

// yield gives the spare file away after the disk has refused something, and says
// whether there is more room now.
func (v *Volume) yield(err error) bool {
	if !isFull(err) || !v.spare.give() {
		return false
	}
	v.room.again()
	return true
}
