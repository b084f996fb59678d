// Package s3 is a store in a bucket that speaks the S3 protocol: MinIO, AWS,
// and the many others.
//
// An object is one key, its prefix the drive's place in the bucket. It is made
// by a single PUT with "If-None-Match: *", which the server answers with 412
// when the key is taken: so one racer wins, if the server keeps that promise,
// which package probe finds out. Uploads in parts are never used: the
// condition gets lost on their way (the request that completes one does not
// carry it). Nothing is tried twice in here, since a second try of a PUT whose
// answer was lost is refused by the object of the first: package retry knows
// what may be repeated, the uploader what an unclear answer means. One thing
// is: what a server refused for its credentials, which does nothing, is asked
// again when their source has others by now.
//
// What comes back is not believed. A range that was not asked for, a body that
// ends early, a page of a proxy in place of an answer, a listing out of order:
// each is store.ErrUnavailable, never a part of the truth. An object is
// reported as missing only when an S3 server says so in its own words.
//
// Errors carry no address, bucket, prefix or credential, and nothing that a
// server wrote but the code of its answer. Each says what is wrong and what to
// do next; see errors.go.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
)

var _ store.Bucket = (*Bucket)(nil)

// Style says where a request names the bucket.
type Style uint8

// The styles.
const (
	StyleAuto Style = iota // in the host for AWS and its kin, else in the path
	StylePath              // https://host/bucket/key
	StyleHost              // https://bucket.host/key
)

const (
	// DefaultRegion is what servers that know no regions go by.
	DefaultRegion = "us-east-1"

	// DefaultStall is how long a connection may be silent.
	DefaultStall = 20 * time.Second

	awsEndpoint = "https://s3.amazonaws.com" // minio-go puts the region's in its place
)

// Options of a bucket. Bucket and Credentials are required.
type Options struct {
	Bucket      string
	Prefix      string        // of all keys, without '/' at either end; empty: the whole bucket
	Endpoint    string        // https://host[:port]; empty: AWS
	Region      string        // empty: the one that the server names, or DefaultRegion
	Style       Style         // where requests name the bucket
	CAFile      string        // PEM file with authorities to trust beside the system's
	Insecure    bool          // allow http:// to other hosts than this one; bodies are then signed, and readable by all on the way
	Credentials *Credentials  // who asks
	Stall       time.Duration // a connection that moves no byte for so long, in or out, has failed; 0: DefaultStall

	assumed bool // Region is what a profile has for whatever server, and the server knows better
}

// A Bucket is a place in a bucket. Use Open, and Close when done.
type Bucket struct {
	core        minio.Core
	transport   *http.Transport
	credentials *Credentials
	bucket      string
	prefix      string // empty, or ends in '/'
	region      string
	secure      bool
	whole       atomic.Bool // see WholeForParts
}

// Open connects to the bucket and lists one object, to find out whether all of
// o is right. It makes nothing, in particular no bucket.
//
// The error is ErrOptions, or one of package store's together with its cause,
// an error of this package; Advice tells what to do about it. When ctx ends
// first, it is the context's.
func Open(ctx context.Context, o Options) (*Bucket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := open(o)
	if err != nil {
		return nil, err
	}
	err = b.try(ctx)
	// Asked in the wrong region, servers name the right one.
	var f *failure
	if errors.As(err, &f) && f.cause == ErrRegion && (o.Region == "" || o.assumed) && f.region != "" && f.region != b.region {
		b.Close()
		o.Region = f.region
		if b, err = open(o); err != nil {
			return nil, err
		}
		err = b.try(ctx)
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	return b, nil
}

// try lists one object.
func (b *Bucket) try(ctx context.Context) error {
	return b.renewing(ctx, func() error {
		_, err := b.list(ctx, "", "", 1)
		return err
	})
}

// open prepares the client and sends nothing.
func open(o Options) (*Bucket, error) {
	u, err := o.check()
	if err != nil {
		return nil, err
	}
	t, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	region := o.Region
	if region == "" {
		region = DefaultRegion
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds:        o.Credentials.chain,
		Secure:       u.Scheme == "https",
		Transport:    answers{t},
		Region:       region,
		BucketLookup: o.Style.lookup(),
		MaxRetries:   1,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the endpoint is no host of a server", ErrOptions)
	}
	b := &Bucket{core: *core, transport: t, credentials: o.Credentials,
		bucket: o.Bucket, region: region, secure: u.Scheme == "https"}
	if o.Prefix != "" {
		b.prefix = o.Prefix + "/"
	}
	return b, nil
}

// Close drops the connections that are not in use.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// Region returns the region that requests are signed for.
func (b *Bucket) Region() string { return b.region }

// WholeForParts tells whether the server, or a proxy on the way, has answered a
// request for a part with the whole object. What Get returns is right all the
// same, and each read costs as much as the object is long.
func (b *Bucket) WholeForParts() bool { return b.whole.Load() }

func (s Style) lookup() minio.BucketLookupType {
	switch s {
	case StylePath:
		return minio.BucketLookupPath
	case StyleHost:
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// check returns the endpoint, or what is wrong with the options.
func (o Options) check() (*url.URL, error) {
	switch {
	case checkBucket(o.Bucket) != nil:
		return nil, fmt.Errorf("%w: %w", ErrOptions, checkBucket(o.Bucket))
	case checkPrefix(o.Prefix) != nil:
		return nil, fmt.Errorf("%w: %w", ErrOptions, checkPrefix(o.Prefix))
	case o.Credentials == nil:
		return nil, fmt.Errorf("%w: credentials are missing", ErrOptions)
	case o.Style > StyleHost:
		return nil, fmt.Errorf("%w: the style is unknown", ErrOptions)
	case o.Stall < 0:
		return nil, fmt.Errorf("%w: the stall time is negative", ErrOptions)
	}
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = awsEndpoint
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("%w: the endpoint must be https://host or https://host:port", ErrOptions)
	case u.User != nil:
		return nil, fmt.Errorf("%w: the endpoint must hold no user and no password", ErrOptions)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: the endpoint must end after its host; the bucket belongs in s3://bucket/prefix", ErrOptions)
	case u.Scheme == "http" && !o.Insecure && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%w: the endpoint is not encrypted; use https://, or allow it as insecure", ErrOptions)
	}
	return u, nil
}
