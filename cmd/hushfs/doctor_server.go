package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hushfs/hushfs/store/s3"
)

// server looks at the way to a bucket, one step after the other: the first that
// fails is the reason for all that would fail behind it.
func (e *examination) server(ctx context.Context) bool {
	o, err := e.at.options(e.app.env)
	if err != nil {
		e.refused("store-settings", err, "The bucket cannot be reached with them")
		return false
	}
	u := endpointURL(o)
	e.ok("store-settings", "%s, %s, bucket %s", e.serverText(o, u), orElse(o.Region, "region as the server says", "region "+o.Region), e.named(o.Bucket, "as given"))
	e.credentials()
	if u.Scheme == "http" && e.flags.s3.Insecure {
		e.warn("store-plain", "the connection is not encrypted", "Who listens on the way learns what the store learns, and may change answers", "Use https://")
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	switch {
	case err != nil:
		e.problem("store-proxy", "the proxy in the environment is no address", "Requests to the server go through it", "Check HTTPS_PROXY and HTTP_PROXY.")
		return false
	case proxy != nil:
		e.warn("store-proxy", "requests go through a proxy ("+e.named(proxy.Host, "HTTPS_PROXY or HTTP_PROXY in the environment")+")", "It must let all headers pass, Range and If-None-Match among them", "If it should not be asked: NO_PROXY="+e.named(u.Hostname(), "name-of-the-server"))
	default:
		e.ok("store-proxy", "no proxy is between here and the server, as far as the environment says")
		if !e.resolve(ctx, u.Hostname()) {
			return false
		}
	}
	return e.ask(ctx, o, u)
}

// endpointURL is where requests go.
func endpointURL(o s3.Options) *url.URL {
	at := o.Endpoint
	if at == "" {
		region := o.Region
		if region == "" {
			region = s3.DefaultRegion
		}
		at = "https://s3." + region + ".amazonaws.com"
	}
	u, err := url.Parse(at)
	if err != nil { // s3 has parsed it already
		return &url.URL{Scheme: "https", Host: "invalid"}
	}
	return u
}

// serverText is the server, by name only for those who want it.
func (e *examination) serverText(o s3.Options, u *url.URL) string {
	from := "the profile"
	switch {
	case e.flags.s3.Endpoint != "":
		from = "--s3-endpoint"
	case e.app.env("AWS_ENDPOINT_URL_S3") != "":
		from = "AWS_ENDPOINT_URL_S3"
	case e.app.env("AWS_ENDPOINT_URL") != "":
		from = "AWS_ENDPOINT_URL"
	}
	if o.Endpoint == "" {
		return "server: AWS"
	}
	what := "a server elsewhere"
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		what = "a server on this machine"
	} else if ip != nil && ip.IsPrivate() {
		what = "a server in a private network"
	}
	return fmt.Sprintf("server: %s by %s, from %s", e.named(u.Host, what), u.Scheme, from)
}

func orElse(s, empty, full string) string {
	if s == "" {
		return empty
	}
	return full
}

// credentials says where they are found, in the order in which they are looked
// for. Their values are not looked at.
func (e *examination) credentials() {
	env := e.app.env
	const check = "store-credentials"
	profile := e.flags.s3.Profile
	if profile == "" && env("AWS_ACCESS_KEY_ID") != "" {
		text := "keys from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
		if env("AWS_SESSION_TOKEN") != "" {
			text += ", with AWS_SESSION_TOKEN, which ends some day"
		}
		e.ok(check, "%s; a daemon keeps them as long as it runs", text)
		return
	}
	if profile == "" {
		profile = env("AWS_PROFILE")
	}
	which := "profile default"
	if profile != "" {
		which = "the profile that was chosen"
		if e.names {
			which = "profile " + profile
		}
	}
	var files []string
	for _, f := range []struct{ variable, name string }{{"AWS_SHARED_CREDENTIALS_FILE", "credentials"}, {"AWS_CONFIG_FILE", "config"}} {
		path := env(f.variable)
		switch {
		case path == "" && e.home == "":
			continue
		case path == "":
			path = filepath.Join(e.home, ".aws", f.name)
		case !filepath.IsAbs(path):
			path = filepath.Join(e.at.S3.Folder, path)
		}
		i, err := os.Stat(path)
		if err != nil {
			continue
		}
		files = append(files, path)
		if i.Mode().Perm()&0o044 != 0 {
			e.warn("store-credentials-file", path+" can be read by others", "The keys of the bucket lie in it", "chmod 600 "+shellQuote(path))
		}
	}
	switch {
	case len(files) > 0:
		e.ok(check, "keys are looked for in %s of %s", which, strings.Join(files, " and "))
	case env("AWS_WEB_IDENTITY_TOKEN_FILE") != "" || env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || env("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		e.ok(check, "keys are asked of the container's service of AWS")
	default:
		e.warn(check, "no keys are in the environment, and there is no file of profiles", "Only a machine of AWS has another source", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and its entry in ~/.aws/credentials.")
	}
}

// resolve looks for the server's address.
func (e *examination) resolve(ctx context.Context, host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		e.problem("store-dns", "the name of the server has no address: "+cause(err), "It cannot be reached without", "Check the endpoint for a typing error, the network, and /etc/resolv.conf.")
		return false
	}
	e.ok("store-dns", "the name of the server has an address (%d in all)", len(found))
	return true
}

// ask sends one request without credentials: whatever is answered shows the way,
// and what time the server thinks it is.
func (e *examination) ask(ctx context.Context, o s3.Options, u *url.URL) bool {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil || !roots.AppendCertsFromPEM(pem) {
			e.problem("store-authority", "the file of authorities to trust cannot be used", "The server's certificate is checked with it", "Check --s3-ca-file or AWS_CA_BUNDLE; it must be PEM.")
			return false
		}
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	c := &http.Client{Transport: t, Timeout: e.flags.timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, u.Scheme+"://"+u.Host+"/", nil)
	if err != nil {
		e.problem("store-connection", "the address of the server cannot be used", "", "Check the endpoint.")
		return false
	}
	began := time.Now()
	answer, err := c.Do(r)
	if err != nil {
		e.unreached(err)
		return false
	}
	answer.Body.Close()
	took := time.Since(began)
	e.ok("store-connection", "the server answers, in %s", took.Round(time.Millisecond))
	if answer.TLS != nil && len(answer.TLS.PeerCertificates) > 0 {
		e.certificate(answer.TLS)
	}
	e.skew(answer.Header.Get("Date"), began.Add(took/2))
	return true
}

// unreached says why a request got no answer.
func (e *examination) unreached(err error) {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	const why = "The server must prove who it is"
	switch {
	case errors.As(err, &unknown):
		e.problem("store-tls", "the server's certificate is of an authority that this machine does not know", why, "For an authority of its own: --s3-ca-file FILE, or AWS_CA_BUNDLE.")
	case errors.As(err, &host):
		e.problem("store-tls", "the server's certificate is for another host", why, "Check the endpoint; something may stand between here and the server.")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.problem("store-tls", "the server's certificate has ended or not begun yet", why, "Check this machine's clock; if it is right, the certificate must be renewed.")
	case errors.As(err, &invalid):
		e.problem("store-tls", "the server's certificate cannot be used", why, "Ask whoever runs the server.")
	case errors.Is(err, http.ErrSchemeMismatch):
		e.problem("store-tls", "the server does not speak TLS", why, "Check the endpoint: another port, or http:// with --insecure.")
	default:
		e.problem("store-connection", "the server cannot be reached: "+cause(err), "Nothing is mounted without the store", "Check network, endpoint and server; a firewall may be between.")
	}
}

// cause is an error of the network without the names and addresses in it.
func cause(err error) string {
	var name *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "no such name"
	case errors.As(err, &name) && name.IsTimeout:
		return "the name server does not answer"
	case errors.As(err, &name):
		return "the name server failed"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return "the connection broke off"
}

func (e *examination) certificate(s *tls.ConnectionState) {
	left := s.PeerCertificates[0].NotAfter.Sub(e.now)
	text := fmt.Sprintf("%s, certificate good for another %d days", tls.VersionName(s.Version), int(left.Hours()/24))
	if left < 7*24*time.Hour {
		e.warn("store-tls", text, "When it ends the server cannot be reached any more", "Have it renewed.")
		return
	}
	e.ok("store-tls", "%s", text)
}

// A server of S3 refuses requests that are older than mostSkew.
const (
	mostSkew = 15 * time.Minute
	someSkew = time.Minute
)

// skew compares this machine's clock with the server's.
func (e *examination) skew(date string, here time.Time) {
	there, err := http.ParseTime(date)
	if err != nil {
		e.ok("store-clock", "the server does not say what time it is")
		return
	}
	d := here.Sub(there).Round(time.Second)
	text := fmt.Sprintf("this machine's clock and the server's differ by %s", max(d, -d))
	switch {
	case max(d, -d) >= mostSkew:
		e.problem("store-clock", text, "The server refuses requests that far off", "Set this machine's clock: timedatectl set-ntp true")
	case max(d, -d) >= someSkew:
		e.warn("store-clock", text, "From 15 minutes on the server refuses requests", "Set this machine's clock: timedatectl set-ntp true")
	default:
		e.ok("store-clock", "this machine's clock and the server's agree")
	}
}
