package s3

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/hushfs/hushfs/store"
)

const (
	maxErrorBody = 64 << 10 // bytes of an error's text that are looked at
	maxListing   = 16 << 20 // bytes of a page of 1000 names, with much room
)

// answers stands between minio-go and the network. It lets through what an S3
// server would say; in the place of the rest, and of an answer that did not
// come, there is a *failure. So a 404 that some proxy made up is no proof that
// an object is missing, and the page of a portal no empty listing.
type answers struct {
	next http.RoundTripper
}

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		lent := &lentBody{r: req.Body}
		defer lent.takeBack()
		copied := *req
		copied.Body = lent
		req = &copied
	}
	resp, err := a.next.RoundTrip(req)
	switch {
	case err != nil && req.Context().Err() != nil:
		return nil, req.Context().Err()
	case err != nil:
		return nil, classifyBroken(err)
	case resp.StatusCode >= 300:
		return checkError(resp)
	case req.Method == http.MethodGet && req.URL.Query().Has("list-type"):
		return checkListing(resp)
	case req.Method == http.MethodGet && req.URL.Query().Has("events"):
		return checkEvents(resp)
	}
	return resp, nil
}

// checkError lets a refusal through that is in the words of S3.
func checkError(resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	if err != nil {
		return nil, failed(store.ErrUnavailable, ErrTruncated, "%d", resp.StatusCode)
	}
	var said struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	inWords := xml.Unmarshal(body, &said) == nil && said.Code != ""
	switch s := resp.StatusCode; {
	case inWords:
	case len(body) == 0 && s == http.StatusPreconditionFailed: // says it all
	case s == http.StatusTooManyRequests:
		return nil, failed(store.ErrUnavailable, ErrBusy, "%d", s)
	case s == http.StatusProxyAuthRequired:
		return nil, failed(store.ErrUnavailable, ErrNotS3, "the proxy on the way wants a password")
	case s >= 500:
		return nil, failed(store.ErrUnavailable, ErrServer, "%d", s)
	case s == http.StatusBadRequest && bytes.Contains(body, []byte("HTTP request to an HTTPS server")):
		return nil, failed(store.ErrUnavailable, ErrTLS, "it wants https://")
	default:
		return nil, failed(store.ErrUnavailable, ErrNotS3, "%d", s)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// checkListing lets a page through that begins as one; the decoder would take
// any well-formed document for an empty one.
func checkListing(resp *http.Response) (*http.Response, error) {
	r := bufio.NewReader(io.LimitReader(resp.Body, maxListing))
	for { // servers send blanks while they are busy
		c, err := r.ReadByte()
		if err != nil {
			break
		}
		if c > ' ' {
			r.UnreadByte()
			break
		}
	}
	// An error is one of reading, and the decoder meets it again.
	if head, _ := r.Peek(512); !bytes.Contains(head, []byte("<ListBucketResult")) {
		resp.Body.Close()
		return nil, failed(store.ErrUnavailable, ErrNotS3, "%d", resp.StatusCode)
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{r, resp.Body}
	return resp, nil
}

// checkEvents lets a stream of events through, and tells whoever asked that it begins.
// A server that does not know the question may take it for that for a listing.
func checkEvents(resp *http.Response) (*http.Response, error) {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		resp.Body.Close()
		return nil, failed(store.ErrNoWatch, nil, "")
	}
	if ready, ok := resp.Request.Context().Value(readyKey{}).(func()); ok {
		ready()
	}
	return resp, nil
}

// lentBody is the body of a request for as long as the request lasts. The
// transport may go on reading after it has returned, and by then the caller
// may have put other bytes where the object's were.
type lentBody struct {
	mu sync.Mutex // guards r, also while it is being read from
	r  io.ReadCloser
}

var errTakenBack = errors.New("request is over")

func (b *lentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, errTakenBack
	}
	return b.r.Read(p)
}

func (b *lentBody) Close() error { return nil } // whoever lent it closes it

func (b *lentBody) takeBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r = nil
}
