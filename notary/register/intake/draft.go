package intake

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/canonical"
	"stele/notary/proof/statement"
	"stele/notary/register/class"
)

// DefaultClass is the document class of drafts that name none.
const DefaultClass = class.General

// Names of the attributes that every record can have beside its class's own.
const (
	FieldTitle          = "title"
	FieldFileName       = "fileName"
	FieldOriginSystem   = "originSystem"
	FieldOriginMethod   = "originMethod"
	FieldOriginClerk    = "originClerk"
	FieldOriginApprover = "originApprover"
	FieldOriginUnmarked = "originUnmarked"
)

// ownFields is how many attributes a record can have beside its class's own.
const ownFields = 7

const (
	maxTitle       = 300
	maxFileName    = 255
	maxIdempotency = 128
	maxReference   = 128
)

var errFileName = notary.InvalidField("filename",
	"A file name has at most %d bytes and holds no path, %s, and no white space at its ends.", maxFileName,
	notary.TextRule)

// check refuses what is out of form, or what its class does not allow, before anything is read
// or written.
func (in *Intake) check(ctx context.Context, d *Draft) error {
	if d.Class == "" {
		d.Class = DefaultClass
	}
	if err := in.CheckForm(*d); err != nil || d.Owner == Trail {
		return err
	}
	return in.checkRule(ctx, d)
}

// CheckForm refuses a draft that is out of form, whatever its class says; the error names the part
// in its field. Empty parts are in order, but for the class.
func (in *Intake) CheckForm(d Draft) error {
	switch {
	case d.Title != "" && !notary.ValidLine(d.Title, maxTitle):
		return notary.InvalidField("title", "A title has at most %d bytes, %s, and no white space at its ends.",
			maxTitle,
			notary.TextRule)
	case d.FileName != "" && !validFileName(d.FileName):
		return errFileName
	case !statement.ValidClass(d.Class):
		return notary.InvalidField("class", "A class has 1 to %d of a-z, 0-9 and -, beginning with a letter.",
			statement.MaxClassName)
	case d.Class == notary.TrailClass && d.Owner != Trail:
		return notary.InvalidField("class", "The class %q is the service's own.", d.Class)
	case d.Supersedes != "" && !notary.ValidNumber(d.Supersedes):
		return notary.InvalidField("supersedes", "%s.", capital(notary.ErrNumber.Error()))
	case d.Reason != "" && d.Supersedes == "":
		return notary.InvalidField("reason", "A reason is for a record that replaces another one: name that one as "+
			"supersedes, or leave the reason out.")
	case d.Reason != "" && !notary.ValidLine(d.Reason, statement.MaxReason):
		return notary.InvalidField("reason",
			"A reason has at most %d bytes, %s, and no white space at its ends; it will be public.",
			statement.MaxReason,
			notary.TextRule)
	case d.Reference != "" && !notary.ValidLine(d.Reference, maxReference):
		return notary.InvalidField("reference", "A reference has at most %d bytes, %s, and no white space at its ends.",
			maxReference, notary.TextRule)
	case d.MediaType != "" && !statement.ValidMediaType(d.MediaType):
		return notary.InvalidField("mediaType", "A media type is type/subtype in lower case without parameters.")
	case len(d.Fields) > statement.MaxFields-ownFields:
		return notary.InvalidField("fields", "At most %d fields are allowed.", statement.MaxFields-ownFields)
	}
	for _, fact := range []string{d.Origin.System, d.Origin.Method, d.Origin.Clerk, d.Origin.Approver,
		d.Origin.Unmarked} {
		if fact != "" && !notary.ValidLine(fact, statement.MaxValue) {
			return notary.InvalidField("origin",
				"A fact of a record's origin has at most %d bytes, %s, and no white space at its ends.",
				statement.MaxValue,
				notary.TextRule)
		}
	}
	total := len(d.Title) + len(d.FileName)
	for name, value := range d.Fields {
		switch {
		case !statement.ValidFieldName(name):
			return notary.InvalidField("fields",
				"Field names have 1 to %d of a-z, A-Z, 0-9, _ and -, beginning with a letter.", statement.MaxFieldName)
		case name == FieldTitle || name == FieldFileName || strings.HasPrefix(name, "origin"):
			return notary.InvalidField("fields", "The field name %q is reserved.", name)
		case !notary.ValidLines(value, statement.MaxValue):
			return notary.InvalidField("fields",
				"The value of %q must be at most %d bytes of UTF-8: lines of text with %s.",
				name, statement.MaxValue, notary.TextRule)
		}
		total += len(name) + len(value)
	}
	if total > in.limits.MaxAttrs {
		return notary.InvalidField("fields", "A record's attributes have at most %d bytes together.",
			in.limits.MaxAttrs)
	}
	if d.Reserved != (Reserved{}) && (!notary.ValidNumber(d.Reserved.Number) || !notary.ValidCode(d.Reserved.Code)) {
		return notary.Errorf(notary.CodeInternal, "This is no number that was reserved. Nothing was saved.")
	}
	return CheckIdempotency(d.Idempotency)
}

// checkRule refuses what the document class does not allow, or that of a record which is replaced.
func (in *Intake) checkRule(ctx context.Context, d *Draft) error {
	if err := in.checkReplaced(ctx, d); err != nil {
		return err
	}
	rule, err := in.rule(ctx, *d)
	switch {
	case err != nil || rule == nil:
		return err
	case rule.Ended:
		return notary.InvalidField("class", "The agency has ended the class %q: no new records. Nothing was saved.",
			d.Class)
	case rule.Approval && !d.Approved:
		return notary.InvalidField("class",
			"Records of the class %q need an approver: hand the document in at the console. Nothing was saved.",
			d.Class)
	}
	return rule.Schema.Check(d.Fields)
}

// checkReplaced refuses to replace alone what one may not revoke alone.
func (in *Intake) checkReplaced(ctx context.Context, d *Draft) error {
	if d.Supersedes == "" || d.Approved || in.classes == nil {
		return nil
	}
	old, err := in.store.FindRecord(ctx, d.AgencyID, d.Supersedes)
	if errors.Is(err, notary.ErrNotFound) {
		return nil // the transaction refuses it
	} else if err != nil {
		return notFound(err)
	}
	rule, err := in.rule(ctx, Draft{AgencyID: old.AgencyID, Class: old.Class})
	if err == nil && rule.ByTwo() {
		err = notary.Errorf(notary.CodeConflict,
			"Records of the class %q are replaced by two people, at the console. Nothing was saved.", old.Class)
	}
	return err
}

// rule is what the document class demands; nil for nothing.
func (in *Intake) rule(ctx context.Context, d Draft) (*class.Rule, error) {
	if in.classes == nil {
		return nil, nil
	}
	return in.classes.Rule(ctx, d.AgencyID, d.Class)
}

// Reserve hands out a certificate number and its code before the document is there, for one
// that shows them itself. A number that is never used leaves a gap.
func (in *Intake) Reserve(ctx context.Context, agencyID string) (Reserved, error) {
	signer, err := in.signer(agencyID, Here)
	if err != nil {
		return Reserved{}, err
	}
	number, err := in.numbers.next(ctx, signer.Region, in.now().In(beijing).Year())
	return Reserved{number, notary.NewCode()}, err
}

// CheckIdempotency refuses what is no idempotency key.
func CheckIdempotency(key string) error {
	if len(key) > maxIdempotency {
		return notary.InvalidField("Idempotency-Key", "An idempotency key has at most %d printable ASCII characters.",
			maxIdempotency)
	}
	for _, c := range []byte(key) {
		if c < 0x20 || c > 0x7e {
			return notary.InvalidField("Idempotency-Key",
				"An idempotency key has at most %d printable ASCII characters.", maxIdempotency)
		}
	}
	return nil
}

func validFileName(s string) bool {
	return notary.ValidLine(s, maxFileName) && !strings.ContainsAny(s, `/\`) && s != "." && s != ".."
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// prepare builds the item: attributes with fresh salts, number, code and the encoded
// statement. Nothing of it is durable.
func (in *Intake) prepare(ctx context.Context, signer *Signer, d Draft, rec notary.Record) (*Item, error) {
	at := in.now().UTC().Truncate(time.Millisecond)
	given := d.Reserved
	if given == (Reserved{}) {
		number, err := in.numbers.next(ctx, signer.Region, at.In(beijing).Year())
		if err != nil {
			return nil, err
		}
		given = Reserved{number, notary.NewCode()}
	}
	rec.Number, rec.Code, rec.Class, rec.Supersedes, rec.Reference = given.Number, given.Code, d.Class, d.Supersedes,
		d.Reference
	rec.IssuedAt, rec.ReceivedAt, rec.Standing = at, at, notary.Valid
	rec.Fields = attributes(d)
	s := statement.Statement{
		Action: statement.Issue, Number: rec.Number, Agency: signer.Agency,
		Document: statement.Document{SM3: rec.SM3, Size: rec.Size, MediaType: rec.MediaType},
		Class:    rec.Class, Supersedes: rec.Supersedes, Reason: d.Reason, IssuedAt: at,
		Fields: make([]statement.Field, len(rec.Fields)),
	}
	for i, f := range rec.Fields {
		s.Fields[i] = statement.Field{Name: f.Name, Commitment: statement.Commitment(f.Salt, f.Name, f.Value)}
	}
	encoded, err := s.Encode()
	if err != nil {
		return nil, notary.Wrap(notary.CodeInvalid, err,
			"The record does not fit into a statement: use fewer or shorter fields.")
	}
	return &Item{Record: rec, Action: statement.Issue, Entry: statement.Entry{Statement: encoded,
		Certificate: signer.Certificate},
		Idempotency: d.key(), RequestHash: requestHash(d, rec.SM3, int64(rec.Size))}, nil
}

// Certificate numbers carry the year of the agency's wall clock.
var beijing = time.FixedZone("Asia/Shanghai", 8*3600)

// attributes lists a draft's attributes in the order of the statement, each with a salt.
func attributes(d Draft) []notary.Field {
	all := make([]notary.Field, 0, len(d.Fields)+ownFields)
	add := func(name, value string) {
		if value != "" {
			all = append(all, notary.Field{Name: name, Value: value})
		}
	}
	for name, value := range d.Fields {
		all = append(all, notary.Field{Name: name, Value: value})
	}
	add(FieldTitle, d.Title)
	add(FieldFileName, d.FileName)
	add(FieldOriginSystem, d.Origin.System)
	add(FieldOriginMethod, d.Origin.Method)
	add(FieldOriginClerk, d.Origin.Clerk)
	add(FieldOriginApprover, d.Origin.Approver)
	add(FieldOriginUnmarked, d.Origin.Unmarked)
	slices.SortFunc(all, func(a, b notary.Field) int { return strings.Compare(a.Name, b.Name) })
	salts := make([]byte, statement.SaltSize*len(all))
	rand.Read(salts) // never fails: the runtime aborts when the system has no randomness
	for i := range all {
		all[i].Salt = salts[i*statement.SaltSize : (i+1)*statement.SaltSize : (i+1)*statement.SaltSize]
	}
	return all
}

// requestHash is what an idempotency key stands for: everything that the caller decided,
// nothing that the service added.
func requestHash(d Draft, digest sm.Digest, size int64) sm.Digest {
	class := d.Class
	if class == "" {
		class = DefaultClass
	}
	b := canonical.AppendList(nil, []string{"issue", d.Title, d.FileName, class, d.Supersedes, d.MediaType},
		canonical.AppendString)
	b = append(b, digest[:]...)
	b = canonical.AppendInt(b, uint64(size))
	if d.Reference != "" { // came later: requests without one stand for what they always did
		b = canonical.AppendString(b, d.Reference)
		b = append(b, 0)
	}
	if d.Reason != "" { // so did reasons
		b = canonical.AppendString(b, d.Reason)
		b = append(b, 1)
	}
	names := make([]string, 0, len(d.Fields))
	for n := range d.Fields {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		b = canonical.AppendString(b, n)
		b = canonical.AppendString(b, d.Fields[n])
	}
	return sm.Sum(b)
}

// signer is the key of an agency that signs here, or outside.
func (in *Intake) signer(agencyID string, how Signing) (*Signer, error) {
	s, err := in.anySigner(agencyID)
	switch {
	case err != nil:
		return nil, err
	case how == Here && s.Sign == nil:
		return nil, errExternalKey
	case how == Outside && s.Sign != nil:
		return nil, errKeyHere
	}
	return s, nil
}

func (in *Intake) anySigner(agencyID string) (*Signer, error) {
	s, err := in.signers(agencyID)
	if own := new(notary.Error); errors.As(err, &own) {
		return nil, err
	}
	if err != nil {
		return nil, notary.Wrap(notary.CodeUnavailable, err,
			"The agency's signing key is not available on this server.")
	}
	return s, nil
}

// prior finds an earlier use of the draft's idempotency key; nil when there is none.
func (in *Intake) prior(ctx context.Context, d Draft) (*Prior, error) {
	if d.Idempotency == "" {
		return nil, nil
	}
	return in.findPrior(ctx, d.AgencyID, d.key())
}

// key is the draft's idempotency key as it is stored.
func (d Draft) key() string { return d.Owner.key(d.Idempotency) }

// Owner is whose an idempotency key is.
type Owner int

// The owners.
const (
	Caller Owner = iota // of the API
	Trail               // the audit trail, which no rule of a class is for
	Office              // people's work at the console
)

// What sets idempotency keys of the service apart from those of callers, which are printable.
const (
	ofPrepared = "\x01" // and the id of a prepared statement that has no key
	ofUpload   = "\x02" // and the id of an upload whose record has no key
	ofTrail    = "\x03"
	ofOffice   = "\x04"
)

// key is an owner's key as it is stored.
func (o Owner) key(key string) string {
	if key == "" {
		return ""
	}
	return [...]string{Caller: "", Trail: ofTrail, Office: ofOffice}[o] + key
}

func (in *Intake) findPrior(ctx context.Context, agencyID, key string) (*Prior, error) {
	used, err := in.store.FindIdempotent(ctx, agencyID, key)
	if err != nil {
		return nil, storeDown(err)
	}
	if p, ok := used[key]; ok {
		return &p, nil
	}
	return nil, nil
}

// priorUse finds an earlier use of a draft's idempotency key; nil when there is none.
type priorUse func(ctx context.Context, d Draft) (*Prior, error)

// priorUses looks all keys of a batch up before its first item is prepared: one question to the
// store for each agency in it (a batch has one), not one an item. Where the store does not answer,
// the items with a key fail as they would alone, and those without one go on. What is written
// between this and the transaction is found by the transaction.
func (in *Intake) priorUses(ctx context.Context, items []BatchItem) priorUse {
	keys := map[string][]string{}
	for _, it := range items {
		if d := it.Draft; d.Idempotency != "" && CheckIdempotency(d.Idempotency) == nil {
			keys[d.AgencyID] = append(keys[d.AgencyID], d.key())
		}
	}
	type answer struct {
		used map[string]Prior
		err  error
	}
	answers := make(map[string]answer, len(keys))
	for agencyID, of := range keys {
		used, err := in.store.FindIdempotent(ctx, agencyID, of...)
		answers[agencyID] = answer{used, err}
	}
	return func(_ context.Context, d Draft) (*Prior, error) {
		if d.Idempotency == "" {
			return nil, nil
		}
		a := answers[d.AgencyID]
		if a.err != nil {
			return nil, storeDown(a.err)
		}
		if p, ok := a.used[d.key()]; ok {
			return &p, nil
		}
		return nil, nil
	}
}

// IdempotencyConflict is the answer to a key that was used for another request. Stores use
// it for outcomes.
func IdempotencyConflict() error {
	return &notary.Error{Code: notary.CodeIdempotency, Field: "Idempotency-Key",
		Message: "This idempotency key was used for another request. Use a new key, or repeat the first request " +
			"exactly. Nothing was saved."}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// storeDown is the answer when no record came to be. It does not pass on that the outcome
// of a smaller write, of an audit row or a block of numbers, is unknown: that of the record
// is not.
func storeDown(err error) error {
	if outcomeUnknown(err) {
		err = errors.New(err.Error())
	}
	return notary.Wrap(notary.CodeUnavailable, err, "The record store cannot be reached. Nothing was saved; try again.")
}

func notFound(err error) error {
	if errors.Is(err, notary.ErrNotFound) {
		return notary.Errorf(notary.CodeNotFound, "There is no such record of this agency.")
	}
	return storeDown(err)
}
