package audit

import (
	"fmt"
	"math"
	"sync"
)

// alarm says how rarely a test takes bytes of chance for something else: with a
// probability of at most 2^-alarm each. The bounds are proven ones, see limitsOf, so
// that a million tests give one false alarm in 2^30 audits.
const alarm = 50

const (
	shortPiece = 4 << 10  // what hides in a few kilobytes shows in pieces of this length
	longPiece  = 64 << 10 // and what leans only a little, in long ones
	leastPiece = 24       // shorter ones tell nothing
	repeatSize = 16       // blocks of this length do not repeat by chance
	printables = 98       // bytes of text: 0x20 to 0x7e, tab, line feed, carriage return
)

// battery tests whether bytes can be told from even chance. Sealed bytes cannot.
//
// Each piece has to pass: no byte value is too often, and all of them are about as often
// as chance makes them, neither less even nor more; the same of the differences of
// neighbours, which are as even as the bytes, and show what counts up; no long run of
// one byte, none of text; no block of 16 bytes twice.
type battery struct {
	mu     sync.Mutex // guards limits and tests
	limits map[int]limits
	tests  int64
}

// limits of a piece of n bytes: what is at one of them, or beyond, is no chance.
type limits struct {
	most      int     // count of one byte value
	many, few float64 // sum of the squares of what the counts are off their mean
	run       int     // equal bytes in a row
	text      int     // bytes of text in a row
}

// look tests bytes of any length, in pieces; it says what is wrong with the first
// that fails, and "" when all pass.
func (b *battery) look(data []byte) string {
	for len(data) > 0 {
		piece := data[:cut(len(data), longPiece)]
		data = data[len(piece):]
		if why := b.piece(piece); why != "" {
			return why
		}
		for rest := piece; len(piece) > shortPiece && len(rest) > 0; {
			n := cut(len(rest), shortPiece)
			if why := b.piece(rest[:n]); why != "" {
				return why
			}
			rest = rest[n:]
		}
	}
	return ""
}

// cut is how many of n bytes the next piece has: at most a step, and so many that what
// is left is not too short to be tested.
func cut(n, step int) int {
	if n > step && n < step+leastPiece {
		return n / 2
	}
	return min(n, step)
}

func (b *battery) piece(p []byte) string {
	if len(p) < leastPiece {
		return ""
	}
	l, between := b.limitsFor(len(p)), b.limitsFor(len(p)-1)
	var counts, steps [256]int
	for i, c := range p {
		counts[c]++
		if i > 0 {
			steps[c-p[i-1]]++
		}
	}
	if why := l.uneven(&counts, "bytes"); why != "" {
		return why
	}
	if why := between.uneven(&steps, "steps from byte to byte"); why != "" {
		return why
	}
	return l.runs(p)
}

// uneven looks at how often each value occurs.
func (l limits) uneven(counts *[256]int, of string) string {
	sum, n := 0.0, 0
	for _, c := range counts {
		n += c
	}
	mean := float64(n) / 256
	for v, c := range counts {
		if c >= l.most {
			return fmt.Sprintf("among its %s the value %#02x is there %d times, where chance gives fewer than %d", of, v, c, l.most)
		}
		sum += (float64(c) - mean) * (float64(c) - mean)
	}
	switch {
	case sum >= l.many:
		return fmt.Sprintf("its %s are less even than chance", of)
	case sum <= l.few:
		return fmt.Sprintf("its %s are more even than chance", of)
	}
	return ""
}

// runs looks at what stands side by side.
func (l limits) runs(p []byte) string {
	run, text := 0, 0
	for i, c := range p {
		if i > 0 && c == p[i-1] {
			run++
		} else {
			run = 1
		}
		if c >= 0x20 && c <= 0x7e || c == '\t' || c == '\n' || c == '\r' {
			text++
		} else {
			text = 0
		}
		if run >= l.run {
			return fmt.Sprintf("a byte is there %d times in a row", run)
		}
		if text >= l.text {
			return fmt.Sprintf("%d bytes of text in a row", text)
		}
	}
	seen := make(map[[repeatSize]byte]bool, len(p)/repeatSize)
	for ; len(p) >= repeatSize; p = p[repeatSize:] {
		block := [repeatSize]byte(p)
		if seen[block] {
			return fmt.Sprintf("%d bytes are there twice", repeatSize)
		}
		seen[block] = true
	}
	return ""
}

func (b *battery) limitsFor(n int) limits {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tests += 5 // nine for a piece, which asks twice
	l, ok := b.limits[n]
	if !ok {
		if b.limits == nil {
			b.limits = map[int]limits{}
		}
		l = limitsOf(n)
		b.limits[n] = l
	}
	return l
}

// limitsOf computes the limits for n even and independent bytes.
//
// The count of one value is binomial, so its tail is summed as it is, times 256. For the
// sum of squares: the 256 counts are independent Poisson variables of mean m = n/256,
// given that they add up to n, which they do with probability P(n) of a Poisson variable
// of mean n, at least 1/(√(2πn)·e^(1/12n)). So an event has at most 1/P(n) times the
// probability that it has for independent ones, and with Chernoff's bound, where
// f(c) = (c−m)² does not grow beyond the count that is caught on its own,
//
//	P(Σ f(c) ≥ x) ≤ 1/P(n) · e^(−t·x) · (mean of e^(t·f(c)))^256 for every t > 0
//
// and the same below with t < 0. Any t is right; the best of some is taken.
func limitsOf(n int) limits { return limitsAt(n, alarm) }

// limitsAt is limitsOf for another number of bits.
func limitsAt(n int, alarm float64) limits {
	a := alarm * math.Ln2
	var l limits
	log := float64(n) * math.Log(255.0/256)
	above := 1.0
	for k := 0; ; k++ {
		if above > 0 && math.Log(256)+math.Log(above) <= -a || k > n {
			l.most = k
			break
		}
		above = upper(n, k+1, log)
		log += math.Log(float64(n-k)) - math.Log(float64(k+1)) - math.Log(255)
	}
	m := float64(n) / 256
	given := 0.5*math.Log(2*math.Pi*float64(n)) + 1/(12*float64(n))
	var poisson []float64 // of 0, 1, … and, last, of most and more
	w, tail := math.Exp(-m), 0.0
	for k := range l.most {
		poisson = append(poisson, w)
		w *= m / float64(k+1)
	}
	for k := l.most; w > tail*1e-18; k++ {
		tail += w
		w *= m / float64(k+1)
	}
	poisson = append(poisson, tail)
	mean := func(t float64) float64 { // log of the mean of e^(t·f(c))
		sum := 0.0
		for k, w := range poisson {
			sum += w * math.Exp(t*(float64(k)-m)*(float64(k)-m))
		}
		return math.Log(sum)
	}
	l.many, l.few = math.Inf(1), math.Inf(-1)
	spread := math.Sqrt(256 * (m + 2*m*m))
	for i := range 400 {
		t := math.Exp(-6+float64(i)/25) / spread
		if up := (256*mean(t) + given + a) / t; up < l.many {
			l.many = up
		}
		if down := -(256*mean(-t) + given + a) / t; down > l.few {
			l.few = down
		}
	}
	bits := alarm + math.Log2(float64(n))
	l.run = 1 + int(math.Ceil(bits/8))
	l.text = int(math.Ceil(bits / math.Log2(256.0/printables)))
	return l
}

// upper is the probability of k and more of n, at 1/256 each, where log is the
// logarithm of that of k-1. The terms fall once k is above the mean.
func upper(n, k int, log float64) float64 {
	sum := 0.0
	for ; k <= n; k++ {
		log += math.Log(float64(n-k+1)) - math.Log(float64(k)) - math.Log(255)
		w := math.Exp(log)
		sum += w
		if float64(k) > float64(n)/256 && w < sum*1e-18 {
			break
		}
	}
	return sum
}
