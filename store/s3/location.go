package s3

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// MaxPrefix is the longest prefix, in bytes: with '/' and the longest name it
// fits into the 1024 bytes that a key may have.
const MaxPrefix = 480

// A Location is a place in a bucket.
type Location struct {
	Bucket string
	Prefix string // without '/' at either end; empty: the whole bucket
}

// ParseLocation reads s3://bucket or s3://bucket/prefix, with one '/' allowed
// at the end. Nothing in it is escaped: the prefix means the bytes that are
// written, and they are such as need no escaping. The error wraps ErrLocation.
func ParseLocation(s string) (Location, error) {
	rest, ok := strings.CutPrefix(s, "s3://")
	if !ok {
		return Location{}, fmt.Errorf("%w: it does not begin with s3://", ErrLocation)
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.TrimSuffix(prefix, "/")
	l := Location{Bucket: bucket, Prefix: prefix}
	if err := checkBucket(bucket); err != nil {
		return Location{}, fmt.Errorf("%w: %w", ErrLocation, err)
	}
	if err := checkPrefix(prefix); err != nil {
		return Location{}, fmt.Errorf("%w: %w", ErrLocation, err)
	}
	return l, nil
}

// String returns the location as ParseLocation reads it.
func (l Location) String() string {
	if l.Prefix == "" {
		return "s3://" + l.Bucket
	}
	return "s3://" + l.Bucket + "/" + l.Prefix
}

func checkBucket(name string) error {
	switch {
	case name == "":
		return errors.New("the bucket's name is empty")
	case strings.ContainsAny(name, "@:?#%"):
		return errors.New("only the bucket's name belongs between s3:// and the next '/': no user, port or query")
	case s3utils.CheckValidBucketNameStrict(name) != nil:
		return errors.New("a bucket's name has 3 to 63 small letters, digits, '-' and '.'")
	}
	return nil
}

// checkPrefix allows the bytes that AWS calls safe in every key, in segments
// that no server and no proxy cleans away.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > MaxPrefix {
		return fmt.Errorf("the prefix is longer than %d bytes", MaxPrefix)
	}
	for i := range len(prefix) {
		c := prefix[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("/!-_.*'()", c) >= 0:
		default:
			return fmt.Errorf("byte %d of the prefix is none of: letters without accents, digits, / ! - _ . * ' ( )", i)
		}
	}
	for s := range strings.SplitSeq(prefix, "/") {
		switch {
		case s == "":
			return errors.New("the prefix has an empty segment: a '/' too many")
		case s == "." || s == "..":
			return errors.New("the prefix has a segment '.' or '..'")
		case len(s) > 255:
			return errors.New("the prefix has a segment of more than 255 bytes")
		}
	}
	return nil
}

// isLoopback tells whether what is sent to host stays on this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
