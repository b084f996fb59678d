package state

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

var outcomes = map[string]error{"ok": nil, "malformed": ErrMalformed, "newer": ErrNewer, "foreign": ErrForeign}

func vectorKey(t testing.TB, v vectortest.Vector, name string) *crypt.Key {
	t.Helper()
	k, err := crypt.KeyFromBytes(v.Bytes(t, name))
	must(t, err)
	return k
}

func count(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// content is a state file's content, composed by hand.
func content(number uint16, inos, packs uint64, name string) []byte {
	b := count(32, 0)                            // seed of the device's key
	b = binary.BigEndian.AppendUint16(b, number) // device number
	b = append(b, count(16, 0x20)...)            // journal
	b = binary.BigEndian.AppendUint64(b, inos)   // inode counters reserved
	b = binary.BigEndian.AppendUint64(b, packs)  // pack counters reserved
	b = binary.BigEndian.AppendUint64(b, 17)     // newest own operation in the chain
	b = binary.BigEndian.AppendUint64(b, 7)      // newest slot
	b = append(b, count(32, 0x40)...)            // its commit
	b = append(b, count(32, 0x60)...)            // ledger head
	b = append(b, count(32, 0x80)...)            // binding
	return append(append(b, byte(len(name))), name...)
}

func contentVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	good := content(3, 4096, 8192, "laptop")
	add("laptop", "ok", "device 3 called laptop", good)
	add("no-name", "ok", "the name is empty", content(3, 4096, 0, ""))
	add("no-number", "ok", "remembered by a machine that was never enrolled", content(0, 0, 0, "reader"))
	add("longest-name", "ok", "64 bytes", content(1, 0, 0, strings.Repeat("n", 64)))
	add("last-numbers", "ok", "both counters at their end", content(1, meta.MaxCounter, meta.MaxCounter, "old"))
	add("name-too-long", "malformed", "65 bytes", content(1, 0, 0, strings.Repeat("n", 65)))
	add("inos-too-high", "malformed", "more inode numbers than a device has", content(1, meta.MaxCounter+1, 0, "x"))
	add("packs-too-high", "malformed", "more pack numbers than a device has", content(1, 0, meta.MaxCounter+1, "x"))
	add("one-byte-short", "malformed", "the name ends too early", good[:len(good)-1])
	add("one-byte-more", "malformed", "something behind the name", append(bytes.Clone(good), 0))
	add("nothing", "malformed", "no bytes", nil)
	add("no-name-length", "malformed", "ends before the name's length", good[:len(good)-7])
	return all
}

// seal is crypt.Local with a chosen nonce.
func seal(key []byte, label string, drive, plain, ad []byte) []byte {
	k, _ := crypt.KeyFromBytes(key)
	block, _ := aes.NewCipher(k.Derive(label, drive, 32))
	aead, _ := cipher.NewGCM(block)
	nonce := count(12, 0xa0)
	return aead.Seal(nonce, nonce, plain, ad)
}

func fileVectors() (all []vectortest.Vector) {
	root, drive, secret := count(32, 1), count(32, 0x30), count(32, 0x90)
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("root", root),
			vectortest.Line("drive", drive), vectortest.Line("secret", secret), vectortest.Line("hex", b)))
	}
	sec := append([]byte("HUSHSEC0"), seal(root, "hushfs/local", drive, secret, []byte("HUSHSEC0"))...)
	sta := append([]byte("HUSHSTA0"), seal(secret, "hushfs/state", drive, content(3, 4096, 8192, "laptop"), []byte("HUSHSTA0"))...)
	with := func(b []byte, at int, c byte) []byte {
		b = bytes.Clone(b)
		b[at] = c
		return b
	}
	add("secret", "ok", "the secret file", sec)
	add("secret-newer", "newer", "a secret file of version 1", with(sec, 7, '1'))
	add("secret-of-no-version", "malformed", "a letter instead of a digit", with(sec, 7, 'x'))
	add("secret-altered", "foreign", "the last byte of the tag", with(sec, len(sec)-1, sec[len(sec)-1]^1))
	add("secret-other-root", "foreign", "sealed under another root key",
		append([]byte("HUSHSEC0"), seal(count(32, 2), "hushfs/local", drive, secret, []byte("HUSHSEC0"))...))
	add("secret-short", "malformed", "31 bytes sealed",
		append([]byte("HUSHSEC0"), seal(root, "hushfs/local", drive, secret[:31], []byte("HUSHSEC0"))...))
	add("state", "ok", "the state file of device 3", sta)
	add("state-newer", "newer", "a state file of version 9", with(sta, 7, '9'))
	add("state-altered", "foreign", "a byte of the ciphertext", with(sta, 30, sta[30]^0x80))
	add("state-empty", "malformed", "no bytes", nil)
	add("state-other-drive", "foreign", "sealed for another drive",
		append([]byte("HUSHSTA0"), seal(secret, "hushfs/state", count(32, 0x31), content(3, 0, 0, "x"), []byte("HUSHSTA0"))...))
	return all
}

// headerVectors limit a header to 16 bytes.
func headerVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	good := append([]byte("HUSHKPT0"), count(32+16, 0x30)...)
	add("kept", "ok", "volume id, and 16 bytes in the header's place", good)
	add("empty", "ok", "nothing in the header's place", good[:40])
	add("too-long", "malformed", "a header of 17 bytes", append(bytes.Clone(good), 0))
	add("no-volume", "malformed", "ends within the volume id", good[:39])
	add("newer", "newer", "version 1", append([]byte("HUSHKPT1"), good[8:]...))
	add("a-header", "malformed", "a drive header as it is in the store", append([]byte("HUSHDRV0"), good[8:]...))
	return all
}

func TestHeaderVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "header") {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, headerFile), v.Bytes(t, "hex"), 0o600))
		main, h, err := Header(dir, 16)
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(append(append([]byte(headerMagic), main[:]...), h...), v.Bytes(t, "hex")) {
			t.Errorf("%s is not canonical", v.Name)
		}
	}
}

func TestVectorFiles(t *testing.T) {
	vectortest.Keep(t, "content", contentVectors())
	vectortest.Keep(t, "file", fileVectors())
	vectortest.Keep(t, "header", headerVectors())
}

func TestContentVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "content") {
		d, device, err := decode(v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(d.encode(device), v.Bytes(t, "hex")) {
			t.Errorf("%s is not canonical", v.Name)
		}
	}
	d, device, err := decode(content(3, 4096, 8192, "laptop"))
	must(t, err)
	want := data{
		number: 3, journal: [16]byte(count(16, 0x20)), inos: 4096, packs: 8192, known: 17,
		head:    chain.Head{Slot: 7, ID: chain.ID(count(32, 0x40)), Ledger: chain.ID(count(32, 0x60))},
		binding: [32]byte(count(32, 0x80)), name: "laptop",
	}
	if d != want || !bytes.Equal(device.Seed(), count(32, 0)) {
		t.Errorf("%+v, want %+v", d, want)
	}
}

func TestFileVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "file") {
		s := &State{dir: t.TempDir(), drive: [32]byte(v.Bytes(t, "drive")), root: vectorKey(t, v, "root")}
		if strings.HasPrefix(v.Name, "secret") {
			err := s.openSecret(v.Bytes(t, "hex"), nil)
			v.Check(t, outcomes, err)
			if err == nil && !s.secret.Equal(vectorKey(t, v, "secret")) {
				t.Errorf("%s: another secret", v.Name)
			}
			continue
		}
		s.secret = vectorKey(t, v, "secret")
		must(t, os.WriteFile(filepath.Join(s.dir, stateFile), v.Bytes(t, "hex"), 0o600))
		err := s.load()
		v.Check(t, outcomes, err)
		if err == nil && (s.d.number != 3 || s.d.name != "laptop") {
			t.Errorf("%s: %+v", v.Name, s.d)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectortest.Read(f, "content") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, device, err := decode(b); err == nil && !bytes.Equal(d.encode(device), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

// FuzzHeader reads the header file, which nothing seals.
func FuzzHeader(f *testing.F) {
	for _, v := range vectortest.Read(f, "header") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, headerFile), b, 0o600))
		main, h, err := Header(dir, 100)
		if err != nil {
			return
		}
		must(t, KeepHeader(dir, main, h))
		if again, err := os.ReadFile(filepath.Join(dir, headerFile)); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}
