package crypt

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

func deriveVectors() (all []vectortest.Vector) {
	for _, c := range []struct {
		name, label string
		context     []byte
		n           int
	}{
		{"no-context", "hushfs/test", nil, 32},
		{"one-byte", "hushfs/test", nil, 1},
		{"two-blocks-and-a-byte", "hushfs/test", []byte{1, 2, 3}, 65},
		{"longest", "hushfs/test", []byte{0}, 255 * 32},
		{"context-of-zero", "hushfs/test", []byte{0}, 32},
		{"longer-label", "hushfs/test2", nil, 32},
	} {
		key := count(0)
		v := vectortest.New(c.name, "ok", "HKDF-Expand-SHA256(key, label 00 context, n)")
		v.Add("key", key[:])
		v.Add("label", []byte(c.label))
		v.Add("context", c.context)
		v.Add("n", binary.BigEndian.AppendUint16(nil, uint16(c.n)))
		v.Add("hex", expand(key[:], join([]byte(c.label), []byte{0}, c.context), c.n))
		all = append(all, v)
	}
	return all
}

func TestDeriveVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "derive") {
		got := vectorKey(t, v).Derive(string(v.Bytes(t, "label")), v.Bytes(t, "context"), int(v.Number(t, "n")))
		if !bytes.Equal(got, v.Bytes(t, "hex")) {
			t.Errorf("%s: got %x", v.Name, got)
		}
	}
}

func checkVectors() (all []vectortest.Vector) {
	for _, e := range []uint32{1, 2, 1<<32 - 1} {
		key, volume := count(0), count(0x40)
		v := vectortest.New(fmt.Sprintf("epoch-%d", e), "ok", "check value of an epoch key")
		v.Add("key", key[:])
		v.Add("volume", volume[:])
		v.Add("epoch", binary.BigEndian.AppendUint32(nil, e))
		v.Add("hex", expand(key[:], join([]byte("hushfs/epoch-id\x00"), volume[:], binary.BigEndian.AppendUint32(nil, e)), 32))
		all = append(all, v)
	}
	return all
}

func TestCheckVectors(t *testing.T) {
	seen := map[[32]byte]bool{}
	for _, v := range vectortest.Read(t, "check") {
		volume, e := VolumeID(vectorArray(t, v, "volume")), Epoch(v.Number(t, "epoch"))
		kcv := vectorKey(t, v).Check(volume, e)
		if kcv != vectorArray(t, v, "hex") {
			t.Errorf("%s: got %x", v.Name, kcv)
		}
		if volume != VolumeID(count(0x40)) {
			t.Errorf("%s: Check wrote on the volume id", v.Name)
		}
		seen[kcv] = true
		seen[testKey(1).Check(volume, e)] = true
		seen[vectorKey(t, v).Check(VolumeID(count(0x41)), e)] = true
	}
	if want := 3 * len(vectortest.Read(t, "check")); len(seen) != want {
		t.Errorf("%d different values for %d of key, volume and epoch", len(seen), want)
	}
}

func TestDeriveRefusesMistakes(t *testing.T) {
	k := testKey(0)
	for name, f := range map[string]func(){
		"empty label":    func() { k.Derive("", nil, 32) },
		"label with 00":  func() { k.Derive("a\x00", nil, 32) },
		"nothing":        func() { k.Derive("a", nil, 0) },
		"too much":       func() { k.Derive("a", nil, 255*32+1) },
		"negative":       func() { k.Derive("a", nil, -1) },
		"no such type":   func() { NewSealer(k, VolumeID{}, 0, 1) },
		"unknown type":   func() { NewSealer(k, VolumeID{}, 8, 1) },
		"open of a pack": func() { Open(k, VolumeID{}, TypePack, nil) },
		"open of no one": func() { Open(k, VolumeID{}, 0, nil) },
	} {
		if !panics(f) {
			t.Errorf("%s: no panic", name)
		}
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

func TestKeyIsNotShown(t *testing.T) {
	raw := count(0xa1)
	k, err := KeyFromBytes(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		hidden  Key
		pointer *Key
		Shown   Key
		Sealer  *Sealer
		sealer  *Sealer
		opener  *Opener
		local   *Local
	}
	s := NewSealer(k, VolumeID{}, TypePack, 1)
	h := holder{*k, k, *k, s, s, &Opener{aead: s.aead}, NewLocal(k, "hushfs/test", nil)}
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%b", "%t", "%08x"} {
		fmt.Fprintf(&shown, verb+verb+verb+verb, *k, k, h, &h)
		// Nor the key schedule of AES, in which the key of an object stands.
		if text := fmt.Sprintf(verb+verb, h.local, struct{ a hidden[cipher.AEAD] }{s.aead}); len(text) > 200 {
			t.Errorf("%s shows %s", verb, text)
		}
	}
	shown.WriteString(k.String() + k.GoString() + fmt.Sprint(k) + fmt.Errorf("%v", k).Error())
	for _, handler := range []slog.Handler{slog.NewTextHandler(&shown, nil), slog.NewJSONHandler(&shown, nil)} {
		slog.New(handler).Info("", "key", k, "value", *k, "holder", h)
	}
	text := strings.ToLower(shown.String())
	for _, secret := range []string{hex.EncodeToString(raw[4:8]), "165 166 167", "0xa5, 0xa6", "a5 a6 a7", string(raw[4:8])} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the output", secret)
		}
	}
	if fmt.Sprint(k) != "key" || fmt.Sprintf("%x", *k) != "key" {
		t.Error("a key does not print as key")
	}

	if b, err := json.Marshal(k); err == nil {
		t.Errorf("marshalled as %s", b)
	}
	if b, err := json.Marshal(map[string]any{"k": *k}); err == nil {
		t.Errorf("marshalled as %s", b)
	}
	if err := gob.NewEncoder(new(bytes.Buffer)).Encode(k); err == nil {
		t.Error("gob took a key")
	}
	if _, err := k.MarshalText(); !errors.Is(err, ErrSecret) {
		t.Error(err)
	}
}

func TestKeyBytes(t *testing.T) {
	for _, n := range []int{0, 1, 31, 33, 64} {
		if _, err := KeyFromBytes(make([]byte, n)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	raw := count(3)
	k, err := KeyFromBytes(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	clear(raw[:])
	b := k.Bytes()
	if want := count(3); !bytes.Equal(b, want[:]) {
		t.Errorf("the key shares memory with its source: %x", b)
	}
	clear(b)
	if !k.Equal(testKey(3)) {
		t.Error("the key shares memory with its copy")
	}
	if k.Equal(testKey(4)) || NewKey().Equal(NewKey()) {
		t.Error("different keys are equal")
	}
}

func TestWipe(t *testing.T) {
	k := testKey(3)
	shared := *k
	k.Wipe()
	k.Wipe()
	if shared.secret().bytes != [32]byte{} {
		t.Error("the bytes are still there")
	}
	for name, f := range map[string]func(){
		"Bytes":     func() { k.Bytes() },
		"Equal":     func() { testKey(3).Equal(k) },
		"Derive":    func() { k.Derive("hushfs/test", nil, 32) },
		"NewSealer": func() { NewSealer(&shared, VolumeID{}, TypePack, 1) },
	} {
		if !panics(f) {
			t.Errorf("%s works with a wiped key", name)
		}
	}
}

func TestNamesAsText(t *testing.T) {
	n := Name(count(0x9a))
	if got, err := ParseName(n.String()); err != nil || got != n {
		t.Errorf("%v, %v", got, err)
	}
	v := VolumeID(count(0x9a))
	if got, err := ParseVolumeID(v.String()); err != nil || got != v {
		t.Errorf("%v, %v", got, err)
	}
	s := n.String()
	for name, text := range map[string]string{
		"empty": "", "short": s[1:], "long": s + "0", "upper case": strings.ToUpper(s), "a letter beyond f": "g" + s[1:],
		"space": " " + s[1:], "sign": "+" + s[1:], "prefix": "0x" + s[2:],
	} {
		if _, err := ParseName(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ParseVolumeID(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if TypePack.String() != "pack" || TypeBundle.String() != "bundle" || Type(0).String() != "type 0" || Type(8).String() != "type 8" {
		t.Error("names of types")
	}
}

func FuzzParseName(f *testing.F) {
	f.Add(Name(count(0x9a)).String())
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseName(s); err == nil && n.String() != s {
			t.Errorf("%q is not canonical", s)
		}
	})
}
