package storagetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/office/webhook"
	"stele/notary/proof/prooftest"
	"stele/storage/sqldb"
)

// testCertificateExpiring: of each certificate every step is told once, and none after a later one, whatever servers
// ask at the same time and whatever their clocks say; of one that signs no more nothing is told.
func testCertificateExpiring(t *testing.T, s *Site) {
	ctx, present := t.Context(), s.Signer.Certificate
	s.AddEndpoint(t, "e", webhook.Settings{Kinds: []webhook.Kind{webhook.CertificateExpiring}})
	cert, err := pki.Parse(s.World.Agency.Certificates[0])
	fatalIfErr(t, err)
	ends := cert.NotAfter()
	behind := OpenDatabase(t, s.URL, func() time.Time { return s.Now().Add(-50 * 24 * time.Hour) })
	servers := []*sqldb.DB{s.DB, s.another(t), s.another(t)}
	look := func() {
		t.Helper()
		errs := together(2*len(servers), func(n int) error {
			return servers[n%len(servers)].Webhooks.TellExpiry(ctx, s.Agency.ID, present, ends)
		})
		fatalIfErr(t, errors.Join(errs...))
		fatalIfErr(t, behind.Webhooks.TellExpiry(ctx, s.Agency.ID, present, ends))
	}
	told := func() (days []int) {
		t.Helper()
		events, _ := s.events(t, webhook.Query{AgencyID: s.Agency.ID, Limit: 3})
		for _, e := range events {
			n := e.Notice
			if e.Kind != webhook.CertificateExpiring || n == nil || n.Subject != present.String() ||
				!n.Ends.Equal(ends) || n.DaysLeft != webhook.DaysLeft(ends, e.At) {
				t.Errorf("the feed says %+v, %+v", e, n)
				continue
			}
			days = append(days, n.DaysLeft)
		}
		return days
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		left time.Duration
		want []int
	}{
		{90*day + time.Hour, nil},
		{90*day - time.Hour, []int{90}},
		{61 * day, []int{90}},
		{45*day - time.Hour, []int{90, 45}}, // no server ran when 60 came
		{31 * day, []int{90, 45}},
		{3*day - time.Hour, []int{90, 45, 3}},
		{time.Hour, []int{90, 45, 3, 1}},
		{0, []int{90, 45, 3, 1, 0}},
		{-400 * day, []int{90, 45, 3, 1, 0}},
	} {
		s.Pass(ends.Add(-c.left).Sub(s.Now()))
		look()
		if got := told(); !slices.Equal(got, c.want) {
			t.Fatalf("%s before the end: told %d, want %d", c.left, got, c.want)
		}
	}
	s.FanOut(t)
	claims := s.claim(t, s.DB, "server")
	if len(claims) != 5 || claims[0].Event.Notice == nil || !claims[0].Event.Notice.Ends.Equal(ends) {
		t.Errorf("%d deliveries, the first %+v", len(claims), claims)
	}
	if events, _ := s.events(t, webhook.Query{AgencyID: "other", Limit: 9}); len(events) != 0 {
		t.Errorf("another agency's feed says %+v", events)
	}
	fatalIfErr(t, s.DB.Webhooks.TellExpiry(ctx, "none", present, ends))
	testExpiryRenewed(t, s)
}

// testExpiryRenewed: after a renewal the new certificate's steps are told, and after the agency's closure none.
func testExpiryRenewed(t *testing.T, s *Site) {
	ctx := t.Context()
	b := s.World.NewAgency(prooftest.USCC("12420100MB1234567"), "甲局")
	agency, signer := s.AddAgency(t, "other", b)
	template := prooftest.AgencyTemplate(b.Code, b.Name)
	template.NotAfter = template.NotAfter.Add(time.Hour)
	next := [][]byte{prooftest.Certify(template, b.Key, &s.World.Root), s.World.Root.DER}
	want := func(n int) {
		t.Helper()
		for _, c := range []sm.Digest{signer.Certificate, sm.Sum(next[0])} {
			fatalIfErr(t, s.DB.Webhooks.TellExpiry(ctx, agency.ID, c, s.Now().Add(time.Hour)))
		}
		if events, _ := s.events(t, webhook.Query{AgencyID: agency.ID, Limit: 9}); len(events) != n {
			t.Errorf("%d events, want %d", len(events), n)
		}
	}
	want(1) // of the one that it has
	fatalIfErr(t, s.DB.Log.AddCertificate(ctx, agency.ID, signer.Certificate, next))
	want(2) // of the new one
	fatalIfErr(t, s.DB.Log.CloseAgency(ctx, agency.ID))
	fatalIfErr(t, s.DB.Webhooks.TellExpiry(ctx, agency.ID, sm.Sum(next[0]), s.Now().Add(-time.Hour)))
	want(2)
}
