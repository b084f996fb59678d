package keyslot

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tyler-smith/go-bip39/wordlists"
)

func TestSpoken(t *testing.T) {
	for in, want := range map[string]string{
		strings.Repeat("\x00", 11):                     "abandon abandon abandon abandon abandon abandon abandon abandon",
		strings.Repeat("\xff", 11):                     "zoo zoo zoo zoo zoo zoo zoo zoo",
		"\x00\x20\x04\x00\x80\x10\x02\x00\x40\x08\x01": "ability ability ability ability ability ability ability ability",
	} {
		if got := strings.Join(Spoken([]byte(in)), " "); got != want {
			t.Errorf("%x: %s, want %s", in, got, want)
		}
	}
	for i := range 200 {
		h := sha256.Sum256([]byte{byte(i)})
		words := Spoken(h[:])
		short := make([]string, len(words))
		for i, w := range words {
			short[i] = strings.ToUpper(w[:min(4, len(w))])
		}
		for name, text := range map[string]string{
			"as they are": strings.Join(words, " "), "in capitals": strings.ToUpper(strings.Join(words, "  ")),
			"with dashes": strings.Join(words, "-"), "with commas and lines": strings.Join(words, ",\n"), "four letters of each": strings.Join(short, " "),
		} {
			got, err := ParseSpoken(text)
			if err != nil || !slices.Equal(got, words) {
				t.Errorf("%s: %v, %v, want %v", name, got, err, words)
			}
		}
	}
	good := Spoken(make([]byte, 11))
	for name, words := range map[string][]string{
		"none": nil, "one fewer": good[1:], "one more": append(slices.Clone(good), "zoo"),
		"no word": append(slices.Clone(good[1:]), "hushfs"), "three letters": append(slices.Clone(good[1:]), "aba"),
		"behind the last": append(slices.Clone(good[1:]), "zzzz"),
	} {
		_, err := ParseSpoken(strings.Join(words, " "))
		if !errors.Is(err, ErrWords) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hushfs") {
			t.Errorf("%s: the error tells a word", name)
		}
	}
	// What the shortest form rests on.
	for i, w := range wordlists.English[1:] {
		if p := w[:min(4, len(w))]; strings.HasPrefix(wordlists.English[i], p) && len(wordlists.English[i]) >= 4 && len(w) >= 4 {
			t.Errorf("%s and %s begin alike", wordlists.English[i], w)
		}
	}
}

func FuzzParseSpoken(f *testing.F) {
	f.Add(strings.Join(Spoken(make([]byte, 11)), " "))
	f.Add("aban aban aban aban aban aban aban zoo")
	f.Fuzz(func(t *testing.T, text string) {
		words, err := ParseSpoken(text)
		if err != nil {
			return
		}
		if again, err := ParseSpoken(strings.Join(words, " ")); err != nil || !slices.Equal(again, words) {
			t.Errorf("%v became %v, %v", words, again, err)
		}
	})
}
