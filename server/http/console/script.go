package console

import (
	"encoding/json"
	"errors"
	"net/http"

	"stele/notary"
	"stele/notary/office/filing"
)

// formHeader carries the token of the session's forms where a script asks: a page of another
// site cannot set it without our leave, and does not know the token.
const formHeader = "X-Stele-Form"

// answer sends what a script asked for.
func (v *visit) answer(status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	v.rw.Header().Set("Content-Type", "application/json")
	v.rw.WriteHeader(status)
	_, _ = v.rw.Write(text) // the person may have left
	return nil
}

// refusal is what a script learns of an error: a name to branch on, and a sentence to show.
type refusal struct {
	Code    string `json:"code"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// scriptStatus are answers to errors that no form of a page can cause.
var scriptStatus = map[notary.Code]int{
	notary.CodeMalformed: http.StatusBadRequest, notary.CodeUnsupported: http.StatusUnsupportedMediaType,
	notary.CodeDigestMismatch: http.StatusUnprocessableEntity, notary.CodeTimeout: http.StatusRequestTimeout,
	notary.CodeQuota: http.StatusTooManyRequests,
}

// refuse is [visit.fail] for a script. v.status may hold an answer that a protocol demands.
func (v *visit) refuse(err error) {
	status, code := answerTo(err, statusOf, scriptStatus)
	field := ""
	var e *notary.Error
	if errors.As(err, &e) && code == string(e.Code) {
		field = e.Field
	}
	if v.status != 0 {
		status = v.status
	}
	if status >= http.StatusInternalServerError {
		v.Log.ErrorContext(v.r.Context(), "request failed", "path", v.r.URL.Path, "error", err)
	}
	v.waits(e)
	key := v.texts.First("console.refused."+field, "console.refused."+code, "console.error."+code+".heading",
		"console.error.internal.heading")
	if err := v.answer(status, refusal{code, field, v.t(key, "finding", finding(err))}); err != nil {
		v.Log.ErrorContext(v.r.Context(), "answer cannot be written", "error", err)
	}
}

// finding is what the scanner found, where that is the error.
func finding(err error) string {
	var m filing.Malware
	errors.As(err, &m)
	return m.Finding
}

// formToken tells a page that was left open who is signed in now, and the token of the forms.
func (v *visit) formToken() error {
	return v.answer(http.StatusOK, map[string]string{"user": v.user.ID, "form": v.sessions.GetString(v.r.Context(),
		sessionForm)})
}
