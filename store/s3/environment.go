package s3

import (
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Flags are what a command line may say beside the location. What is empty is
// taken from the environment. There is no flag for a secret: others on the
// machine can read a command line.
type Flags struct {
	Endpoint string // else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, endpoint_url of the profile; else AWS itself
	Region   string // else AWS_REGION, AWS_DEFAULT_REGION, region of the profile; else what the server says
	Profile  string // else AWS_PROFILE; else "default"
	CAFile   string // else AWS_CA_BUNDLE, ca_bundle of the profile
	Style    Style
	Insecure bool
}

// FromEnvironment returns the options for a location, as ParseLocation reads
// it, in the way that programs for AWS are told theirs. Getenv is os.Getenv.
// Nothing is read but the environment and the profile, and nothing is sent. A
// region that only the profile names gives way to the one that the server names.
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
	p := chosenProfile(f.Profile, getenv)
	orOfProfile := func(value, key string) string {
		if value == "" {
			return p.setting(key)
		}
		return value
	}
	o := Options{
		Bucket:   l.Bucket,
		Prefix:   l.Prefix,
		Endpoint: orOfProfile(first(f.Endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "endpoint_url"),
		Region:   first(f.Region, "AWS_REGION", "AWS_DEFAULT_REGION"),
		CAFile:   orOfProfile(first(f.CAFile, "AWS_CA_BUNDLE"), "ca_bundle"),
		Style:    f.Style,
		Insecure: f.Insecure,
	}
	if o.Region == "" {
		o.Region = p.setting("region")
		o.assumed = o.Region != ""
	}
	id, secret := getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY")
	switch {
	case f.Profile != "" || id == "" && secret == "":
		named := f.Profile != "" || getenv("AWS_PROFILE") != ""
		o.Credentials = found(p, named, o.Endpoint, getenv)
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

// found returns the credentials that lie about on the machine; named is whether
// somebody chose the profile.
func found(p profile, named bool, endpoint string, getenv func(string) string) *Credentials {
	chain := []credentials.Provider{newProfileSource(p.name, p.files)}
	if !named && hasInstance(endpoint, getenv) {
		service := ""
		if !hasContainer(getenv) {
			service = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")
		}
		chain = append(chain, instanceSource(strings.TrimSuffix(service, "/")))
	}
	return &Credentials{credentials.New(&sources{credentials.Chain{Providers: chain}})}
}

// hasInstance tells whether there may be a service that gives credentials to
// this machine or container. An endpoint elsewhere than AWS takes none of AWS,
// unless somebody says where that service is.
func hasInstance(endpoint string, getenv func(string) string) bool {
	switch {
	case hasContainer(getenv):
		return true
	case getenv("AWS_EC2_METADATA_DISABLED") == "true":
		return false
	}
	return endpoint == "" || getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT") != ""
}

// hasContainer tells whether the environment is that of a container to which a
// service gives credentials.
func hasContainer(getenv func(string) string) bool {
	for _, v := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		if getenv(v) != "" {
			return true
		}
	}
	return false
}
