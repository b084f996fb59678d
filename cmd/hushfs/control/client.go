package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ErrNoDaemon: nobody answers at the socket.
var ErrNoDaemon = errors.New("no daemon answers")

// Client asks the daemon behind one socket. Close it to let go of connections.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client for the socket at path; nothing is sent yet.
func NewClient(path string) *Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dial(ctx, path)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNoDaemon, err)
			}
			if err := checkServer(c); err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		},
		MaxIdleConns: 2,
	}
	return &Client{path: path, http: &http.Client{Transport: t}}
}

// Path is the socket's.
func (c *Client) Path() string { return c.path }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks for everything there is to know.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Wait returns when everything written so far is in the store, or with a
// Problem when timeout is over; 0 waits as long as it takes.
func (c *Client) Wait(ctx context.Context, timeout time.Duration) (Status, error) {
	return c.wait(ctx, url.Values{}, timeout)
}

// WaitFile is Wait for what was written to one file alone, which stat(2) gives that
// inode number, and for what this machine did before that.
func (c *Client) WaitFile(ctx context.Context, inode uint64, timeout time.Duration) (Status, error) {
	return c.wait(ctx, url.Values{"inode": {strconv.FormatUint(inode, 10)}}, timeout)
}

func (c *Client) wait(ctx context.Context, q url.Values, timeout time.Duration) (Status, error) {
	if timeout > 0 {
		q.Set("timeout", timeout.String())
	}
	var s Status
	err := c.do(ctx, http.MethodPost, "/wait", q, &s)
	return s, err
}

// Sync fetches and sends now. Where timeout is 0 it fails when the store is away or does
// not take what is sent, else it waits for it until the time is over.
func (c *Client) Sync(ctx context.Context, timeout time.Duration) (Synced, error) {
	q := url.Values{}
	if timeout > 0 {
		q.Set("timeout", timeout.String())
	}
	var s Synced
	err := c.do(ctx, http.MethodPost, "/sync", q, &s)
	return s, err
}

// Unmount takes the kernel's mount away. The daemon goes on to drain.
func (c *Client) Unmount(ctx context.Context, lazy bool) (Status, error) {
	q := url.Values{}
	if lazy {
		q.Set("lazy", "1")
	}
	var s Status
	err := c.do(ctx, http.MethodPost, "/unmount", q, &s)
	return s, err
}

// Shutdown unmounts if need be and returns when the daemon has drained. A ctx
// that ends before leaves the daemon draining.
func (c *Client) Shutdown(ctx context.Context, how How) (Result, error) {
	q := url.Values{}
	if how.Lazy {
		q.Set("lazy", "1")
	}
	if how.Now {
		q.Set("now", "1")
	}
	var r Result
	err := c.do(ctx, http.MethodPost, "/shutdown", q, &r)
	return r, err
}

// do sends one request and decodes the answer into v. Errors are ErrNoDaemon
// (also when the daemon died before it answered), ctx's, or a *Problem.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, v any) error {
	u := url.URL{Scheme: "http", Host: "hushfs", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrNoDaemon) || errors.Is(err, ErrPeer) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrNoDaemon, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", ErrNoDaemon, err)
	}
	if res.StatusCode == http.StatusOK {
		return json.Unmarshal(body, v)
	}
	var f failure
	if err := json.Unmarshal(body, &f); err != nil || f.Error == nil {
		return fmt.Errorf("the daemon answered %s", res.Status)
	}
	return f.Error
}
