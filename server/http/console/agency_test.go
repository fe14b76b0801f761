package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/server/http/webtest"
)

// People are told that their agency is suspended, and its admins that its certificate ends, in their
// language; nobody else is told of the certificate.
func TestAgencyWarnings(t *testing.T) {
	o := openOffice(t, false)
	admin, clerk, neighbour := o.as("admin"), o.as("clerk"), o.as("neighbour")
	const ends, suspended = "certificate expires on", "Your agency is suspended"
	if a := admin.get("/console"); a.status != http.StatusOK || strings.Contains(a.body, ends) ||
		strings.Contains(a.body, suspended) {
		t.Errorf("with nothing to tell: %d %s", a.status, a.body)
	}
	o.certify(o.agency, time.Now().Add(12*24*time.Hour))
	o.in.LookAtAgencies(t.Context())
	told := map[string]struct {
		p                *person
		ends, suspension bool
	}{"admin": {admin, true, true}, "clerk": {clerk, false, true}, "neighbour": {neighbour, false, false}}
	for name, c := range told {
		t.Run(name+" and the certificate", func(t *testing.T) {
			if a := c.p.get("/console"); strings.Contains(a.body, ends) != c.ends {
				t.Errorf("told of the certificate: %t, want %t", !c.ends, c.ends)
			}
		})
	}
	fatalIfErr(t, o.in.DB.Log.SetAgencyState(t.Context(), o.agency.ID, notary.AgencySuspended))
	for name, c := range told {
		t.Run(name+" and the suspension", func(t *testing.T) {
			if a := c.p.get("/console"); a.status != http.StatusOK ||
				strings.Contains(a.body, suspended) != c.suspension {
				t.Errorf("told of the suspension: %t, want %t", !c.suspension, c.suspension)
			}
		})
	}
}

// The warnings are looked at in a browser, on both kinds of screens and in both languages.
func TestAgencyWarningsInABrowser(t *testing.T) {
	for _, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o := openOffice(t, false)
			o.certify(o.agency, time.Now().Add(12*24*time.Hour))
			o.in.LookAtAgencies(t.Context())
			d := o.open(t, l)
			d.signIn("admin")
			d.at("/console")
			d.Wait(`document.querySelector('[role=note].complaint')`)
			d.good("certificate-ends")
			fatalIfErr(t, o.in.DB.Log.SetAgencyState(t.Context(), o.agency.ID, notary.AgencySuspended))
			d.at("/console")
			d.says(d.text("console.agency.suspended"))
			d.good("suspended")
		})
	}
}

// certify gives an agency a certificate that ends then.
func (o *office) certify(a notary.Agency, notAfter time.Time) {
	o.t.Helper()
	c := o.in.Config
	pass, err := keystore.Passphrase(c.PassphraseFile, "")
	fatalIfErr(o.t, err)
	root, err := keystore.Load(c.Keys+"/root.key", pass)
	fatalIfErr(o.t, err)
	chain, err := o.in.DB.Log.CertificateChain(o.t.Context(), a.ID)
	fatalIfErr(o.t, err)
	former, err := pki.Parse(chain[0])
	fatalIfErr(o.t, err)
	cert, err := pki.Issue(pki.IssueRequest{Profile: pki.Agency, Subject: former.Subject(),
		NotBefore: former.NotBefore(), NotAfter: notAfter.UTC().Truncate(time.Second),
		PublicKey: former.PublicKey()}, chain[1:], root)
	fatalIfErr(o.t, err)
	fatalIfErr(o.t, o.in.DB.Log.AddCertificate(o.t.Context(), a.ID, sm.Digest{}, [][]byte{cert, chain[1]}))
}

// The trail of an agency that may not sign is sealed in the name of another one that may.
func TestTrailOfASuspendedAgency(t *testing.T) {
	o := openOffice(t, false)
	for _, state := range []notary.AgencyState{notary.AgencyActive, notary.AgencySuspended, notary.AgencyActive} {
		fatalIfErr(t, o.in.DB.Log.SetAgencyState(t.Context(), o.agency.ID, state))
		rec, err := o.in.DB.Log.FindRecord(t.Context(), "", o.sealed(o.agency.ID))
		fatalIfErr(t, err)
		if (rec.AgencyID == o.agency.ID) != (state == notary.AgencyActive) {
			t.Errorf("%s: the trail is sealed by agency %s", state, rec.AgencyID)
		}
	}
}
