package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
	"stele/server/http/slowread"
)

// Record is a record as its agency sees it.
type Record struct {
	ID           string            `json:"id,omitempty" format:"uuid" doc:"Not shown to the public"`
	Number       string            `json:"number" doc:"Certificate number" example:"420100-2026-00000017-0"`
	Code         string            `json:"code,omitempty" doc:"Eight characters that open the attributes together with the number"`
	State        string            `json:"state" enum:"received,logged,anchored"`
	Standing     string            `json:"standing" enum:"valid,revoked,superseded"`
	StandingAt   string            `json:"standingAt,omitempty" format:"date-time" doc:"When the agency revoked or replaced it, by its own date"`
	SupersededBy string            `json:"supersededBy,omitempty"`
	Supersedes   string            `json:"supersedes,omitempty"`
	Reason       string            `json:"reason,omitempty" doc:"Why it was revoked or replaced"`
	Agency       AgencyRef         `json:"agency"`
	Document     DocumentRef       `json:"document"`
	Class        string            `json:"class"`
	Reference    string            `json:"reference,omitempty" doc:"The agency's own name for the record"`
	Fields       map[string]string `json:"fields,omitempty" doc:"Attributes; title, fileName and the facts of its origin among them"`
	Erased       []string          `json:"erased,omitempty" doc:"Names of attributes that were erased for ever; not shown to the public"`
	Stored       *bool             `json:"stored,omitempty" doc:"The original is kept here; not shown to the public"`
	Index        uint64            `json:"index" doc:"Leaf index in the log"`
	IssuedAt     string            `json:"issuedAt" format:"date-time"`
}

// AgencyRef names an agency.
type AgencyRef struct {
	Code string `json:"code" doc:"Unified social credit code"`
	Name string `json:"name"`
}

// DocumentRef is what is registered of a document.
type DocumentRef struct {
	SM3       string `json:"sm3"`
	Size      uint64 `json:"size" doc:"Bytes"`
	MediaType string `json:"mediaType"`
}

const wireTime = "2006-01-02T15:04:05.000Z"

// FormatTime writes a time as answers do, and nothing for none.
func FormatTime(t time.Time) string { return formatTime(t) }

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(wireTime)
}

func wireRecord(r notary.Record, agency AgencyRef, p notary.Progress) Record {
	out := publicRecord(r, agency, p)
	out.ID, out.Code, out.Stored, out.Reference = r.ID, r.Code, &r.Stored, r.Reference
	out.Fields, out.Erased = openFields(r), erasure.Names(r)
	return out
}

// publicRecord leaves out what only the agency, or a holder of number and code, may see.
func publicRecord(r notary.Record, agency AgencyRef, p notary.Progress) Record {
	return Record{ID: r.ID, Number: r.Number, State: string(p.StateOf(r.Index)), Standing: string(r.Standing),
		StandingAt:   formatTime(r.StandingAt),
		SupersededBy: r.StandingBy, Supersedes: r.Supersedes, Reason: r.Reason, Agency: agency,
		Document: DocumentRef{SM3: r.SM3.String(), Size: r.Size, MediaType: r.MediaType}, Class: r.Class,
		Index: r.Index, IssuedAt: formatTime(r.IssuedAt)}
}

func openFields(r notary.Record) map[string]string {
	if len(r.Fields) == 0 {
		return nil
	}
	m := make(map[string]string, len(r.Fields))
	for _, f := range r.Fields {
		if len(f.Salt) > 0 {
			m[f.Name] = f.Value
		}
	}
	return m
}

// NewRecord is what a caller sends to notarize: beside a file, or alone with sm3 and size.
type NewRecord struct {
	Title      string            `json:"title,omitempty" maxLength:"300" doc:"Title of the document; private"`
	Filename   string            `json:"filename,omitempty" maxLength:"255" doc:"File name without path; private"`
	Class      string            `json:"class,omitempty" maxLength:"64" doc:"Document class; general if empty"`
	Fields     map[string]string `json:"fields,omitempty" doc:"The class's own attributes; private"`
	Supersedes string            `json:"supersedes,omitempty" doc:"Number of the record that this one replaces"`
	Reason     string            `json:"reason,omitempty" maxLength:"1000" doc:"Why it replaces that record; public. Only with supersedes"`
	Reference  string            `json:"reference,omitempty" maxLength:"128" doc:"Your own name for the record, such as a case number; private, can be searched for, is not part of the proof"`
	Upload     string            `json:"upload,omitempty" maxLength:"64" doc:"Id of an upload that is complete, in place of a file. Not with a file, not in a batch"`
	SM3        string            `json:"sm3,omitempty" doc:"SM3 of the document, 64 lower-case hexadecimal digits. With a file or an upload: refuse any other"`
	Size       *uint64           `json:"size,omitempty" doc:"Size of the document in bytes; needed without a file or an upload, with one: refuse any other"`
	MediaType  string            `json:"mediaType,omitempty" doc:"type/subtype; found out from a file's first bytes if empty, refused where they contradict it; without a file it is the agency's statement"`
}

// maxRecordJSON bounds a record's JSON in bytes: all attributes at their limits fit.
const maxRecordJSON = 256 << 10

// decodeStrict reads one JSON object and nothing else: unknown keys, trailing bytes and
// invalid UTF-8 are refused.
func decodeStrict(r io.Reader, max int64, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return readError(err)
	}
	return decodeBytes(data, max, v)
}

func decodeBytes(data []byte, max int64, v any) error {
	switch {
	case int64(len(data)) > max:
		return notary.Errorf(notary.CodeTooLarge, "The JSON has at most %d bytes. Nothing was saved.", max)
	case !utf8.Valid(data):
		return notary.Errorf(notary.CodeMalformed, "The JSON must be valid UTF-8. Nothing was saved.")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		err = errors.New("there is something after the object")
	}
	return jsonError(err)
}

func jsonError(err error) error {
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType):
		return notary.InvalidField(wrongType.Field, "Expected %s here, not: %s. Nothing was saved.",
			jsonName(wrongType.Type), wrongType.Value)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return notary.InvalidField(strings.Trim(strings.TrimPrefix(err.Error(), "json: unknown field "), `"`),
			"There is no such field here; see /openapi.json. Nothing was saved.")
	}
	var syntax *json.SyntaxError
	where := ""
	switch {
	case errors.Is(err, io.EOF):
		where = ": it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		where = ": it breaks off"
	case errors.As(err, &syntax):
		where = fmt.Sprintf(": it goes wrong at byte %d", syntax.Offset)
	}
	return notary.Wrap(notary.CodeMalformed, err,
		"The body is not the JSON that is expected here%s. Nothing was saved.", where)
}

// jsonName is what JSON calls a value of a type.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a number"
}

func readError(err error) error {
	if slowread.IsTimeout(err) {
		return notary.Wrap(notary.CodeTimeout, err, "The request did not arrive in time. Nothing was saved.")
	}
	return notary.Wrap(notary.CodeMalformed, err, "The request did not arrive whole. Nothing was saved.")
}

// draft turns the JSON into what intake takes.
func (n NewRecord) draft(agencyID, idempotency string, origin intake.Origin) (intake.Draft, error) {
	d := intake.Draft{AgencyID: agencyID, Title: n.Title, FileName: n.Filename, Class: n.Class, Fields: n.Fields,
		Supersedes: n.Supersedes, Reason: n.Reason, Reference: n.Reference,
		MediaType: n.MediaType, Idempotency: idempotency, Origin: origin}
	if n.SM3 != "" {
		digest, err := sm.ParseDigest(n.SM3)
		if err != nil {
			return d, notary.InvalidField("sm3", "%s", sentence(err))
		}
		d.Expected = &digest
	}
	return d, nil
}

var errUploadHere = notary.InvalidField("upload",
	"An upload is notarized alone, without a file and not in a batch. Nothing was saved.")

// announced is the size that a record without a form names, -1 for none.
func (n NewRecord) announced() int64 {
	if n.Size == nil {
		return -1
	}
	return int64(min(*n.Size, 1<<62))
}

// digestOnly checks what a record without a file needs.
func (n NewRecord) digestOnly(d intake.Draft) (sm.Digest, uint64, error) {
	switch {
	case n.Upload != "":
		return sm.Digest{}, 0, errUploadHere
	case d.Expected == nil:
		return sm.Digest{}, 0, notary.InvalidField("sm3", "Without a file the document's SM3 digest is needed.")
	case n.Size == nil || *n.Size > 1<<53-1:
		return sm.Digest{}, 0, notary.InvalidField("size", "Without a file the document's size in bytes is needed.")
	}
	return *d.Expected, *n.Size, nil
}

func sentence(err error) string {
	s := fmt.Sprint(err)
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
