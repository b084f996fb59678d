package s3

import (
	"fmt"
	"path/filepath"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Flags are what a command line may say beside the location. What is empty is
// taken from the environment. There is no flag for a secret: others on the
// machine can read a command line.
type Flags struct {
	Endpoint string // else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; else AWS itself
	Region   string // else AWS_REGION, AWS_DEFAULT_REGION; else what the server says
	Profile  string // else AWS_PROFILE; else "default"
	CAFile   string // else AWS_CA_BUNDLE
	Style    Style
	Insecure bool
}

// FromEnvironment returns the options for a location, as ParseLocation reads
// it, in the way that programs for AWS are told theirs. Getenv is os.Getenv.
// Nothing is read but the environment, and nothing is sent.
//
// Credentials are, in this order: of the profile in f; AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; of the profile in AWS_PROFILE or
// "default", in AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) or
// AWS_CONFIG_FILE (~/.aws/config); of the machine or container, if it is one of
// AWS. Where none has any, the first request fails with ErrNoCredentials.
func FromEnvironment(location string, f Flags, getenv func(string) string) (Options, error) {
	l, err := ParseLocation(location)
	if err != nil {
		return Options{}, err
	}
	first := func(value string, names ...string) string {
		for _, n := range names {
			if value == "" {
				value = getenv(n)
			}
		}
		return value
	}
	o := Options{
		Bucket:   l.Bucket,
		Prefix:   l.Prefix,
		Endpoint: first(f.Endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
		Region:   first(f.Region, "AWS_REGION", "AWS_DEFAULT_REGION"),
		CAFile:   first(f.CAFile, "AWS_CA_BUNDLE"),
		Style:    f.Style,
		Insecure: f.Insecure,
	}
	id, secret := getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY")
	switch {
	case f.Profile != "" || id == "" && secret == "":
		o.Credentials = found(f.Profile, o.Endpoint, getenv)
	case id == "":
		return Options{}, fmt.Errorf("%w: AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not", ErrOptions)
	case secret == "":
		return Options{}, fmt.Errorf("%w: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not", ErrOptions)
	default:
		o.Credentials = NewCredentials(id, secret, getenv("AWS_SESSION_TOKEN"))
	}
	if _, err := o.check(); err != nil {
		return Options{}, err
	}
	return o, nil
}

// found returns the credentials that lie about on the machine.
func found(profile, endpoint string, getenv func(string) string) *Credentials {
	named := profile != "" || getenv("AWS_PROFILE") != ""
	if profile == "" {
		profile = getenv("AWS_PROFILE")
	}
	if profile == "" {
		profile = "default"
	}
	var files []string
	for _, f := range []struct{ variable, name string }{
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials"},
		{"AWS_CONFIG_FILE", "config"},
	} {
		if path := getenv(f.variable); path != "" {
			files = append(files, path)
		} else if home := getenv("HOME"); home != "" {
			files = append(files, filepath.Join(home, ".aws", f.name))
		}
	}
	chain := []credentials.Provider{newProfileSource(profile, files)}
	if !named && hasInstance(endpoint, getenv) {
		chain = append(chain, instanceSource())
	}
	return &Credentials{credentials.New(&sources{credentials.Chain{Providers: chain}})}
}

// hasInstance tells whether there may be a service that gives credentials to
// this machine or container. An endpoint elsewhere than AWS takes none of AWS.
func hasInstance(endpoint string, getenv func(string) string) bool {
	for _, v := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		if getenv(v) != "" {
			return true
		}
	}
	return endpoint == "" && getenv("AWS_EC2_METADATA_DISABLED") != "true"
}
