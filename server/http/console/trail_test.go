package console_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/fsck"
	"stele/notary/office/people"
	"stele/notary/proof"
)

// sealed makes an event in an agency's trail and waits until the trail is sealed to its end and the seal
// is in the log; it returns the number of the last seal's record.
func (o *office) sealed(agencyID string) string {
	o.t.Helper()
	fatalIfErr(o.t, o.people.Note(o.t.Context(), people.AuditEvent{AgencyID: agencyID, UserID: "u", Login: "someone",
		Role: people.Admin, Act: "sign_out", Network: "192.0.2.1"}))
	timeout := time.After(2 * time.Minute)
	for {
		changed := o.in.Progress.Changed()
		events, err := o.in.DB.People.SealedEvents(o.t.Context(), agencyID, 0, "", 1)
		fatalIfErr(o.t, err)
		seals, err := o.in.DB.People.TrailSeals(o.t.Context(), agencyID, 0, 1)
		fatalIfErr(o.t, err)
		if len(events) == 0 && len(seals) == 1 && seals[0].Record != "" {
			rec, err := o.in.DB.Log.FindRecord(o.t.Context(), "", seals[0].Record)
			fatalIfErr(o.t, err)
			p, err := o.in.DB.Log.Progress(o.t.Context())
			fatalIfErr(o.t, err)
			if rec.Index < p.Logged {
				return seals[0].Record
			}
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond): // finishing a seal signals nothing
		case <-timeout:
			o.t.Fatal("the trail is not sealed")
		}
	}
}

// What people do is sealed in the log within moments, stands in no list of records, sends no
// webhook, and can be checked by whoever takes it away; the page says where each line is.
func TestTrailIsSealed(t *testing.T) {
	o := openOffice(t, false)
	rec := o.notarize("一份文书")
	admin := o.as("admin")
	admin.post("/console/records/"+rec.Number+"/revoke", map[string][]string{"reason": {"登记有误"}})
	number := o.sealed(o.agency.ID)
	document := admin.get("/console/audit/seals/" + number + "/document")
	bundle := admin.get("/console/audit/seals/" + number + "/bundle")
	digest := sm.Sum([]byte(document.body))
	if r := proof.Verify(o.in.Trust, &digest, []byte(bundle.body)); r.Verdict != proof.Genuine &&
		r.Verdict != proof.Pending {
		t.Errorf("the sealed trail does not verify: %s", r.JSON())
	}
	var h people.Header
	fatalIfErr(t, json.Unmarshal([]byte(document.body[:strings.IndexByte(document.body, '\n')]), &h))
	if h.Format != people.TrailFormat || h.Trail != o.agency.ID || h.Agency != o.agency.Code {
		t.Errorf("the header is %+v", h)
	}
	if n := strings.Count(admin.get("/console/audit").body, `value="paper_take"`); n != 1 {
		t.Errorf("the filter has one act %d times", n)
	}
	page, export := admin.get("/console/audit"), admin.get("/console/audit/export?format=jsonl")
	if !strings.Contains(page.body, "/console/audit/seals/"+number+"/bundle") ||
		!strings.Contains(export.body, `"record":"`+number+`"`) {
		t.Errorf("it is not said where lines are sealed: %.400s", export.body)
	}
	if csv := admin.get("/console/audit/export?format=csv"); !strings.Contains(csv.body, ","+number) {
		t.Error("the CSV does not say where lines are sealed")
	}
	// The exported line without its last two keys is the sealed line.
	sealed := 0
	for _, line := range strings.Split(document.body, "\n")[1:] {
		if line != "" && strings.Contains(export.body, strings.TrimSuffix(line, "}")+`,"seal":`) {
			sealed++
		}
	}
	if sealed != h.Events {
		t.Errorf("%d of %d sealed lines are exported as they are", sealed, h.Events)
	}
	if strings.Contains(admin.get("/console/records").body, number) ||
		admin.get("/console/records/"+number).status != http.StatusNotFound {
		t.Error("a seal is among the records")
	}
	for _, path := range []string{"/records?class=audit-trail", "/records", "/events"} {
		t.Run(path, func(t *testing.T) {
			if a := o.call(http.MethodGet, path, ""); strings.Contains(a.body, number) {
				t.Errorf("%s shows a seal: %d", path, a.status)
			}
		})
	}
	for act, body := range map[string]string{"revoke": `{"reason":"x"}`, "erase": `{"all":true,"reason":"x"}`} {
		t.Run(act, func(t *testing.T) {
			path := "/records/" + number + "/" + act
			if a := o.call(http.MethodPost, path, body); a.status != http.StatusNotFound {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		})
	}
	sum := strings.Repeat("0", 64)
	for name, body := range map[string]string{"of its class": `{"sm3":"` + sum + `","size":1,"class":"audit-trail"}`,
		"in its place": `{"sm3":"` + sum + `","size":1,"supersedes":"` + number + `"}`} {
		t.Run(name, func(t *testing.T) {
			if a := o.call(http.MethodPost, "/records", body); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		})
	}
	if a := o.visitor().get("/r/" + number); a.status != http.StatusOK {
		t.Errorf("the public page of a seal: %d", a.status)
	}
	if a := o.as("operator").get("/console/audit/seals/" + number + "/document"); a.body != document.body {
		t.Error("an operator does not get it")
	}
	res, err := o.in.Fsck(t.Context(), fsck.Options{})
	fatalIfErr(t, err)
	for _, f := range res.Findings {
		t.Errorf("fsck: %s", f)
	}
}

// Where the document of a seal is gone, that is said once, of the seal: nobody is said to have changed
// events that could not be checked, and the seals after it are checked.
func TestTrailWhoseDocumentIsGone(t *testing.T) {
	o := openOffice(t, false)
	rec := o.notarize("一份文书")
	admin := o.as("admin")
	admin.post("/console/records/"+rec.Number+"/revoke", map[string][]string{"reason": {"登记有误"}})
	first := o.sealed(o.agency.ID)
	second := o.notarize("又一份文书")
	admin.post("/console/records/"+second.Number+"/revoke", map[string][]string{"reason": {"登记有误"}})
	if o.sealed(o.agency.ID) == first {
		t.Fatal("what was done later is in the same seal")
	}
	seal, err := o.in.DB.Log.FindRecord(t.Context(), "", first)
	fatalIfErr(t, err)
	fatalIfErr(t, o.in.Objects.Delete(t.Context(), notary.DocumentKey(seal.ID)))
	res, err := o.in.Fsck(t.Context(), fsck.Options{})
	fatalIfErr(t, err)
	for _, f := range res.Findings {
		if f.What == "trail" && (f.Record != first || !strings.Contains(f.Detail, "were not checked")) {
			t.Errorf("fsck: %s", f)
		}
	}
}

// call asks the API with the agency's key.
func (o *office) call(method, path, body string) answer {
	o.t.Helper()
	req, err := http.NewRequest(method, o.URL+"/api/v1"+path, strings.NewReader(body))
	fatalIfErr(o.t, err)
	req.Header.Set("Authorization", "Bearer "+o.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return (&person{o: o, client: http.DefaultClient}).do(req)
}
