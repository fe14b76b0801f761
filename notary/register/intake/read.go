package intake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"stele/notary"
	"stele/notary/register/mediatype"
	"stele/notary/register/staging"
)

func (in *Intake) tooLarge() error {
	return notary.Errorf(notary.CodeTooLarge, "A document has at most %d bytes here. Nothing was saved.",
		in.limits.MaxDocument)
}

// readError tells the client's failures from the store's: the meter knows whether reading failed.
func (in *Intake) readError(ctx context.Context, m *staging.Meter, err error) error {
	m.Stop()
	var timeout net.Error
	var own *notary.Error
	var read error
	if m.Failed() {
		read = m.Err
	}
	switch {
	case errors.As(read, &own):
		return own
	case errors.Is(read, staging.ErrTooLarge):
		return in.tooLarge()
	case errors.Is(read, os.ErrDeadlineExceeded), errors.As(read, &timeout) && timeout.Timeout():
		return notary.Wrap(notary.CodeTimeout, read, "The document did not arrive in time. Nothing was saved.")
	case m.Want >= 0 && (m.Size > m.Want || m.Err != nil && read == nil && m.Size < m.Want):
		e := notary.Errorf(notary.CodeMalformed, "The document is not of the announced %d bytes. Nothing was saved.",
			m.Want)
		e.Field = "size"
		return e
	case read == nil && ctx.Err() != nil: // the store saw it first
		return notary.Wrap(notary.CodeMalformed, ctx.Err(),
			"The request ended before the document was stored. Nothing was saved.")
	case read != nil:
		return notary.Wrap(notary.CodeMalformed, read,
			"The document did not arrive whole: the connection broke or the body is malformed. Nothing was saved.")
	}
	return notary.Wrap(notary.CodeUnavailable, fmt.Errorf("store object: %w", err),
		"The document store cannot be reached or is full. Nothing was saved; try again.")
}

// mediaType returns what the caller named, or what the first bytes look like.
func mediaType(named string, head []byte) string {
	if named != "" {
		return named
	}
	if head == nil {
		return mediatype.Unknown
	}
	return mediatype.Find(head)
}
