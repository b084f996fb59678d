package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// reference makes envelopes from docs/format.md alone, word by word, with none of
// the package's code; and wrong ones, which Seal would never make, by its fields.
type reference struct {
	key    [32]byte
	volume [32]byte
	typ    byte
	epoch  uint32
	salt   [32]byte
	padded []byte // whole plaintext with its padding

	firstIndex     uint64 // of the first segment: 0
	neverLast      bool   // no segment is flagged as the last
	alwaysLast     bool   // all are
	noVolume       bool   // the volume is missing in the associated data
	hashNoTag      bool   // hashes leave the tag out
	commitment     []byte // in place of the right one, in the header and so in the associated data
	segmentSize    int    // 0: 65536
	version, suite byte   // as they stand in the header; suite 0 means 1
	reserved       byte
}

// expand is HKDF-Expand of RFC 5869, section 2.3.
func expand(prk, info []byte, n int) []byte {
	var out, t []byte
	for i := byte(1); len(out) < n; i++ {
		h := hmac.New(sha256.New, prk)
		h.Write(t)
		h.Write(info)
		h.Write([]byte{i})
		t = h.Sum(nil)
		out = append(out, t...)
	}
	return out[:n]
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// pad is Padmé as the paper writes it, in a loop over candidate lengths.
func pad(b []byte) []byte {
	n := len(b)
	for ; ; n++ {
		e := 0
		for n>>(e+1) > 0 {
			e++
		}
		s := 0
		for e>>s > 0 {
			s++
		}
		if n%(1<<(e-s)) == 0 {
			return append(append([]byte(nil), b...), make([]byte, n-len(b))...)
		}
	}
}

func frame(content []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(len(content))), content...)
}

func (r reference) header() []byte {
	okm := r.okm()
	c := r.commitment
	if c == nil {
		c = okm[32:]
	}
	suite := r.suite
	if suite == 0 {
		suite = 1
	}
	return join([]byte("HUSH"), []byte{r.version, suite, r.typ, r.reserved},
		binary.BigEndian.AppendUint32(nil, r.epoch), r.salt[:], c)
}

func (r reference) okm() []byte {
	return expand(r.key[:], join([]byte("hushfs/object\x00"), []byte{1, r.typ}, r.volume[:], r.salt[:]), 64)
}

func (r reference) object() []byte {
	size := r.segmentSize
	if size == 0 {
		size = 65536
	}
	aead := gcm(r.okm()[:32])
	ad := sha256.Sum256(join(r.header(), r.volume[:]))
	if r.noVolume {
		ad = sha256.Sum256(r.header())
	}
	var segments, hashes []byte
	n := uint32(0)
	for rest := r.padded; len(rest) > 0; n++ {
		plain := rest[:min(size, len(rest))]
		rest = rest[len(plain):]
		last := byte(0)
		if len(rest) == 0 && !r.neverLast || r.alwaysLast {
			last = 1
		}
		nonce := binary.BigEndian.AppendUint64([]byte{r.typ, last, 0, 0}, r.firstIndex+uint64(n))
		sealed := aead.Seal(nil, nonce, plain, ad[:])
		hash := sha256.Sum256(sealed)
		if r.hashNoTag {
			hash = sha256.Sum256(sealed[:len(sealed)-16])
		}
		segments = append(segments, sealed...)
		hashes = append(hashes, hash[:]...)
	}
	return join(segments, hashes, binary.BigEndian.AppendUint32(nil, n), r.header())
}

func (r reference) name() [32]byte {
	object := r.object()
	segments := (len(r.padded) + 65535) / 65536
	return sha256.Sum256(join([]byte("hushfs/name\x00"), object[len(object)-segments*32-80:]))
}
