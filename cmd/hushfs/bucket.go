package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/spf13/pflag"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/retry"
	"github.com/hushfs/hushfs/store/s3"
)

// s3Flags say how to reach a bucket. What is empty is taken from the
// environment, as other programs for S3 do it. There is no flag for a secret.
type s3Flags struct {
	Endpoint string    `json:"endpoint,omitempty"`
	Region   string    `json:"region,omitempty"`
	Profile  string    `json:"profile,omitempty"`
	CAFile   string    `json:"ca_file,omitempty"`
	Style    styleFlag `json:"style,omitempty"`
	Insecure bool      `json:"insecure,omitempty"`

	// Folder is the one that relative names in the environment begin at: the
	// daemon in the background works in another than its user.
	Folder string `json:"folder,omitempty"`
}

func (f *s3Flags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.Endpoint, "s3-endpoint", "", "the S3 server, as `URL` (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS)")
	flags.StringVar(&f.Region, "s3-region", "", "`REGION` of the bucket (default: AWS_REGION, AWS_DEFAULT_REGION, else what the server says)")
	flags.StringVar(&f.Profile, "s3-profile", "", "take the credentials of `PROFILE` in ~/.aws/credentials or ~/.aws/config (default: AWS_PROFILE)")
	flags.StringVar(&f.CAFile, "s3-ca-file", "", "trust the authorities in `FILE` (PEM) as well (default: AWS_CA_BUNDLE)")
	flags.Var(&f.Style, "s3-style", "where requests name the bucket, as `STYLE`: host, path or auto")
	flags.BoolVar(&f.Insecure, "insecure", false, "allow http:// to other machines: who listens learns what a store learns")
}

// complete makes the paths independent of the folder that a process is in.
func (f *s3Flags) complete() error {
	var err error
	if f.Folder, err = os.Getwd(); err != nil {
		return err
	}
	if f.CAFile != "" {
		f.CAFile, err = filepath.Abs(f.CAFile)
	}
	return err
}

// options of the bucket, from flags and environment.
func (l location) options(env func(string) string) (s3.Options, error) {
	f := l.S3
	return s3.FromEnvironment(l.Store, s3.Flags{
		Endpoint: f.Endpoint, Region: f.Region, Profile: f.Profile, CAFile: f.CAFile,
		Style: s3.Style(f.Style), Insecure: f.Insecure,
	}, func(name string) string {
		v := env(name)
		switch name {
		case "AWS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE":
			if v != "" && !filepath.IsAbs(v) {
				v = filepath.Join(f.Folder, v)
			}
		}
		return v
	})
}

// bucket is a place at an S3 server. Calls are repeated as far as they may be;
// plain is the same place without that.
type bucket struct {
	*retry.Bucket
	plain    *s3.Bucket
	endpoint string // as people read it
	name     string
	place    string // see place
}

// openBucket opens the bucket and asks it for one listing, which finds out
// whether all settings are right. A nil log discards.
func openBucket(ctx context.Context, l location, env func(string) string, readOnly bool, log *slog.Logger) (*bucket, error) {
	o, err := l.options(env)
	if err != nil {
		return nil, explain("the settings for STORE", err)
	}
	b, err := openPatiently(ctx, o, l.Patience)
	if err != nil {
		return nil, storeProblem(l.Store, readOnly, err)
	}
	var inner store.Bucket = b
	if readOnly {
		inner = unwritable{b}
	}
	return &bucket{
		Bucket: retry.Wrap(inner, retry.Options{Once: isSlot, Reading: l.Patience, Log: log}),
		plain:  b, endpoint: endpointText(o), name: o.Bucket, place: place(o),
	}, nil
}

// openPatiently is s3.Open, asked again for as long as a reading call is while the server
// answers that it cannot now. One that cannot be reached is no reason to wait: the network
// of this machine may be off, or the endpoint wrong.
func openPatiently(ctx context.Context, o s3.Options, patience time.Duration) (*s3.Bucket, error) {
	if patience <= 0 {
		patience = retry.DefaultReading
	}
	b, err := backoff.Retry(ctx, func() (*s3.Bucket, error) {
		b, err := s3.Open(ctx, o)
		if err != nil && !errors.Is(err, s3.ErrBusy) && !errors.Is(err, s3.ErrServer) && !errors.Is(err, s3.ErrConflict) {
			err = backoff.Permanent(err)
		}
		return b, err
	}, backoff.WithMaxElapsedTime(patience))
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return b, err
}

// Close closes the bucket.
func (b *bucket) Close() error { return b.plain.Close() }

func endpointText(o s3.Options) string {
	if o.Endpoint == "" {
		return "AWS"
	}
	return strings.TrimSuffix(o.Endpoint, "/")
}

// isSlot finds the names that machines race for, v0/s/<volume>/l/<slot>: a put
// whose answer was lost is not repeated here, since only the volume can tell
// whose object is there.
func isSlot(name string) bool {
	part := strings.Split(name, "/")
	return len(part) > 3 && part[1] == "s" && part[3] == "l"
}

// unwritable is a bucket for a mount that changes nothing.
type unwritable struct{ store.Bucket }

func (unwritable) PutIfAbsent(_ context.Context, name string, _ []byte) error {
	return fmt.Errorf("put %s: %w: mounted read-only", name, store.ErrDenied)
}

func (unwritable) Delete(_ context.Context, name string) error {
	return fmt.Errorf("delete %s: %w: mounted read-only", name, store.ErrDenied)
}

func (u unwritable) Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	return store.Watch(ctx, u.Bucket, prefix, ready, told)
}

// styleFlag is an s3.Style on the command line.
type styleFlag s3.Style

var styles = map[string]s3.Style{"auto": s3.StyleAuto, "path": s3.StylePath, "host": s3.StyleHost}

func (s *styleFlag) String() string {
	for name, style := range styles {
		if style == s3.Style(*s) {
			return name
		}
	}
	return ""
}

func (s *styleFlag) Type() string { return "style" }

func (s *styleFlag) Set(text string) error {
	style, ok := styles[text]
	if !ok {
		return fmt.Errorf("%q is none of auto, host, path", text)
	}
	*s = styleFlag(style)
	return nil
}
