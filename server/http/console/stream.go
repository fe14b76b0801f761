package console

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/server/http/slowread"
)

// stream is a form whose files are read as they come: neither memory nor disk holds them first.
type stream struct {
	form *multipart.Reader
	next *multipart.Part // a file that was met, not read yet; nil at the end
}

// partCost is what a field of a form counts beside its name and text, in bytes: one without
// either takes memory as well.
const partCost = 128

// readStream reads the fields of a form up to its first file.
func (v *visit) readStream() error {
	if kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type")); err != nil ||
		kind != "multipart/form-data" {
		return v.readForm() // a form without its files is refused by what needs them
	}
	l := v.Bulk.Limits()
	v.r.Body = http.MaxBytesReader(v.rw, v.r.Body, maxForm+l.Table+l.Total)
	// The line may be slow: only silence ends it.
	v.patient(0)
	form, err := v.r.MultipartReader()
	if err != nil {
		return err
	}
	v.stream.form = form
	fields, left := url.Values{}, int64(maxForm)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if part.FileName() != "" {
			v.stream.next = part
			break
		}
		text, err := io.ReadAll(io.LimitReader(part, left+1))
		if left -= int64(len(text) + len(part.FormName()) + partCost); err != nil || left < 0 {
			return errors.Join(err, errBadForm)
		}
		fields.Add(part.FormName(), string(text))
	}
	v.r.PostForm, v.r.Form = fields, fields
	return wellFormed(fields)
}

// formTime is how long a form without files may take to arrive. It is small, but lines are slow.
const formTime = 2 * time.Minute

// readForm reads a form without files.
func (v *visit) readForm() error {
	v.r.Body = http.MaxBytesReader(v.rw, v.r.Body, maxForm)
	v.patient(formTime)
	return errors.Join(v.r.ParseForm(), wellFormed(v.r.Form))
}

// wellFormed refuses fields that are not UTF-8 or hold zero bytes: no browser sends them, and
// a database would answer them with an error of its own.
func wellFormed(fields url.Values) error {
	for name, values := range fields {
		for _, text := range append(values, name) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return errBadForm
			}
		}
	}
	return nil
}

// patient has the body read with a rolling deadline, and one for the whole of it, 0 for none:
// whoever sends nothing must not hold a connection.
func (v *visit) patient(whole time.Duration) {
	v.r.Body = struct {
		io.Reader
		io.Closer
	}{slowread.New(v.rw, v.r.Body, slowread.Limits{Silence: v.ReadTimeout, Whole: whole}, v.Now), v.r.Body}
}

// part returns the next file of the form, if it has this name; nil otherwise.
func (v *visit) part(name string) *multipart.Part {
	for v.stream.next != nil && v.stream.next.FileName() == "" { // a field where nobody chose a file
		if v.nextPart(); v.stream.next == nil {
			return nil
		}
	}
	if v.stream.next == nil || v.stream.next.FormName() != name {
		return nil
	}
	return v.stream.next
}

func (v *visit) nextPart() {
	part, err := v.stream.form.NextPart()
	if err != nil {
		part = nil // the end, or what reads it as broken off later
	}
	v.stream.next = part
}

// drain reads what is left of a form that was refused: a browser shows no answer before it has
// sent everything.
func (v *visit) drain() { _, _ = io.Copy(io.Discard, v.r.Body) }

var errBroken = notary.Errorf(notary.CodeInvalid, "The form did not arrive whole. Nothing was saved; send it again.")

// readTable reads the file of a table, which is small.
func (v *visit) readTable(limits bulk.Limits) (name string, data []byte, err error) {
	part := v.part("table")
	if part == nil {
		return "", nil, notary.InvalidField("table", "Choose a table.")
	}
	if data, err = io.ReadAll(io.LimitReader(part, limits.Table+1)); err != nil {
		return "", nil, errBroken
	}
	return part.FileName(), data, nil
}
