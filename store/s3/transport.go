package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// parallel is how many requests a mount has under way at most; so many
// connections are kept for the next, and a few for those who ask beside.
const parallel = 16

// newTransport returns connections of its own, with HTTP/1.1 on them: each
// holds one request at a time, so what races, races on several.
func newTransport(o Options) (*http.Transport, error) {
	roots, err := trusted(o.CAFile)
	if err != nil {
		return nil, err
	}
	stall := o.Stall
	if stall == 0 {
		stall = DefaultStall
	}
	dialer := &net.Dialer{Timeout: min(stall, 10*time.Second), KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watched{Conn: c, stall: stall}, nil
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: min(stall, 10*time.Second),
		MaxIdleConns:        2 * parallel,
		MaxIdleConnsPerHost: 2 * parallel,
		IdleConnTimeout:     stall,
		DisableCompression:  true, // bodies are sealed, and a length must be that of the object
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}, nil
}

// trusted returns the system's authorities and those in the file, or nil,
// which means the system's, without a file.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: the CA file cannot be read", ErrOptions)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without any
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: the CA file holds no certificate in PEM", ErrOptions)
	}
	return pool, nil
}

// watched is a connection that fails when nothing moves on it for a while: a
// server that was stopped, a network that went away without a word. An upload
// may take any time as long as it goes on.
type watched struct {
	net.Conn
	stall time.Duration

	deaf bool // the other end takes no more; used by one writer at a time
}

func (c *watched) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write gives the answer its time too: the transport began to wait for it,
// with an older deadline, before there was a request.
//
// A server may answer early, that the name is taken for instance, and hang up
// on the rest of the body. The transport would take the failing write for the
// end, with the answer waiting to be read. So the writing goes on to nowhere,
// and the reader meets the answer, or the failure.
func (c *watched) Write(p []byte) (int, error) {
	// In pieces, or the first byte and the last would share one deadline.
	const piece = 64 << 10
	for n := 0; n < len(p) && !c.deaf; {
		if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[n:min(n+piece, len(p))])
		n += m
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			c.deaf = true
		} else if err != nil {
			return n, err
		}
	}
	return len(p), nil
}
