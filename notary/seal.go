package notary

import (
	"time"
	"unicode/utf8"

	"stele/crypto/sm"
)

// Seal is a seal of an agency: the picture that is stamped on documents, and that its
// certificates show. A picture proves nothing, whoever made it: the agency's signature does.
type Seal struct {
	ID            string
	AgencyID      string
	Name          string // 公章, 业务专用章: no two that are in use have the same
	Owner         string // who answers for it
	PNG           []byte // as certificate.NormalizeSeal returns it
	Demonstration bool   // made without the key of a licensed certification authority
	From          time.Time
	Until         time.Time // from then on it is not valid; zero: no end is set
	Ended         time.Time // when it was given up; zero: it was not
	Certificates  time.Time // since when certificates show it; zero: they do not
}

// MaxSealText is how many characters the name of a seal, or of its owner, may have.
const MaxSealText = 60

// Check says what of a new seal is not as it must be.
func (s Seal) Check() error {
	for field, text := range map[string]string{"name": s.Name, "owner": s.Owner} {
		if utf8.RuneCountInString(text) > MaxSealText || text != "" && !ValidLine(text, 4*MaxSealText) {
			return InvalidField(field, "The %s of a seal has at most %d characters, in one line, with %s.", field,
				MaxSealText, TextRule)
		}
	}
	switch {
	case s.Name == "":
		return InvalidField("name", "A seal has a name, such as 公章.")
	case len(s.PNG) == 0:
		return InvalidField("image", "A seal has a picture.")
	case s.From.IsZero():
		return InvalidField("from", "A seal is valid from a time on.")
	case !s.Until.IsZero() && !s.Until.After(s.From):
		return InvalidField("until", "A seal's validity ends after it begins.")
	}
	return nil
}

// ValidAt reports whether documents may be stamped with a seal at a time.
func (s Seal) ValidAt(at time.Time) bool {
	return !at.Before(s.From) && (s.Until.IsZero() || at.Before(s.Until)) && (s.Ended.IsZero() || at.Before(s.Ended))
}

// SealUse says that a document was stamped with a seal. It is written before the stamped file
// is handed out: a row whose file nobody has is possible, a file without a row is not.
type SealUse struct {
	ID       string // a UUID of version 7
	At       time.Time
	SealID   string
	AgencyID string
	Login    string    // who stamped
	Filing   string    // what was stamped, as the caller calls it
	Number   string    // of the certificate; empty: not known then
	Original sm.Digest // of the file before
	Stamped  sm.Digest // and after
	Marks    int       // places on pages that bear the seal, or a strip of it
}
