package view

import "github.com/hushfs/hushfs/fs/meta"

// Across is a file that an operation changes which a commit takes, and one that stays.
type Across struct {
	Ref    meta.Ref
	No     meta.OpNo // the newest that changes it
	Parent meta.Ref  // where the commit gives it a name
	Name   []byte    // empty: it gives it none
}

// Across are the files that pending operations up to last change, and later ones too, in
// no order.
func (v *View) Across(last meta.OpNo) []Across {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.ops.n == 0 || v.ops.last.No <= last {
		return nil
	}
	type name struct {
		in meta.Ino
		as []byte
	}
	files, names, dirs := map[meta.Ref]meta.OpNo{}, map[meta.Ref]name{}, map[meta.Ino]meta.Ref{}
	for p := range v.ops.written() {
		if p.Stamp.No > last {
			break
		}
		for _, kv := range p.Batch().Puts {
			if in, as, err := meta.ParseDirentKey(kv.Key); err == nil {
				if d, err := meta.DecodeDirent(kv.Value); err == nil && d.Kind == meta.File {
					names[d.Ref] = name{in, as}
				}
			} else if ref, err := meta.ParseInodeKey(kv.Key); err == nil {
				v.across(ref, kv, last, files, dirs)
			}
		}
	}
	out := make([]Across, 0, len(files))
	for ref, no := range files {
		a := Across{Ref: ref, No: no}
		if n, ok := names[ref]; ok && dirs[n.in] != (meta.Ref{}) {
			a.Parent, a.Name = dirs[n.in], n.as
		}
		out = append(out, a)
	}
	return out
}

// across notes a directory, or a file that an operation after last changes; v is locked.
func (v *View) across(ref meta.Ref, kv meta.KV, last meta.OpNo, files map[meta.Ref]meta.OpNo, dirs map[meta.Ino]meta.Ref) {
	n, err := meta.DecodeInode(kv.Value)
	switch {
	case err != nil:
	case n.Kind == meta.Dir:
		dirs[ref.Ino] = ref // who gives a name changes the directory as well
	case n.Kind == meta.File:
		if r, ok := v.pending.get(kv.Key); ok && !r.deleted() && meta.OpNo(r.no()) > last {
			files[ref] = meta.OpNo(r.no())
		}
	}
}
