package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// sessionOf are the settings of somebody who may do no more than actions.
func sessionOf(t testing.TB, server *s3test.Server, actions ...string) []string {
	t.Helper()
	id, secret, token := server.Session(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["`+
		strings.Join(actions, `","`)+`"],"Resource":["arn:aws:s3:::*"]}]}`)
	return []string{"AWS_ENDPOINT_URL=" + server.Endpoint, "AWS_REGION=" + s3test.Region,
		"AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_SESSION_TOKEN=" + token}
}

// Who may not do all that a drive needs is told so before anything is written.
func TestInsufficientCredentials(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	m.put("a")
	d.umount()
	before := len(m.inBucket(server))
	const read, write, list, del = "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"
	lack := []string{"credentials lack the permission", "Allow s3:ListBucket"}
	look := append([]string{"hushfs mount --read-only"}, lack...)

	for _, c := range []struct {
		name        string
		actions     []string
		init, mount []string // what init says, and the first mount; nil: it works
	}{
		{"no writing", []string{read, list}, look, look},
		{"no reading", []string{write, list, del}, look, lack},
		{"no listing", []string{read, write, del}, lack, lack},
	} {
		t.Run(c.name, func(t *testing.T) {
			may := sessionOf(t, server, c.actions...)
			n := machineAt(t, server)
			home := n.store
			n.settings = may
			n.refused(11, c.init, n.initArgs()...)
			n.settings = settings(server)
			if names := n.inBucket(server); len(names) > 0 {
				t.Errorf("init left %v", names)
			}
			if _, err := os.Stat(n.words); err == nil {
				t.Error("init left a recovery file")
			}
			n.settings, n.store = may, m.store
			n.refused(11, c.mount, n.mountArgs()...)
			if mounted(n.mnt) {
				t.Error("it is mounted")
			}
			n.store = home
		})
	}
	t.Run("no writing, to look", func(t *testing.T) {
		n := m.another()
		n.settings = sessionOf(t, server, read, list)
		d := n.mount("--read-only")
		n.onlyReads("a")
		d.umount()
	})
	if after := len(m.inBucket(server)); after != before {
		t.Errorf("%d objects, there were %d", after, before)
	}
	t.Run("no deleting", func(t *testing.T) {
		n := machineAt(t, server)
		n.settings = sessionOf(t, server, read, write, list)
		n.init()
		d := n.mount()
		n.put("a")
		d = d.remount()
		d.m.has("a")
		d.umount()
		// What the test of the store could not remove is nobody's data.
		o := n.another()
		o.settings = settings(server)
		o.refused(5, []string{"a drive lies there", "Nothing was touched"}, append([]string{"init", "--passphrase-file", o.pass, "--recovery-file", o.words}, n.store)...)
	})
}

// Credentials that end while the drive is mounted: what is written waits, status
// says why, and it goes on with good ones. Before it is mounted it is said at once.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	p := server.Proxy(t)
	m := driveAt(t, server).through(p)
	over := s3test.Say(400, "ExpiredToken")
	p.Spoil(over)
	words := []string{"credentials have expired", "Get new ones", "without a remount"}
	m.refused(11, words, m.mountArgs()...)
	m.refused(11, words, "init", "--passphrase-file", m.pass, "--recovery-file", m.at("new"), m.store+"/other")
	p.Spoil()
	d := m.mount()
	m.put("a")
	m.ok("wait", m.mnt)
	p.Spoil(over)
	m.put("b")
	within(t, "status says what is wrong", 30*time.Second, func() bool {
		v := m.status()[0].Volume
		return !v.Stored && strings.Contains(v.Offline, "credentials have expired")
	})
	m.has("a", "b")
	p.Spoil()
	m.ok("wait", m.mnt)
	if v := m.status()[0].Volume; v.Offline != "" || !v.Stored || v.Stopped != "" || len(v.Damaged) > 0 {
		t.Errorf("%+v", v)
	}
	d = d.remount()
	d.m.has("a", "b")
	d.umount()
}

// Clocks that differ, by the word of a real server, and a region that is another.
func TestClockAndRegion(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	p := server.Proxy(t)
	m := driveAt(t, server).through(p)
	for name, c := range map[string]struct {
		spoil s3test.Spoiler
		words []string
	}{
		"an hour behind":    {s3test.Late(-time.Hour), []string{"clocks of this machine and of the server differ", "Set this machine's clock"}},
		"a day ahead":       {s3test.Late(24 * time.Hour), []string{"clocks of this machine and of the server differ", "Set this machine's clock"}},
		"said by the code":  {s3test.Say(403, "RequestTimeTooSkewed"), []string{"clocks of this machine", "Set this machine's clock"}},
		"another region":    {s3test.Say(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>"), []string{"bucket is in another region", "eu-central-1", "Set AWS_REGION"}},
		"a redirect by AWS": {s3test.Say(301, "PermanentRedirect", "<Endpoint>x</Endpoint>"), []string{"bucket is in another region", "Set AWS_REGION"}},
	} {
		t.Run(name, func(t *testing.T) {
			p.Spoil(c.spoil)
			m.refused(11, c.words, m.mountArgs()...)
			m.refused(11, c.words, "init", "--passphrase-file", m.pass, "--recovery-file", m.at("new"), m.store+"/other")
			p.Spoil()
		})
	}
	// A clock that is set wrong while the drive is mounted loses nothing.
	d := m.mount()
	p.Spoil(s3test.Late(time.Hour))
	m.put("a")
	within(t, "status says what is wrong", 30*time.Second, func() bool {
		return strings.Contains(m.status()[0].Volume.Offline, "clocks of this machine and of the server differ")
	})
	p.Spoil()
	m.ok("wait", m.mnt)
	d = d.remount()
	d.m.has("a")
	d.umount()
}

// Keys that a profile has, with endpoint and region, are enough.
func TestEverythingInAProfile(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	m.keysInFile(server, server.Secret)
	m.settings = []string{"AWS_PROFILE=default"}
	must(t, os.WriteFile(filepath.Join(m.home, ".aws", "config"), []byte("[default]\nregion = "+s3test.Region+"\nendpoint_url = "+server.Endpoint+"\n"), 0o600))
	d := m.mount()
	m.put("a")
	d.umount()
	m.settings = []string{"AWS_PROFILE=none", "AWS_ENDPOINT_URL=" + server.Endpoint}
	m.refused(11, []string{"no credentials", "AWS_PROFILE"}, m.mountArgs()...)
}
