package request

import (
	"context"
	"log/slog"
)

// handler adds the request to lines that are logged with its context.
type handler struct{ slog.Handler }

// LogHandler returns a handler whose lines say which request they are about.
func LogHandler(h slog.Handler) slog.Handler { return handler{h} }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if q := From(ctx); q != nil {
		r = r.Clone()
		r.AddAttrs(q.attributes()...)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
