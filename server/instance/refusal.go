package instance

import (
	"context"
	"errors"
	"net"
	"syscall"

	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/tail"
	"stele/server/clock"
	"stele/storage/blob/s3"
	"stele/storage/sqldb"
)

// Temporary reports whether the error of a start may go by itself, so that the same start is worth
// another try: something that the service needs does not answer or has no room, another process is about to
// leave a port, or the clock is about to be set. Everything else is a refusal: somebody must look.
func Temporary(err error) bool {
	for _, kind := range []error{context.Canceled, context.DeadlineExceeded, clock.ErrWrong, syscall.EADDRINUSE,
		syscall.EADDRNOTAVAIL, syscall.ENOSPC, syscall.EIO} {
		if errors.Is(err, kind) {
			return true
		}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op != "listen" {
		return true
	}
	return sqldb.Temporary(err) || s3.Temporary(err)
}

// Final reports whether a running server ended for a reason that a new start would meet again.
func Final(err error) bool {
	for _, kind := range []error{ErrForeign, batchlog.ErrFenced, batchlog.ErrMismatch, tail.ErrContradiction,
		notary.ErrObjectDiffers, sqldb.ErrSchema, sqldb.ErrWentBack} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
