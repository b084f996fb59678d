package audit

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

// prose is text that does not repeat itself.
func prose(n int) []byte {
	words := strings.Fields("the audit of a store that holds nothing but sealed bytes must be quiet and one that holds a letter to a friend about money must not")
	r := mrand.New(mrand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.Bytes()[:n]
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func TestChanceIsQuiet(t *testing.T) {
	t.Parallel()
	var b battery
	for _, n := range []int{0, 1, 23, 24, 25, 48, 80, 113, 4095, 4096, 4097, 4119, 4120, 65535, 65536, 65552, 65560, 1 << 20} {
		for range 20 {
			if why := b.look(random(n)); why != "" {
				t.Errorf("%d random bytes: %s", n, why)
			}
		}
	}
	if b.tests == 0 {
		t.Error("no test was counted")
	}
}

func TestBoxesAreQuiet(t *testing.T) {
	t.Parallel()
	var b battery
	for range 64 {
		box, err := identity.RandomBox(nil)
		if err != nil {
			t.Fatal(err)
		}
		if why := b.look(box); why != "" {
			t.Error(why)
		}
	}
}

func TestWhatIsNoChance(t *testing.T) {
	t.Parallel()
	numbers := make([]byte, 4096)
	for i := range len(numbers) / 4 {
		binary.LittleEndian.PutUint32(numbers[4*i:], uint32(i*977))
	}
	counting := make([]byte, 4096)
	for i := range counting {
		counting[i] = byte(i)
	}
	squeezed := func() []byte {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.HuffmanOnly)
		_, _ = w.Write(prose(1 << 20))
		_ = w.Close()
		return b.Bytes()
	}()
	block := random(16)
	leaning := random(65536)
	for i, c := range leaning {
		if c >= 0xf0 && i%2 == 0 {
			leaning[i] -= 0x80 // some values a little too often
		}
	}
	near := random(4096)
	for i := 1; i < len(near); i += 2 {
		near[i] = near[i-1] + near[i]%8 // each value as often as any other
	}
	for name, data := range map[string][]byte{
		"pairs that are near":         near,
		"64 bytes of text":            prose(64),
		"text":                        prose(4096),
		"base64":                      []byte(base64.StdEncoding.EncodeToString(random(3000))),
		"hex":                         []byte(hex.EncodeToString(random(60))),
		"zeros":                       make([]byte, 32),
		"numbers":                     numbers,
		"all values in turn":          counting,
		"one block, again and again":  bytes.Repeat(block, 8),
		"a block that comes back":     append(append(append(random(4096), block...), random(40_000)...), append(block, random(4080)...)...),
		"a little uneven":             leaning,
		"text between random bytes":   append(append(random(2000), prose(60)...), random(2000)...),
		"zeros between random bytes":  append(append(random(60_000), make([]byte, 12)...), random(5000)...),
		"a page of text among others": append(append(random(8*4096), prose(4096)...), random(8*4096)...),
		"Huffman's code":              squeezed,
		"half the values":             mask(random(700), 0x7f),
	} {
		var b battery
		if why := b.look(data); why == "" {
			t.Errorf("%s (%d bytes) passes for chance", name, len(data))
		}
	}
}

func mask(b []byte, m byte) []byte {
	for i := range b {
		b[i] &= m
	}
	return b
}

// The limits are held against what chance does: they are far away, and not without end.
func TestLimits(t *testing.T) {
	t.Parallel()
	for _, n := range []int{24, 80, 113, 1000, 4096, 65536} {
		l := limitsOf(n)
		m := float64(n) / 256
		mean, spread := 256*m, math.Sqrt(256*(m+2*m*m))
		if math.IsNaN(l.many) || l.many < mean+7*spread || l.many > mean+20*spread+60 {
			t.Errorf("%d bytes: a sum of %.0f is too much, chance gives %.0f ± %.0f", n, l.many, mean, spread)
		}
		if math.IsNaN(l.few) || l.few > mean-3.5*spread && l.few > 0 || n >= 4096 && l.few < mean-10*spread {
			t.Errorf("%d bytes: a sum of %.0f is too little, chance gives %.0f ± %.0f", n, l.few, mean, spread)
		}
		if e := float64(n) / 256; float64(l.most) < e+7*math.Sqrt(e) || float64(l.most) > e+12*math.Sqrt(e)+15 {
			t.Errorf("%d bytes: %d times one value", n, l.most)
		}
	}
}

// With an alarm at 2^-8 in place of 2^-50 the bounds can be watched at work.
func TestBoundsHold(t *testing.T) {
	t.Parallel()
	const n, rounds = 512, 20_000
	r := mrand.NewChaCha8([32]byte{7})
	l := limitsAt(n, 8)
	loud := 0
	p := make([]byte, n)
	for range rounds {
		_, _ = r.Read(p)
		var counts [256]int
		for _, c := range p {
			counts[c]++
		}
		if l.uneven(&counts, "bytes") != "" {
			loud++
		}
	}
	if most := 3 * rounds / 256; loud > most {
		t.Errorf("%d of %d cry wolf, at most %d may", loud, rounds, most)
	}
	if loud == 0 {
		t.Error("the bounds are so wide that nothing would be found")
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	v := strings.Repeat("5a", 32)
	n := "ab" + strings.Repeat("01", 31)
	for name, want := range map[string]Kind{
		"v0/h/fffffffffffffffe":                    Header,
		"v0/s/" + v + "/l/fffffffffffffffe":        Commit,
		"v0/s/" + v + "/k/ffffffffffffffff":        Hint,
		"v0/s/" + v + "/a/" + n:                    Ledger,
		"v0/s/" + v + "/t/" + n:                    Table,
		"v0/s/" + v + "/b/" + n:                    Bundle,
		"v0/s/" + v + "/x/" + n:                    Manifest,
		"v0/s/" + v + "/p/ab/" + n:                 Pack,
		"v0/s/" + v + "/p/ac/" + n:                 Foreign,
		"v0/s/" + v + "/p/" + n:                    Foreign,
		"v0/s/" + v + "/t/" + n + "0":              Foreign,
		"v0/s/" + v + "/l/FFFFFFFFFFFFFFFE":        Foreign,
		"v0/s/" + strings.ToUpper(v) + "/a/" + n:   Foreign,
		"v0/s/" + v + "/q/" + n:                    Foreign,
		"v0/s/" + v[1:] + "/t/" + n:                Foreign,
		"v0/probe/00/1":                            Probe,
		".tmp/x":                                   Temporary,
		"v0/h/":                                    Foreign,
		"README":                                   Foreign,
		"v1/h/fffffffffffffffe":                    Foreign,
		"":                                         Foreign,
		"v0/s/" + v + "/l/fffffffffffffffe/notes":  Foreign,
		"v0/s/" + v + "/p/ab/" + n + ".old":        Foreign,
		"copy of v0/s/" + v + "/l/ffffffffffffffe": Foreign,
	} {
		if got := placeOf(name).kind; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestSizeClasses(t *testing.T) {
	t.Parallel()
	right := map[int64]bool{}
	for p := int64(1); p < 200_000; p++ {
		right[crypt.ObjectSize(p)] = true
	}
	for size := int64(0); size < 200_000; size++ {
		if _, ok := paddedIn(size); ok != right[size] {
			t.Fatalf("%d bytes: %v, want %v", size, ok, right[size])
		}
	}
	for _, n := range []int64{4 << 20, 64 << 20, crypt.MaxContent} {
		if p, ok := paddedIn(crypt.ObjectSize(n)); !ok || p != crypt.Padme(n) {
			t.Errorf("%d bytes: %d, %v", n, p, ok)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var t battery
			data := random(n)
			b.SetBytes(int64(n))
			for b.Loop() {
				if why := t.look(data); why != "" {
					b.Fatal(why)
				}
			}
		})
	}
}
