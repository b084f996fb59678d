package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// A machine asks, is entered in the ledger elsewhere, and adopts the number once it
// finds its key there; a crash before that loses nothing.
func TestRequest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drive")
	s := reopen(t, dir, Empty)
	text, err := s.Request()
	must(t, err)
	if again, err := s.Request(); err != nil || again != text {
		t.Errorf("asked twice: %v, %v", again, err)
	}
	must(t, s.Remember(testHead, 0)) // as a read-only mount does
	s = reopen(t, dir, Empty)
	if again, err := s.Request(); err != nil || again != text {
		t.Errorf("asked after a restart: %v, %v", again, err)
	}
	key, name, err := ParseRequest(s.root, testDrive, "  "+text[:40]+"\n"+text[40:]+"\n")
	if err != nil || name != "another name" {
		t.Fatalf("%q, %v", name, err)
	}
	nobody := func(identity.DeviceKey) (meta.Device, bool) { return 0, false }
	five := func(k identity.DeviceKey) (meta.Device, bool) { return 5, string(k.Encode()) == string(key.Encode()) }
	if no, err := s.Adopt(nobody); no != 0 || err != nil {
		t.Errorf("adopted %d, %v", no, err)
	}
	if no, err := s.Adopt(five); no != 5 || err != nil {
		t.Fatalf("adopted %d, %v", no, err)
	}
	s = reopen(t, dir, NotFresh)
	d, no, _ := s.Device()
	if no != 5 || string(d.Public().Encode()) != string(key.Encode()) {
		t.Errorf("device %d, another key", no)
	}
	if _, err := s.Request(); !errors.Is(err, ErrEnrolled) {
		t.Errorf("a device asks: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, requestFile)); err == nil {
		t.Error("the request stays")
	}
	if no, err := s.Adopt(nobody); no != 5 || err != nil {
		t.Errorf("a device adopts %d, %v", no, err)
	}
}

// The key of a request belongs to one folder: a copy of it must not become the same
// device.
func TestRequestCopied(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	s, c := reopen(t, one, Empty), reopen(t, two, Empty)
	text, err := s.Request()
	must(t, err)
	b, err := os.ReadFile(filepath.Join(one, requestFile))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(two, requestFile), b, 0o600))
	any := func(identity.DeviceKey) (meta.Device, bool) { return 5, true }
	if no, err := c.Adopt(any); no != 0 || err != nil {
		t.Errorf("a copy becomes device %d, %v", no, err)
	}
	if other, err := c.Request(); err != nil || other == text {
		t.Errorf("a copy asks with the same key: %v", err)
	}
}

func TestWrongRequests(t *testing.T) {
	s := reopen(t, filepath.Join(t.TempDir(), "drive"), Empty)
	text, err := s.Request()
	must(t, err)
	for name, bad := range map[string]string{
		"nothing": "", "a name": "laptop", "the prefix": requestPrefix, "cut": text[:len(text)-1], "longer": text + "a",
		"upper case": requestPrefix + strings.ToUpper(text[len(requestPrefix):]), "very long": text + strings.Repeat("a", MaxRequest),
	} {
		if _, _, err := ParseRequest(s.root, testDrive, bad); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := len(requestPrefix); i < len(text); i++ {
		b := []byte(text)
		if b[i]++; b[i] > 'z' || b[i] == '8' {
			b[i] = 'b'
		}
		if string(b) == text {
			continue
		}
		if _, _, err := ParseRequest(s.root, testDrive, string(b)); err == nil {
			t.Fatalf("character %d changed, and accepted", i)
		}
	}
	if _, _, err := ParseRequest(key(t, 2), testDrive, text); !errors.Is(err, ErrRequest) {
		t.Errorf("of another root: %v", err)
	}
	if _, _, err := ParseRequest(s.root, [32]byte{9}, text); !errors.Is(err, ErrRequest) {
		t.Errorf("of another drive: %v", err)
	}
	b, err := requestText.DecodeString(text[len(requestPrefix):])
	must(t, err)
	b[0]++
	if _, _, err := ParseRequest(s.root, testDrive, requestPrefix+requestText.EncodeToString(b)); !errors.Is(err, ErrNewer) {
		t.Errorf("of tomorrow: %v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	root := key(f, 1)
	seed, err := identity.DeviceFromSeed(make([]byte, identity.DeviceSeedSize))
	must(f, err)
	f.Add(encodeRequest(root, testDrive, seed.Public(), "laptop"))
	f.Add(requestPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		key, name, err := ParseRequest(root, testDrive, text)
		if err == nil && encodeRequest(root, testDrive, key, name) != strings.Join(strings.Fields(text), "") {
			t.Errorf("%q is not canonical", text)
		}
	})
}
