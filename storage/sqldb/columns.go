package sqldb

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/office/review"
)

// What follows are columns that are not in the database what they are in a value: each reads and writes the
// field that it points at.

// moment is a time in microseconds, 0 for none.
type moment struct{ t *time.Time }

func (m moment) Value() (driver.Value, error) { return micros(*m.t), nil }

func (m moment) Scan(src any) error {
	us, ok := src.(int64)
	if !ok && src != nil {
		return fmt.Errorf("a time is %T", src)
	}
	*m.t = fromMicros(us)
	return nil
}

// ending is a moment that is NULL for none.
type ending struct{ moment }

func (l ending) Value() (driver.Value, error) {
	if l.t.IsZero() {
		return nil, nil
	}
	return micros(*l.t), nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// hash is 32 bytes.
type hash[H ~[sm.DigestSize]byte] struct{ h *H }

func (h hash[H]) Value() (driver.Value, error) { b := [sm.DigestSize]byte(*h.h); return b[:], nil }

func (h hash[H]) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != sm.DigestSize {
		return fmt.Errorf("a digest of %d bytes", len(b))
	}
	*h.h = H(b)
	return nil
}

func digest(d *sm.Digest) hash[sm.Digest] { return hash[sm.Digest]{d} }

// text is a text whose field has bytes; none where it is empty.
type text struct{ b *[]byte }

func (t text) Value() (driver.Value, error) { return string(*t.b), nil }

func (t text) Scan(src any) error {
	s, err := textOf(src)
	*t.b = nil
	if s != "" {
		*t.b = []byte(s)
	}
	return err
}

func textOf(src any) (string, error) {
	switch s := src.(type) {
	case string:
		return s, nil
	case []byte:
		return string(s), nil
	case nil:
		return "", nil
	}
	return "", fmt.Errorf("a text is %T", src)
}

// maybe is a text that is NULL where it is empty.
type maybe struct{ s *string }

func (m maybe) Value() (driver.Value, error) {
	if *m.s == "" {
		return nil, nil
	}
	return *m.s, nil
}

func (m maybe) Scan(src any) (err error) {
	*m.s, err = textOf(src)
	return err
}

// copied is a text that is only written: another column has it too.
type copied struct{ s *string }

func (c copied) Value() (driver.Value, error) { return *c.s, nil }
func (copied) Scan(any) error                 { return nil }

// blob are bytes that are NULL where they are nil.
type blob struct{ b *[]byte }

func (b blob) Value() (driver.Value, error) {
	if *b.b == nil {
		return nil, nil
	}
	return *b.b, nil
}

func (b blob) Scan(src any) error {
	*b.b, _ = src.([]byte)
	*b.b = bytes.Clone(*b.b)
	return nil
}

// coded is a text that a field is written as.
type coded struct {
	write func() (string, error)
	read  func(string) error
}

func (c coded) Value() (driver.Value, error) { return c.write() }

func (c coded) Scan(src any) error {
	s, err := textOf(src)
	if err != nil {
		return err
	}
	return c.read(s)
}

// asJSON is a value as JSON.
func asJSON(v any) coded {
	return coded{
		func() (string, error) { b, err := json.Marshal(v); return string(b), err },
		func(s string) error { return json.Unmarshal([]byte(s), v) }}
}

// optional is a value as JSON; an empty text for nil.
func optional(v any) coded {
	c := asJSON(v)
	return coded{
		func() (string, error) { s, err := c.write(); return strings.TrimPrefix(s, "null"), err },
		func(s string) error {
			if s == "" {
				return nil
			}
			return c.read(s)
		}}
}

// words are texts with spaces between them; nil for none.
func words[T ~string](l *[]T) coded {
	return coded{
		func() (string, error) {
			out := make([]string, len(*l))
			for i, s := range *l {
				out[i] = string(s)
			}
			return strings.Join(out, " "), nil
		},
		func(s string) error {
			*l = nil
			for _, w := range strings.Fields(s) {
				*l = append(*l, T(w))
			}
			return nil
		}}
}

// names are words; an empty list for none.
func names(l *[]string) coded {
	c := words(l)
	c.read = func(s string) error { *l = strings.Fields(s); return nil }
	return c
}

// pem is a chain of certificates in DER.
func pem(chain *[][]byte) coded {
	return coded{
		func() (string, error) { return string(pki.EncodePEM(*chain...)), nil },
		func(s string) (err error) { *chain, err = pki.DecodePEM([]byte(s), pki.MaxChain); return err }}
}

// caseColumns are what the tables of cases have in common.
func caseColumns[S ~string](c *review.Case[S]) []column {
	return []column{{"id", &c.ID}, {"agency_id", &c.AgencyID}, {"once", &c.Once}, {"state", &c.State},
		{"version", &c.Version}, {"class", &c.Class}, {"maker", asJSON(&c.Maker)}, {"checker", asJSON(&c.Checker)},
		{"remark", &c.Remark}, {"created_at", moment{&c.CreatedAt}}, {"changed_at", moment{&c.ChangedAt}}}
}
