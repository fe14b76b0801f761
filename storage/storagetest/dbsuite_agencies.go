package storagetest

import (
	"bytes"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/people"
)

// testAgencyEnds: who may sign is asked in the transaction that receives, whatever a server remembers.
func testAgencyEnds(t *testing.T, s *Site) {
	ctx := t.Context()
	other := s.another(t) // another server
	refused := func(want error, code notary.Code) {
		t.Helper()
		item, before := keyed(s.Items(t, 1)[0], "k"), s.received(t)
		out := mustReceive(t, other, item, as(s.Items(t, 1)[0], item))
		for _, o := range out {
			if want != nil {
				wantErr(t, o.Err, want)
			} else {
				wantCode(t, o.Err, code)
			}
		}
		if used, err := s.DB.FindIdempotent(ctx, s.Agency.ID, "k"); err != nil || len(used) != 0 || s.received(t) != before {
			t.Errorf("a refused item left %v, %v", used, err)
		}
	}
	s.Receive(t, 1)
	fatalIfErr(t, s.DB.SetAgencyState(ctx, s.Agency.ID, notary.AgencySuspended))
	refused(nil, notary.CodeAgencySuspended)
	fatalIfErr(t, s.DB.SetAgencyState(ctx, s.Agency.ID, notary.AgencyActive))
	s.Receive(t, 1)

	key := notary.SealedKey{AgencyID: s.Agency.ID, Public: bytes.Repeat([]byte{4}, 65), Sealed: []byte("sealed")}
	fatalIfErr(t, s.DB.AddSealedKey(ctx, key))
	fatalIfErr(t, s.DB.AddSealedKey(ctx, notary.SealedKey{AgencyID: s.Agency.ID, Public: key.Public, Sealed: []byte("another")})) // stays as it is
	if k, err := other.SealedKey(ctx, s.Agency.ID, key.Public); err != nil || !bytes.Equal(k.Sealed, key.Sealed) {
		t.Errorf("got %+v, %v", k, err)
	}
	_, err := s.DB.SealedKey(ctx, "other", key.Public)
	wantErr(t, err, notary.ErrNotFound)

	next := s.World.NewAgency(s.Agency.Code, "新名")
	newKey := notary.SealedKey{AgencyID: s.Agency.ID, Public: bytes.Repeat([]byte{5}, 65), Sealed: []byte("new")}
	since := s.Now().Add(-time.Hour)
	fatalIfErr(t, s.DB.ReplaceCertificate(ctx, s.Agency.ID, "新名", s.Signer.Certificate, next.Certificates, &newKey, since, notary.EndLeaked))
	refused(notary.ErrCertificateEnded, "")
	if a, err := other.Agency(ctx, s.Agency.ID); err != nil || a.Name != "新名" {
		t.Errorf("got %+v, %v", a, err)
	}
	if keys, err := other.SealedKeys(ctx); err != nil || len(keys) != 1 || !bytes.Equal(keys[0].Public, newKey.Public) {
		t.Errorf("got %+v, %v", keys, err)
	}
	list, err := other.Certificates(ctx, s.Agency.ID)
	if err != nil || len(list) != 2 || !list[0].EndedAt.IsZero() || !list[1].EndedAt.Equal(since) || list[1].EndedReason != notary.EndLeaked {
		t.Errorf("got %+v, %v", list, err)
	}
	if state, fp, err := other.SigningState(ctx, s.Agency.ID); err != nil || state != notary.AgencyActive || fp != sm.Sum(next.Certificates[0]) {
		t.Errorf("got %s %s, %v", state, fp, err)
	}
	item := s.Items(t, 1)[0]
	item.Entry.Certificate = sm.Sum(next.Certificates[0])
	s.ReceiveItems(t, item)
	reseal := []notary.SealedKey{{Public: newKey.Public, Sealed: []byte("third")}}
	if err := s.DB.ResealKeys(ctx, []notary.SealedKey{key}, reseal); err == nil {
		t.Error("a key was resealed that had changed")
	}
	fatalIfErr(t, s.DB.ResealKeys(ctx, []notary.SealedKey{newKey}, reseal))

	u := people.User{ID: "u", AgencyID: s.Agency.ID, Login: "wang", Name: "王", Role: people.Clerk, CreatedAt: s.Now()}
	fatalIfErr(t, s.DB.AddUser(ctx, u))
	fatalIfErr(t, s.DB.AddSession(ctx, people.Session{Digest: sm.Sum([]byte("session")), UserID: "u", Data: []byte("x"), ExpiresAt: s.Now().Add(time.Hour)}))
	fatalIfErr(t, s.DB.AddKey(ctx, notary.APIKey{ID: "k", AgencyID: s.Agency.ID, Account: "k", Digest: sm.Sum([]byte("k")), Name: "n", Scopes: notary.Scopes, CreatedAt: s.Now()}))
	fatalIfErr(t, s.DB.CloseAgency(ctx, s.Agency.ID))
	refused(nil, notary.CodeAgencyClosed)
	for what, err := range map[string]error{
		"resumed":  s.DB.SetAgencyState(ctx, s.Agency.ID, notary.AgencyActive),
		"replaced": s.DB.ReplaceCertificate(ctx, s.Agency.ID, "", sm.Digest{}, s.World.NewAgency(s.Agency.Code, "x").Certificates, nil, s.Now(), notary.EndLost),
	} {
		if err == nil {
			t.Error("a closed agency was " + what)
		}
	}
	if k, err := other.FindKey(ctx, "k"); err != nil || k.InForce(s.Now()) {
		t.Errorf("an API key of a closed agency is in force: %+v, %v", k, err)
	}
	if u, err := other.FindUser(ctx, "u"); err != nil || u.DisabledAt.IsZero() {
		t.Errorf("a person of a closed agency may sign in: %+v, %v", u, err)
	}
	_, err = other.FindSession(ctx, sm.Sum([]byte("session")))
	wantErr(t, err, notary.ErrNotFound)
	_, err = other.CertificateChain(ctx, s.Agency.ID)
	wantErr(t, err, notary.ErrNotFound)
	if keys, err := other.SealedKeys(ctx); err != nil || len(keys) != 0 {
		t.Errorf("got %+v, %v", keys, err)
	}
	wantErr(t, s.DB.CloseAgency(ctx, "none"), notary.ErrNotFound)
	unknown := *s.Items(t, 1)[0]
	unknown.Record.AgencyID = "none"
	wantErr(t, mustReceive(t, s.DB, &unknown)[0].Err, notary.ErrCertificateEnded)
}

func (s *Site) received(t *testing.T) uint64 {
	t.Helper()
	p, err := s.DB.Progress(t.Context())
	fatalIfErr(t, err)
	return p.Received
}
