package meta_test

import (
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// BenchmarkCreate executes creates in one directory, as far as the batch.
func BenchmarkCreate(b *testing.B) {
	r := newTree(b)
	op := &meta.Make{Parent: meta.RootRef, Name: []byte("some-file.txt"), Ref: meta.Ref{Home: 1, Ino: highest}, Kind: meta.File, Perm: 0o644}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Apply(r.Map, r.at); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOverwrite writes 4 KiB into the middle of a file of 10,000 extents.
func BenchmarkOverwrite(b *testing.B) {
	r := newTree(b)
	file := r.make(meta.RootRef, "file", meta.File)
	for i := range uint64(10) {
		var list []meta.Extent
		for k := range uint64(1000) {
			list = append(list, meta.Extent{Off: (i*1000 + k) * 4096, Len: 4096, Pack: meta.MakePack(1, i*1000+k+1)})
		}
		r.do(&meta.Write{Ref: file, Extents: list})
	}
	op := &meta.Write{Ref: file, Extents: []meta.Extent{{Off: 5000 * 4096, Len: 4096, Pack: meta.PackNo(highest)}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Apply(r.Map, r.at); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeBatch decodes and validates the batch of 1000 creates.
func BenchmarkDecodeBatch(b *testing.B) {
	r := newTree(b)
	var all meta.Builder
	for i := range 1000 {
		r.inos++
		all.Add(r.do(&meta.Make{Parent: meta.RootRef, Name: fmt.Appendf(nil, "file-%d.txt", i), Ref: meta.Ref{Home: 1, Ino: meta.MakeIno(1, r.inos)}, Kind: meta.File}))
	}
	encoded := all.Batch().Encode()
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := meta.DecodeBatch(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuilder merges the batches of 1000 creates.
func BenchmarkBuilder(b *testing.B) {
	r := newTree(b)
	var list []*meta.Batch
	for i := range 1000 {
		r.inos++
		list = append(list, r.do(&meta.Make{Parent: meta.RootRef, Name: fmt.Appendf(nil, "file-%d.txt", i), Ref: meta.Ref{Home: 1, Ino: meta.MakeIno(1, r.inos)}, Kind: meta.File}))
	}
	b.ReportAllocs()
	for b.Loop() {
		var all meta.Builder
		for _, x := range list {
			all.Add(x)
		}
		all.Batch()
	}
}
