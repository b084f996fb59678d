package cache

import (
	"fmt"
	"testing"
)

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{120, 65552} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := options(b.TempDir())
			o.Limit = 10 << 30
			c := start(b, o)
			v := value(1, n)
			b.SetBytes(int64(n))
			for i := 0; b.Loop(); i++ {
				for !c.values.queue.add(valueKey(key(i)), entry{value: v}, c.values.queue.limit) {
					c.values.flush(false)
				}
			}
			c.values.flush(false)
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{120, 65552} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := options(b.TempDir())
			o.Limit = 10 << 30
			c := start(b, o)
			const keys = 2000
			fill(c, 0, keys, n)
			b.SetBytes(int64(n))
			for i := 0; b.Loop(); i++ {
				if _, err := c.Get(key(i % keys)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkObject(b *testing.B) {
	o := options(b.TempDir())
	o.Limit = 10 << 30
	c := start(b, o)
	const segment, size = 65552, 64 << 20
	seg := value(1, segment)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(segment)
		for i := int64(0); b.Loop(); i++ {
			c.WriteObject(objectName(int(i/1000)), size, i%1000*segment, seg)
		}
	})
	b.Run("read", func(b *testing.B) {
		c.WriteObject(objectName(0), size, 0, seg)
		b.SetBytes(segment)
		for b.Loop() {
			if _, err := c.ReadObject(objectName(0), 0, segment); err != nil {
				b.Fatal(err)
			}
		}
	})
}
