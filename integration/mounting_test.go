package integration

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// A mount that takes long since somebody put junk into many slots says so, to who waits
// for it and to status, and then is mounted.
func TestMountingIsShown(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	proxy := server.Proxy(t)
	m := machineAt(t, server).through(proxy)
	m.init()
	d := m.mount()
	m.put("a")
	d.umount()
	var newest string // its name is the lowest
	for _, name := range m.inBucket(server) {
		if strings.Contains(name, "/l/") && (newest == "" || name < newest) {
			newest = name
		}
	}
	vol, err := crypt.ParseVolumeID(strings.Split(newest, "/")[2])
	must(t, err)
	head, _ := chain.ParseSlotName(vol, newest)
	const n = 200
	for i := chain.Slot(1); i <= n; i++ {
		m.somebodyPuts(server, "/"+chain.SlotName(vol, head+i), "junk")
	}

	// The store keeps one of them to itself until it was seen what the mount is at.
	let := make(chan struct{})
	release := sync.OnceFunc(func() { close(let) })
	hold := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-let:
			case <-r.Context().Done():
			}
			next.ServeHTTP(w, r)
		})
	}
	proxy.Spoil(s3test.Where(s3test.Gets(chain.SlotName(vol, head+n-10)), hold))
	t.Cleanup(release)
	p := m.dialogue(nil, hushfs, m.mountArgs("--io-timeout", "10m")...)
	const words = "somebody put junk into many slots for commits"
	eventually(t, "status says what the mount is at", patience, func() bool {
		all := m.status()
		return len(all) == 1 && all[0].Phase == "starting" && strings.HasPrefix(all[0].Doing, words)
	})
	m.reap(m.status()[0].PID)
	if line := p.line(); !strings.HasPrefix(line, "hushfs: mounting: "+words) || !strings.Contains(line, "slots are looked at") {
		t.Errorf("the mount says %q", line)
	}
	release()
	rest := strings.Join(p.rest(), "\n")
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(rest, "Mounted at ") {
		t.Fatalf("exit code %d: %s", code, rest)
	}
	if doing := m.status()[0].Doing; doing != "" {
		t.Errorf("it is mounted, and at %q", doing)
	}
	m.has("a")
	m.ok("umount", m.mnt)
}
