package state

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// vector is a file of lines "name: value"; values other than expect and comment
// are hexadecimal.
type vector struct {
	name, expect, comment string
	fields                map[string][]byte
}

var words = map[string]error{"ok": nil, "malformed": ErrMalformed, "newer": ErrNewer, "foreign": ErrForeign}

func (v *vector) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "expect: %s\ncomment: %s\n", v.expect, v.comment)
	for _, k := range []string{"root", "drive", "secret", "hex"} {
		if f, ok := v.fields[k]; ok {
			fmt.Fprintf(&b, "%s: %x\n", k, f)
		}
	}
	return []byte(b.String())
}

func (v *vector) check(t testing.TB, err error) {
	t.Helper()
	if want := words[v.expect]; !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", v.name, err, want)
	}
}

func (v *vector) key(t testing.TB, name string) *crypt.Key {
	t.Helper()
	k, err := crypt.KeyFromBytes(v.fields[name])
	must(t, err)
	return k
}

// vectors reads all of one kind, and fails when there are none.
func vectors(t testing.TB, kind string) []vector {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join("testdata", kind, "*.txt"))
	if len(names) == 0 {
		t.Fatalf("no vectors in testdata/%s", kind)
	}
	var all []vector
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(t, err)
		v := vector{name: strings.TrimSuffix(filepath.Base(name), ".txt"), fields: map[string][]byte{}}
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch value = strings.TrimSpace(value); key {
			case "expect":
				v.expect = value
			case "comment":
				v.comment = value
			default:
				v.fields[key], err = hex.DecodeString(value)
				must(t, err)
			}
		}
		if _, ok := words[v.expect]; !ok {
			t.Fatalf("%s expects %q", name, v.expect)
		}
		all = append(all, v)
	}
	return all
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

func contentVectors() (all []vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vector{name, expect, comment, map[string][]byte{"hex": b}})
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

func fileVectors() (all []vector) {
	root, drive, secret := count(32, 1), count(32, 0x30), count(32, 0x90)
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vector{name, expect, comment, map[string][]byte{"root": root, "drive": drive, "secret": secret, "hex": b}})
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
func headerVectors() (all []vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vector{name, expect, comment, map[string][]byte{"hex": b}})
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
	for _, v := range vectors(t, "header") {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, headerFile), v.fields["hex"], 0o600))
		main, h, err := Header(dir, 16)
		v.check(t, err)
		if err == nil && !bytes.Equal(append(append([]byte(headerMagic), main[:]...), h...), v.fields["hex"]) {
			t.Errorf("%s is not canonical", v.name)
		}
	}
}

// TestVectorFiles holds the files to the tables above. With
// HUSHFS_WRITE_VECTORS=1 it writes those that are missing; one that exists is
// never changed.
func TestVectorFiles(t *testing.T) {
	for kind, made := range map[string][]vector{"content": contentVectors(), "file": fileVectors(), "header": headerVectors()} {
		known := map[string]bool{}
		for _, v := range made {
			known[v.name] = true
			path := filepath.Join("testdata", kind, v.name+".txt")
			text, err := os.ReadFile(path)
			switch {
			case err == nil && !bytes.Equal(text, v.text()):
				t.Errorf("%s is not what the code makes now; a vector never changes", path)
			case errors.Is(err, os.ErrNotExist) && os.Getenv("HUSHFS_WRITE_VECTORS") == "1":
				must(t, os.MkdirAll(filepath.Dir(path), 0o755))
				must(t, os.WriteFile(path, v.text(), 0o644))
			case err != nil:
				t.Errorf("%v; HUSHFS_WRITE_VECTORS=1 writes what is missing", err)
			}
		}
		for _, v := range vectors(t, kind) {
			if !known[v.name] {
				t.Errorf("testdata/%s/%s.txt: nothing makes it", kind, v.name)
			}
		}
	}
}

func TestContentVectors(t *testing.T) {
	for _, v := range vectors(t, "content") {
		d, device, err := decode(v.fields["hex"])
		v.check(t, err)
		if err == nil && !bytes.Equal(d.encode(device), v.fields["hex"]) {
			t.Errorf("%s is not canonical", v.name)
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
	for _, v := range vectors(t, "file") {
		s := &State{dir: t.TempDir(), drive: [32]byte(v.fields["drive"]), root: v.key(t, "root")}
		if strings.HasPrefix(v.name, "secret") {
			err := s.openSecret(v.fields["hex"], nil)
			v.check(t, err)
			if err == nil && !s.secret.Equal(v.key(t, "secret")) {
				t.Errorf("%s: another secret", v.name)
			}
			continue
		}
		s.secret = v.key(t, "secret")
		must(t, os.WriteFile(filepath.Join(s.dir, stateFile), v.fields["hex"], 0o600))
		err := s.load()
		v.check(t, err)
		if err == nil && (s.d.number != 3 || s.d.name != "laptop") {
			t.Errorf("%s: %+v", v.name, s.d)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f, "content") {
		f.Add(v.fields["hex"])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, device, err := decode(b); err == nil && !bytes.Equal(d.encode(device), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

// FuzzHeader reads the header file, which nothing seals.
func FuzzHeader(f *testing.F) {
	for _, v := range vectors(f, "header") {
		f.Add(v.fields["hex"])
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
