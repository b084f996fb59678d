package integration

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong is said in one line: what, why, what next; and by exit code.
// Nothing is left behind and nothing is touched.
func TestRefusals(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	other := newDrive(t)
	must(t, os.MkdirAll(m.at(".aws"), 0o700))
	must(t, os.WriteFile(m.at(".aws", "credentials"), []byte("[p]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600))
	write := func(name, text string) string {
		path := m.at(name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	wrong := write("wrong", "not it\n")
	file := write("file", "x")
	full := filepath.Dir(write("full/of", "something"))
	empty := m.at("empty")
	must(t, os.Mkdir(empty, 0o700))
	initFlags := []string{"--passphrase-file", m.pass, "--recovery-file", m.at("new words"), "--kdf-memory", "19MiB"}
	initAt := func(path string) []string { return append(append([]string{"init"}, initFlags...), path) }
	with := func(pass, store, dir string) []string {
		return []string{"mount", "--passphrase-file", pass, store, dir}
	}
	inStore := filepath.Join(m.store, "v0", "mnt")

	for _, c := range []struct {
		name  string
		code  int
		words []string
		args  []string
	}{
		{"wrong passphrase", 3, []string{"passphrase does not open the drive", "--recovery-file"}, with(wrong, m.store, m.mnt)},
		{"words of another drive", 4, []string{"drive", "Check STORE"}, []string{"mount", "--recovery-file", other.words, m.store, m.mnt}},
		{"no words in the recovery file", 3, []string{"no recovery words", "paper"}, []string{"mount", "--recovery-file", m.pass, m.store, m.mnt}},
		{"no recovery file", 2, []string{"recovery file cannot be read"}, []string{"mount", "--recovery-file", m.at("none"), m.store, m.mnt}},
		{"no drive in the folder", 4, []string{"no drive", "hushfs init"}, with(m.pass, empty, m.mnt)},
		{"no folder", 4, []string{"typing error"}, with(m.pass, m.at("nowhere"), m.mnt)},
		{"the store is a file", 4, []string{"must be a directory"}, with(m.pass, file, m.mnt)},
		{"a bucket at no server", 11, []string{"cannot be reached", "connection refused", "check the network"}, append([]string{"mount", "--s3-endpoint", "http://127.0.0.1:1", "--s3-profile", "p"}, with(m.pass, "s3://bucket/prefix", m.mnt)[1:]...)},
		{"a bucket of a strange name", 2, []string{"s3://bucket/prefix"}, with(m.pass, "s3://B/prefix", m.mnt)},
		{"init where something is", 5, []string{"not empty", "Nothing was touched"}, initAt(full)},
		{"init on a drive", 5, []string{"Nothing was touched"}, initAt(m.store)},
		{"init on a file", 5, []string{"Choose"}, initAt(file)},
		{"init over an old recovery file", 5, []string{"exists"}, []string{"init", "--passphrase-file", m.pass, "--recovery-file", m.words, m.at("new")}},
		{"init without a terminal for the words", 2, []string{"--recovery-file"}, []string{"init", "--passphrase-file", m.pass, m.at("new")}},
		{"init without a terminal for the passphrase", 2, []string{"--passphrase-file"}, []string{"init", "--recovery-file", m.at("new words"), m.at("new")}},
		{"mount without a terminal", 2, []string{"--passphrase-file"}, []string{"mount", m.store, m.mnt}},
		{"two secrets", 2, []string{"only one"}, []string{"mount", "--passphrase-file", m.pass, "--recovery-file", m.words, m.store, m.mnt}},
		{"the mountpoint is not empty", 7, []string{full, "not empty (1 entry)", "Choose an empty folder"}, with(m.pass, m.store, full)},
		{"the mountpoint is a file", 7, []string{file, "not a folder"}, with(m.pass, m.store, file)},
		{"the mountpoint is in the store", 7, []string{"lies in the store"}, with(m.pass, m.store, inStore)},
		{"the mountpoint is above the store", 7, []string{"would hide"}, with(m.pass, m.store, m.home)},
		{"another mount is there", 7, []string{"something is mounted at /proc already"}, with(m.pass, m.store, "/proc")},
		{"umount of no mount", 10, []string{"mounted"}, []string{"umount", empty}},
		{"status of no mount", 10, []string{"mounted"}, []string{"status", empty}},
		{"an unknown command", 2, []string{"unknown command", "hushfs help"}, []string{"mont"}},
		{"an unknown flag", 2, []string{"--colour", "hushfs mount --help"}, []string{"mount", "--colour", m.store, m.mnt}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := withoutState(manifest(t, m.home))
			checkRefusal(t, m.run(c.args...), c.code, c.words)
			sameManifest(t, "after "+c.name, before, withoutState(manifest(t, m.home)))
		})
	}

	t.Run("as JSON", func(t *testing.T) {
		r := m.run(append([]string{"--json"}, with(wrong, m.store, m.mnt)...)...)
		var p struct {
			Error struct {
				Code          int
				Message, Next string
			}
		}
		must(t, json.Unmarshal([]byte(r.stdout), &p))
		if r.code != 3 || p.Error.Code != 3 || p.Error.Message == "" || p.Error.Next == "" {
			t.Errorf("code %d: %s", r.code, r.stdout)
		}
	})
	m.mount().umount()
}

// withoutState leaves out what a refused command may write: its own state, and
// the times of folders in the store of a drive that is there.
func withoutState(m map[string]string) map[string]string {
	out := map[string]string{}
	for name, line := range m {
		switch top, _, _ := cut(name); {
		case top == "state" || top == "cache" || top == "." || top == "run":
		case top == "store" && !strings.Contains(line, " sum "):
			out[name] = "folder"
		default:
			out[name] = line
		}
	}
	return out
}

// cut splits a path after its first part.
func cut(path string) (top, rest string, more bool) {
	for i := range path {
		if path[i] == '/' {
			return path[:i], path[i+1:], true
		}
	}
	return path, "", false
}

// A drive's header from the future, and one that asks for more memory than there
// is: both are refused by a new machine before anything is allocated.
func TestHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	// The parameters are looked for by their value: 19 MiB in KiB, 2 passes.
	params := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, 19<<10), 2)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, b []byte)
		code   int
		words  []string
	}{
		{"newer format", func(t *testing.T, b []byte) { b[7]++ }, 6, []string{"newer", "Install a newer hushfs"}},
		{"4 TiB of memory", func(t *testing.T, b []byte) { replaceOnce(t, b, params, []byte{0xff, 0xff, 0xff, 0xff, 0, 2}) }, 1, []string{"memory", "Nothing was allocated"}},
		{"no memory", func(t *testing.T, b []byte) { replaceOnce(t, b, params, []byte{0, 0, 0, 0, 0, 2}) }, 1, []string{"memory", "Nothing was allocated"}},
		{"65535 passes", func(t *testing.T, b []byte) { replaceOnce(t, b, params, []byte{0, 0, 0x4c, 0, 0xff, 0xff}) }, 1, []string{"Nothing was allocated"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newDrive(t)
			path := filepath.Join(m.store, ofKind(t, m.store, "header")[0])
			b := read(t, path)
			c.change(t, b)
			must(t, os.WriteFile(path, b, 0o600))
			n := m.another()
			n.refused(c.code, c.words, n.mountArgs()...)
			if mounted(n.mnt) {
				t.Error("it is mounted")
			}
		})
	}
}

func replaceOnce(t *testing.T, b, old, new []byte) {
	t.Helper()
	for i := range b {
		if len(b)-i >= len(old) && string(b[i:i+len(old)]) == string(old) {
			copy(b[i:], new)
			return
		}
	}
	t.Fatal("the bytes to be changed are not there")
}
