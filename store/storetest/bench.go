package storetest

import (
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/store"
)

// Bench measures what a mount asks of a store most: a commit and a pack put,
// the tail of a pack, one segment, a whole pack, and the newest slot.
func Bench(b *testing.B, open func(b *testing.B) store.Bucket) {
	const segment, pack = 64 << 10, 4 << 20
	for _, size := range []int{4 << 10, pack} {
		b.Run(fmt.Sprintf("put %d KiB", size>>10), func(b *testing.B) {
			bucket, data := open(b), body(size, 1)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := bucket.PutIfAbsent(b.Context(), fmt.Sprintf("v0/l/%016x", i), data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, r := range []struct {
		what        string
		off, length int64
		bytes       int64
	}{{"tail", -4096, -1, 4096}, {"segment", 1 << 20, segment, segment}, {"pack", 0, -1, pack}} {
		b.Run("get "+r.what, func(b *testing.B) {
			bucket := open(b)
			if err := bucket.PutIfAbsent(b.Context(), "v0/p/00/a", body(pack, 1)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(r.bytes)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bucket.Get(b.Context(), "v0/p/00/a", r.off, r.length); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("newest of 1000", func(b *testing.B) {
		bucket := open(b)
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprintf("v0/l/%016x", i))
		}
		if err := putAll(b.Context(), bucket, names); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if infos, err := bucket.List(b.Context(), "v0/l/", "", 1); err != nil || len(infos) != 1 {
				b.Fatal(infos, err)
			}
		}
	})
}
