package people_test

import (
	"bytes"
	"testing"

	"stele/notary/office/people"
)

// The object store is not trusted: what is read as a sealed document has one form.
func FuzzSealed(f *testing.F) {
	header :=
		`{"format":"stele/audit-trail/v1","trail":"a","agency":"c","seal":1,"deeds":1,"first":"1","last":"1","previous":""}` + "\n"
	event := people.AuditEvent{ID: "1", Login: "张三", Act: "key_create", Detail: `name=<b>"`, Form: "f"}
	f.Add(append([]byte(header), append(event.Line(), '\n')...))
	f.Add([]byte(header))
	f.Add([]byte("{}\n{}\n"))
	f.Fuzz(func(t *testing.T, document []byte) {
		if again, ok := people.Resealed(document); ok && !bytes.Equal(again, document) {
			t.Errorf("%q is read as %q", document, again)
		}
	})
}

// A line that is exported is the sealed one with two keys more.
func TestSealedLine(t *testing.T) {
	d := people.AuditEvent{ID: "1", Login: "zhang", Role: people.Admin, Act: "key_create", Network: "192.0.2.1"}
	if got := d.SealedLine(); !bytes.Equal(got, d.Line()) {
		t.Errorf("a line in no seal: %s", got)
	}
	d.Seal, d.SealedIn = 7, "420100-2026-00000000-7"
	if want := string(bytes.TrimSuffix(d.Line(), []byte("}"))) + `,"seal":7,"record":"420100-2026-00000000-7"}`; string(
		d.SealedLine()) != want {
		t.Errorf("got %s, want %s", d.SealedLine(), want)
	}
}
