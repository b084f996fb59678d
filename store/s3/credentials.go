package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/hushfs/hushfs/store"
)

// Credentials are where access key and secret come from: a value, a file that
// may change, or a service that gives out short-lived ones. They are asked for
// when they are needed, not before, and cannot be printed.
type Credentials struct {
	chain *credentials.Credentials
}

// NewCredentials returns credentials that never change. Token may be empty.
func NewCredentials(accessKey, secret, token string) *Credentials {
	return &Credentials{credentials.NewStaticV4(accessKey, secret, token)}
}

// ProfileCredentials returns those of a profile in files as AWS has them: the
// first that has the profile and keys in it is used. The files are read again
// when they change. A profile may also name a program that prints credentials
// (credential_process), which is then run.
func ProfileCredentials(profile string, files ...string) *Credentials {
	return &Credentials{credentials.New(&sources{credentials.Chain{
		Providers: []credentials.Provider{newProfileSource(profile, files)}}})}
}

// Format keeps secrets out of every verb.
func (c *Credentials) Format(s fmt.State, _ rune) { fmt.Fprint(s, "credentials") }

// LogValue implements slog.LogValuer.
func (c *Credentials) LogValue() slog.Value { return slog.StringValue("credentials") }

// MarshalText implements encoding.TextMarshaler.
func (c *Credentials) MarshalText() ([]byte, error) { return []byte("credentials"), nil }

// sources is minio-go's chain with an end: where none has credentials, the
// chain would go on without, and the server complain about something else.
type sources struct {
	credentials.Chain
}

func (s *sources) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := s.Chain.RetrieveWithCredContext(cc)
	if err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return credentials.Value{}, failed(store.ErrDenied, ErrNoCredentials, "")
	}
	return v, nil
}

func (s *sources) Retrieve() (credentials.Value, error) { return s.RetrieveWithCredContext(nil) }

// A profileSource is a credentials.Provider that reads a profile again when
// its files have changed. While they cannot be read, as when another program
// is writing them, the last credentials go on being used.
//
// It is guarded by the lock of the credentials.Credentials that it is in.
type profileSource struct {
	profile string
	files   []string
	seen    []fingerprint // of files, before they were read
	from    credentials.Provider
	value   credentials.Value
}

func newProfileSource(profile string, files []string) *profileSource {
	return &profileSource{profile: profile, files: files}
}

// A fingerprint changes when somebody writes a file or puts another in its place.
type fingerprint struct {
	info     os.FileInfo
	size     int64
	modified time.Time
}

func (f fingerprint) same(g fingerprint) bool {
	if f.info == nil || g.info == nil {
		return f.info == nil && g.info == nil
	}
	return os.SameFile(f.info, g.info) && f.size == g.size && f.modified.Equal(g.modified)
}

func (s *profileSource) fingerprints() []fingerprint {
	prints := make([]fingerprint, len(s.files))
	for i, file := range s.files {
		if info, err := os.Stat(file); err == nil {
			prints[i] = fingerprint{info, info.Size(), info.ModTime()}
		}
	}
	return prints
}

func (s *profileSource) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	s.seen = s.fingerprints()
	for _, file := range s.files {
		p := &credentials.FileAWSCredentials{Filename: file, Profile: s.profile}
		v, err := p.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			s.from, s.value = p, v
			break
		}
	}
	if s.from == nil {
		return credentials.Value{}, failed(store.ErrDenied, ErrNoCredentials, "no such profile")
	}
	return s.value, nil
}

func (s *profileSource) Retrieve() (credentials.Value, error) { return s.RetrieveWithCredContext(nil) }

func (s *profileSource) IsExpired() bool {
	if s.from == nil || s.from.IsExpired() {
		return true
	}
	for i, now := range s.fingerprints() {
		if !now.same(s.seen[i]) {
			return true
		}
	}
	return false
}

// instanceSource asks the service of the machine or container that hushfs runs
// in, as minio-go finds it from the environment; endpoint is where that of a
// machine is, empty for where it always is.
func instanceSource(endpoint string) credentials.Provider {
	return &credentials.IAM{Client: &http.Client{Timeout: 3 * time.Second}, Endpoint: endpoint}
}

// renewing does something, and again when it was refused for its credentials
// and their source has others by now: a file that was written, a service that
// hands out new ones. A server that refuses so has done nothing.
func (b *Bucket) renewing(ctx context.Context, do func() error) error {
	before, err := b.who()
	if err != nil {
		return err
	}
	err = do()
	if !errors.Is(err, ErrCredentials) && !errors.Is(err, ErrExpired) || ctx.Err() != nil {
		return err
	}
	b.credentials.chain.Expire()
	if after, werr := b.who(); werr != nil || after == before {
		return err
	}
	return do()
}

// who returns the credentials that the next request is signed with, without
// the time at which they end.
func (b *Bucket) who() (credentials.Value, error) {
	v, err := b.credentials.chain.GetWithContext(b.core.Client.CredContext())
	if err != nil {
		return v, classify(err)
	}
	v.Expiration = time.Time{}
	return v, nil
}
