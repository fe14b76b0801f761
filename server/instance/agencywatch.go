package instance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/webhook"
	"stele/notary/outage"
	"stele/server/http/api"
)

// Times of the watch over agencies' certificates and keys.
const (
	warnBefore   = 90 * 24 * time.Hour // of the end of a certificate
	watchEvery   = time.Minute
	remindEvery  = 24 * time.Hour
	watchTimeout = 30 * time.Second
)

// agencyWatch knows which agencies cannot sign on this server, or soon cannot: it looks at a start
// and every minute, logs each such agency once a day, is what /readyz and the console tell, and has the agency
// itself told by an event. It is safe for concurrent use.
type agencyWatch struct {
	stores *Stores
	pass   keystore.Secret
	log    *slog.Logger
	now    func() time.Time
	events *outage.Loop // telling agencies of their certificates

	looking sync.Mutex // one look at a time
	// Guarded by looking.
	opened map[[sha256.Size]byte]error // what came of opening a seal: that takes 0.1 s, and is tried once
	told   map[string]time.Time
	warned map[sm.Digest]int // certificates by the last of webhook.ExpirySteps that is told for sure

	mu      sync.Mutex
	looked  bool                 // guarded by mu: there was a look
	trouble []agencyTrouble      // guarded by mu
	ends    map[string]time.Time // guarded by mu: of the present certificates
}

// agencyTrouble is why an agency cannot sign, or soon cannot.
type agencyTrouble struct {
	agency notary.Agency
	what   string // for a person, such as "certificate ends in 12 days"
	advice string
	ends   time.Time // of the certificate; zero where that is not the trouble
	err    error
}

func (in *Instance) openAgencies(_ context.Context, pass keystore.Secret) error {
	in.agencies = &agencyWatch{stores: in.Stores, pass: pass, log: in.log, now: time.Now,
		events: outage.NewLoop(in.outages, in.log, outage.Database), opened: map[[sha256.Size]byte]error{},
		told: map[string]time.Time{}, warned: map[sm.Digest]int{}}
	in.jobs.add(stageOffice, "agencies", in.agencies.run)
	return nil
}

// LookAtAgencies has the watch look at once, which it does every minute by itself.
func (in *Instance) LookAtAgencies(ctx context.Context) { in.agencies.look(ctx) }

func (w *agencyWatch) run(ctx context.Context) error {
	for {
		w.look(ctx)
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// look finds out how things stand. What cannot be found out, because the database does not answer,
// stays as it was: that is a trouble of its own, and told elsewhere.
func (w *agencyWatch) look(ctx context.Context) {
	w.looking.Lock()
	defer w.looking.Unlock()
	queries, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	agencies, err := w.stores.DB.Log.Agencies(queries)
	if err != nil {
		return
	}
	certificates, err := w.stores.DB.Log.PresentCertificates(queries)
	if err != nil {
		return
	}
	var trouble []agencyTrouble
	ends := map[string]time.Time{}
	for _, a := range agencies {
		if a.State == notary.AgencyClosed || ctx.Err() != nil {
			continue
		}
		t := w.judge(ctx, a, certificates)
		ends[a.ID] = t.ends
		if t.what != "" {
			trouble = append(trouble, t)
		}
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	w.looked, w.trouble, w.ends = true, trouble, ends
	w.mu.Unlock()
	if err := w.tell(queries, certificates, ends); err != nil {
		w.events.Failed(ctx, slog.LevelWarn, "telling agencies that their certificates end failed, will try again", err)
	} else {
		w.events.Worked(ctx, "telling agencies that their certificates end")
	}
	w.remindOfList(ctx, w.stores.listsEnd(queries, w.stores.issuersOf(certificates)))
	w.remind(ctx, trouble)
}

// tell has the events made that say when certificates end. What was told is in the database, so that several
// servers, or one that starts again, tell it once; what is remembered here only saves asking. A crash in between
// leaves some agencies told and others for the next look.
func (w *agencyWatch) tell(ctx context.Context, certificates map[string]notary.Certificate,
	ends map[string]time.Time) error {
	var errs []error
	for agencyID, end := range ends {
		step, due := webhook.ExpiryStep(webhook.DaysLeft(end, w.now()))
		c := certificates[agencyID].Fingerprint
		if last, ok := w.warned[c]; end.IsZero() || !due || ok && last <= step {
			continue
		}
		if err := w.stores.DB.Webhooks.TellExpiry(ctx, agencyID, c, end); err != nil {
			errs = append(errs, err)
			continue
		}
		w.warned[c] = step
	}
	return errors.Join(errs...)
}

// remindOfList logs once a day that a revocation list is to be made anew.
func (w *agencyWatch) remindOfList(ctx context.Context, ends time.Time) {
	now := w.now()
	if ends.IsZero() || ends.Sub(now) >= warnBefore || now.Sub(w.told[toldList]) < remindEvery {
		return
	}
	w.told[toldList] = now
	w.log.WarnContext(ctx, "a certificate revocation list grows old: programs that ask for it will refuse all "+
		"certificates", "ends", ends, "advice", "stele agency certificate renew-list")
}

const toldList = "revocation list" // no agency's id begins so

// judge says what is wrong with an agency's certificate or key; nothing is, if what is empty.
func (w *agencyWatch) judge(ctx context.Context, a notary.Agency,
	certificates map[string]notary.Certificate) agencyTrouble {
	t := agencyTrouble{agency: a}
	c, ok := certificates[a.ID]
	if !ok {
		t.what, t.advice = "has no certificate", "stele agency rekey"
		return t
	}
	cert, err := pki.Parse(c.Chain[0])
	if err != nil {
		t.what, t.advice, t.err = "certificate cannot be read", "stele agency renew", err
		return t
	}
	t.ends = cert.NotAfter()
	if !w.stores.trusts(c.Chain[len(c.Chain)-1]) {
		t.what, t.advice = "certificate is under a root that this server's trust roots lack",
			"copy trust.json and successions.json from the server where 'stele root switch' was run, and restart"
		return t
	}
	if !a.ExternalKey {
		if err := w.open(ctx, a, cert); err != nil && ctx.Err() == nil {
			t.what, t.advice, t.err = "key cannot be used on this server", "see the log", err
			return t
		}
	}
	switch left := t.ends.Sub(w.now()); {
	case left <= 0:
		t.what, t.advice = "certificate ended on "+t.ends.UTC().Format(time.DateOnly), "stele agency renew"
	case left < warnBefore:
		t.what, t.advice = fmt.Sprintf("certificate ends in %d days, on %s", int(left/(24*time.Hour)),
			t.ends.UTC().Format(time.DateOnly)), "stele agency renew"
	}
	return t
}

// open tries an agency's key once for each seal that it has had. A key of before keys were in the
// database comes there from its file.
func (w *agencyWatch) open(ctx context.Context, a notary.Agency, cert *pki.Certificate) error {
	k, err := w.stores.sealedKey(ctx, a, cert.PublicKey(), w.pass)
	if err != nil {
		return err
	}
	id := sha256.Sum256(append(append([]byte{}, k.Public...), k.Sealed...))
	err, tried := w.opened[id]
	if !tried {
		_, err = w.stores.agencyKey(ctx, a, cert.PublicKey(), w.pass)
		if ctx.Err() == nil {
			w.opened[id] = err
		}
	}
	return err
}

// remind logs each agency in trouble once a day.
func (w *agencyWatch) remind(ctx context.Context, trouble []agencyTrouble) {
	now := w.now()
	for _, t := range trouble {
		if last, ok := w.told[t.agency.ID+t.advice]; ok && now.Sub(last) < remindEvery {
			continue
		}
		w.told[t.agency.ID+t.advice] = now
		attributes := []any{"agency", t.agency.Name, "code", t.agency.Code, "trouble", t.what, "advice", t.advice}
		if t.err != nil {
			attributes = append(attributes, "error", t.err)
		}
		w.log.WarnContext(ctx, "an agency cannot sign, or soon cannot", attributes...)
	}
}

// mostNamed bounds how many agencies /readyz names.
const mostNamed = 20

// check is the part of /readyz. It is no reason to take the server out of service: all other agencies
// go on, and another server is no better off.
func (w *agencyWatch) check() api.Check {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.looked {
		return api.Check{Name: "agencies", OK: true, Detail: "not looked at yet"}
	}
	c := api.Check{Name: "agencies", OK: len(w.trouble) == 0, Detail: fmt.Sprintf("agencies with a certificate: %d",
		len(w.ends))}
	if c.OK {
		return c
	}
	named := make([]string, 0, mostNamed+1)
	for _, t := range w.trouble[:min(len(w.trouble), mostNamed)] {
		named = append(named, fmt.Sprintf("%s (%s): %s", t.agency.Name, t.agency.Code, t.what))
	}
	if more := len(w.trouble) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	c.Detail = strings.Join(named, "; ")
	return c
}

// CertificateEnds is when the certificate of an agency ends, if people are to be told: from 90 days
// before on. Otherwise it is zero.
func (w *agencyWatch) CertificateEnds(agencyID string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.ends[agencyID]; !end.IsZero() && end.Sub(w.now()) < warnBefore {
		return end
	}
	return time.Time{}
}
