package storagetest

import (
	"bytes"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
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
		if used, err := s.DB.Log.FindIdempotent(ctx, s.Agency.ID, "k"); err != nil || len(used) != 0 ||
			s.received(t) != before {
			t.Errorf("a refused item left %v, %v", used, err)
		}
	}
	s.Receive(t, 1)
	fatalIfErr(t, s.DB.Log.SetAgencyState(ctx, s.Agency.ID, notary.AgencySuspended))
	refused(nil, notary.CodeAgencySuspended)
	fatalIfErr(t, s.DB.Log.SetAgencyState(ctx, s.Agency.ID, notary.AgencyActive))
	s.Receive(t, 1)

	key := notary.SealedKey{AgencyID: s.Agency.ID, Public: bytes.Repeat([]byte{4}, 65), Sealed: []byte("sealed")}
	fatalIfErr(t, s.DB.Log.AddSealedKey(ctx, key))
	// stays as it is
	fatalIfErr(t, s.DB.Log.AddSealedKey(ctx, notary.SealedKey{AgencyID: s.Agency.ID, Public: key.Public,
		Sealed: []byte("another")}))
	if k, err := other.Log.SealedKey(ctx, s.Agency.ID, key.Public); err != nil || !bytes.Equal(k.Sealed, key.Sealed) {
		t.Errorf("got %+v, %v", k, err)
	}
	_, err := s.DB.Log.SealedKey(ctx, "other", key.Public)
	wantErr(t, err, notary.ErrNotFound)

	next := s.World.NewAgency(s.Agency.Code, "新名")
	newKey := notary.SealedKey{AgencyID: s.Agency.ID, Public: bytes.Repeat([]byte{5}, 65), Sealed: []byte("new")}
	since := s.Now().Add(-time.Hour)
	fatalIfErr(t, s.DB.Log.ReplaceCertificate(ctx, s.Agency.ID, "新名", s.Signer.Certificate, next.Certificates, &newKey,
		since, notary.EndLeaked))
	refused(notary.ErrCertificateEnded, "")
	if a, err := other.Log.Agency(ctx, s.Agency.ID); err != nil || a.Name != "新名" {
		t.Errorf("got %+v, %v", a, err)
	}
	if keys, err := other.Log.SealedKeys(ctx); err != nil || len(keys) != 1 ||
		!bytes.Equal(keys[0].Public, newKey.Public) {
		t.Errorf("got %+v, %v", keys, err)
	}
	list, err := other.Log.Certificates(ctx, s.Agency.ID)
	if err != nil || len(list) != 2 || !list[0].EndedAt.IsZero() || !list[1].EndedAt.Equal(since) ||
		list[1].EndedReason != notary.EndLeaked {
		t.Errorf("got %+v, %v", list, err)
	}
	if state, fp, err := other.Log.SigningState(ctx, s.Agency.ID); err != nil || state != notary.AgencyActive ||
		fp != sm.Sum(next.Certificates[0]) {
		t.Errorf("got %s %s, %v", state, fp, err)
	}
	item := s.Items(t, 1)[0]
	item.Entry.Certificate = sm.Sum(next.Certificates[0])
	s.ReceiveItems(t, item)
	reseal := []notary.SealedKey{{Public: newKey.Public, Sealed: []byte("third")}}
	if err := s.DB.Log.ResealKeys(ctx, []notary.SealedKey{key}, reseal); err == nil {
		t.Error("a key was resealed that had changed")
	}
	fatalIfErr(t, s.DB.Log.ResealKeys(ctx, []notary.SealedKey{newKey}, reseal))

	u := people.User{ID: "u", AgencyID: s.Agency.ID, Login: "wang", Name: "王", Role: people.Clerk, CreatedAt: s.Now()}
	fatalIfErr(t, s.DB.People.AddUser(ctx, u))
	fatalIfErr(t, s.DB.People.AddSession(ctx, people.Session{Digest: sm.Sum([]byte("session")), UserID: "u",
		Data:      []byte("x"),
		ExpiresAt: s.Now().Add(time.Hour)}))
	fatalIfErr(t,
		s.DB.People.AddKey(ctx, notary.APIKey{ID: "k", AgencyID: s.Agency.ID, Account: "k", Digest: sm.Sum([]byte("k")),
			Name: "n", Scopes: notary.Scopes, CreatedAt: s.Now()}))
	fatalIfErr(t, s.DB.Log.CloseAgency(ctx, s.Agency.ID))
	refused(nil, notary.CodeAgencyClosed)
	for what, err := range map[string]error{
		"resumed": s.DB.Log.SetAgencyState(ctx, s.Agency.ID, notary.AgencyActive),
		"replaced": s.DB.Log.ReplaceCertificate(ctx, s.Agency.ID, "", sm.Digest{},
			s.World.NewAgency(s.Agency.Code, "x").Certificates, nil, s.Now(), notary.EndLost),
	} {
		if err == nil {
			t.Error("a closed agency was " + what)
		}
	}
	if k, err := other.People.FindKey(ctx, "k"); err != nil || k.InForce(s.Now()) {
		t.Errorf("an API key of a closed agency is in force: %+v, %v", k, err)
	}
	if u, err := other.People.FindUser(ctx, "u"); err != nil || u.DisabledAt.IsZero() {
		t.Errorf("a person of a closed agency may sign in: %+v, %v", u, err)
	}
	_, err = other.People.FindSession(ctx, sm.Sum([]byte("session")))
	wantErr(t, err, notary.ErrNotFound)
	_, err = other.Log.CertificateChain(ctx, s.Agency.ID)
	wantErr(t, err, notary.ErrNotFound)
	if keys, err := other.Log.SealedKeys(ctx); err != nil || len(keys) != 0 {
		t.Errorf("got %+v, %v", keys, err)
	}
	wantErr(t, s.DB.Log.CloseAgency(ctx, "none"), notary.ErrNotFound)
	unknown := *s.Items(t, 1)[0]
	unknown.Record.AgencyID = "none"
	wantErr(t, mustReceive(t, s.DB, &unknown)[0].Err, notary.ErrCertificateEnded)
}

func (s *Site) received(t *testing.T) uint64 {
	t.Helper()
	p, err := s.DB.Log.Progress(t.Context())
	fatalIfErr(t, err)
	return p.Received
}
