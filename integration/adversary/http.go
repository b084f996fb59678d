package adversary

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hushfs/hushfs/store"
)

// ServeHTTP is the store as an S3 server, for programs: each machine has a bucket of its
// own name, in which it sees its face. Signatures are not looked at.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	f := s.Face(who)
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && q.Has("location"):
		io.WriteString(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	case r.Method == http.MethodGet && name == "":
		most, _ := strconv.Atoi(q.Get("max-keys"))
		after := q.Get("start-after")
		infos, err := f.List(r.Context(), q.Get("prefix"), after, most)
		if fail(w, err) {
			return
		}
		list(w, infos, most)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		off, length := int64(0), int64(-1)
		part := r.Header.Get("Range")
		if part != "" {
			off, length = ranged(part)
		}
		data, err := f.Get(r.Context(), name, off, length)
		if fail(w, err) {
			return
		}
		h := w.Header()
		h.Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
		h.Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
		h.Set("Content-Length", strconv.Itoa(len(data)))
		if part != "" {
			// A lie may be longer than what lies there; then that is its length.
			size := max(s.size(r.Context(), name), max(off, 0)+int64(len(data)))
			from := off
			if off < 0 {
				from = size - int64(len(data))
			}
			if len(data) == 0 {
				h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
				h.Del("Content-Length")
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				io.WriteString(w, "<Error><Code>InvalidRange</Code></Error>")
				return
			}
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+int64(len(data))-1, size))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(data)
	case r.Method == http.MethodPut:
		data, err := body(r)
		if err == nil {
			err = f.PutIfAbsent(r.Context(), name, data)
		}
		if fail(w, err) {
			return
		}
		w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
	case r.Method == http.MethodDelete:
		if !fail(w, f.Delete(r.Context(), name)) {
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		http.Error(w, "not here", http.StatusNotImplemented)
	}
}

// size is how long an object is that lies there, 0 when there is none.
func (s *Store) size(ctx context.Context, name string) int64 {
	s.mu.Lock()
	b := s.Truth
	s.mu.Unlock()
	data, err := b.Get(ctx, name, 0, -1)
	if err != nil {
		return 0
	}
	return int64(len(data))
}

// fail answers with an error, in the words of S3.
func fail(w http.ResponseWriter, err error) bool {
	status, code := http.StatusServiceUnavailable, "ServiceUnavailable"
	switch {
	case err == nil:
		return false
	case errors.Is(err, store.ErrNotExist):
		status, code = http.StatusNotFound, "NoSuchKey"
	case errors.Is(err, store.ErrExist):
		status, code = http.StatusPreconditionFailed, "PreconditionFailed"
	case errors.Is(err, store.ErrDenied):
		status, code = http.StatusForbidden, "AccessDenied"
	case errors.Is(err, store.ErrFull):
		status, code = http.StatusInsufficientStorage, "XMinioStorageFull"
	case errors.Is(err, store.ErrName), errors.Is(err, context.Canceled):
		status, code = http.StatusBadRequest, "InvalidRequest"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
	return true
}

// list writes a page of a listing.
func list(w io.Writer, infos []store.Info, most int) {
	type contents struct {
		Key          string
		Size         int64
		LastModified string
		ETag         string
	}
	page := struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		MaxKeys     int
		KeyCount    int
		Contents    []contents
	}{KeyCount: len(infos), MaxKeys: most, IsTruncated: false}
	for _, i := range infos {
		page.Contents = append(page.Contents, contents{i.Name, i.Size, "2026-01-01T00:00:00.000Z", `"d41d8cd98f00b204e9800998ecf8427e"`})
	}
	_ = xml.NewEncoder(w).Encode(page) // names that XML has no way to write end the answer
}

// ranged reads the header Range: bytes=from-to, bytes=from- or bytes=-last.
func ranged(text string) (off, length int64) {
	from, to, _ := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	a, aerr := strconv.ParseInt(from, 10, 64)
	b, berr := strconv.ParseInt(to, 10, 64)
	switch {
	case aerr != nil && berr == nil:
		return -b, -1
	case berr != nil:
		return a, -1
	}
	return a, b - a + 1
}

// body reads what is put, which a client may have cut into signed chunks.
func body(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	var out []byte
	for in := bufio.NewReader(r.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			_, _ = io.Copy(io.Discard, in)
			return out, nil
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		out = append(out, chunk[:n]...)
	}
}
