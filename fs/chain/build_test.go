package chain

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

func TestBuildRefusesWhatOthersWould(t *testing.T) {
	w := newWorld(t)
	w.first()
	phone := device(t, 0x70)
	for _, c := range []struct {
		name        string
		slot        Slot
		no          meta.Device
		first, last meta.OpNo
		b           *meta.Batch
		recs        []Record
		want        error
	}{
		{"a slot that is taken", 1, 1, 1, 0, nil, nil, ErrOrder},
		{"another device's number", 2, 2, 1, 0, nil, nil, ErrRefused},
		{"an operation left out", 2, 1, 2, 2, nil, nil, ErrRefused},
		{"a pack of another epoch", 2, 1, 1, 1, file(meta.MakePack(1, 1), 7), nil, ErrRefused},
		{"a batch that is none", 2, 1, 1, 1, &meta.Batch{Deletes: [][]byte{[]byte("u")}}, nil, ErrMalformed},
		{"a record for another slot", 2, 1, 1, 0, nil, []Record{w.device(3, 2, phone, "")}, ErrForged},
		{"another device's record", 2, 1, 1, 0, nil, []Record{w.device(2, 2, phone, "")}, ErrRefused},
		{"more records than fit", 2, 1, 1, 0, nil, make([]Record, MaxRecords+1), ErrTooLarge},
	} {
		if _, err := w.Build(c.slot, w.laptop, c.no, noon, Content{First: c.first, Last: c.last, Batch: c.b, Records: c.recs}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := w.Build(2, phone, 1, noon, Content{First: 1}); !errors.Is(err, ErrRefused) {
		t.Errorf("another device's key: %v", err)
	}
}

// heavy is a batch of about size bytes.
func heavy(size int) *meta.Batch {
	var b meta.Builder
	ref := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1)}
	for i := 0; b.Size() < size; i++ {
		value := make([]byte, min(meta.MaxXattr, max(size-b.Size()-30, 1)))
		rand.Read(value)
		b.Add(&meta.Batch{Puts: []meta.KV{{Key: meta.XattrKey(ref, fmt.Appendf(nil, "%03d", i)), Value: value}}})
	}
	return b.Batch()
}

func TestTheLargestCommit(t *testing.T) {
	w := newWorld(t)
	w.first()
	c, err := w.Build(2, w.laptop, 1, noon, Content{First: 1, Last: 1, Batch: heavy(1_000_000)})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Object) > MaxCommit {
		t.Errorf("object of %d bytes", len(c.Object))
	}
	w.take(2, c.Object)
	for _, size := range []int{1 << 20, 1<<20 - 400, 1<<20 - 2000} {
		if _, err := w.Build(3, w.laptop, 1, noon, Content{First: 2, Last: 2, Batch: heavy(size)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("batch of %d bytes: %v", size, err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	w.first()
	c, err := w.Build(2, w.laptop, 1, noon, Content{First: 1, Last: 1, Batch: heavy(100_000)})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(c.Object)))
	b.ReportAllocs()
	for b.Loop() {
		if j := w.Judge(2, c.Object, nil); j.Verdict != Valid {
			b.Fatal(j.Reason)
		}
	}
}
