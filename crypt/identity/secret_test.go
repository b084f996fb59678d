package identity

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

func TestSecretsAreNotShown(t *testing.T) {
	id, dev := testIdentity(t, 0x61), testDevice(t, 0x61)
	words, err := NewWordsKey(testKey(t, 0x61))
	if err != nil {
		t.Fatal(err)
	}
	type outer struct {
		id  Identity
		dev Device
		w   WordsKey
	}
	seed := count(0x61, 8)
	telling := []string{string(seed), hex.EncodeToString(seed), strings.ToUpper(hex.EncodeToString(seed)),
		fmt.Sprint(seed)[1:20], fmt.Sprintf("%#v", seed)[7:30]}
	for _, v := range []any{id, *id, dev, *dev, words, *words, outer{*id, *dev, *words}, &outer{*id, *dev, *words}, []any{id}, map[string]any{"a": *dev}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%p"} {
			text := fmt.Sprintf(verb, v)
			for _, s := range telling {
				if strings.Contains(text, s) {
					t.Errorf("%T shows itself to %s", v, verb)
				}
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", v)
		for _, s := range telling {
			if strings.Contains(log.String(), s) {
				t.Errorf("%T shows itself to a log", v)
			}
		}
	}
	for _, v := range []any{id, *id, dev, *dev, words, *words} {
		if _, err := json.Marshal(v); !errors.Is(err, ErrSecret) {
			t.Errorf("JSON of %T: %v", v, err)
		}
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); err == nil {
			t.Errorf("gob of %T", v)
		}
	}
}

func TestSeeds(t *testing.T) {
	for n := range SeedSize + 2 {
		if _, err := FromSeed(make([]byte, n)); (err == nil) != (n == SeedSize) {
			t.Errorf("identity of %d bytes: %v", n, err)
		}
		if _, err := DeviceFromSeed(make([]byte, n)); (err == nil) != (n == DeviceSeedSize) {
			t.Errorf("device of %d bytes: %v", n, err)
		}
	}
	id, dev := New(), NewDevice()
	again, err := FromSeed(id.Seed())
	if err != nil || again.Public().Principal() != id.Public().Principal() {
		t.Errorf("identity is not that of its seed: %v", err)
	}
	devAgain, err := DeviceFromSeed(dev.Seed())
	if err != nil || !bytes.Equal(devAgain.Public().Encode(), dev.Public().Encode()) {
		t.Errorf("device is not that of its seed: %v", err)
	}
	if New().Public().Principal() == id.Public().Principal() {
		t.Error("two identities are the same")
	}
	seed := id.Seed()
	clear(seed)
	if bytes.Equal(id.Seed(), seed) {
		t.Error("Seed is not a copy")
	}
}

func TestWipe(t *testing.T) {
	id, dev := New(), NewDevice()
	words, err := NewWordsKey(crypt.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	shared := *id
	sign, seed, device := (*id.s).sign, (*id.s).seed, (*dev.s).sign
	for range 2 {
		id.Wipe()
		dev.Wipe()
		words.Wipe()
	}
	for _, b := range [][]byte{sign, seed, device} {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Error("bytes are left")
		}
	}
	for name, use := range map[string]func(){
		"Sign":         func() { id.Sign(nil) },
		"Unwrap":       func() { _, _ = id.Unwrap(nil, nil) },
		"Seed":         func() { id.Seed() },
		"of a copy":    func() { shared.Sign(nil) },
		"zero value":   func() { new(Identity).Sign(nil) },
		"Public":       func() { id.Public() },
		"Device.Sign":  func() { dev.Sign(nil) },
		"words.Unwrap": func() { _, _ = words.Unwrap(nil, nil) },
	} {
		if !panics(use) {
			t.Errorf("%s after Wipe", name)
		}
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}
