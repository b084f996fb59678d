package meta

// Report leaves the record of a conflict that a machine met and settled by operations of
// its own, as Detach does.
type Report struct {
	Conflict Conflict
}

var _ Op = (*Report)(nil)

// Apply puts the record under the version that the stamp gives.
func (o *Report) Apply(_ Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Batch{Puts: []KV{{ConflictKey(ConflictID{Version: at.Version()}), AppendConflict(nil, o.Conflict)}}}, nil
}

func (o *Report) code() opCode { return codeReport }

func (o *Report) check() error {
	if !o.Conflict.check() {
		return ErrMalformed
	}
	return nil
}

// The record as it is stored.
func (o *Report) append(dst []byte) []byte { return AppendConflict(dst, o.Conflict) }

func (o *Report) decode(d *decoder) {
	c, err := DecodeConflict(d.b)
	if err != nil {
		d.fail()
		return
	}
	o.Conflict, d.b = c, nil
}

func (o *Report) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	for _, ref := range []*Ref{&c.Conflict.Ours, &c.Conflict.Theirs, &c.Conflict.Parent} {
		if *ref != (Ref{}) {
			*ref = ref.renumber(ino)
		}
	}
	return &c
}
