package meta_test

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// One write brings back more folders than one operation can have records: of some there
// is none, and so there is one of the file.
func TestMoreRecordsThanNumbers(t *testing.T) {
	t.Parallel()
	const depth = 260
	r := newTree(t)
	way := []meta.Ref{meta.RootRef}
	for range depth {
		way = append(way, r.make(way[len(way)-1], "d", meta.Dir))
	}
	file := r.make(way[depth], "f", meta.File)
	old := r.Map.Clone()

	op := &meta.Write{Ref: file, Size: 7}
	r.do(op)
	at, was := r.at, r.Map

	r.Map = old
	r.do(&meta.Unlink{Parent: way[depth], Name: []byte("f"), Ref: file})
	for i := depth; i > 0; i-- {
		r.do(&meta.Rmdir{Parent: way[i-1], Name: []byte("d"), Ref: way[i]})
	}
	now := r.Map

	inos := uint64(1 << 20)
	re := meta.NewRebase(was, func(yield func(meta.Change, meta.Stamp) bool) { yield(op, at) }, meta.RebaseOptions{
		Device: "desktop",
		NewIno: func() (meta.Ino, error) { inos++; return meta.MakeIno(1, inos), nil },
		Place: func(ref meta.Ref) (meta.Ref, []byte, bool) {
			return way[depth], []byte("f"), ref == file
		},
	})
	steps, err := re.Again(op, now, at)
	if err != nil {
		t.Fatal(err)
	}
	written := map[uint8]int{}
	for _, s := range steps {
		b, err := s.Apply(now, at)
		if err != nil {
			t.Fatalf("%T: %v", s, err)
		}
		for _, kv := range b.Puts {
			if id, err := meta.ParseConflictKey(kv.Key); err == nil {
				written[id.No]++
			}
		}
		now.Apply(b)
	}
	if n, err := meta.GetInode(now, file); err != nil || n.Size != 7 {
		t.Errorf("what was written is not there: %v", err)
	}
	if len(written) != 201 {
		t.Errorf("%d records", len(written))
	}
	for no, n := range written {
		if n != 1 {
			t.Errorf("record %d was written %d times", no, n)
		}
	}
}
