package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"math/big"
	"slices"
	"testing"
)

func prime() *big.Int { // 2^255-19
	return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
}

// little writes n as 32 bytes little endian.
func little(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

func signed(b []byte) []byte {
	b = bytes.Clone(b)
	b[31] |= 0x80
	return b
}

// badEd25519 are the encodings, canonical or not, of all points of small order,
// and others that are not canonical.
func badEd25519() map[string][]byte {
	p, one := prime(), big.NewInt(1)
	y8a, y8b := orderEight()
	all := map[string][]byte{}
	for name, y := range map[string]*big.Int{
		"order 1":           one,
		"order 1 plus p":    new(big.Int).Add(p, one),
		"order 2":           new(big.Int).Sub(p, one),
		"order 4":           new(big.Int),
		"order 4 plus p":    p,
		"order 8 a":         y8a,
		"order 8 b":         y8b,
		"y is p plus 2":     new(big.Int).Add(p, big.NewInt(2)),
		"y is 2 to 255 - 1": new(big.Int).Add(p, big.NewInt(18)),
	} {
		all[name] = little(y)
		all[name+" signed"] = signed(little(y))
	}
	return all
}

// orderEight computes the y of the points of order 8 from the curve's equation,
// -x²+y² = 1+dx²y²: doubling such a point gives y=0, which is where x² = -y².
// So 2y² = 1-dy⁴, and y² = (-1±√(1+d))/d.
func orderEight() (a, b *big.Int) {
	p, one := prime(), big.NewInt(1)
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	root := new(big.Int).ModSqrt(new(big.Int).Add(d, one), p)
	for _, r := range []*big.Int{root, new(big.Int).Sub(p, root)} {
		y2 := new(big.Int).Sub(r, one)
		y2.Mul(y2, new(big.Int).ModInverse(d, p)).Mod(y2, p)
		if y := new(big.Int).ModSqrt(y2, p); y != nil {
			return y, new(big.Int).Sub(p, y)
		}
	}
	panic("no point of order 8")
}

// badX25519 are the encodings of all u of small order (on the curve and its
// twist), and others that are not canonical.
func badX25519() map[string][]byte {
	p, one := prime(), big.NewInt(1)
	all := map[string][]byte{}
	// u of order 8: u = (1+y)/(1-y) for the y of Edwards' points of order 8.
	ya, yb := orderEight()
	for name, y := range map[string]*big.Int{"order 8 a": ya, "order 8 b": yb} {
		den := new(big.Int).Sub(one, y)
		den.Mod(den, p).ModInverse(den, p)
		u := new(big.Int).Add(one, y)
		all[name] = little(u.Mul(u, den).Mod(u, p))
	}
	for name, u := range map[string]*big.Int{
		"zero":         new(big.Int),
		"one":          one,
		"minus one":    new(big.Int).Sub(p, one),
		"p":            p,
		"p plus 1":     new(big.Int).Add(p, one),
		"nine plus p":  new(big.Int).Add(p, big.NewInt(9)),
		"2 to 255 - 1": new(big.Int).Add(p, big.NewInt(18)),
	} {
		all[name] = little(u)
	}
	for name, u := range all {
		if len(name) < 10 {
			all[name+" with high bit"] = signed(u)
		}
	}
	all["nine with high bit"] = signed(little(big.NewInt(9)))
	return all
}

// The constants are those of the curve's equation.
func TestSmallOrderTable(t *testing.T) {
	a, b := orderEight()
	p, one := prime(), big.NewInt(1)
	for _, y := range []*big.Int{one, new(big.Int).Sub(p, one), new(big.Int), a, b} {
		if !slices.Contains(smallOrderY[:], [32]byte(little(y))) {
			t.Errorf("%x is missing", little(y))
		}
	}
}

// What the check is for: under a key of small order, signatures can be made
// without any secret.
func TestSmallOrderKeysWouldVerify(t *testing.T) {
	key := little(big.NewInt(1)) // the neutral point: S·B = R + k·0, so R = 0·B, S = 0 is right for all messages
	sig := append(little(big.NewInt(1)), make([]byte, 32)...)
	for _, msg := range []string{"", "a", "b"} {
		if !ed25519.Verify(key, []byte(msg), sig) {
			t.Errorf("Go refuses the point by itself now: %q", msg)
		}
		if (DeviceKey{{AlgEd25519, key}}).Verify([]byte(msg), Signature{{AlgEd25519, sig}}) == nil {
			t.Errorf("%q verifies under the neutral point", msg)
		}
	}
}

func TestEd25519Edges(t *testing.T) {
	p := prime()
	for name, b := range badEd25519() {
		if checkEd25519(b) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for name, y := range map[string]*big.Int{"2": big.NewInt(2), "p-2": new(big.Int).Sub(p, big.NewInt(2))} {
		if err := checkEd25519(little(y)); err != nil {
			t.Errorf("y = %s: %v", name, err)
		}
		if err := checkEd25519(signed(little(y))); err != nil {
			t.Errorf("y = %s with the sign: %v", name, err)
		}
	}
	for i := range 64 { // honest keys
		seed := sha512.Sum512([]byte{byte(i)})
		if err := checkEd25519(ed25519.NewKeyFromSeed(seed[:32]).Public().(ed25519.PublicKey)); err != nil {
			t.Error(err)
		}
	}
}

func TestX25519Edges(t *testing.T) {
	good := testIdentity(t, 3).Public().Receive[0].Key
	for name, u := range badX25519() {
		if checkXWing(append(bytes.Clone(good[:1184]), u...)) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for n := range 8 {
		u := little(big.NewInt(int64(9 + n)))
		if err := checkXWing(append(bytes.Clone(good[:1184]), u...)); err != nil {
			t.Errorf("u = %d: %v", 9+n, err)
		}
	}
}
