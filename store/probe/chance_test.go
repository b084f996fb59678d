package probe_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/probe"
)

// sometimes lets two win in a part of the races, drawn by name: one probe has names of
// its own.
func sometimes(part float64, long bool) lie {
	var mu sync.Mutex
	told := make(map[string]bool)
	return puts(func(m *mem.Bucket, r fault.Request) error {
		err := put(m, r)
		if !errors.Is(err, store.ErrExist) || !strings.Contains(r.Name, "/race-") || long && len(r.Data) < 256<<10 {
			return err
		}
		if h := sha256.Sum256([]byte(r.Name)); float64(binary.BigEndian.Uint32(h[:])) >= part*(1<<32) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if told[r.Name] {
			return err
		}
		told[r.Name] = true // the first loser is told that it won
		return nil
	})
}

// A store that lies in a part of the races is missed as often as docs/s3.md says: the
// chance to be honest in all of them. The attack behind the first two adds nothing here,
// since who comes later is told the truth.
func TestChanceOfMissing(t *testing.T) {
	const probes = 50
	for _, c := range []struct {
		part  float64
		long  bool
		races int // in which it could be found
	}{
		{0.1, false, 10}, {1. / 3, false, 10}, {0.5, false, 10}, {0.5, true, 2}, {1, true, 2},
	} {
		t.Run(fmt.Sprintf("%.2f of races, long alone %v", c.part, c.long), func(t *testing.T) {
			t.Parallel()
			missed := 0
			for range probes {
				m := mem.New()
				v, err := probe.Run(t.Context(), fault.Wrap(m, sometimes(c.part, c.long)(m)...), probe.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if v.Good() {
					missed++
				}
			}
			want := math.Pow(1-c.part, float64(c.races))
			// Five standard deviations, and one: what is that far off is no chance.
			most := probes*want + 5*math.Sqrt(probes*want*(1-want)) + 1
			least := probes*want - 5*math.Sqrt(probes*want*(1-want)) - 1
			t.Logf("missed %d of %d, expected %.1f", missed, probes, probes*want)
			if float64(missed) > most || float64(missed) < least {
				t.Errorf("missed %d of %d, expected %.1f", missed, probes, probes*want)
			}
		})
	}
}
