package s3

import (
	"errors"
	"fmt"
)

// The errors of what one was given, before anything is sent.
var (
	ErrLocation = errors.New("location is not s3://bucket/prefix") // ParseLocation
	ErrOptions  = errors.New("settings cannot be used")            // Open, FromEnvironment
)

// Why a call failed. They come together with an error of package store, which
// says what it means for the caller.
var (
	ErrNoCredentials = errors.New("no credentials")                                  // none are configured, or their source fails
	ErrCredentials   = errors.New("credentials are not accepted")                    // unknown access key or wrong secret
	ErrExpired       = errors.New("credentials have expired")                        // a session token that is too old
	ErrPermission    = errors.New("credentials lack the permission")                 // known, and not allowed
	ErrClock         = errors.New("clocks of this machine and of the server differ") // by more than 15 minutes
	ErrNoBucket      = errors.New("bucket does not exist")
	ErrRegion        = errors.New("bucket is in another region")
	ErrNetwork       = errors.New("server cannot be reached")                // no address, no route, refused, broken off, silent
	ErrTLS           = errors.New("no trusted connection to the server")     // certificate, protocol
	ErrBusy          = errors.New("server asks to slow down")                // 503 SlowDown, 429
	ErrServer        = errors.New("server failed")                           // 500 and its kin
	ErrConflict      = errors.New("server is busy with the same object")     // 409: who wins is not known yet
	ErrNotS3         = errors.New("answer does not come from an S3 server")  // a proxy, a portal, another program
	ErrHeaders       = errors.New("headers were lost on the way")            // by a proxy, most likely
	ErrTruncated     = errors.New("answer ended early")                      // fewer bytes than announced
	ErrOrder         = errors.New("listing is out of order")                 // names not ascending, or not those asked for
	ErrCondition     = errors.New("server does not know conditional writes") // 501 to If-None-Match
	ErrRefused       = errors.New("server refuses the request")              // for a reason that is none of these
)

// advice says what to do next about each cause.
var advice = []struct {
	cause error
	next  string
}{
	{ErrNoCredentials, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and its entry in ~/.aws/credentials"},
	{ErrCredentials, "check access key and secret; if they are right, a proxy may be changing headers"},
	{ErrExpired, "get new ones; from the credentials file they are taken without a remount"},
	{ErrPermission, "allow s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject on its objects"},
	{ErrClock, "set this machine's clock"},
	{ErrNoBucket, "create it, or check its name and the endpoint"},
	{ErrRegion, "set AWS_REGION to the bucket's region"},
	{ErrNetwork, "check the network, the endpoint and whether the server runs"},
	{ErrTLS, "check the endpoint and this machine's clock; give the server's authority as a CA file if it has its own"},
	{ErrBusy, "nothing, it is tried again; if it stays, the server is too small"},
	{ErrServer, "see the server's log"},
	{ErrConflict, "nothing, it is tried again"},
	{ErrNotS3, "check the endpoint, and whether a proxy or a login page is in front of it"},
	{ErrHeaders, "let the proxy in front of the server pass all headers"},
	{ErrTruncated, "check the network, and proxies on the way"},
	{ErrOrder, "use a server that lists as S3 does"},
	{ErrCondition, "use a server that knows If-None-Match on PUT"},
	{ErrRefused, "see the server's log"},
}

// Advice returns what to do next about an error of this package, in a few
// words without a full stop, or "" when there is nothing to say.
func Advice(err error) string {
	for _, a := range advice {
		if errors.Is(err, a.cause) {
			return a.next
		}
	}
	return ""
}

// A failure is why a call failed: what it means, from package store, and the
// cause, from here.
type failure struct {
	kind   error  // of package store
	cause  error  // of this package, or nil
	detail string // the server's code or our words; empty for none
	region string // that the server says the bucket is in, with ErrRegion
}

func (f *failure) Error() string {
	s := f.kind.Error()
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	if f.detail != "" {
		s += " (" + f.detail + ")"
	}
	if next := Advice(f.cause); next != "" {
		s += "; " + next
	}
	return s
}

// Brief is what a line for people has room for; see store.Brief.
func (f *failure) Brief() string {
	switch {
	case f.cause == nil:
		return f.kind.Error()
	case f.cause == ErrNetwork && f.detail != "":
		return f.detail // who reads it knows that the server cannot be reached
	case f.detail == "":
		return f.cause.Error()
	}
	return f.cause.Error() + " (" + f.detail + ")"
}

// Advice is what to do next; see store.Advice.
func (f *failure) Advice() string { return Advice(f.cause) }

func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

func failed(kind, cause error, format string, args ...any) *failure {
	return &failure{kind: kind, cause: cause, detail: fmt.Sprintf(format, args...)}
}
