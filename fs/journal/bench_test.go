package journal

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// BenchmarkSync is what an fsync of so many bytes of a file waits for, alone and
// with others at the same time.
func BenchmarkSync(b *testing.B) {
	for _, size := range []int{100, 4096, 65536} {
		for _, callers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%d bytes, %d callers", size, callers), func(b *testing.B) {
				j, _, _, err := openAll(b.TempDir(), Options{Key: testKey(b, 1), ID: testID})
				must(b, err)
				data := make([]byte, size)
				var mu sync.Mutex
				no := meta.OpNo(0)
				one := func() {
					mu.Lock()
					no++
					pos, err := j.Append(Operation(OpRecord{No: no, Op: make([]byte, 80), Inline: []Inline{{Data: data}}}))
					mu.Unlock()
					must(b, err)
					must(b, j.Sync(pos))
				}
				one()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for range b.N / callers {
							one()
						}
					})
				}
				all.Wait()
				b.StopTimer()
				must(b, j.Close())
			})
		}
	}
}

// BenchmarkAppend is the part of a write that holds no sync.
func BenchmarkAppend(b *testing.B) {
	j, _, _, err := openAll(b.TempDir(), Options{Key: testKey(b, 1), ID: testID})
	must(b, err)
	data := make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for no := meta.OpNo(1); b.Loop(); no++ {
		_, err := j.Append(Operation(OpRecord{No: no, Op: data[:80], Inline: []Inline{{Data: data}}}))
		must(b, err)
		if no%1000 == 0 {
			must(b, j.Settle(SettledRecord{Last: no}))
		}
	}
	must(b, j.Close())
}
