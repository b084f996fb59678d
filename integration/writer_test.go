package integration

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// through lets the machine reach its store through a proxy.
func (m *machine) through(p *s3test.Proxy) *machine {
	m.t.Helper()
	m.settings = slices.DeleteFunc(slices.Clone(m.settings), func(s string) bool {
		return strings.HasPrefix(s, "AWS_ENDPOINT_URL=") || strings.HasPrefix(s, "AWS_CA_BUNDLE=")
	})
	m.settings = append(m.settings, "AWS_ENDPOINT_URL="+p.Endpoint)
	if p.CAFile != "" {
		m.settings = append(m.settings, "AWS_CA_BUNDLE="+p.CAFile)
	}
	return m
}

// readOnly is why the machine's one mount is read-only though nobody asked for it.
func (m *machine) readOnly() string {
	m.t.Helper()
	var s struct {
		Mounts []struct {
			Why    string `json:"read_only_why"`
			Volume struct {
				ReadOnly bool `json:"read_only"`
			} `json:"volume"`
		} `json:"mounts"`
	}
	must(m.t, json.Unmarshal([]byte(m.ok("status", "--json")), &s))
	if len(s.Mounts) != 1 || s.Mounts[0].Volume.ReadOnly != (s.Mounts[0].Why != "") {
		m.t.Errorf("status: %+v", s)
	}
	return s.Mounts[0].Why
}

// onlyReads wants the machine's mount to have these files of put, and to take none.
func (m *machine) onlyReads(files ...string) {
	m.t.Helper()
	m.has(files...)
	if err := os.WriteFile(m.in("new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		m.t.Errorf("writing: %v, want EROFS", err)
	}
}

// At a store that lets several writers win, a drive is made only for one machine;
// the others show it, say why they do not write, and do not.
func TestSingleWriter(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	liar := server.Gateway(t, s3test.WithoutHeader("If-None-Match"))
	m := machineAt(t, server).through(liar)
	m.refused(11, []string{"work would be lost if several machines did", "taken name was accepted", "hushfs init --single-writer"}, m.initArgs()...)
	if names := m.inBucket(server); len(names) > 0 {
		t.Errorf("the refused init left %v", names)
	}
	if out := m.ok(m.initArgs("--single-writer")...); !strings.Contains(out, "Only this machine can change it") || !strings.Contains(out, "hushfs handover") {
		t.Errorf("init says\n%s", out)
	}
	d := m.mount()
	m.put("a")
	if strings.Contains(d.logged(), "Testing") || m.readOnly() != "" {
		t.Error("the writer's mount tests again, or is read-only")
	}
	if out := m.ok("status"); !strings.Contains(out, "only one machine may write to this store: ") {
		t.Errorf("status says\n%s", out)
	}
	d.umount()
	d = m.mount()
	m.put("b")
	d.umount()

	// Another machine; in the background, so that the warning is the command's.
	n := m.another()
	r := n.run(n.mountArgs()...)
	if r.code != 0 || !strings.Contains(r.stderr, "warning: mounted read-only: the drive has a single writer, device 1 (") {
		t.Fatalf("%+v", r)
	}
	n.onlyReads("a", "b")
	if why := n.readOnly(); !strings.Contains(why, "single writer, device 1 (") || !strings.Contains(why, "this machine is another") {
		t.Errorf("status says %q", why)
	}
	if out := n.ok("status"); !strings.Contains(out, "Mounted read-only: the drive has a single writer") {
		t.Errorf("status says\n%s", out)
	}
	n.ok("umount", n.mnt)
	before := len(m.inBucket(server))

	// Once is enough: the machine knows the store, and the drive.
	liar.Spoil(s3test.WithoutHeader("If-None-Match"), s3test.Where(s3test.Puts(""), s3test.Say(403, "AccessDenied")))
	e := n.mount()
	n.onlyReads("a", "b")
	e.umount()
	liar.Spoil(s3test.WithoutHeader("If-None-Match"))

	// Who asks for it is told no reason.
	e = n.mount("--read-only")
	if strings.Contains(e.logged(), "single writer") {
		t.Errorf("log: %s", e.logged())
	}
	e.umount()

	// Where the store keeps writers apart it is the same: the writer may be at
	// work elsewhere.
	n.settings = settings(server)
	e = n.mount()
	n.onlyReads("a", "b")
	e.umount()
	if after := len(m.inBucket(server)); after != before {
		t.Errorf("%d objects, there were %d", after, before)
	}
	m.settings = settings(server)
	d = m.mount()
	m.put("c")
	d.umount()

	// The writer is the state folder, not the name of the machine.
	must(t, os.Rename(m.at("state"), m.at("lost")))
	d = m.mount()
	m.onlyReads("a", "b", "c")
	d.umount()
}

// The writing goes to a machine that never wrote, and back; who has it not reads.
func TestHandOver(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	liar := server.Gateway(t, s3test.WithoutHeader("If-None-Match"))
	m := machineAt(t, server).through(liar)
	m.ok(m.initArgs("--single-writer")...)
	d := m.mount()
	m.put("a")
	n := m.another()
	pass := []string{"--passphrase-file", m.pass}
	asked := strings.TrimSpace(n.ok(append([]string{"handover", "--request", m.store}, pass...)...))
	if again := strings.TrimSpace(n.ok(append([]string{"handover", "--request", m.store}, pass...)...)); again != asked || !strings.HasPrefix(asked, "hushfs-device-") {
		t.Errorf("asked with %q, then with %q", asked, again)
	}
	hand := func(to ...string) []string {
		return append(append([]string{"handover"}, pass...), append([]string{m.store}, to...)...)
	}
	m.refused(9, []string{"mounted"}, append(hand(asked), "--timeout", "1s")...)
	d.umount()
	m.refused(2, []string{"no request"}, hand(asked[:20]+asked[21:22]+asked[20:21]+"a"+asked[22:])...)
	n.refused(15, []string{"not handed on", "single writer, device 1", "machine that writes"}, hand("1")...)
	m.refused(2, []string{"there is none"}, hand("tablet")...)

	line := filepath.Join(t.TempDir(), "request")
	must(t, os.WriteFile(line, []byte(asked+"\n"), 0o600))
	if out := m.ok(append(hand(), "--request-file", line)...); !strings.Contains(out, "Device 2 can change the drive now") {
		t.Errorf("handover says\n%s", out)
	}
	d = m.mount()
	m.onlyReads("a")
	if why := m.readOnly(); !strings.Contains(why, "single writer, device 2 (") || !strings.Contains(why, "this machine is device 1") {
		t.Errorf("status says %q", why)
	}
	d.umount()
	d = n.mount()
	n.put("b")
	if why := n.readOnly(); why != "" {
		t.Errorf("the writer only reads: %s", why)
	}
	d.umount()
	n.refused(2, []string{"this machine is device 2"}, append([]string{"handover", "--request", m.store}, pass...)...)
	var back struct {
		Writer int `json:"writer"`
	}
	must(t, json.Unmarshal([]byte(n.ok(append(hand("1"), "--json")...)), &back))
	if back.Writer != 1 {
		t.Errorf("handed back to %d", back.Writer)
	}
	d = n.mount()
	n.onlyReads("a", "b")
	d.umount()
	d = m.mount()
	m.put("c")
	d.umount()
}

// A server that this machine knows is tested again when it is asked to be; another
// way to the same drive is tested by itself.
func TestReprobe(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := machineAt(t, server)
	m.ok(m.initArgs()...)
	tested := func(d *daemon) bool {
		defer d.umount()
		return strings.Contains(d.logged(), "Testing how the store treats")
	}
	if tested(m.mount()) {
		t.Error("what init has tested is tested again")
	}
	if !tested(m.mount("--reprobe")) {
		t.Error("not tested again")
	}
	other := server.Gateway(t)
	m.through(other)
	if !tested(m.mount()) {
		t.Error("another way to the drive is not tested")
	}
	if tested(m.mount()) {
		t.Error("and is tested twice")
	}
	other.Spoil(s3test.WithoutHeader("If-None-Match"))
	if tested(m.mount()) {
		t.Error("tested a third time")
	}
	m.doctor("--reprobe", m.store).finds(t, "store-probe", "problem", "taken name was accepted")
	m.doctor(m.store).finds(t, "store-probe", "problem", "taken name was accepted") // remembered
	m.refused(11, []string{"does not keep apart"}, m.mountArgs()...)
	other.Spoil()
	if !tested(m.mount()) {
		t.Error("a bad verdict is taken for final")
	}
}

// A copy of the writer's state is not the writer.
func TestSingleWritersStateCopied(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.ok(m.initArgs("--single-writer")...)
	d := m.mount()
	m.put("a")
	d.umount()
	n := m.another()
	n.tool("cp", "-a", m.at("state"), n.at("state"))
	n.refused(15, []string{"copied", "move it away"}, n.mountArgs()...)
	must(t, os.RemoveAll(n.at("state")))
	e := n.mount()
	n.onlyReads("a")
	e.umount()
	d = m.mount()
	m.put("b")
	d.umount()
}

// A store that does not keep what it was given is for nobody, whatever is asked.
func TestStoreThatLoses(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	for _, c := range []struct {
		name  string
		lie   s3test.Spoiler
		words string
	}{
		{"what it acknowledged", s3test.Where(s3test.Puts("/list/02"), acknowledge), "an object that was put is not found"},
		{"a part of what is asked for", s3test.Where(func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Range"), "bytes=-") },
			s3test.Body(zeros)), "a part of an object is not the one that was asked for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := server.Gateway(t, c.lie)
			m := machineAt(t, server).through(p)
			for _, flag := range []string{"--single-writer=false", "--single-writer"} {
				m.refused(11, []string{"does not keep what is written to it", c.words, "Use another server"}, m.initArgs(flag)...)
			}
			if names := m.inBucket(server); len(names) > 0 {
				t.Errorf("the refused init left %v", names)
			}
		})
	}
}

// acknowledge says that a put was done, and does not do it.
func acknowledge(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
	})
}

func zeros(b []byte) []byte { return make([]byte, len(b)) }
