package keyslot

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

func encodeKeyring(tb testing.TB, k *Keyring) []byte {
	tb.Helper()
	b, err := k.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func keyringVectors(t *testing.T) (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, fixed(name, expect, comment, vectortest.Hex("hex", b)))
	}
	least := &Keyring{Identity: testIdentity(t, 0x10)}
	b, small := encodeKeyring(t, testKeyring(t)), encodeKeyring(t, least)
	add("full", "ok", "two volumes, words, two roots, a name, two settings", b)
	add("least", "ok", "an identity alone", small)

	change := func(b []byte, at int, with ...byte) []byte {
		c := bytes.Clone(b)
		copy(c[at:], with)
		return c
	}
	// By hand, after a seed: name, words flag, roots, volumes, settings.
	after := func(rest ...byte) []byte { return append(bytes.Clone(small[:8+64]), rest...) }
	volume := func(id, kind byte) []byte {
		return append(append(bytes.Repeat([]byte{id}, 32), kind), make([]byte, 72)...)
	}
	cat := func(parts ...[]byte) []byte { return after(bytes.Join(parts, nil)...) }
	head := func(volumes byte) []byte { return []byte{0, 0, 0, 0, volumes} }

	add("volumes ascend", "ok", "", cat(head(2), volume(1, 1), volume(2, 9), []byte{0}))
	add("settings ascend", "ok", "", cat(head(0), []byte{2, 1, 'a', 0, 0, 2, 'a', 'b', 0, 1, 7}))
	add("empty", "header", "", nil)
	add("magic", "header", "", change(small, 3, 'x'))
	add("version 1", "newer", "", change(small, 7, '1'))
	add("seed cut off", "header", "", small[:8+63])
	add("cut off", "header", "", b[:len(b)-1])
	add("one byte more", "header", "", append(bytes.Clone(b), 0))
	add("name too long", "header", "65 bytes", append(after(65), make([]byte, 65+5)...))
	add("name control character", "header", "", after(1, 7, 0, 0, 0, 0, 0))
	add("words flag 2", "header", "", after(0, 2, 0, 0, 0, 0))
	add("words cut off", "header", "", after(0, 1, 1, 2, 3))
	add("words zero", "header", "no X-Wing key", cat([]byte{0, 1}, make([]byte, 1216), []byte{0, 0, 0, 0}))
	add("roots cut off", "header", "", after(0, 0, 255))
	add("volumes descend", "header", "", cat(head(2), volume(2, 1), volume(1, 1), []byte{0}))
	add("volume twice", "header", "", cat(head(2), volume(1, 1), volume(1, 2), []byte{0}))
	add("volume kind 0", "header", "", cat(head(1), volume(1, 0), []byte{0}))
	add("volumes cut off", "header", "65535 of them", after(0, 0, 0, 255, 255))
	add("settings descend", "header", "", cat(head(0), []byte{2, 1, 'b', 0, 0, 1, 'a', 0, 0}))
	add("setting twice", "header", "", cat(head(0), []byte{2, 1, 'a', 0, 0, 1, 'a', 0, 1, 7}))
	add("setting without key", "header", "", cat(head(0), []byte{1, 0, 0, 0}))
	add("setting cut off", "header", "", cat(head(0), []byte{1, 1, 'a', 255, 255}))
	add("value too long", "header", "16 KiB and one byte", cat(head(0), []byte{1, 1, 'a', 0x40, 1}, make([]byte, 16<<10+1)))
	return all
}

func TestKeyringVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "keyring") {
		b := v.Bytes(t, "hex")
		k, err := DecodeKeyring(b)
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(encodeKeyring(t, k), b) {
			t.Errorf("%s: another encoding", v.Name)
		}
	}
}

func TestKeyring(t *testing.T) {
	k, root, drive := testKeyring(t), crypt.NewKey(), testDrive(t)
	b := encodeKeyring(t, k)
	if len(b) != k.size() || cap(b) != k.size() {
		t.Errorf("%d bytes of %d, size says %d", len(b), cap(b), k.size())
	}
	if k.Settings[0].Key != "b" || k.Volumes[0].ID != array(0x90) {
		t.Error("Encode sorted the caller's lists")
	}
	sealed, err := SealKeyring(root, drive, 4, k)
	if err != nil || len(sealed) != len(b)+crypt.LocalOverhead {
		t.Fatalf("%d bytes: %v", len(sealed), err)
	}
	got, err := OpenKeyring(root, drive, 4, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encodeKeyring(t, got), b) || got.DriveName != "home" || *got.Words != *k.Words ||
		!got.Previous[1].Equal(k.Previous[1]) || got.Volumes[1] != k.Volumes[0] || string(got.Settings[1].Value.Bytes()) != "2" {
		t.Error("another keyring")
	}
	if err := got.Check(drive); err != nil {
		t.Error(err)
	}
	if err := got.Check(array(0)); !errors.Is(err, ErrDrive) {
		t.Errorf("another drive: %v", err)
	}
	got.Volumes[1].Kind = 2
	if err := got.Check(drive); !errors.Is(err, ErrDrive) {
		t.Errorf("not the main volume: %v", err)
	}
	for name, open := range map[string]func() (*Keyring, error){
		"other root":    func() (*Keyring, error) { return OpenKeyring(crypt.NewKey(), drive, 4, sealed) },
		"other drive":   func() (*Keyring, error) { return OpenKeyring(root, array(1), 4, sealed) },
		"other counter": func() (*Keyring, error) { return OpenKeyring(root, drive, 5, sealed) },
		"too long":      func() (*Keyring, error) { return OpenKeyring(root, drive, 4, make([]byte, MaxKeyring+1)) },
		"empty":         func() (*Keyring, error) { return OpenKeyring(root, drive, 4, nil) },
	} {
		if _, err := open(); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range len(sealed) * 8 {
		sealed[i/8] ^= 1 << (i % 8)
		if _, err := OpenKeyring(root, drive, 4, sealed); !errors.Is(err, ErrHeader) {
			t.Fatalf("bit %d: %v", i, err)
		}
		sealed[i/8] ^= 1 << (i % 8)
	}
}

func TestKeyringLimits(t *testing.T) {
	id := testIdentity(t, 0x10)
	volumes := func(n int) (v []VolumeEntry) {
		for i := range n {
			v = append(v, VolumeEntry{ID: crypt.VolumeID{byte(i >> 8), byte(i)}, Kind: 1})
		}
		return v
	}
	settings := func(n, size int) (s []KV) {
		for i := range n {
			s = append(s, KV{fmt.Sprint(i), NewValue(make([]byte, size))})
		}
		return s
	}
	roots := func(n int) (r []*crypt.Key) {
		for range n {
			r = append(r, crypt.NewKey())
		}
		return r
	}
	for name, c := range map[string]struct {
		k  Keyring
		ok bool
	}{
		"no identity":     {Keyring{}, false},
		"1024 volumes":    {Keyring{Identity: id, Volumes: volumes(1024)}, true},
		"1025 volumes":    {Keyring{Identity: id, Volumes: volumes(1025)}, false},
		"255 roots":       {Keyring{Identity: id, Previous: roots(255)}, true},
		"256 roots":       {Keyring{Identity: id, Previous: roots(256)}, false},
		"255 settings":    {Keyring{Identity: id, Settings: settings(255, 9)}, true},
		"256 settings":    {Keyring{Identity: id, Settings: settings(256, 9)}, false},
		"16 KiB setting":  {Keyring{Identity: id, Settings: settings(1, 16<<10)}, true},
		"longer setting":  {Keyring{Identity: id, Settings: settings(1, 16<<10+1)}, false},
		"more than fits":  {Keyring{Identity: id, Settings: settings(16, 16<<10)}, false},
		"volume twice":    {Keyring{Identity: id, Volumes: append(volumes(2), volumes(1)...)}, false},
		"setting twice":   {Keyring{Identity: id, Settings: append(settings(2, 1), settings(1, 2)...)}, false},
		"kind 0":          {Keyring{Identity: id, Volumes: []VolumeEntry{{}}}, false},
		"name of 65":      {Keyring{Identity: id, DriveName: strings.Repeat("a", 65)}, false},
		"name not UTF-8":  {Keyring{Identity: id, DriveName: "\xff"}, false},
		"name of 64":      {Keyring{Identity: id, DriveName: strings.Repeat("ä", 32)}, true},
		"empty key":       {Keyring{Identity: id, Settings: []KV{{}}}, false},
		"key of 65 bytes": {Keyring{Identity: id, Settings: []KV{{Key: strings.Repeat("a", 65)}}}, false},
	} {
		b, err := c.k.Encode()
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if _, err := DecodeKeyring(b); err != nil {
				t.Errorf("%s does not decode: %v", name, err)
			}
		}
	}
	// The longest one that fits, to the byte.
	k := &Keyring{Identity: id, Settings: settings(16, 16<<10)}
	last := &k.Settings[15].Value
	fits := len(last.use()) - (k.size() + crypt.LocalOverhead - MaxKeyring)
	*last = NewValue(make([]byte, fits))
	sealed, err := SealKeyring(crypt.NewKey(), array(0), 0, k)
	if err != nil || len(sealed) != MaxKeyring {
		t.Errorf("%d bytes: %v", len(sealed), err)
	}
	*last = NewValue(make([]byte, fits+1))
	if _, err := SealKeyring(crypt.NewKey(), array(0), 0, k); !errors.Is(err, ErrHeader) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestKeyringIsNotShown(t *testing.T) {
	k := testKeyring(t)
	k.Settings = []KV{{"bucket", NewValue([]byte("canary"))}}
	telling := []string{"canary", fmt.Sprintf("%x", "canary"), fmt.Sprintf("%X", "canary"), fmt.Sprint([]byte("canary"))[1:20]}
	for _, v := range []any{k, *k, k.Settings, k.Settings[0], k.Settings[0].Value, struct{ v Value }{k.Settings[0].Value}, struct{ K *Keyring }{k}, struct{ k *Keyring }{k}} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
			fmt.Fprintf(&log, verb, v)
		}
		for _, s := range telling {
			if strings.Contains(log.String(), s) {
				t.Errorf("%T shows itself", v)
			}
		}
	}
	for _, v := range []any{k, *k, k.Settings[0], k.Settings[0].Value} {
		if _, err := json.Marshal(v); !errors.Is(err, ErrSecret) {
			t.Errorf("JSON of %T: %v", v, err)
		}
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); err == nil {
			t.Errorf("gob of %T", v)
		}
	}
	value := k.Settings[0].Value.use()
	k.Wipe()
	if !bytes.Equal(value, make([]byte, len(value))) || k.Identity != nil {
		t.Error("Wipe left something")
	}
}

func FuzzDecodeKeyring(f *testing.F) {
	for _, v := range vectortest.Read(f, "keyring") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := DecodeKeyring(b)
		if err != nil {
			return
		}
		if again, err := k.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is not canonical: %v", b, err)
		}
	})
}
