package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store"
)

// codes are the answers of servers that mean something to us, by their code.
// AWS: "Error responses", API reference; the X-Minio ones: minio, cmd/api-errors.go.
var codes = map[string]struct{ kind, cause error }{
	"NoSuchKey":     {store.ErrNotExist, nil},
	"NoSuchVersion": {store.ErrNotExist, nil},

	"PreconditionFailed": {store.ErrExist, nil},

	"ConditionalRequestConflict": {store.ErrUnavailable, ErrConflict},
	"OperationAborted":           {store.ErrUnavailable, ErrConflict},
	"Conflict":                   {store.ErrUnavailable, ErrConflict},

	"InvalidAccessKeyId":    {store.ErrDenied, ErrCredentials},
	"SignatureDoesNotMatch": {store.ErrDenied, ErrCredentials},
	"InvalidToken":          {store.ErrDenied, ErrCredentials},
	"InvalidTokenId":        {store.ErrDenied, ErrCredentials},
	"InvalidClientTokenId":  {store.ErrDenied, ErrCredentials},
	"InvalidSecurity":       {store.ErrDenied, ErrCredentials},
	"XAdminUserNotFound":    {store.ErrDenied, ErrCredentials}, // versitygw
	"NotSignedUp":           {store.ErrDenied, ErrCredentials},
	"ExpiredToken":          {store.ErrDenied, ErrExpired},
	"ExpiredTokenException": {store.ErrDenied, ErrExpired},
	"TokenRefreshRequired":  {store.ErrDenied, ErrExpired},
	"RequestTimeTooSkewed":  {store.ErrDenied, ErrClock},
	"RequestExpired":        {store.ErrDenied, ErrClock},
	"AccessDenied":          {store.ErrDenied, ErrPermission},
	"AllAccessDisabled":     {store.ErrDenied, ErrPermission},
	"AccountProblem":        {store.ErrDenied, ErrPermission},
	"Forbidden":             {store.ErrDenied, ErrPermission},

	"AuthorizationHeaderMalformed":       {store.ErrDenied, ErrRegion},
	"IllegalLocationConstraintException": {store.ErrDenied, ErrRegion},
	"InvalidRegion":                      {store.ErrDenied, ErrRegion},
	"PermanentRedirect":                  {store.ErrDenied, ErrRegion},
	"TemporaryRedirect":                  {store.ErrDenied, ErrRegion},
	"Redirect":                           {store.ErrDenied, ErrRegion},

	"NoSuchBucket":      {store.ErrUnavailable, ErrNoBucket},
	"InvalidBucketName": {store.ErrUnavailable, ErrNoBucket},

	"SlowDown":             {store.ErrUnavailable, ErrBusy},
	"SlowDownRead":         {store.ErrUnavailable, ErrBusy},
	"SlowDownWrite":        {store.ErrUnavailable, ErrBusy},
	"Throttling":           {store.ErrUnavailable, ErrBusy},
	"ThrottlingException":  {store.ErrUnavailable, ErrBusy},
	"RequestThrottled":     {store.ErrUnavailable, ErrBusy},
	"RequestLimitExceeded": {store.ErrUnavailable, ErrBusy},
	"TooManyRequests":      {store.ErrUnavailable, ErrBusy},

	"RequestTimeout":            {store.ErrUnavailable, ErrNetwork},
	"IncompleteBody":            {store.ErrUnavailable, ErrNetwork},
	"BadDigest":                 {store.ErrUnavailable, ErrHeaders},
	"XAmzContentSHA256Mismatch": {store.ErrUnavailable, ErrHeaders},
	"MissingContentLength":      {store.ErrUnavailable, ErrHeaders},
	"MissingSecurityHeader":     {store.ErrUnavailable, ErrHeaders},

	"XMinioStorageFull":              {store.ErrFull, nil},
	"XMinioAdminBucketQuotaExceeded": {store.ErrFull, nil},
	"QuotaExceeded":                  {store.ErrFull, nil},
	"StorageQuotaExceeded":           {store.ErrFull, nil},
	"InsufficientStorage":            {store.ErrFull, nil},

	"EntityTooLarge": {store.ErrTooLarge, nil},

	"KeyTooLongError":               {store.ErrName, nil},
	"InvalidObjectName":             {store.ErrName, nil},
	"XMinioInvalidObjectName":       {store.ErrName, nil},
	"XMinioParentIsObject":          {store.ErrName, nil},
	"XMinioObjectExistsAsDirectory": {store.ErrName, nil},
	"ObjectParentIsFile":            {store.ErrName, nil},
	"ExistingObjectIsDirectory":     {store.ErrName, nil},

	"NotImplemented": {store.ErrDenied, ErrCondition},
}

// explain turns what minio-go returned into an error for the caller: of the
// context when that has ended, else a *failure. Nothing of err's text is kept:
// it has addresses and keys in it.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var r minio.ErrorResponse
	if errors.As(err, &r) {
		return classifyAnswer(r)
	}
	return classifyBroken(err)
}

func classifyAnswer(r minio.ErrorResponse) *failure {
	code := printable(r.Code)
	if c, ok := codes[r.Code]; ok {
		f := failed(c.kind, c.cause, "%s", code)
		switch {
		case c.cause == ErrRegion && printable(r.Region) != "":
			f.region = printable(r.Region)
			f.detail += ": " + f.region
		case r.Code == "AccessDenied" && strings.Contains(r.Message, "not signed"):
			f.cause = ErrHeaders // signed headers are missing, or there are others
		case r.Code == "AuthorizationHeaderMalformed":
			f.cause = ErrCredentials // not about the region then
		case c.cause == nil && (c.kind == store.ErrNotExist || c.kind == store.ErrExist):
			f.detail = ""
		}
		return f
	}
	switch s := r.StatusCode; {
	case s == 0: // minio-go could not make sense of a good answer's headers
		return failed(store.ErrUnavailable, ErrHeaders, "")
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return failed(store.ErrDenied, ErrPermission, "%s", code)
	case s == http.StatusTooManyRequests:
		return failed(store.ErrUnavailable, ErrBusy, "%s", code)
	case s == http.StatusInsufficientStorage:
		return failed(store.ErrFull, nil, "%s", code)
	case s == http.StatusConflict:
		return failed(store.ErrUnavailable, ErrConflict, "%s", code)
	case s >= 500:
		return failed(store.ErrUnavailable, ErrServer, "%d %s", s, code)
	}
	return failed(store.ErrUnavailable, ErrRefused, "%d %s", r.StatusCode, code)
}

// printable returns a code as servers have them, or "" when it is something
// else that must not get into a message.
func printable(code string) string {
	if len(code) > 64 {
		return ""
	}
	for _, c := range code {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return ""
		}
	}
	return code
}

// detailBroken is also said of what minio-go's decoders complain about.
const detailBroken = "connection broken off"

// classifyBroken is about a request that got no answer.
func classifyBroken(err error) *failure {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		dns       *net.DNSError
		timeout   net.Error
	)
	tlsFailed := func(detail string) *failure { return failed(store.ErrUnavailable, ErrTLS, "%s", detail) }
	broken := func(detail string) *failure { return failed(store.ErrUnavailable, ErrNetwork, "%s", detail) }
	switch {
	case errors.As(err, &authority):
		return tlsFailed("its certificate is signed by an authority unknown here")
	case errors.As(err, &host):
		return tlsFailed("its certificate is for another host")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsFailed("its certificate has expired or is not valid yet")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return tlsFailed("its certificate is not valid")
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return tlsFailed("it does not speak TLS at that port")
	case errors.As(err, &alert):
		return tlsFailed("the handshake failed")
	case errors.As(err, &dns) && dns.IsNotFound:
		return broken("the endpoint's host is not known")
	case errors.As(err, &dns):
		return broken("no answer to what the endpoint's address is")
	case errors.Is(err, syscall.ECONNREFUSED):
		return broken("connection refused")
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return broken("no way to it")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return broken(detailBroken)
	case errors.As(err, &timeout) && timeout.Timeout():
		return broken("no answer in time")
	}
	return broken(detailBroken)
}
