package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// diagnosis is what doctor --json says.
type diagnosis struct {
	Problems, Warnings int
	Checks             []struct{ Area, Check, Level, Found, Why, Next string }
}

// doctor runs it; the exit code must say whether there are problems.
func (m *machine) doctor(args ...string) diagnosis {
	m.t.Helper()
	return m.diagnosed(m.run(append([]string{"doctor", "--json"}, args...)...))
}

func (m *machine) diagnosed(r result) (d diagnosis) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		m.t.Fatalf("exit code %d, %v:\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	if want := map[bool]int{true: 0, false: 16}[d.Problems == 0]; r.code != want {
		m.t.Errorf("exit code %d with %d problems", r.code, d.Problems)
	}
	for _, c := range d.Checks {
		if c.Found == "" || c.Area == "" || c.Level == "problem" && c.Next == "" {
			m.t.Errorf("a check that says too little: %+v", c)
		}
		for _, s := range []string{c.Found, c.Why, c.Next} {
			if strings.Contains(s, m.home) {
				m.t.Errorf("the user's home is shown: %s", s)
			}
		}
	}
	return d
}

// finds wants a check to have found something of that level, in these words.
func (d diagnosis) finds(t testing.TB, check, level, words string) {
	t.Helper()
	for _, c := range d.Checks {
		if c.Check == check && c.Level == level && strings.Contains(c.Found, words) {
			return
		}
	}
	for _, c := range d.Checks {
		if c.Check == check || c.Level != "ok" {
			t.Logf("%+v", c)
		}
	}
	t.Errorf("no %s of %s that says %q", level, check, words)
}

// sound wants no problem.
func (d diagnosis) sound(t testing.TB) {
	t.Helper()
	if d.Problems > 0 {
		t.Errorf("%+v", d.Checks)
	}
}

// On a machine where a drive can be mounted doctor finds no problem, tells nothing
// that is secret, and touches nothing.
func TestDoctorOfASoundMachine(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	before := manifest(t, m.home)
	m.doctor().sound(t)
	m.doctor(m.mnt).finds(t, "mountpoint", "ok", "~/mnt is an empty folder of yours")
	m.doctor(m.store, m.at("not", "there")).finds(t, "mountpoint", "ok", "mount makes it")
	m.doctor(m.at("not", "there")).finds(t, "mountpoint", "warning", "is not there")
	m.doctor(m.store, m.store+"/in it").finds(t, "mountpoint", "problem", "lies in the store")
	d := m.doctor(m.store, m.mnt)
	d.sound(t)
	d.finds(t, "store-drive", "ok", "opened by 1 passphrase and 1 other way")
	d.finds(t, "state", "ok", "nothing waits")
	sameManifest(t, "doctor has touched something", before, manifest(t, m.home))
	d = m.doctor("--write-test", m.store)
	d.sound(t)
	d.finds(t, "store-write", "ok", "a name that is taken is refused")
	d.finds(t, "store-delete", "ok", "")
	if left, err := filepath.Glob(filepath.Join(m.store, "v0", "probe", "*")); err != nil || len(left) > 0 {
		t.Errorf("the test of writing left %v, %v", left, err)
	}

	out := m.ok("doctor", m.store)
	id := filepath.Base(m.stateDir())
	for _, secret := range []string{passphrase, id, m.home} {
		if strings.Contains(out, secret) {
			t.Errorf("doctor shows %q:\n%s", secret, out)
		}
	}
	for _, want := range []string{"hushfs ", "Linux ", "\nFUSE\n", id[:8] + "…", "~/store"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not show %q:\n%s", want, out)
		}
	}

	run := m.mount()
	d = m.doctor(m.mnt)
	d.sound(t)
	d.finds(t, "daemon", "ok", "everything is in the store")
	d.finds(t, "store-drive", "ok", id[:8])
	run.umount()
}

// Each thing that can be wrong is found, and as what it is.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	file := m.at("file")
	must(t, os.WriteFile(file, []byte("x"), 0o600))
	full := m.mkdir("full")
	must(t, os.WriteFile(filepath.Join(full, "x"), nil, 0o600))
	for _, c := range []struct {
		name, check, level, words string
		args                      []string
	}{
		{"no folder", "store-folder", "problem", "does not exist", []string{"file://" + m.at("nowhere")}},
		{"a file", "store-folder", "problem", "not a directory", []string{"file://" + file}},
		{"no drive there", "store-drive", "problem", "no drive there", []string{"file://" + full}},
		{"the mountpoint is a file", "mountpoint", "problem", "not a folder", []string{m.store, file}},
		{"the mountpoint is not empty", "mountpoint", "problem", "not empty (1 entry)", []string{full}},
		{"the mountpoint is in the store", "mountpoint", "problem", "lies in the store", []string{m.store, filepath.Join(m.store, "v0")}},
		{"the mountpoint is above the store", "mountpoint", "problem", "would hide", []string{m.store, m.home}},
		{"something is mounted there", "mountpoint", "problem", "something is mounted at /proc already", []string{"/proc"}},
	} {
		t.Run(c.name, func(t *testing.T) { m.doctor(c.args...).finds(t, c.check, c.level, c.words) })
	}
	m.refused(2, []string{"unknown scheme"}, "doctor", "ftp://x")

	t.Run("limits", func(t *testing.T) {
		r := finish(t, m.command(t.Context(), "sh", "-c", `ulimit -v 3000000 && ulimit -f 100000 && exec "$0" doctor --json`, hushfs))
		d := m.diagnosed(r)
		d.finds(t, "limit-addresses", "warning", "limited to 2.9 GiB")
		d.finds(t, "limit-file-size", "warning", "limited to")
	})
	t.Run("a state folder of another kind", func(t *testing.T) {
		state := m.at("state")
		must(t, os.Rename(state, state+".aside"))
		must(t, os.WriteFile(state, nil, 0o600))
		m.doctor().finds(t, "state-folder", "problem", "~/state")
		must(t, os.Remove(state))
		must(t, os.Rename(state+".aside", state))
	})
	t.Run("a runtime folder that others may look into", func(t *testing.T) {
		must(t, os.Chmod(m.at("run"), 0o755))
		m.doctor().finds(t, "runtime-folder", "warning", "open to others")
		must(t, os.Chmod(m.at("run"), 0o700))
	})
	t.Run("a newer format", func(t *testing.T) {
		n := m.another()
		n.store = n.at("newer")
		n.tool("cp", "-a", m.store, n.store)
		for _, header := range ofKind(t, n.store, "header") {
			path := filepath.Join(n.store, header)
			b := read(t, path)
			b[7]++
			must(t, os.Chmod(path, 0o600))
			must(t, os.WriteFile(path, b, 0o600))
		}
		n.doctor(n.store).finds(t, "store-drive", "problem", "newer format")
	})

	d := m.mount(append([]string{"--drain-timeout", "0"}, stuckStore...)...)
	m.put("waits")
	t.Run("a daemon that was stopped", func(t *testing.T) {
		d.halt()
		found := m.doctor(m.mnt)
		must(t, d.cmd.Process.Signal(syscall.SIGCONT))
		found.finds(t, "daemon-silent", "problem", "it was stopped by a signal")
		found.finds(t, "mountpoint", "problem", "does not answer")
	})
	t.Run("a daemon that has something to send", func(t *testing.T) {
		m.doctor().finds(t, "daemon", "ok", " wait since ")
	})
	d.kill()
	t.Run("a daemon that died", func(t *testing.T) {
		found := m.doctor(m.mnt)
		found.sound(t) // the next mount sees to it
		found.finds(t, "dead-mount", "warning", "Transport endpoint is not connected")
		found.finds(t, "mountpoint", "ok", "dead mount")
		found.finds(t, "journal-waiting", "warning", "changes may wait in its journal")
		found.finds(t, "sockets", "ok", "1 control socket")
	})
	d = m.mount()
	d.umount()
	m.doctor(m.mnt).finds(t, "state", "ok", "nothing waits")
}

// to names the host of the machine's server in another way.
func (m *machine) to(host string) *machine {
	for i, s := range m.settings {
		m.settings[i] = strings.ReplaceAll(s, "127.0.0.1", host)
	}
	return m
}

// What an ordinary user lacks is found; and a disk that is full.
func TestDoctorOfAnOrdinaryUser(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newMachineOf(t, nobody)
	m.init()
	d := m.doctor(m.store, m.mnt)
	d.sound(t)
	d.finds(t, "fusermount", "ok", "set-uid root, version 3")
	for _, c := range []struct{ name, setup, check, level, words string }{
		{"dev fuse is not there", `mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3`, "fuse-device", "problem", "offers no FUSE"},
		{"dev fuse is not permitted", `mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 600 /dev/fuse c 10 229`, "fuse-device", "problem", "0600"},
		{"fusermount3 is not there", `mount --bind /dev/null "$(readlink -f "$(command -v fusermount3)")"`, "fusermount", "problem", "not installed"},
		{"fusermount3 is not set-uid", `f=$(readlink -f "$(command -v fusermount3)") && cp "$f" "$HOME/f" && chmod 755 "$HOME/f" && mount --bind "$HOME/f" "$f"`, "fusermount", "problem", "not set-uid root"},
		{"no new privileges", `set -- setpriv --no-new-privs "$@"`, "fusermount", "problem", "may not gain privileges"},
		{"others may be let in", `echo user_allow_other >"$HOME/c" && mount --bind "$HOME/c" /etc/fuse.conf`, "allow-other", "ok", "may let others in"},
		{"others may not be let in", `echo >"$HOME/c" && mount --bind "$HOME/c" /etc/fuse.conf`, "allow-other", "problem", "may not let others in"},
		{"too many mounts", `echo mount_max = 0 >"$HOME/c" && mount --bind "$HOME/c" /etc/fuse.conf`, "mount-max", "problem", "may have 0"},
		{"a full disk", `mkdir -p "$XDG_STATE_HOME" && mount -t tmpfs -o size=1m,mode=777 tmpfs "$XDG_STATE_HOME"`, "state-folder", "problem", "is full"},
		{"a disk in memory", `mkdir -p "$XDG_STATE_HOME" && mount -t tmpfs -o size=2g,mode=777 tmpfs "$XDG_STATE_HOME"`, "state-folder", "warning", "in memory"},
		{"no more files", `mkdir -p "$XDG_STATE_HOME" && mount -t tmpfs -o size=2g,nr_inodes=100,mode=777 tmpfs "$XDG_STATE_HOME"`, "state-folder", "problem", "more files"},
		{"a read-only disk", `mkdir -p "$XDG_STATE_HOME" && mount -t tmpfs -o ro,size=2g tmpfs "$XDG_STATE_HOME"`, "state-folder", "problem", "read-only"},
		{"the state folder of somebody else", `mkdir -p "$HOME/of" && mount --bind "$HOME/of" "$XDG_STATE_HOME/hushfs"`, "state-folder", "problem", "belongs to uid 0"},
		{"a store on a read-only disk", `mount --bind "$HOME/store" "$HOME/store" && mount -o remount,bind,ro "$HOME/store"`, "store-folder", "warning", "read-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := c.setup + ` && exec setpriv --reuid ` + itoa(nobody) + ` --regid ` + itoa(nobody) + ` --clear-groups "$@"`
			inside := newMachineOf(t, -1)
			inside.home = m.home
			cmd := inside.command(t.Context(), "unshare", "-m", "--propagation", "private", "sh", "-c", script, "-", hushfs, "doctor", "--json", "--allow-other", m.store)
			m.diagnosed(finish(t, cmd)).finds(t, c.check, c.level, c.words)
		})
	}
}

// The way to a bucket is looked at step by step, and the first that fails is told.
func TestDoctorOfABucket(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.doctor("--write-test", m.store)
	d.sound(t)
	for check, words := range map[string]string{
		"store-settings": "a server on this machine by http, from AWS_ENDPOINT_URL", "store-credentials": "AWS_ACCESS_KEY_ID", "store-connection": "answers",
		"store-clock": "agree", "store-list": "listed", "store-drive": "1 passphrase", "store-probe": "one wins",
		"store-write": "refused", "store-delete": "delete",
	} {
		d.finds(t, check, "ok", words)
	}
	for _, flag := range []string{"--json", "-v"} {
		out := m.ok("doctor", flag, m.store)
		for _, secret := range []string{server.Secret, server.AccessKey} {
			if strings.Contains(out, secret) {
				t.Errorf("doctor %s shows a key", flag)
			}
		}
		bucket := strings.Split(m.store, "/")[2]
		host := strings.TrimPrefix(server.Endpoint, "http://")
		if named := strings.Contains(out, bucket) && strings.Contains(out, host); named != (flag == "-v") {
			t.Errorf("doctor %s names the bucket and its server: %v", flag, named)
		}
	}
	run := m.mount()
	m.doctor(m.mnt).finds(t, "store-drive", "ok", "1 passphrase")
	run.umount()

	with := func(settings ...string) *machine {
		n := m.another()
		n.settings = append(append([]string{}, m.settings...), settings...)
		return n
	}
	gate := server.Gateway(t) // with TLS
	late := server.Gateway(t, s3test.Answer(func(r *http.Response) {
		r.Header.Set("Date", time.Now().Add(-20*time.Minute).UTC().Format(http.TimeFormat))
	}))
	for _, c := range []struct {
		name, check, level, words string
		m                         *machine
		store                     string
	}{
		{"TLS", "store-tls", "ok", "TLS 1.3, certificate good for another", with().through(gate), m.store},
		{"an unknown authority", "store-tls", "problem", "authority", with("AWS_ENDPOINT_URL=" + gate.Endpoint), m.store},
		{"another host", "store-tls", "problem", "for another host", with().through(gate).to("localhost"), m.store},
		{"no file of authorities", "store-authority", "problem", "cannot be used", with("AWS_CA_BUNDLE=/dev/null"), m.store},
		{"a wrong secret", "store-list", "problem", "credentials are not accepted", with("AWS_SECRET_ACCESS_KEY=wrong"), m.store},
		{"half of the keys", "store-settings", "problem", "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not", with("AWS_ACCESS_KEY_ID="), m.store},
		{"no keys", "store-credentials", "warning", "no keys", with("AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="), m.store},
		{"no bucket", "store-list", "problem", "bucket does not exist", m, "s3://nowhere/drive"},
		{"no drive", "store-drive", "problem", "no drive there", m, m.store + "/elsewhere"},
		{"no server", "store-connection", "problem", "connection refused", with("AWS_ENDPOINT_URL=https://127.0.0.1:1"), m.store},
		{"no name", "store-dns", "problem", "no address", with("AWS_ENDPOINT_URL=https://minio.invalid"), m.store},
		{"a proxy", "store-proxy", "warning", "through a proxy", with("AWS_ENDPOINT_URL=https://minio.invalid", "HTTPS_PROXY=http://127.0.0.1:1"), m.store},
		{"not encrypted", "store-settings", "problem", "not encrypted", with("AWS_ENDPOINT_URL=http://minio.invalid"), m.store},
		{"no TLS", "store-tls", "problem", "does not speak TLS", with("AWS_ENDPOINT_URL=https://" + strings.TrimPrefix(server.Endpoint, "http://")), m.store},
		{"another time", "store-clock", "problem", "differ by 20m", with().through(late), m.store},
	} {
		t.Run(c.name, func(t *testing.T) { c.m.doctor(c.store).finds(t, c.check, c.level, c.words) })
	}
	t.Run("a server that says nothing", func(t *testing.T) {
		must(t, server.Pause())
		defer server.Resume()
		began := time.Now()
		m.doctor("--timeout", "2s", m.store).finds(t, "store-connection", "problem", "no answer in time")
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
