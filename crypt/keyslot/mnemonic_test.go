package keyslot

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
	"github.com/tyler-smith/go-bip39"
	"github.com/tyler-smith/go-bip39/wordlists"

	"github.com/hushfs/hushfs/crypt"
)

func repeat(n int, words, last string) string {
	return strings.Repeat(words+" ", n) + last
}

// The first four are of the BIP-39 reference vectors (Trezor's).
func wordsVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, entropy []byte, text string) {
		all = append(all, fixed(name, expect, comment, vectortest.Hex("entropy", entropy), vectortest.Hex("hex", []byte(text))))
	}
	zero := repeat(23, "abandon", "art")
	winner := repeat(2, "legal winner thank year wave sausage worth useful", "legal winner thank year wave sausage worth title")
	add("bip39 00", "ok", "BIP-39 reference vector", make([]byte, 32), zero)
	add("bip39 7f", "ok", "BIP-39 reference vector", bytes.Repeat([]byte{0x7f}, 32), winner)
	add("bip39 80", "ok", "BIP-39 reference vector", bytes.Repeat([]byte{0x80}, 32),
		repeat(2, "letter advice cage absurd amount doctor acoustic avoid", "letter advice cage absurd amount doctor acoustic bless"))
	add("bip39 ff", "ok", "BIP-39 reference vector", bytes.Repeat([]byte{0xff}, 32), repeat(23, "zoo", "vote"))
	add("upper case", "ok", "", make([]byte, 32), strings.ToUpper(zero))
	add("white space", "ok", "", make([]byte, 32), "\r\n\t "+strings.ReplaceAll(zero, " ", " \r\n\t")+"\n")
	add("empty", "words", "", nil, "")
	add("23 words", "words", "", nil, repeat(22, "abandon", "art"))
	add("25 words", "words", "", nil, repeat(24, "abandon", "art"))
	add("12 words", "words", "good words of 128 bits", nil, repeat(11, "abandon", "about"))
	add("checksum", "words", "", nil, repeat(23, "abandon", "abandon"))
	add("swapped", "words", "the first two", nil, strings.Replace(winner, "legal winner", "winner legal", 1))
	add("not in the list", "words", "", nil, repeat(23, "abandon", "arty"))
	add("beginning of a word", "words", "four letters are not taken for the word", nil, repeat(23, "aban", "art"))
	add("joined", "words", "by hyphens", nil, strings.ReplaceAll(zero, " ", "-"))
	return all
}

func TestWordsVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "words") {
		text := string(v.Bytes(t, "hex"))
		k, err := ParseWords(text)
		v.Check(t, outcomes, err)
		if err != nil {
			continue
		}
		if !bytes.Equal(k.Bytes(), v.Bytes(t, "entropy")) {
			t.Errorf("%s: other bytes", v.Name)
		}
		if got := strings.Join(wordsOf(k), " "); got != strings.Join(strings.Fields(strings.ToLower(text)), " ") {
			t.Errorf("%s: other words", v.Name)
		}
	}
}

// Another implementation of BIP-39 says the same.
func TestWordsAgainstLibrary(t *testing.T) {
	for range 50 {
		words, entropy, err := GenerateWords()
		if err != nil || len(words) != 24 {
			t.Fatalf("%d words: %v", len(words), err)
		}
		theirs, err := bip39.NewMnemonic(entropy.Bytes())
		if err != nil || theirs != strings.Join(words, " ") {
			t.Fatalf("library: %v", err)
		}
		back, err := ParseWords(theirs)
		if err != nil || !back.Equal(entropy) {
			t.Fatalf("back: %v", err)
		}
	}
	if len(wordlists.English) != 2048 || !slices.IsSorted(wordlists.English) {
		t.Error("the list is not that of BIP-39")
	}
}

// Errors say where, and nothing of what.
func TestWordsErrors(t *testing.T) {
	words := strings.Fields(repeat(23, "abandon", "art"))
	for i := range words {
		bad := slices.Clone(words)
		bad[i] = "canary"
		_, err := ParseWords(strings.Join(bad, " "))
		if !errors.Is(err, ErrWords) {
			t.Fatalf("word %d: %v", i, err)
		}
		bad[i] = "xcanary"
		_, err = ParseWords(strings.Join(bad, " "))
		if !errors.Is(err, ErrWords) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "abandon") {
			t.Fatalf("word %d: %v", i, err)
		}
		if want := "word " + string(rune('0'+(i+1)%10)) + " "; i < 9 && !strings.Contains(err.Error(), want) {
			t.Errorf("word %d: %v", i, err)
		}
	}
}

func TestGeneratePassphrase(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p, err := GeneratePassphrase()
		if err != nil || seen[p] {
			t.Fatalf("twice the same, or %v", err)
		}
		seen[p] = true
		words := strings.Split(p, "-")
		if len(words) != 7 {
			t.Errorf("%d words", len(words))
		}
		for _, w := range words {
			if _, ok := slices.BinarySearch(wordlists.English, w); !ok {
				t.Error("a word is not in the list")
			}
		}
	}
}

func recoveryVectors() (all []vectortest.Vector) {
	drive, entropy := array(0x33), count(0x44, 32)
	k, err := crypt.KeyFromBytes(entropy)
	if err != nil {
		panic(err)
	}
	words := wordsOf(k)
	sheet := string(FormatRecovery(drive, words))
	bare := strings.Join(words, " ")
	id := DriveIDFull(drive)
	add := func(name, expect, comment, text string, drive []byte) {
		all = append(all, fixed(name, expect, comment, vectortest.Hex("drive", drive), vectortest.Hex("entropy", entropy), vectortest.Hex("hex", []byte(text))))
	}
	add("sheet", "ok", "as FormatRecovery writes it", sheet, drive[:])
	add("sheet of Windows", "ok", "", strings.ReplaceAll(sheet, "\n", "\r\n"), drive[:])
	add("bare words", "ok", "no drive: a person must confirm it", bare, nil)
	add("words and drive", "ok", "", bare+"\nDrive:"+strings.ToUpper(id)+"\n", drive[:])
	add("a word a line", "ok", "", strings.ReplaceAll(bare, " ", "\n"), nil)
	add("numbers with dots", "ok", "some only", "1. "+strings.Replace(bare, words[1]+" ", "2) "+words[1]+" ", 1), nil)
	add("empty", "words", "", "", nil)
	add("only a drive", "words", "", "drive: "+id, nil)
	add("word missing", "words", "", strings.Replace(sheet, " 5 "+words[4], " 5 ", 1), nil)
	add("line missing", "words", "the numbers tell", sheet[:strings.Index(sheet, " 5 ")]+sheet[strings.Index(sheet, " 9 "):], nil)
	add("number alone", "words", "", bare+" 99999999999999999999", nil)
	add("two drives", "drive", "", sheet+"drive: "+id+"\n", nil)
	add("short drive", "drive", "the 26 characters do not suffice", "drive: "+DriveIDString(drive)+"\n"+bare, nil)
	add("no drive id", "drive", "", "drive:\n"+bare, nil)
	return all
}

func TestRecoveryVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "recovery") {
		drive, entropy, err := ParseRecovery(v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err != nil {
			continue
		}
		if !bytes.Equal(entropy.Bytes(), v.Bytes(t, "entropy")) {
			t.Errorf("%s: other words", v.Name)
		}
		if want := v.Bytes(t, "drive"); drive == nil && len(want) != 0 || drive != nil && !bytes.Equal(drive[:], want) {
			t.Errorf("%s: other drive", v.Name)
		}
	}
	if _, _, err := ParseRecovery(make([]byte, maxRecovery+1)); !errors.Is(err, ErrWords) {
		t.Errorf("long sheet: %v", err)
	}
}

func FuzzParseWords(f *testing.F) {
	for _, v := range vectortest.Read(f, "words") {
		f.Add(string(v.Bytes(f, "hex")))
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseWords(text)
		if err == nil && strings.Join(wordsOf(k), " ") != strings.Join(strings.Fields(strings.ToLower(text)), " ") {
			t.Error("other words")
		}
	})
}

func FuzzParseRecovery(f *testing.F) {
	for _, v := range vectortest.Read(f, "recovery") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		drive, entropy, err := ParseRecovery(b)
		if err != nil || drive == nil {
			return
		}
		// What was read says the same when it is written again.
		again, k, err := ParseRecovery(FormatRecovery(*drive, wordsOf(entropy)))
		if err != nil || *again != *drive || !k.Equal(entropy) {
			t.Errorf("%v", err)
		}
	})
}
