package keyslot

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/tyler-smith/go-bip39/wordlists"
)

// SpokenWords is how many words Spoken makes: 88 bits.
const SpokenWords = 8

// Spoken writes the first bits of a hash, of 11 bytes at least, as words of BIP-39's
// English list, to be compared by voice. They have no checksum.
func Spoken(hash []byte) []string {
	words := make([]string, SpokenWords)
	for i := range words {
		n := 0
		for bit := i * bitsPerWord; bit < (i+1)*bitsPerWord; bit++ {
			n = n<<1 | int(hash[bit/8]>>(7-bit%8)&1)
		}
		words[i] = wordlists.English[n]
	}
	return words
}

// prefixLetters is how many letters tell any two words of the list apart.
const prefixLetters = 4

// ParseSpoken reads what a person typed of Spoken: the words in either case, or their
// first four letters at least, with anything but letters between them. Errors are
// ErrWords.
func ParseSpoken(text string) ([]string, error) {
	typed := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
	if len(typed) != SpokenWords {
		return nil, fmt.Errorf("%w: %d of them, not %d", ErrWords, len(typed), SpokenWords)
	}
	for i, w := range typed {
		n, whole := slices.BinarySearch(wordlists.English, w)
		if !whole && (len(w) < prefixLetters || n == len(wordlists.English) || !strings.HasPrefix(wordlists.English[n], w)) {
			return nil, fmt.Errorf("%w: word %d is not in the list", ErrWords, i+1)
		}
		typed[i] = wordlists.English[n]
	}
	return typed, nil
}
