package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// What is between here and the server: TLS that cannot be trusted, or is none.
func TestTLSThatIsWrong(t *testing.T) {
	t.Parallel()
	server := s3test.StartTLS(t, s3test.MinIO)
	plain := server.Proxy(t) // which cannot speak TLS to it, and need not
	m := driveAt(t, server)
	for _, c := range []struct {
		name     string
		settings []string
		words    []string
	}{
		{"an authority that nobody knows", []string{"AWS_CA_BUNDLE="}, []string{"no trusted connection", "authority unknown here", "CA file"}},
		{"a certificate for another host", []string{"AWS_ENDPOINT_URL=" + strings.Replace(server.Endpoint, "127.0.0.1", "localhost", 1)}, []string{"no trusted connection", "certificate is for another host", "Check the endpoint"}},
		{"http to a port with TLS", []string{"AWS_ENDPOINT_URL=http" + strings.TrimPrefix(server.Endpoint, "https")}, []string{"no trusted connection", "it wants https://"}},
		{"https to a port without", []string{"AWS_ENDPOINT_URL=https" + strings.TrimPrefix(plain.Endpoint, "http")}, []string{"no trusted connection", "does not speak TLS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := m.runWith(c.settings, m.mountArgs()...)
			checkRefusal(t, r, 11, c.words)
			r = m.runWith(c.settings, "init", "--passphrase-file", m.pass, "--recovery-file", m.at("new"), m.store+"/other")
			checkRefusal(t, r, 11, c.words)
			if mounted(m.mnt) {
				t.Error("it is mounted")
			}
		})
	}
	d := m.mount()
	m.put("a")
	d.umount()
}

// A proxy that takes headers off, or answers by itself: the server notices what
// was signed and is gone, and what no S3 server says is not believed.
func TestProxiesInTheWay(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	p := server.Proxy(t)
	m := driveAt(t, server).through(p)
	d := m.mount()
	m.put("a")
	d.umount()
	before := len(m.inBucket(server))
	page := s3test.Answer(func(a *http.Response) {
		a.StatusCode = http.StatusOK
		a.Header.Del("Content-Length")
		a.Body = http.NoBody
	})
	for _, c := range []struct {
		name        string
		spoil       s3test.Spoiler
		init, mount []string
	}{
		{"takes the condition off", s3test.WithoutHeader("If-None-Match"), []string{"headers were lost on the way", "pass all headers"}, nil},
		{"takes ranges off", s3test.WithoutHeader("Range"), []string{"headers were lost on the way", "pass all headers"}, []string{"headers were lost on the way", "pass all headers"}},
		{"takes dates off", s3test.Answer(func(a *http.Response) { a.Header.Del("Last-Modified") }), []string{"headers were lost on the way"}, []string{"headers were lost on the way"}},
		{"answers nothing but good", page, []string{"does not come from an S3 server", "login page"}, []string{"does not come from an S3 server"}},
		{"has a login page", s3test.Answer(func(a *http.Response) { a.StatusCode = 302; a.Header.Set("Location", "http://192.0.2.1/login") }),
			[]string{"does not come from an S3 server", "login page"}, []string{"does not come from an S3 server"}},
		{"cuts answers off", s3test.Body(s3test.Half), []string{"cannot be reached (connection broken off)"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.Spoil(c.spoil)
			m.refused(11, c.init, "init", "--passphrase-file", m.pass, "--recovery-file", m.at("new"), m.store+"-other")
			if c.mount != nil {
				m.refused(11, c.mount, m.mountArgs()...)
			}
			p.Spoil()
		})
	}
	if after := len(m.inBucket(server)); after != before {
		t.Errorf("%d objects, there were %d", after, before)
	}
	d = m.mount()
	m.has("a")
	d.umount()
}

// A gateway that signs anew and drops ranges is no danger, and slow; status says
// so.
func TestGatewayWithoutRanges(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	g := server.Gateway(t, s3test.WithoutHeader("Range"))
	m := machineAt(t, server).through(g)
	if r := m.run(m.initArgs()...); r.code != 0 || !strings.Contains(r.stderr, "warning: the server, or a proxy in front of it, sends whole objects where parts were asked for") {
		t.Fatalf("%+v", r)
	}
	d := m.mount()
	fill(t, m)
	d.umount()
	n := m.another()
	e := n.mount()
	checkFilled(t, n)
	warned := false
	for _, w := range n.status()[0].Volume.Warnings {
		warned = warned || strings.Contains(w, "sends whole objects where parts were asked for")
	}
	if !warned {
		t.Errorf("status: %+v", n.status()[0].Volume.Warnings)
	}
	e.umount()
}
