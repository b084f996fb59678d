package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Names, bytes and secrets of a drive are nowhere in clear: not in the store,
// the cache, the state, the logs, nor in what ps shows. The journal is scanned
// full, after a kill, and the log after things have gone wrong.
func TestCanary(t *testing.T) {
	t.Parallel()
	const (
		name   = "canary-name-Kqzv7"
		folder = "canary-folder-Jx0p9"
		target = "canary-target-Wd81b"
		body   = "canary-bytes-Mz44t\n"
	)
	secrets := []string{name, folder, target, strings.TrimSpace(body), passphrase}
	m := newDrive(t)
	for line := range strings.Lines(string(read(t, m.words))) {
		if f := strings.Fields(line); len(f) >= 4 { // a line of words
			secrets = append(secrets, strings.Join(f[:4], " "))
		}
	}
	write := func(at string) {
		must(t, os.MkdirAll(m.in(folder, at), 0o755))
		must(t, writeSynced(m.in(folder, at, name), os.O_CREATE, []byte(strings.Repeat(body, 10))))
		must(t, writeSynced(m.in(folder, at, name+"-large"), os.O_CREATE, []byte(strings.Repeat(body, 400_000))))
		must(t, os.Symlink(target, m.in(folder, at, "link")))
		must(t, os.Rename(m.in(folder, at, "link"), m.in(folder, at, name+"-link")))
		must(t, syncFolder(m.in(folder, at)))
	}

	d := m.mount()
	write("stored")
	m.ok("wait", m.mnt)
	read(t, m.in(folder, "stored", name+"-large"))
	d.kill()
	d = m.mount("--verbose", "--test-store-delay", "1h", "--drain-timeout", "0")
	write("waiting")
	for _, of := range []string{"cmdline", "environ"} {
		search(t, "/proc/"+itoa(d.cmd.Process.Pid)+"/"+of, read(t, "/proc/"+itoa(d.cmd.Process.Pid)+"/"+of), secrets)
	}
	d.kill()
	searchTree(t, m, secrets) // with a full journal

	// Everything that can be logged of a file: reads that fail, a name that is not
	// there, a folder that is not empty.
	for _, p := range ofKind(t, m.store, "pack") {
		must(t, os.WriteFile(filepath.Join(m.store, p), []byte("no pack"), 0o600))
	}
	must(t, os.RemoveAll(m.at("cache")))
	r := m.run(append([]string{"--verbose"}, m.mountArgs()...)...)
	if r.code != 0 {
		t.Fatalf("mount: %s", r.stderr)
	}
	pid := m.status()[0].PID
	for _, of := range []string{"cmdline", "environ"} {
		search(t, "/proc/"+itoa(pid)+"/"+of, read(t, "/proc/"+itoa(pid)+"/"+of), secrets)
	}
	if _, err := os.ReadFile(m.in(folder, "stored", name+"-large")); err == nil {
		t.Error("a file whose packs are damaged reads")
	}
	os.Remove(m.in(folder))
	os.ReadFile(m.in(folder, name+"-none"))
	m.ok("umount", m.mnt)
	if log := read(t, filepath.Join(m.stateDir(), "hushfs.log")); len(log) == 0 {
		t.Error("the daemon in the background has logged nothing")
	}
	searchTree(t, m, secrets)
}

// searchTree searches all that the machine and the store hold, but for the files
// that a person keeps.
func searchTree(t *testing.T, m *machine, secrets []string) {
	t.Helper()
	if mounted(m.mnt) {
		m.detach()
	}
	files := 0
	must(t, filepath.WalkDir(m.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == m.pass || path == m.words {
			return err
		}
		search(t, "the path "+path, []byte(path), secrets)
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		search(t, path, read(t, path), secrets)
		return nil
	}))
	if files < 10 {
		t.Errorf("only %d files were searched", files)
	}
}

// search wants none of the secrets in b, as they are, in hex or in base64.
func search(t *testing.T, where string, b []byte, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		for how, form := range map[string]string{
			"as it is": s, "in hex": hex.EncodeToString([]byte(s)), "in base64": base64.RawStdEncoding.EncodeToString([]byte(s)[:len(s)/3*3]),
		} {
			if bytes.Contains(b, []byte(form)) {
				t.Errorf("%s holds %.12q… %s", where, s, how)
			}
		}
	}
}
