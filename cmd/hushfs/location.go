package main

import (
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/hushfs/hushfs/store/s3"
)

// location is where a drive lies and how to get there. No secret is in it: the
// keys of a bucket are in the environment or in files, where every process of
// ours finds them for itself.
type location struct {
	Store string  `json:"store"` // absolute path of a directory, or s3://bucket/prefix
	S3    s3Flags `json:"s3"`

	Patience time.Duration `json:"patience,omitempty"` // of a program that waits for the store; 0: volume.DefaultPatience
}

const s3Scheme = "s3://"

// remote reports whether the drive lies in a bucket.
func (l location) remote() bool { return strings.HasPrefix(l.Store, s3Scheme) }

// locate reads STORE of the command line together with its flags. It looks
// neither at the disk nor at the network.
func locate(arg string, f s3Flags) (location, error) {
	store, err := parseStore(arg)
	if err != nil {
		return location{}, err
	}
	l := location{Store: store, S3: f}
	if !l.remote() {
		if f != (s3Flags{}) {
			return location{}, usage("--insecure and the flags that begin with --s3- are for a STORE that begins with s3://")
		}
		return l, nil
	}
	return l, l.S3.complete()
}

// parseStore turns STORE of the command line into the absolute path of a
// directory, or into s3://bucket/prefix without a '/' at its end.
func parseStore(arg string) (string, error) {
	const choices = "Give a directory, file:///directory, or s3://bucket/prefix."
	scheme, _, found := strings.Cut(arg, "://")
	switch {
	case arg == "":
		return "", usage("STORE is empty")
	case !found:
		path, err := filepath.Abs(arg)
		if err != nil {
			return "", err
		}
		return path, nil
	case scheme == "file":
		u, err := url.Parse(arg)
		if err != nil || u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
			return "", &problem{code: codeUsage, what: "STORE is no usable file URL",
				next: "Write file:///directory (three slashes, special characters as %XX), or the directory itself."}
		}
		return filepath.Clean(u.Path), nil
	case scheme == "s3":
		l, err := s3.ParseLocation(arg)
		if err != nil {
			return "", &problem{code: codeUsage, what: "STORE", why: err,
				next: "Write s3://bucket/prefix; the server's address goes to --s3-endpoint or AWS_ENDPOINT_URL."}
		}
		return l.String(), nil
	case scheme == "http" || scheme == "https":
		return "", &problem{code: codeUsage, what: "STORE is the address of a server",
			next: "Write s3://bucket/prefix, and give the address with --s3-endpoint or AWS_ENDPOINT_URL."}
	}
	return "", &problem{code: codeUsage, what: "STORE has an unknown scheme " + scheme + "://", next: choices}
}
