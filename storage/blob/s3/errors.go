package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"

	"stele/notary"
	"stele/storage/blob"
)

// What is wrong with the server or the settings, for readiness and for operators.
var (
	// ErrUnreachable: nobody, or no S3 server, answers at the endpoint.
	ErrUnreachable = errors.New("object store is unreachable")
	// ErrCredentials: the server does not accept the keys, or does not allow the access.
	ErrCredentials = errors.New("object store refuses the credentials")
	// ErrBucket: there is no such bucket.
	ErrBucket = errors.New("bucket does not exist")
)

// Conditions of a request that did not hold. They never leave this package.
var (
	errPrecondition = errors.New("precondition failed")
	errNoUpload     = errors.New("no such upload")
)

// code is the S3 error code of err, or empty.
func code(err error) string {
	var response minio.ErrorResponse
	if errors.As(err, &response) {
		return response.Code
	}
	return ""
}

// explain turns an error of the client library into one that says what to check. Codes
// are those of S3 and MinIO; see https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
func (s *Store) explain(err error) error {
	// The end of a deadline is no such exception: it may be that of the connection.
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	wrap := func(kind error, advice string) error {
		return fmt.Errorf("%s: %w: %w: %s", s.config, kind, err, advice)
	}
	switch c := code(err); c {
	case "":
		var network net.Error
		var request *url.Error
		if errors.As(err, &network) || errors.As(err, &request) {
			return wrap(ErrUnreachable, "check that the server runs, the endpoint, TLS on or off, and its certificate")
		}
		return fmt.Errorf("%s: %w", s.config, err)
	case minio.NoSuchKey, minio.NoSuchVersion:
		return fmt.Errorf("%w (%s)", notary.ErrObjectNotFound, c)
	case minio.PreconditionFailed, "ConditionalRequestConflict":
		return errPrecondition
	case minio.NoSuchUpload:
		return errNoUpload
	case minio.NoSuchBucket:
		return wrap(ErrBucket, "create it, or correct the bucket's name in the settings")
	case "SignatureDoesNotMatch":
		return wrap(ErrCredentials, "check the secret key")
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return wrap(ErrCredentials, "check the access key")
	case minio.AccessDenied, "AllAccessDisabled":
		return wrap(ErrCredentials, "allow this access key to read, write, list and delete in the bucket")
	case "RequestTimeTooSkewed":
		return wrap(ErrCredentials, "set the clocks of this machine and of the server")
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion":
		return wrap(ErrCredentials, "check the region")
	case "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded":
		return fmt.Errorf("%s: the object store is full: %w", s.config, err)
	case "XMinioParentIsObject", "XMinioObjectExistsAsDirectory":
		return fmt.Errorf("%w: a key cannot be the folder of another", err)
	default:
		return fmt.Errorf("%s: %w (%s)", s.config, err, c)
	}
}

// Temporary reports whether an error of the store may go by itself: the server does not answer, or
// says that it cannot at the moment.
func Temporary(err error) bool {
	var response minio.ErrorResponse
	return errors.Is(err, ErrUnreachable) || errors.As(err, &response) &&
		response.StatusCode >= http.StatusInternalServerError
}

// retained reports whether the server keeps a version because of its retention or a legal
// hold. MinIO and AWS say it differently, and AWS no other than for missing rights.
func retained(err error) bool {
	var response minio.ErrorResponse
	if !errors.As(err, &response) {
		return false
	}
	return response.Code == minio.AccessDenied || response.Code == "ObjectLocked" ||
		response.Code == "InvalidRequest" && response.StatusCode == http.StatusBadRequest
}

// notInitialized says what to do about a store without a marker.
func (s *Store) notInitialized() error {
	return fmt.Errorf("%s, prefix %q: %w (there is no %s%s): check the bucket and the prefix; for a new instance run "+
		"'stele init'; "+
		"if everything in it was lost, make it anew with 'stele rebuild-store'",
		s.config, s.config.Prefix, blob.ErrNotInitialized, s.prefix, markerName)
}
