package integration

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// hour is a --poll that no test waits for.
const hour = "1h"

// beside is another machine on the same drive, mounted.
func (m *machine) beside(flags ...string) *machine {
	m.t.Helper()
	n := m.another()
	n.ok(n.mountArgs(flags...)...)
	return n
}

// publish writes a file and has it in the store.
func (m *machine) publish(name, content string) {
	m.t.Helper()
	must(m.t, os.WriteFile(m.in(name), []byte(content), 0o644))
	m.ok("wait", m.in(name))
}

// shows says whether a file has the content.
func (m *machine) shows(name, content string) bool {
	b, err := os.ReadFile(m.in(name))
	return err == nil && string(b) == content
}

// A program that only looks at names that the kernel knows keeps a mount in use: the
// store is asked all the time, and what another machine makes is seen; within seconds by a
// mount as it comes.
func TestFollowed(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	laptop := driveAt(t, server)
	laptop.ok(laptop.mountArgs()...)
	laptop.publish("known", "1")
	t.Run("machines", func(t *testing.T) {
		for name, c := range map[string]struct {
			flags []string
			asked int // requests: twice as many as any mount makes in the 10 s after it began, or nearly
			limit time.Duration
		}{
			"desktop":  {[]string{"--poll", "250ms"}, 70, 30 * time.Second},
			"viewer":   {[]string{"--poll", "250ms", "--read-only"}, 70, 30 * time.Second},
			"no flags": {nil, 14, 5 * time.Second},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := laptop.another()
				proxy := server.Proxy(t)
				m.settings = append(m.settings[:len(m.settings):len(m.settings)], "AWS_ENDPOINT_URL="+proxy.Endpoint)
				m.ok(m.mountArgs(c.flags...)...)
				// For 10 s after the mount it would be asked 40 times, or 7, whoever uses it,
				// and some times more in the rest.
				before := proxy.Requests()
				eventually(t, "the store is asked often while names are looked at", 2*time.Minute, func() bool {
					return unix.Access(m.in("known"), unix.F_OK) == nil && unix.Access(m.in("new "+name), unix.F_OK) == unix.ENOENT &&
						proxy.Requests() >= before+c.asked
				})
				laptop.publish("new "+name, "2")
				began := time.Now()
				within(t, "the new file is shown", c.limit, func() bool { return unix.Access(m.in("new "+name), unix.F_OK) == nil })
				t.Logf("shown after %v", time.Since(began).Round(time.Millisecond))
				if !m.shows("new "+name, "2") {
					t.Error("with other content")
				}
				away(m)
			})
		}
	})
	away(laptop)
}

// A store that tells of commits is heard, and asked when it does so no more.
func TestFollowedByNotification(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	var teller s3test.Teller
	proxy := server.Proxy(t, teller.Tell)
	laptop := machineAt(t, server)
	laptop.settings = append(laptop.settings, "AWS_ENDPOINT_URL="+proxy.Endpoint)
	laptop.init()
	laptop.ok(laptop.mountArgs()...)
	laptop.publish("a", "0")
	hearing, asking := laptop.beside("--poll", hour), laptop.beside("--poll", "1s")
	within(t, "the store is listened to", 30*time.Second, func() bool { return teller.Listeners() == 3 })
	for i := range 5 {
		content := strconv.Itoa(i) + strings.Repeat("x", 1000*i)
		laptop.publish("a", content)
		began := time.Now()
		within(t, "what the store told of is shown", 30*time.Second, func() bool { return hearing.shows("a", content) })
		t.Logf("shown %v after it was stored", time.Since(began).Round(time.Millisecond))
	}
	teller.Hush()
	laptop.publish("a", "late")
	within(t, "what the store tells nobody is found", 30*time.Second, func() bool { return asking.shows("a", "late") })
	away(laptop, hearing, asking)
}

func TestSync(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	laptop := driveAt(t, server)
	proxy := server.Proxy(t)
	laptop.settings = append(laptop.settings, "AWS_ENDPOINT_URL="+proxy.Endpoint)
	laptop.ok(laptop.mountArgs()...)
	must(t, os.Mkdir(laptop.in("d"), 0o755))
	laptop.publish("d/a", "old")
	laptop.publish("d/gone", "1")
	desk := laptop.beside("--poll", hour)
	if !desk.shows("d/a", "old") || !desk.shows("d/gone", "1") || desk.shows("d/new", "2") {
		t.Fatal("the desktop begins with something else")
	}

	// Nothing was synced or closed long ago: sync has it sent.
	must(t, os.WriteFile(laptop.in("d", "a"), []byte("new and longer"), 0o644))
	must(t, os.WriteFile(laptop.in("d", "new"), []byte("2"), 0o644))
	must(t, os.Remove(laptop.in("d", "gone")))
	must(t, os.Rename(laptop.in("d"), laptop.in("e")))
	laptop.ok("sync", laptop.in("e", "a"))
	if s := laptop.status(); !s[0].Volume.Stored {
		t.Error("not everything is stored")
	}
	if desk.shows("e/a", "new and longer") {
		t.Error("the desktop shows it without having fetched")
	}
	var r struct {
		Synced []struct {
			Status       status
			Before, Slot uint64
		}
	}
	must(t, json.Unmarshal([]byte(desk.ok("sync", "--json")), &r))
	if len(r.Synced) != 1 || r.Synced[0].Before >= r.Synced[0].Slot || !r.Synced[0].Status.Volume.Stored {
		t.Errorf("sync says %+v", r)
	}
	// No waiting: it is shown now.
	if !desk.shows("e/a", "new and longer") || !desk.shows("e/new", "2") {
		t.Error("the desktop does not show what it fetched")
	}
	for _, name := range []string{"d", "e/gone"} {
		if err := unix.Access(desk.in(name), unix.F_OK); err != unix.ENOENT {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out := desk.ok("sync", desk.mnt); !strings.Contains(out, "nothing new") {
		t.Errorf("with nothing to do it says %q", out)
	}

	// Both ways, with a file written here meanwhile.
	must(t, os.WriteFile(desk.in("mine"), []byte("3"), 0o644))
	laptop.publish("theirs", "4")
	desk.ok("sync", desk.mnt)
	laptop.ok("sync", laptop.mnt)
	if !desk.shows("theirs", "4") || !laptop.shows("mine", "3") {
		t.Error("after both synced they show different files")
	}

	// Off line it fails at once, loses nothing, and goes on later.
	proxy.Spoil(s3test.Reset)
	must(t, os.WriteFile(laptop.in("off line"), []byte("5"), 0o644))
	began := time.Now()
	laptop.refused(11, []string{"cannot be reached", "journal"}, "sync", laptop.mnt)
	if d := time.Since(began); d > 45*time.Second {
		t.Errorf("it took %v to say so", d)
	}
	laptop.refused(13, nil, "sync", "--timeout", "5s", laptop.mnt)
	proxy.Spoil()
	laptop.ok("sync", "--timeout", "1m", laptop.mnt)
	desk.ok("sync", desk.mnt)
	if !desk.shows("off line", "5") {
		t.Error("what was written off line is not there")
	}
	laptop.refused(10, []string{"mounted"}, "sync", laptop.home)
	laptop.refused(2, nil, "sync", "--timeout", "-1s")
	newMachine(t).refused(10, []string{"no drive"}, "sync")
	away(laptop, desk)
}

// away locks the machines' drives.
func away(machines ...*machine) {
	for _, m := range machines {
		m.t.Helper()
		m.ok("umount", m.mnt)
	}
}
