package keyslot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tyler-smith/go-bip39/wordlists"

	"github.com/hushfs/hushfs/crypt"
)

const (
	recoveryWords   = 24 // 256 bits of entropy and 8 of checksum
	passphraseWords = 7  // 77 bits, behind Argon2id
	bitsPerWord     = 11
)

// GenerateWords draws 32 bytes and returns them with their 24 words, by BIP-39
// and its English list. BIP-39's derivation of a seed is not used: see
// identity.NewWordsKey.
func GenerateWords() (words []string, entropy *crypt.Key, err error) {
	entropy = crypt.NewKey()
	return wordsOf(entropy), entropy, nil
}

// wordsOf writes entropy ‖ first byte of its SHA-256 in digits of 11 bits.
func wordsOf(entropy *crypt.Key) []string {
	b := entropy.Bytes()
	sum := sha256.Sum256(b)
	b = append(b, sum[0])
	defer clear(b)
	words := make([]string, recoveryWords)
	for i := range words {
		n := 0
		for bit := i * bitsPerWord; bit < (i+1)*bitsPerWord; bit++ {
			n = n<<1 | int(b[bit/8]>>(7-bit%8)&1)
		}
		words[i] = wordlists.English[n]
	}
	return words
}

// ParseWords reads 24 words in either case, with any white space between them.
// Errors are ErrWords and name a word by its position, never by its letters.
func ParseWords(text string) (*crypt.Key, error) {
	return parseWords(strings.Fields(text))
}

func parseWords(words []string) (*crypt.Key, error) {
	if len(words) != recoveryWords {
		return nil, fmt.Errorf("%w: %d of them, not %d", ErrWords, len(words), recoveryWords)
	}
	var b [recoveryWords * bitsPerWord / 8]byte
	defer clear(b[:])
	for i, w := range words {
		n, ok := slices.BinarySearch(wordlists.English, strings.ToLower(w))
		if !ok {
			return nil, fmt.Errorf("%w: word %d is not in the list", ErrWords, i+1)
		}
		for j := range bitsPerWord {
			bit := i*bitsPerWord + j
			b[bit/8] |= byte(n>>(bitsPerWord-1-j)&1) << (7 - bit%8)
		}
	}
	entropy := b[:crypt.KeySize]
	if sum := sha256.Sum256(entropy); sum[0] != b[crypt.KeySize] {
		return nil, fmt.Errorf("%w: each is in the list, but their checksum differs: one is another or two are swapped", ErrWords)
	}
	return crypt.KeyFromBytes(entropy)
}

// GeneratePassphrase draws 7 words of the same list, joined by '-'.
func GeneratePassphrase() (string, error) {
	words := make([]string, passphraseWords)
	for i := range words {
		var b [2]byte
		rand.Read(b[:]) // never fails: see crypto/rand
		words[i] = wordlists.English[binary.BigEndian.Uint16(b[:])&(1<<bitsPerWord-1)]
	}
	return strings.Join(words, "-"), nil
}
